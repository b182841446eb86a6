package toll

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReload: counts stay with the name of a rule.
func TestReload(t *testing.T) {
	each := Rule{Name: "each", Per: "aor", Concurrent: 2, PerMinute: 10, MinutesPerDay: 60}
	premium := Rule{Name: "premium", Numbers: []string{"0900"}}
	b := newBench(t, premium, each)
	b.passes(phone(anna, "0900"))
	b.talk(phone(anna, "100"), 59*time.Minute)
	first, _ := b.begin(phone(anna, "100"))
	second, _ := b.begin(phone(anna, "100"))
	b.l.Answered(b.now, first)

	premium.Numbers = []string{"0180"}
	b.l.SetRules(b.now, compiled(t, Rule{Name: "new", Numbers: []string{"7"}}, each, premium))
	if _, v := b.begin(phone(anna, "100")); v.Rule != "each" || v.Figure != "2 of 2 calls at a time" {
		t.Errorf("calls in progress: %+v", v)
	}
	b.now = b.now.Add(time.Minute)
	b.l.End(b.now, first)
	b.l.End(b.now, second)
	if _, v := b.begin(phone(anna, "100")); v.Figure != "60 of 60 minutes a day" {
		t.Errorf("the day goes on: %+v", v)
	}
	h := b.l.Hits()
	if h[2].Path != "policy.calls[2]" || h[2].Enforced != 1 || h[0].Enforced != 0 || h[1].Enforced != 2 {
		t.Errorf("hits %+v", h)
	}
	if !b.passes(phone(bert, "0900")) || b.passes(phone(bert, "0180")) {
		t.Error("the new numbers are in force")
	}

	tighter := Rule{Name: "each", Per: "aor", PerMinute: 1}
	b.l.SetRules(b.now, compiled(t, tighter))
	b.passes(phone(bert, "1"))
	_, v := b.begin(phone(bert, "1"))
	if !v.Refuse || v.Clears.After(b.now.Add(time.Minute)) {
		t.Errorf("debt is clipped to what the new bound holds: %+v", v)
	}

	running, _ := b.begin(phone("206@example.com", "1"))
	b.l.SetRules(b.now, compiled(t, Rule{Name: "each", Per: "source", Concurrent: 1}))
	b.l.End(b.now, running) // of a budget that there is no more
	if _, v := b.begin(phone(bert, "1")); v.Refuse {
		t.Errorf("another kind of budget begins anew: %+v", v)
	}
	b.l.SetRules(b.now, compiled(t))
	if !b.passes(phone(bert, "1")) || b.l.used != [classes]int{} || len(b.l.Hits()) != 0 {
		t.Errorf("without rules: %+v", b.l.levels)
	}
}

func TestStanding(t *testing.T) {
	b := newBench(t,
		Rule{Name: "each", Per: "aor", Concurrent: 4, PerMinute: 10, MinutesPerDay: 600},
		Rule{Name: "house", Per: "source", PerMinute: 30, Shadow: true},
		Rule{Name: "channels", Per: "trunk", Concurrent: 30},
	)
	b.talk(phone(anna, "100"), 17*time.Minute)
	b.begin(phone(anna, "100"))
	b.begin(Call{Kind: PBX, AoR: anna, Trunk: "itsp", Number: "1"})
	got := b.l.Standing(b.now, Who{AoR: anna, Source: netip.MustParseAddr("198.51.100.7"), Trunk: "itsp"})
	want := []string{
		`rule "each": aor 204@example.com: 1 of 4 calls at a time, 1 of 10 calls a minute, 17 of 600 minutes a day`,
		`rule "each": aor 204@example.com at the PBX: 1 of 4 calls at a time, 1 of 10 calls a minute, 0 of 600 minutes a day`,
		`rule "house": source 198.51.100.7: 1 of 30 calls a minute (shadow)`,
		`rule "channels": trunk itsp: 1 of 30 calls at a time`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if got := b.l.Standing(b.now, Who{AoR: bert}); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestClocksThatJump(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", MinutesPerDay: 60, PerMinute: 1})
	b.talk(phone(anna, "1"), 30*time.Minute)
	b.now = birth.Add(-48 * time.Hour)
	if b.passes(phone(anna, "1")) {
		t.Log("a clock that was set back may forgive a call") // what counts is that nothing breaks
	}
	id, _ := b.begin(phone(bert, "1"))
	b.l.Answered(b.now, id)
	b.l.End(b.now.Add(-time.Hour), id)
	b.now = birth.Add(1000 * time.Hour)
	if !b.passes(phone(anna, "1")) || !b.passes(phone(bert, "1")) {
		t.Error("weeks later")
	}
}
