package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/policy"
)

// TestSnapshots: what the rooms get, and what the guard gets, of each good file.
func TestSnapshots(t *testing.T) {
	for _, path := range files(t, "good") {
		snap, report := parseFile(t, path)
		if snap == nil {
			t.Fatal(report.String())
		}
		guard := snap.Policy.Guard()
		if _, err := policy.Compile(guard, policy.Data{}); err != nil {
			t.Errorf("%s: the guard refuses: %v", path, err)
		}
		if snap.Policy.Shipped {
			snap.Policy.Agents = nil // long, and tested below
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			Snapshot *Snapshot
			Guard    *policy.Config
		}{snap, guard}); err != nil {
			t.Fatal(err)
		}
		golden(t, strings.TrimSuffix(path, ".yaml")+".snapshot.json", out.String())
	}
}

func TestShippedAgents(t *testing.T) {
	const head = "outside: { address: 203.0.113.10 }\ninside: { address: 10.0.0.2 }\n" +
		"pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }\npolicy: { rate_limits: [], "
	for text, want := range map[string]struct {
		shipped bool
		rules   int
	}{
		"}\n":                      {true, len(policy.ShippedUserAgents())},
		"deny_user_agents: [] }\n": {false, 0},
		"deny_user_agents: [ { match: zzz } ] }\n": {false, 1},
	} {
		snap, report := Parse("f", []byte(head+text), Flags{})
		if snap == nil {
			t.Fatal(report.String())
		}
		// Nobody wrote the shipped list, so what it hits is no warning.
		if (len(report.Notes) > 0) != want.shipped || len(report.Warnings) > 1 {
			t.Errorf("%s: notes %v, warnings %v", text, report.Notes, report.Warnings)
		}
		if p := &snap.Policy; p.Shipped != want.shipped || len(p.Agents) != want.rules {
			t.Errorf("%s: shipped %v, %d rules", text, p.Shipped, len(p.Agents))
		}
		if g := snap.Policy.Guard(); (g.DenyUserAgents == nil) != want.shipped {
			t.Errorf("%s: the guard gets %v", text, g.DenyUserAgents)
		}
	}
}

// TestDefaultsAreNotShared: nobody who fills one document fills another's defaults.
func TestDefaultsAreNotShared(t *testing.T) {
	a, b := Default(), Default()
	if !reflect.DeepEqual(a, b) {
		t.Fatal("defaults differ")
	}
	a.InternalRanges[0], a.Policy.DenyUserAgents[0].Match, a.Policy.Log.Classes[0] = Range{}, "x", "x"
	a.Policy.RateLimits[0].Realms[0], a.Policy.RateLimits[0].Range[0], a.Policy.Countries.Realms[0] = "x", Scope{}, "x"
	var x, y NodeEntry
	x.setDefaults()
	y.setDefaults()
	x.Realms[0] = "x"
	if !reflect.DeepEqual(b, Default()) || y.Realms[0] != "phones" {
		t.Error("a default was changed through a document")
	}
}

// TestDefaultsAreWords: a default that the file could not say would not read back.
func TestDefaultsAreWords(t *testing.T) {
	check := func(v any) {
		rv := reflect.ValueOf(v).Elem()
		walkStrings(rv, func(path, value string, tag reflect.StructTag) {
			left := value == "" && strings.Contains(tag.Get("yaml"), "omitempty") // a key without a default
			if words := tag.Get("oneof"); words != "" && !left && !contains(words, value) {
				t.Errorf("%T %s: the default %q is none of %s", v, path, value, words)
			}
		})
	}
	check(Default())
	for _, e := range []defaulter{&NodeEntry{}, &PeerEntry{}, &TrunkEntry{}, &WhiteEntry{}, &BlackEntry{}, &AgentEntry{}, &RateEntry{},
		&FeedEntry{}, &MessageEntry{}, &PatternEntry{}, &CallEntry{}} {
		e.setDefaults()
		check(e)
	}
}

func walkStrings(v reflect.Value, f func(path, value string, tag reflect.StructTag)) {
	for i := range v.NumField() {
		ft, fv := v.Type().Field(i), v.Field(i)
		switch {
		case isSection(ft.Type):
			walkStrings(fv, f)
		case fv.Kind() == reflect.String:
			f(keyOf(ft.Tag), fv.String(), ft.Tag)
		case fv.Type() == reflect.TypeFor[[]string](), fv.Type() == reflect.TypeFor[Words]():
			for j := range fv.Len() {
				f(keyOf(ft.Tag), fv.Index(j).String(), ft.Tag)
			}
		}
	}
}

// TestMediaFollowsTheSides: media is bound where the side is, and told what the side is told.
func TestMediaFollowsTheSides(t *testing.T) {
	snap, report := parseFile(t, filepath.Join(corpus, "good", "nat.yaml"))
	if snap == nil {
		t.Fatal(report.String())
	}
	m := snap.Media
	for _, c := range []struct{ got, want string }{
		{m.Addresses[nat.Outside][0].String(), "10.0.0.2"},
		{m.Advertised[nat.Outside][0].String(), "198.51.100.5"},
		{m.Addresses[nat.Inside][0].String(), "10.0.0.2"},
		{m.Advertised[nat.Inside][0].String(), "10.0.0.2"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

// TestMistakesAreGuessed: what was meant by a misspelt key.
func TestMistakesAreGuessed(t *testing.T) {
	names := []string{"address", "external_address", "phones", "trunks", "udp"}
	for word, want := range map[string]string{
		"addresss": "address", "ExternalAddress": "external_address",
		"external-address": "external_address", "trunk": "trunks", "phnoes": "phones", "upd": "udp", "upp": "udp",
		"xyz": "", "telephones": "", "": "", strings.Repeat("x", 100): "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("%.20q: %q, want %q", word, got, want)
		}
	}
}
