package config

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestSharedSourcesAreFound: a warning comes exactly if two trunks share a source, and names a trunk that does share one
// with a trunk before it.
func TestSharedSourcesAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := Default()
		for i := range rapid.IntRange(0, 5).Draw(t, "trunks") {
			e := TrunkEntry{Name: fmt.Sprint("t", i), Peers: []PeerEntry{{Transport: rapid.SampledFrom([]string{"udp", "tls"}).Draw(t, "transport")}}}
			if rapid.IntRange(0, 3).Draw(t, "told") == 0 {
				e.Inbound.Match = Expressions{mustPattern("1.*")}
			}
			for range rapid.IntRange(0, 4).Draw(t, "sources") {
				r := drawRange(t)
				if r.first.Is4() && rapid.Bool().Draw(t, "small") {
					r.last = r.first
				}
				e.Sources = append(e.Sources, Source{Range: r})
			}
			doc.Trunks = append(doc.Trunks, e)
		}
		var report Report
		(&checker{doc: doc, from: newOrigin("f"), report: &report}).sharedSources()
		later := map[string]bool{}
		for i := range doc.Trunks {
			for j := range i {
				x, y := &doc.Trunks[i], &doc.Trunks[j]
				if x.told() || y.told() || x.Peers[0].Transport != y.Peers[0].Transport {
					continue // something tells them apart
				}
				for _, a := range doc.Trunks[i].Sources {
					for _, b := range doc.Trunks[j].Sources {
						if a.Overlaps(b.Range) {
							later[index("trunks", i)] = true
						}
					}
				}
			}
		}
		if (len(report.Warnings) > 0) != (len(later) > 0) {
			t.Fatalf("%v, should be about %v", report.Warnings, later)
		}
		for _, w := range report.Warnings {
			if !later[w.Path] {
				t.Fatalf("%s shares nothing with a trunk before it", w)
			}
		}
	})
}

const valid = `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks: [ { name: itsp, peers: [ { address: 203.0.113.20 } ] } ]
policy: { rate_limits: [] }
`

// TestOneMistakeIsOneError: what follows from a mistake is not told as another one.
func TestOneMistakeIsOneError(t *testing.T) {
	mustParse(t, valid)
	for _, c := range []struct{ old, new, want string }{
		{"203.0.113.10", "gate", `f:2:21: outside.address[0]: "gate" is a name`},
		{"address: 203.0.113.10", "address: [ gate ]", `f:2:23: outside.address[0]: "gate" is a name`},
		{"10.0.0.2", "10.0.0.256", `f:3:20: inside.address[0]: "10.0.0.256" is not an IP address`},
		{"address: 10.0.0.10", "address: 10.0.0.10:sip", `f:4:49: pbx.nodes[0].address: "sip" is not a port`},
		{"[ { address: 10.0.0.10 } ]", "10.0.0.10", `f:4:36: pbx.nodes: wants a list, not "10.0.0.10"`},
		{"{ domain: example.com, nodes: [ { address: 10.0.0.10 } ] }", "none", `f:4:6: pbx: wants a mapping of keys, not "none"`},
		{"domain: example.com", "domain: [ a ]", `f:4:16: pbx.domain: wants one value, not a list`},
		{"name: itsp", "name: ~", `f:5:19: trunks[0].name: has no value`},
		{"peers: [ { address: 203.0.113.20 } ]", "peers: ~", `f:5:32: trunks[0].peers: has no value`},
		{"[ { name: itsp, peers: [ { address: 203.0.113.20 } ] } ]", "{}", `f:5:9: trunks: wants a list, not a mapping`},
		{"rate_limits: []", "rate_limits: [ { name: a, range: any, limits: { INVITE: often } } ]",
			`f:6:67: policy.rate_limits[0].limits.INVITE: "often" is not a rate`},
		{"rate_limits: []", "rate_limits: [ { name: a, range: any, limits: [] } ]",
			`f:6:57: policy.rate_limits[0].limits: wants a mapping, not a list`},
		{"rate_limits: []", "rate_limits: [ { name: a, range: any, limits: { [ x ]: 1/second, INVITE: 1/second } } ]",
			`f:6:59: policy.rate_limits[0].limits: a key must be a word`},
		{"rate_limits: []", `rate_limits: [ { name: "a\tb", range: any, limits: { INVITE: 1/second } } ]`,
			`f:6:34: policy.rate_limits[0].name: "a\tb" is not a name`},
		{"rate_limits: []", "rate_limits: [], strangers: { phones: [ silent ] }",
			`f:6:49: policy.strangers.phones: wants one value, not a list`},
		{"name: itsp", "name: itsp, symmetric: yes", `f:5:36: trunks[0].symmetric: "yes" is neither true nor false`},
	} {
		text := strings.Replace(valid, c.old, c.new, 1)
		_, report := parseText("f", []byte(text), Flags{})
		if len(report.Errors) != 1 || !strings.HasPrefix(report.Errors[0].String(), c.want) {
			t.Errorf("%s:\n%s\nwant %s", c.new, report.String(), c.want)
		}
	}
}

