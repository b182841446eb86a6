package names

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

const expandedConfig = `
outside: { address: [203.0.113.10, "2001:db8::10"], external_address: gate.example.net, trunks: { udp: 5080, tcp: 5080 } }
inside: { address: 10.0.0.2 }
pbx:
  domain: example.com
  nodes: [ { address: pbx.example.com, priority: 5, weight: 2 }, { address: "10.0.0.20:5060" } ]
  sources: [ vm.example.com, 10.0.0.30 ]
trunks:
  - name: a
    peers:
      - { address: sip.example.net, priority: 2, weight: 3 }
      - { address: "203.0.113.22:5060", priority: 2 }
      - { address: "one.example.net:5070", transport: tcp, priority: 1 }
    external_address: other.example.net
    media_sources: [ media.example.net ]
  - name: b
    peers: [ { address: "203.0.113.23:5060" } ]
    sources: [ out.example.net, 203.0.113.0/28 ]
`

// answersOf leads each name to what a table says: address, priority, weight.
func answersOf(table map[string][]resolve.Endpoint) Answers {
	return func(w resolve.Want) []resolve.Endpoint {
		var out []resolve.Endpoint
		for _, e := range table[w.Host] {
			if e.Address.Addr().Is4() && w.V4 || e.Address.Addr().Is6() && w.V6 {
				out = append(out, e)
			}
		}
		return out
	}
}

