package silence

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/trunk"
)

// TestAnyCourse: whatever happens, and whenever somebody counts. Who counts again in the same moment finds nothing more, so that there is
// no harm in counting while findings are followed; every change of state is found, or waits to be; no node is blamed for what it has answered;
// nothing grows without bounds.
func TestAnyCourse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := someNodes(t)
		x := newBench(t, nodes...)
		told := map[string]trunk.State{} // as whoever follows findings knows them
		methods := rapid.SampledFrom([]string{"INVITE", "REGISTER", "BYE", "MESSAGE", "OPTIONS"})
		follow := func() {
			for f, some := x.Next(); some; f, some = x.Next() {
				if f.What == Changed {
					told[f.ID] = x.book.State(f.ID)
				}
				x.count()
			}
			for _, n := range x.order {
				if x.book.State(n.id) != told[n.id] {
					t.Fatalf("%s is %s, and nobody was told", n.id, x.book.State(n.id))
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			realm, f := someFlow(t)
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0, 1:
				for range rapid.SampledFrom([]int{1, 2, 300}).Draw(t, "times") {
					x.Left(x.now, realm, f, Request{methods.Draw(t, "method"), attempt, rapid.Bool().Draw(t, "known")})
				}
			case 2:
				x.Heard(x.now, realm, f, methods.Draw(t, "of"), rapid.SampledFrom([]int{100, 200, 503}).Draw(t, "code"))
				x.blameless(t, realm, f)
			case 3:
				x.Unreached(x.now, realm, f)
			case 4:
				x.Spoke(x.now, realm, f)
			case 5:
				x.probed = !x.probed
				x.Vain("pbx " + one)
			case 6:
				follow()
				for _, id := range x.Gone(x.now) {
					if x.book.Lives(id) {
						t.Fatalf("%s lives, and is gone", id)
					}
				}
			default:
				x.pass(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			}
			x.count()
			found := len(x.found)
			if x.count(); len(x.found) != found {
				t.Fatalf("in the same moment %v was found", x.found[found:])
			}
			x.bounded(t)
		}
		follow()
	})
}

// blameless checks that whoever has answered owes nothing.
func (x *bench) blameless(t *rapid.T, realm nat.Realm, f nat.Flow) {
	if h := x.From(realm, f); h != nil {
		if n := x.nodes[h.ID]; n.owes() > 0 || n.vague > 0 || !n.doubt.IsZero() || n.vain {
			t.Fatalf("it has answered, and is %+v", *n)
		}
	}
}

// owes is how many requests wait for a word of the node.
func (n *node) owes() (some int) {
	for _, due := range n.due {
		some += len(due)
	}
	return some
}

// bounded checks that a node's account is in order.
func (x *bench) bounded(t *rapid.T) {
	for _, n := range x.order {
		for _, due := range n.due {
			if len(due) > dueMost || n.vague > dueMost || !slices.IsSortedFunc(due, func(a, b owed) int { return a.at.Compare(b.at) }) {
				t.Fatalf("%s has %d due, and %d vague", n.id, len(due), n.vague)
			}
		}
	}
	if len(x.order) != len(x.nodes) {
		t.Fatalf("%d accounts of %d nodes", len(x.order), len(x.nodes))
	}
	if len(x.found) > 3*len(x.order) {
		t.Fatalf("%d findings of %d nodes", len(x.found), len(x.order))
	}
}

// TestAWatchCostsNothing: it stands on the way of every request to the PBX and of every answer.
func TestAWatchCostsNothing(t *testing.T) {
	x := newBench(t, one, two)
	to := flow(t, nat.Trunks, one)
	odd := flow(t, nat.Trunks, "10.0.0.11:41000")
	probed := func(string) bool { return true }
	run := func() {
		x.Count(x.now, probed)
		x.Left(x.now, nat.Trunks, to, Request{"INVITE", attempt, true})
		x.Left(x.now, nat.Trunks, to, Request{"REGISTER", attempt, false})
		x.Heard(x.now, nat.Trunks, to, "INVITE", 100)
		x.Heard(x.now, nat.Trunks, odd, "INVITE", 100)
		_, _ = x.Next()
		_ = x.Gone(x.now)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
