package trunk

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

func TestTurns(t *testing.T) {
	var turns Turns
	step := route.Step{{Trunk: "a", Priority: 1, Weight: 3}, {Trunk: "b", Priority: 1, Weight: 1}, {Trunk: "c", Priority: 2, Weight: 9}}
	healthy := func(string) int { return 0 }
	first := map[string]int{}
	for range 40 {
		shown := turns.Order(step, healthy, false)
		again := turns.Order(step, healthy, false)
		got := turns.Order(step, healthy, true)
		if !slices.Equal(shown, got) || !slices.Equal(shown, again) {
			t.Fatalf("shown %v, then %v, taken %v", shown, again, got)
		}
		if len(got) != 3 || got[2] != "c" {
			t.Fatal(got)
		}
		first[got[0]]++
	}
	if first["a"] != 30 || first["b"] != 10 {
		t.Error(first)
	}
	down := func(name string) int {
		if name == "a" {
			return 2
		}
		return 0
	}
	if got := turns.Order(step, down, true); !slices.Equal(got, []string{"b", "c", "a"}) {
		t.Error(got)
	}
	if got := turns.Order(nil, healthy, true); len(got) != 0 {
		t.Error(got)
	}
	turns.Retain(NewBook([]System{outside("a", nil, hop("a", "203.0.113.1:5060", 1, 1))}, nil))
	if len(turns.credit) != 1 {
		t.Error(turns.credit)
	}
}

// TestTurnsShareByWeight: whatever the weights, after as many calls as they are together each has been first so often.
func TestTurnsShareByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var turns Turns
		var step route.Step
		total := 0
		for i := range rapid.IntRange(1, 5).Draw(t, "members") {
			m := route.Member{Trunk: string(rune('a' + i)), Weight: rapid.IntRange(0, 7).Draw(t, "weight")}
			total += max(m.Weight, 1)
			step = append(step, m)
		}
		first := map[string]int{}
		for range 3 * total {
			got := turns.Order(step, func(string) int { return 0 }, true)
			first[got[0]]++
			slices.Sort(got)
			if len(slices.Compact(got)) != len(step) {
				t.Fatal(got)
			}
		}
		for _, m := range step {
			if first[m.Trunk] != 3*max(m.Weight, 1) {
				t.Fatalf("%v: %v", step, first)
			}
		}
	})
}

func TestPlanInAndAll(t *testing.T) {
	in := func(group string, h Hop) Hop { h.Peer.Group = group; return h }
	pbx := System{Name: "pbx", Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Trunks, Hops: []Hop{
		in("east", hop("pbx", "10.0.0.1:5060", 1, 1)), in("west", hop("pbx", "10.0.0.2:5060", 1, 1)),
		in("east", hop("pbx", "10.0.0.3:5060", 1, 1)), in("west", hop("pbx", "10.0.0.4:5060", 1, 1)),
	}}
	itsp := outside("itsp", nil, hop("itsp", "203.0.113.1:5060", 1, 1), hop("itsp", "203.0.113.2:5060", 2, 1))
	b := NewBook([]System{pbx, itsp}, nil)
	first := map[string]int{}
	for range 10 {
		plan := b.PlanIn("pbx", nat.Inside, "east")
		if len(plan) != 2 {
			t.Fatal(plan)
		}
		first[plan[0].ID]++
	}
	if first["pbx 10.0.0.1:5060"] != 5 || first["pbx 10.0.0.3:5060"] != 5 {
		t.Error(first)
	}
	var ids []string
	b.Preview(func() {
		for range 3 {
			ids = append(ids, b.PlanIn("pbx", nat.Inside, "")[0].ID)
		}
	})
	if got := b.PlanIn("pbx", nat.Inside, ""); got[0].ID != ids[0] || len(got) != 4 {
		t.Errorf("%v after a preview of %v", got[0].ID, ids)
	}
	if len(b.PlanIn("pbx", nat.Inside, "north"))+len(b.PlanIn("gone", nat.Inside, ""))+len(b.PlanAll("gone", nat.Outside)) != 0 {
		t.Error("nobody is there")
	}
	b.Report("itsp 203.0.113.1:5060", Down)
	if b.Rank("itsp", nat.Outside) != 0 || b.Rank("gone", nat.Outside) != drainedRank {
		t.Error("one of its addresses is up")
	}
	b.Report("itsp 203.0.113.2:5060", Down)
	hops := append(b.Plan("itsp", nat.Outside), b.PlanIn("pbx", nat.Inside, "west")...)
	b.ByHealth(hops)
	if hops[0].Peer.Group != "west" || hops[2].ID != "itsp 203.0.113.1:5060" || b.Rank("itsp", nat.Outside) != downRank {
		t.Error(hops)
	}
	b.Drain(tu.KindTrunk, "itsp", true)
	if n, all := len(b.Plan("itsp", nat.Outside)), b.PlanAll("itsp", nat.Outside); n != 0 || len(all) != 2 {
		t.Errorf("%d, all %v", n, all)
	}
}
