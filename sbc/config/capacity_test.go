package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withCapacity is the valid file with bounds: of a trunk of the group "abroad", of groups, of the node and of phones.
func withCapacity(trunk, groups, node, phones string) string {
	text := strings.Replace(valid, "name: itsp", "name: itsp, group: abroad, capacity: "+trunk, 1)
	text = strings.Replace(text, `address: 10.0.0.10`, `address: 10.0.0.10, capacity: `+node, 1)
	return strings.Replace(text, "policy:", "trunk_groups: "+groups+"\nphones: { capacity: "+phones+" }\npolicy:", 1)
}

func TestCapacity(t *testing.T) {
	snap := mustParse(t, withCapacity("{ calls: 30, calls_per_second: 10 }", "[ { name: abroad, capacity: { calls: 50, code: 480 } }, { name: none } ]", "{ calls: 200 }",
		"{ calls: 2, per_source: 20 }"))
	if d := cmp.Diff(Capacity{Calls: 30, PerSecond: 10, Code: 486}, snap.Trunks[0].Capacity); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Group{{Name: "abroad", Capacity: Capacity{Calls: 50, Code: 480}}, {Name: "none", Capacity: Capacity{Code: 486}}}, snap.Groups); d != "" {
		t.Error(d)
	}
	if snap.PBX.Nodes[0].Calls != 200 || snap.Phones.Calls != 2 || snap.Phones.SourceCalls != 20 {
		t.Errorf("%+v %+v", snap.PBX.Nodes, snap.Phones)
	}
	plain := mustParse(t, valid)
	if plain.Trunks[0].Capacity != (Capacity{Code: 486}) || plain.Groups != nil || plain.PBX.Nodes[0].Calls != 0 || plain.Phones.Calls != 0 {
		t.Error("absent is unlimited")
	}
	var live []string
	for _, c := range Diff(plain, mustParse(t, strings.Replace(valid, "name: itsp", "name: itsp, capacity: { calls: 1 }", 1))) {
		live = append(live, c.Path+" "+c.Tag)
	}
	if d := cmp.Diff([]string{"trunks[itsp].capacity.calls live"}, live); d != "" {
		t.Error(d)
	}
}

func TestCapacityThatIsWrong(t *testing.T) {
	for _, tt := range []struct{ trunk, groups, phones, want string }{
		{"{ calls: -1 }", "[]", "{}", "capacity.calls"},
		{"{ calls_per_second: 10001 }", "[]", "{}", "capacity.calls_per_second"},
		{"{ code: 302 }", "[]", "{}", "capacity.code"},
		{"{ code: 407 }", "[]", "{}", "407 would ask the provider for a password"},
		{"{ code: 408 }", "[]", "{}", "408 would say that something else has happened"},
		{"{ code: 503 }", "[ { name: abroad } ]", "{}", "warning: f:6:58: trunks[0].capacity.code: on a 503 many providers send nothing at all for a while"},
		{"{ code: 603 }", "[ { name: abroad } ]", "{}", "on a 603 the provider tries no other way"},
		{"{ calls: 2, calls_per_second: 3 }", "[ { name: abroad } ]", "{}", "it is never reached: there is room for 2 calls"},
		{"{ calls: 60 }", "[ { name: abroad, capacity: { calls: 50 } } ]", "{}", `its group "abroad" has room for 50 calls only`},
		{"{}", "[ { capacity: { calls: 1 } } ]", "{}", "trunk_groups[0].name: missing"},
		{"{}", "[ { name: \"a b\" } ]", "{}", `"a b" is not a name`},
		{"{}", "[ { name: abroad }, { name: abroad } ]", "{}", `"abroad" is the name of another group`},
		{"{}", "[ { name: home } ]", "{}", `no trunk is of the group "home"`},
		{"{}", "[ { name: abroad } ]", "{ calls: 3, per_source: 2 }", "phones.capacity.calls is never reached"},
	} {
		_, report := Parse("f", []byte(withCapacity(tt.trunk, tt.groups, "{}", tt.phones)), Flags{})
		if text := report.String(); !strings.Contains(text, strings.TrimPrefix(tt.want, "warning: f:6:58: ")) {
			t.Errorf("%+v:\n%s", tt, text)
		}
	}
}