// TestTextStaysText: what looks like a number, a time or a truth value is text where text is wanted.
func TestTextStaysText(t *testing.T) {
	for _, name := range []string{"0049", "1e3", "true", "2027-01-31", "0x10", "1.10", "12"} {
		snap := mustParse(t, strings.Replace(valid, "itsp", name, 1))
		if got := snap.Trunks[0].Name; got != name {
			t.Errorf("%s became %s", name, got)
		}
	}
	snap := mustParse(t, strings.Replace(valid, "name: itsp", `name: itsp, outbound: { match: [ 0049, 112 ] }`, 1))
	if got := snap.Trunks[0].Outbound[0].String(); got != `\A(?:0049)\z` {
		t.Error(got)
	}
}

// TestScalarsStandForLists where the contract says so.
func TestScalarsStandForLists(t *testing.T) {
	snap := mustParse(t, strings.Replace(valid, "name: itsp", "name: itsp, sources: 203.0.113.0/24, external_address: ''", 1))
	if got := fmt.Sprint(snap.Trunks[0].Sources); got != "[203.0.113.0/24]" {
		t.Error(got)
	}
	snap = mustParse(t, strings.Replace(valid, "address: 203.0.113.10", `address: 203.0.113.10, external_address: ""`, 1))
	if got := snap.Interfaces[0].Advertised.String(); got != "203.0.113.10:5060" {
		t.Error(got)
	}
}

// TestClosedRealmsAreNotMeant: a node serves the realms that are open, unless it says otherwise.
func TestClosedRealmsAreNotMeant(t *testing.T) {
	closed := strings.Replace(valid, "address: 10.0.0.2 ", "address: 10.0.0.2, phones: {} ", 1)
	if got := mustParse(t, closed).PBX.Nodes[0].Realms; got != [2]bool{false, true} {
		t.Error(got)
	}
	asked := strings.Replace(closed, "address: 10.0.0.10", "address: 10.0.0.10, realms: [ phones ]", 1)
	if _, report := parseText("f", []byte(asked), Flags{}); !strings.Contains(report.String(), "inside.phones has no udp listener") {
		t.Error(report.String())
	}
	none := strings.Replace(valid, "address: 10.0.0.2 ", "address: 10.0.0.2, phones: {}, trunks: {} ", 1)
	if _, report := Parse("f", []byte(none), Flags{}); !strings.Contains(report.String(), "inside.trunks has no udp listener") {
		t.Error(report.String())
	}
}

func TestProblemsAreToldAtTheNearestKey(t *testing.T) {
	o := newOrigin("f")
	o.at[""], o.at["a"], o.at["a.b[1]"], o.at["ab"] = position{1, 1}, position{2, 1}, position{3, 5}, position{9, 9}
	o.fromFlag("c", "--c")
	for path, want := range map[string]string{
		"a": "f:2:1: a: x", "a.b": "f:2:1: a.b: x", "a.b[1].c": "f:3:5: a.b[1].c: x", "a.b[2].c": "f:2:1: a.b[2].c: x",
		"d": "f:1:1: d: x", "c[0].d": "--c: c[0].d: x", "": "f:1:1: x",
	} {
		if got := o.problem(path, "x", "").String(); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
	o.fromFlag("a", "--a")
	if len(o.at) != 2 || !o.given("a") || o.given("a.b[1]") || !o.given("ab") {
		t.Errorf("%v %v", o.at, o.flags)
	}
}
