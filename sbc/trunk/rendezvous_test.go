package trunk

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

func key(i int) string { return fmt.Sprintf("%d@example.com", i) }

// firsts are where so many keys go.
func firsts(b *Book, n int) (at []string) {
	for i := range n {
		at = append(at, b.PlanFor("pbx", nat.Inside, key(i))[0].ID)
	}
	return at
}

// TestPlanForFollowsWeights: of many keys each node has its share, within five standard deviations.
func TestPlanForFollowsWeights(t *testing.T) {
	const keys = 20_000
	for _, weights := range [][]int{{1, 1}, {1, 1, 1}, {3, 1}, {5, 3, 2}, {10, 1}, {1, 0}, {100, 100, 50, 1}} {
		var hops []Hop
		total := 0
		for i, w := range weights {
			hops = append(hops, at(i+1, 1, w))
			total += max(w, 1)
		}
		count := map[string]int{}
		for _, id := range firsts(NewBook(nodes(hops...), nil), keys) {
			count[id]++
		}
		for i, h := range hops {
			p := float64(max(weights[i], 1)) / float64(total)
			want, sigma := keys*p, math.Sqrt(keys*p*(1-p))
			if got := float64(count[h.ID]); math.Abs(got-want) > 5*sigma+1 {
				t.Errorf("weights %v: %s has %v of %d keys, want about %v", weights, h.ID, got, keys, want)
			}
		}
	}
}

// TestPlanForIsWhatItWas: the order of a key is the same for ever: phones stay where they are over a restart and an upgrade, and a
// second gate agrees with the first.
func TestPlanForIsWhatItWas(t *testing.T) {
	b := NewBook(nodes(at(10, 1, 1), at(11, 1, 1), at(12, 1, 2)), nil)
	var got []string
	for i := 200; i < 208; i++ {
		got = append(got, names(b.PlanFor("pbx", nat.Inside, key(i))))
	}
	want := []string{"12 11 10", "12 11 10", "12 10 11", "12 10 11", "12 10 11", "12 10 11", "10 12 11", "10 12 11"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestPlanForMovesFew: whatever nodes there are, only the keys of one that leaves move, and they to all of the others; one that
// comes takes keys and moves none among the others. A file in another order is the same cluster.
func TestPlanForMovesFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hops []Hop
		for i := range rapid.IntRange(2, 8).Draw(t, "nodes") {
			hops = append(hops, at(i+1, rapid.IntRange(1, 2).Draw(t, "priority"), rapid.IntRange(0, 9).Draw(t, "weight")))
		}
		const keys = 300
		whole := NewBook(nodes(hops...), nil)
		before := firsts(whole, keys)
		lost := rapid.IntRange(0, len(hops)-1).Draw(t, "lost")
		gone := hops[lost].ID
		books := map[string]*Book{
			"removed": NewBook(nodes(slices.Delete(slices.Clone(hops), lost, lost+1)...), nil),
			"down":    NewBook(nodes(hops...), nil),
			"drained": NewBook(nodes(hops...), nil),
		}
		books["down"].Report(gone, Down)
		books["drained"].Drain(tu.KindNode, hops[lost].Flow.Remote.String(), true)
		for how, b := range books {
			for i, now := range firsts(b, keys) {
				switch {
				case before[i] != gone && now != before[i]:
					t.Fatalf("%s %s: %s moved from %s to %s", gone, how, key(i), before[i], now)
				case now == gone:
					t.Fatalf("%s %s: %s is still there", gone, how, key(i))
				case before[i] == gone && now != whole.PlanFor("pbx", nat.Inside, key(i))[1].ID:
					t.Fatalf("%s %s: %s went to another one than the second of its plan", gone, how, key(i))
				}
			}
		}
		turned := append(slices.Clone(hops[lost:]), hops[:lost]...)
		if !slices.Equal(firsts(NewBook(nodes(turned...), whole), keys), before) {
			t.Fatal("the order of the file tells")
		}
	})
}

func TestPlanForHealthAndPriority(t *testing.T) {
	b := NewBook(nodes(at(1, 1, 1), at(2, 1, 1), at(3, 2, 9), at(4, 3, 1)), nil)
	for i := range 50 {
		plan := names(b.PlanFor("pbx", nat.Inside, key(i)))
		if plan != "1 2 3 4" && plan != "2 1 3 4" {
			t.Errorf("priorities: %s", plan)
		}
	}
	first := firsts(b, 50)
	now := time.Unix(1, 0)
	for range spareCalls { // degraded
		b.Attempt("pbx 10.0.0.1:5060", false, now)
	}
	if got := b.State("pbx 10.0.0.1:5060"); got != Degraded || !b.Lives("pbx 10.0.0.1:5060") {
		t.Fatalf("it is %s", got)
	}
	if !slices.Equal(firsts(b, 50), first) {
		t.Error("phones leave a node that is degraded")
	}
	b.Attempt("pbx 10.0.0.1:5060", false, now)
	for i := range 50 {
		if plan := names(b.PlanFor("pbx", nat.Inside, key(i))); plan != "2 3 4 1" {
			t.Errorf("with one lost: %s", plan)
		}
	}
	for last := 1; last <= 4; last++ {
		b.Drain(tu.KindNode, fmt.Sprintf("10.0.0.%d:5060", last), true)
	}
	if plan := b.PlanFor("pbx", nat.Inside, key(1)); len(plan) != 4 || !b.Lives("pbx 10.0.0.2:5060") || b.Lives("pbx 10.0.0.1:5060") || b.Lives("nobody") {
		t.Errorf("all are drained: %s", names(plan))
	}
	if b.PlanFor("pbx", nat.Outside, "x") != nil || b.PlanFor("other", nat.Inside, "x") != nil {
		t.Error("a plan for nobody")
	}
	if got := NewBook(nodes(), nil).PlanFor("pbx", nat.Inside, ""); len(got) != 0 {
		t.Errorf("of no nodes: %v", got)
	}
}

func BenchmarkPlanFor(b *testing.B) {
	book := NewBook(nodes(at(1, 1, 1), at(2, 1, 1), at(3, 1, 1)), nil)
	for b.Loop() {
		book.PlanFor("pbx", nat.Inside, "204@example.com")
	}
}
