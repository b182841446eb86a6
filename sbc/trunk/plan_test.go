package trunk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// names are the ids of a plan without the system's name.
func names(plan []tu.Hop) string {
	var out []string
	for _, h := range plan {
		_, at, _ := strings.Cut(h.ID, " ")
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(at, "10.0.0."), ":5060"))
	}
	return strings.Join(out, " ")
}

func at(last, priority, weight int) Hop {
	return hop("pbx", fmt.Sprintf("10.0.0.%d:5060", last), priority, weight)
}

func nodes(hops ...Hop) []System {
	return []System{{Name: "pbx", Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Trunks, Hops: hops}}
}

func plans(b *Book, n int) (out []string) {
	for range n {
		out = append(out, names(b.Plan("pbx", nat.Inside)))
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name string
		hops []Hop
		down []int
		want []string
	}{
		{"priority", []Hop{at(3, 3, 1), at(1, 1, 1), at(2, 2, 1)}, nil, []string{"1 2 3", "1 2 3"}},
		{"in turn", []Hop{at(1, 1, 1), at(2, 1, 1), at(3, 1, 1)}, nil, []string{"1 2 3", "2 3 1", "3 1 2", "1 2 3"}},
		{"a heavy one is not first many times in a row", []Hop{at(1, 1, 3), at(2, 1, 1)}, nil, []string{"1 2", "1 2", "2 1", "1 2", "1 2"}},
		{"turns of each priority are its own", []Hop{at(1, 1, 1), at(2, 1, 1), at(3, 2, 1), at(4, 2, 1)}, nil, []string{"1 2 3 4", "2 1 4 3", "1 2 3 4"}},
		{"down is last, never left out", []Hop{at(1, 1, 1), at(2, 2, 1), at(3, 3, 1)}, []int{1}, []string{"2 3 1", "2 3 1"}},
		{"all down is as all up", []Hop{at(1, 1, 1), at(2, 2, 1)}, []int{1, 2}, []string{"1 2"}},
		{"the share of one that is down is shared", []Hop{at(1, 1, 1), at(2, 1, 1), at(3, 1, 1)}, []int{1}, []string{"2 3 1", "3 2 1", "2 3 1", "3 2 1"}},
		{"weight 0 is the smallest", []Hop{at(1, 1, 0), at(2, 1, 1)}, nil, []string{"1 2", "2 1"}},
		{"one", []Hop{at(1, 1, 1)}, nil, []string{"1", "1"}},
		{"none", nil, nil, []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBook(nodes(tt.hops...), nil)
			for _, d := range tt.down {
				b.Report(fmt.Sprintf("pbx 10.0.0.%d:5060", d), Down)
			}
			if diff := cmp.Diff(tt.want, plans(b, len(tt.want))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	b := NewBook(nodes(at(1, 1, 1)), nil)
	if b.Plan("pbx", nat.Outside) != nil || b.Plan("other", nat.Inside) != nil {
		t.Error("a plan for nobody")
	}
}

// TestPlanDistribution: over N plans each hop comes first as often as its weight says, in every window of one cycle, and
// every plan is a permutation that keeps priorities and puts what is down last.
func TestPlanDistribution(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hops []Hop
		for i := range rapid.IntRange(1, 8).Draw(t, "hops") {
			hops = append(hops, at(i, rapid.IntRange(1, 3).Draw(t, "priority"), rapid.IntRange(1, 5).Draw(t, "weight")))
		}
		b := NewBook(nodes(hops...), nil)
		down := map[string]bool{}
		for _, h := range hops {
			if down[h.ID] = rapid.Bool().Draw(t, "down"); down[h.ID] {
				b.Report(h.ID, Down)
			}
		}
		rank := func(id string) int {
			i := slices.IndexFunc(hops, func(h Hop) bool { return h.ID == id })
			r := hops[i].Priority
			if down[id] {
				r += 100
			}
			return r
		}
		best, total := 1000, 0
		for _, h := range hops {
			best = min(best, rank(h.ID))
		}
		for _, h := range hops {
			if rank(h.ID) == best {
				total += h.Weight
			}
		}
		for range rapid.IntRange(1, 3).Draw(t, "cycles") {
			first := map[string]int{}
			for range total {
				plan := b.Plan("pbx", nat.Inside)
				first[plan[0].ID]++
				seen := map[string]bool{}
				for i, h := range plan {
					seen[h.ID] = true
					if i > 0 && rank(plan[i-1].ID) > rank(h.ID) {
						t.Fatalf("%s before %s", plan[i-1].ID, h.ID)
					}
				}
				if len(seen) != len(hops) || len(plan) != len(hops) {
					t.Fatalf("%d of %d hops in %s", len(seen), len(hops), names(plan))
				}
			}
			for _, h := range hops {
				want := 0
				if rank(h.ID) == best {
					want = h.Weight
				}
				if first[h.ID] != want {
					t.Fatalf("%s came first %d times of %d, want %d", h.ID, first[h.ID], total, want)
				}
			}
		}
	})
}

// TestTurnsOfTwoTrunks: a call that plans two trunks moves each of them on by one.
func TestTurnsOfTwoTrunks(t *testing.T) {
	b := NewBook([]System{
		outside("a", nil, hop("a", "203.0.113.1:5060", 1, 1), hop("a", "203.0.113.2:5060", 1, 1)),
		outside("b", nil, hop("b", "203.0.113.3:5060", 1, 1), hop("b", "203.0.113.4:5060", 1, 1)),
	}, nil)
	first := map[string]int{}
	for range 10 {
		for _, name := range []string{"a", "b"} {
			first[b.Plan(name, nat.Outside)[0].ID]++
		}
	}
	for id, n := range first {
		if n != 5 {
			t.Errorf("%s came first %d times of 10", id, n)
		}
	}
	if len(first) != 4 {
		t.Errorf("%v", first)
	}
}

func TestReport(t *testing.T) {
	b := NewBook(nodes(at(1, 1, 1), at(2, 1, 1)), nil)
	one, two := "pbx 10.0.0.1:5060", "pbx 10.0.0.2:5060"
	for _, tt := range []struct {
		id        string
		s         State
		news      bool
		available bool
	}{
		{one, Unknown, false, true}, {one, Up, true, true}, {one, Up, false, true}, {one, Down, true, true},
		{one, Down, false, true}, {two, Down, true, false}, {two, Unknown, true, true}, {two, Down, true, false},
		{one, Up, true, true}, {"pbx 10.0.0.3:5060", Down, false, true},
	} {
		if got := b.Report(tt.id, tt.s); got != tt.news {
			t.Errorf("%s %v is news: %v", tt.id, tt.s, got)
		}
		if got := b.Available(tu.KindNode); got != tt.available {
			t.Errorf("after %s %v available: %v", tt.id, tt.s, got)
		}
	}
	if b.State(one) != Up || b.State(two) != Down || b.State("pbx 10.0.0.3:5060") != Unknown {
		t.Error("states")
	}
	if b.Available(tu.KindTrunk) {
		t.Error("there is no trunk")
	}
}

// TestReloadKeepsWhatIsKnown: a new book takes over health and turns by address; what is new is unknown, what is gone is
// forgotten.
func TestReloadKeepsWhatIsKnown(t *testing.T) {
	b := NewBook(nodes(at(1, 1, 1), at(2, 1, 1), at(3, 1, 1)), nil)
	b.Report("pbx 10.0.0.1:5060", Down)
	b.Report("pbx 10.0.0.3:5060", Up)
	before := plans(b, 1)
	for range 5 {
		b = NewBook(nodes(at(1, 1, 1), at(3, 1, 1), at(4, 1, 1)), b)
	}
	if s := fmt.Sprint(b.State("pbx 10.0.0.1:5060"), b.State("pbx 10.0.0.2:5060"), b.State("pbx 10.0.0.3:5060"), b.State("pbx 10.0.0.4:5060")); s != "down unknown up unknown" {
		t.Error(s)
	}
	if got := plans(b, 1); before[0] != "2 3 1" || got[0] != "3 4 1" {
		t.Errorf("%v, then %v", before, got)
	}
	// A reload for each call: all the same nobody comes first twice.
	first := map[string]int{}
	for range 10 {
		b = NewBook(nodes(at(3, 1, 1), at(4, 1, 1)), b)
		first[b.Plan("pbx", nat.Inside)[0].ID]++
	}
	for id, n := range first {
		if n != 5 {
			t.Errorf("%s came first %d times of 10", id, n)
		}
	}
	if got := NewBook(nodes(at(1, 1, 1)), b); !got.Available(tu.KindNode) {
		t.Error("the down node had been forgotten, it is unknown again")
	}
}

func TestSystemsInFileOrder(t *testing.T) {
	b := NewBook(house(), nil)
	var got []string
	for s := range b.Systems {
		if s.Name == "late" {
			break
		}
		got = append(got, s.Name)
	}
	if diff := cmp.Diff([]string{"phones", "pbx", "wide", "narrow"}, got); diff != "" {
		t.Error(diff)
	}
	for s, want := range map[State]string{Unknown: "unknown", Up: "up", Down: "down"} {
		if s.String() != want {
			t.Errorf("%d is %q", s, s)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	book := NewBook(nodes(at(1, 1, 1), at(2, 1, 2), at(3, 2, 1), at(4, 2, 1)), nil)
	b.ReportAllocs()
	for b.Loop() {
		book.Plan("pbx", nat.Inside)
	}
}