func TestExpanded(t *testing.T) {
	snap := snapshotOf(t, expandedConfig)
	before := fmt.Sprintf("%+v", *snap)
	e := Expand(snap, answersOf(map[string][]resolve.Endpoint{
		"gate.example.net":  {to("198.51.100.5:0", 0, 0), to("[2001:db8::5]:0", 0, 0)},
		"other.example.net": {to("198.51.100.6:0", 0, 0)},
		"pbx.example.com":   {to("10.0.0.11:5060", 1, 0), to("10.0.0.12:5062", 1, 0), to("10.0.0.13:5060", 7, 0)},
		"vm.example.com":    {to("10.0.0.31:0", 0, 0)},
		"sip.example.net":   {to("203.0.113.20:5060", 10, 30), to("203.0.113.21:5060", 10, 10), to("203.0.113.22:5060", 20, 1)},
		"one.example.net":   {to("203.0.113.24:5070", 0, 0)},
		"media.example.net": {to("203.0.113.25:0", 0, 0)},
		"out.example.net":   {to("203.0.113.40:0", 0, 0)},
	}))
	if after := fmt.Sprintf("%+v", *snap); after != before {
		t.Errorf("the configuration has changed:\n%s\n%s", before, after)
	}
	var nodes, peers []string
	for _, n := range e.PBX.Nodes {
		nodes = append(nodes, fmt.Sprintf("%d %s %d*%d", n.Entry, n.Address, n.Priority, n.Weight))
	}
	for _, p := range e.Trunks[0].Peers {
		peers = append(peers, fmt.Sprintf("%d %s %d*%d", p.Entry, p.Address, p.Priority, p.Weight))
	}
	for what, c := range map[string]struct{ got, want any }{
		"nodes": {nodes, []string{"0 10.0.0.11:5060 2*1000", "0 10.0.0.12:5062 2*1000", "0 10.0.0.13:5060 3*2000", "1 10.0.0.20:5060 1*1000"}},
		// 203.0.113.22 stands there by name first: one address is one hop.
		"peers":              {peers, []string{"0 203.0.113.20:5060 2*2250", "0 203.0.113.21:5060 2*750", "0 203.0.113.22:5060 3*3000", "2 203.0.113.24:5070 1*1000"}},
		"sources of the PBX": {fmt.Sprint(e.PBX.Sources), "[10.0.0.30/32 10.0.0.31/32]"},
		"sources by peers":   {fmt.Sprint(e.Trunks[0].Sources), "[203.0.113.20/32 203.0.113.21/32 203.0.113.22/32 203.0.113.24/32]"},
		"sources by name":    {fmt.Sprint(e.Trunks[1].Sources), "[203.0.113.0/28 203.0.113.40/32]"},
		"media sources":      {fmt.Sprint(e.Trunks[0].MediaSources), "[203.0.113.25/32]"},
		"own address":        {e.Trunks[0].External, netip.MustParseAddr("198.51.100.6")},
		"media":              {fmt.Sprint(e.Media.Advertised[nat.Outside]), "[198.51.100.5 2001:db8::5]"},
		"untouched peers":    {e.Trunks[1].Peers, snap.Trunks[1].Peers},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	for _, f := range e.Interfaces {
		want := f.Bind
		if f.Side == nat.Outside {
			want = netip.AddrPortFrom(netip.MustParseAddr(map[bool]string{true: "198.51.100.5", false: "2001:db8::5"}[f.Bind.Addr().Is4()]), f.Bind.Port())
		}
		if f.Advertised != want {
			t.Errorf("%s advertises %s", f.String(), f.Advertised)
		}
	}
	if d := e.Phones.Domains; !slices.Contains(d, "gate.example.net") || !slices.Contains(d, "198.51.100.5") || slices.Contains(snap.Phones.Domains, "198.51.100.5") {
		t.Errorf("served: %v, before %v", d, snap.Phones.Domains)
	}
}

// TestWithoutAnswers: what leads nowhere is left out, and nothing else.
func TestWithoutAnswers(t *testing.T) {
	e := Expand(snapshotOf(t, expandedConfig), func(resolve.Want) []resolve.Endpoint { return nil })
	if len(e.PBX.Nodes) != 1 || len(e.Trunks) != 2 || len(e.Trunks[0].Peers) != 1 || e.Trunks[0].Peers[0].Entry != 1 || e.Trunks[0].External.IsValid() {
		t.Errorf("%+v", e)
	}
	for _, f := range e.Interfaces {
		if f.Advertised != f.Bind {
			t.Errorf("%s advertises %s", f.String(), f.Advertised)
		}
	}
}

func TestWantsAreNamedByTheirKeys(t *testing.T) {
	got := map[string]string{}
	for _, w := range writtenIn(snapshotOf(t, expandedConfig)) {
		if got[w.want.Key()] != "" {
			t.Errorf("%s is wanted twice", w.want.Key())
		}
		got[w.want.Key()] = w.path
	}
	want := map[string]string{
		"public gate.example.net;4":         "outside.phones.external_address",
		"public gate.example.net;6":         "outside.phones.external_address",
		"public other.example.net;4":        "trunks[0].external_address",
		"public other.example.net;6":        "trunks[0].external_address",
		"node pbx.example.com;any3;4":       "pbx.nodes[0].address",
		"node vm.example.com;4":             "pbx.sources",
		"peer sip.example.net;any3;4;6":     "trunks[0].peers[0].address",
		"peer one.example.net:5070;tcp;4;6": "trunks[0].peers[2].address",
		"peer media.example.net;4;6":        "trunks[0].media_sources",
		"peer out.example.net;4;6":          "trunks[1].sources",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("wants\n%v\nwant\n%v", got, want)
	}
	if again := writtenIn(snapshotOf(t, literals)); len(again) != 0 {
		t.Errorf("wants of literals: %v", again)
	}
}

func TestWhatIsRefused(t *testing.T) {
	refuse := map[string]func(netip.AddrPort) string{}
	for _, w := range writtenIn(snapshotOf(t, expandedConfig)) {
		refuse[w.want.Role] = w.want.Refuse
	}
	for _, c := range []struct{ role, address, why string }{
		{rolePeer, "203.0.113.20", ""}, {rolePeer, "100.64.0.1", ""},
		{rolePeer, "10.1.2.3", "internal_ranges"}, {rolePeer, "192.168.1.1", "internal_ranges"}, {rolePeer, "127.0.0.1", "loopback"},
		{rolePeer, "203.0.113.10", "own"}, {rolePeer, "10.0.0.2", "own"}, {rolePeer, "169.254.169.254", "metadata"}, {rolePeer, "fe80::1", "link-local"},
		{rolePeer, "64:ff9b::7f00:1", "loopback"}, {rolePeer, "240.0.0.1", "reserved"},
		{roleNode, "10.0.0.11", ""}, {roleNode, "192.168.9.9", ""}, {roleNode, "127.0.0.1", "loopback"}, {roleNode, "203.0.113.10", "own"},
		{rolePublic, "198.51.100.5", ""}, {rolePublic, "127.0.0.1", "loopback"}, {rolePublic, "224.0.0.1", "multicast"},
	} {
		if got := refuse[c.role](netip.AddrPortFrom(netip.MustParseAddr(c.address), 5060)); (got == "") != (c.why == "") || !strings.Contains(got, c.why) {
			t.Errorf("%s %s: %q, want %q", c.role, c.address, got, c.why)
		}
	}
}

// TestExpansionProperty: whatever names lead to, each address is a hop once, entries keep their order, equal ranks are equal, and
// an entry's weight is shared and not lost.
func TestExpansionProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := &expander{out: &config.Snapshot{}}
		answers := map[string][]resolve.Endpoint{}
		x.see = func(w resolve.Want) []resolve.Endpoint { return answers[w.Host] }
		var list []config.Peer
		n := rapid.IntRange(1, 5).Draw(t, "entries")
		for i := range n {
			p := config.Peer{Entry: i, Priority: rapid.IntRange(0, 2).Draw(t, "priority"), Weight: rapid.IntRange(0, 4).Draw(t, "weight")}
			if i == 0 || rapid.Bool().Draw(t, "named") {
				p.Name = config.Name{Host: fmt.Sprintf("n%d", i)}
				for j := range rapid.IntRange(0, 4).Draw(t, "places") {
					answers[p.Name.Host] = append(answers[p.Name.Host], to(fmt.Sprintf("192.0.%d.%d:5060", i, j), rapid.IntRange(0, 2).Draw(t, "tier"), rapid.IntRange(0, 3).Draw(t, "share")))
				}
				slices.SortStableFunc(answers[p.Name.Host], func(a, b resolve.Endpoint) int { return a.Priority - b.Priority })
			} else {
				p.Address = netip.MustParseAddrPort(fmt.Sprintf("192.0.%d.200:5060", i))
			}
			list = append(list, p)
		}
		out := x.peers(func(*config.Peer) string { return "" }, list)
		seen := map[netip.AddrPort]bool{}
		first, weight := map[int]int{}, map[[2]int]int{}
		for _, p := range out {
			if seen[p.Address] || !p.Address.IsValid() || p.Weight < 1 || p.Priority < 1 {
				t.Fatalf("%+v", p)
			}
			seen[p.Address] = true
			if at, ok := first[p.Entry]; !ok || p.Priority < at {
				first[p.Entry] = p.Priority
			}
			weight[[2]int{p.Entry, p.Priority}] += p.Weight
		}
		for i, a := range list {
			for j, b := range list {
				x, there := first[i]
				y, also := first[j]
				if there && also && (a.Priority < b.Priority) != (x < y) {
					t.Fatalf("entries %d (%d) and %d (%d) begin at %d and %d", i, a.Priority, j, b.Priority, x, y)
				}
			}
		}
		for k, w := range weight {
			if all := max(list[k[0]].Weight, 1) * weightUnit; w < all-4 || w > all+4 {
				t.Fatalf("entry %d has %d of %d", k[0], w, all)
			}
		}
	})
}

// TestStandIns: a message is played through names without asking anybody.
func TestStandIns(t *testing.T) {
	e := StandIns(snapshotOf(t, expandedConfig))
	for _, p := range append(e.Trunks[0].Peers[:1:1], config.Peer{Address: e.PBX.Nodes[0].Address}) {
		if !netip.MustParsePrefix("192.0.2.0/24").Contains(p.Address.Addr()) || p.Address.Port() != 5060 {
			t.Errorf("leads to %s", p.Address)
		}
	}
}
