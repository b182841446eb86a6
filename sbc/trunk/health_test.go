package trunk

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

const (
	first  = "pbx 10.0.0.1:5060"
	second = "pbx 10.0.0.2:5060"
)

// course is what is heard of the first of two nodes, ten seconds between two words.
type course struct {
	*Book
	now time.Time
	up  State // as its probe has it
	in  int   // questions missed, or answered, in a row
}

func newCourse() *course {
	return &course{Book: NewBook(nodes(at(1, 1, 1), at(2, 2, 1)), nil), now: zero}
}

// hear takes words: a answers OPTIONS after 20 ms, s after 3 s; m misses one; o answers a call, r with 503; f does not;
// . says something; - nothing.
func (c *course) hear(words string) *course {
	for _, w := range words {
		c.now = c.now.Add(10 * time.Second)
		switch w {
		case 'a', 's':
			took := 20 * time.Millisecond
			if w == 's' {
				took = 3 * time.Second
			}
			if c.in = max(c.in, 0) + 1; c.up == Unknown || c.in >= 2 {
				c.up = Up
			}
			c.Probed(c.now, tu.Health{Peer: first, Up: c.up == Up, Known: true, Answer: "200 OK", Alive: true, Took: took})
		case 'm':
			if c.in = min(c.in, 0) - 1; c.up == Up && c.in <= -3 {
				c.up = Down
			}
			c.Probed(c.now, tu.Health{Peer: first, Up: c.up == Up, Known: c.up != Unknown, Answer: "no answer"})
		case 'o':
			c.Attempt(first, true, c.now)
		case 'r':
			c.Book.Refused(first, c.now)
		case 'f':
			c.Attempt(first, false, c.now)
		case '.':
			c.Alive(first)
		}
		c.Tick(c.now)
	}
	return c
}

func TestHealthOfAnAddress(t *testing.T) {
	for _, tt := range []struct{ name, words, want string }{
		{"nothing is known", "", "unknown"},
		{"a probe is answered", "a", "up"},
		{"and never was", "mmmmm", "unknown"},
		{"a question is missed", "aaam", "up"},
		{"a second one of the last eight", "aamam", "degraded: 2 of the last 8 OPTIONS were not answered"},
		{"four answers later", "aamamaaaa", "up"},
		{"three are not enough", "aamamaaa", "degraded: 2 of the last 8 OPTIONS were not answered"},
		{"three in a row", "aammm", "down: OPTIONS: no answer"},
		{"one answer is not enough", "aammma", "down: OPTIONS is answered again (200 OK), not yet 2 times in a row"},
		{"it comes back", "aammmaa", "up"},
		{"late once", "aas", "up"},
		{"late on the whole", "aass", "degraded: OPTIONS is answered after 1.32s"},
		{"in time again, but not on the whole", "aassa", "degraded: OPTIONS is answered after 1s"},
		{"in time on the whole", "aassaaaa", "up"},
		{"a call is not answered", "aaf", "up"},
		{"two are not, while OPTIONS is", "aaff", "degraded: 2 requests in a row were not answered"},
		{"a probe is answered meanwhile", "aaffa", "degraded: 2 requests in a row were not answered"},
		{"two probes are", "aaffaa", "up"},
		{"a call and a probe are", "aaffoa", "up"},
		{"a call between them", "aafof", "up"},
		{"three calls are not answered", "aafff", "down: 3 requests in a row were not answered"},
		{"and probes are", "aafffaa", "up"},
		{"calls are refused", "aarr", "degraded: 2 calls in a row were answered 503"},
		{"however many: it lives", "aarrrrr", "degraded: 5 calls in a row were answered 503"},
		{"refused, then answered", "aarroo", "up"},
		{"down by its probe, calls are answered", "aammmoo", "degraded: calls are answered, OPTIONS is not: no answer"},
		{"calls are answered, and OPTIONS once", "aammmooa", "degraded: OPTIONS is answered again (200 OK), not yet 2 times in a row"},
		{"and then not", "aammmoof", "down: OPTIONS: no answer"},
		{"nobody asks: two calls are not answered", "ff", "degraded: 2 requests in a row were not answered"},
		{"nobody asks: three are not", "fff", "down: 3 requests in a row were not answered"},
		{"nobody asks: half a minute later", "fff---", "unknown"},
		{"nobody asks: but not before", "fff--", "down: 3 requests in a row were not answered"},
		{"nobody asks: calls are answered", "fffoo", "unknown"},
		{"nobody asks: one is", "fffo", "down: 3 requests in a row were not answered"},
		{"and one is refused", "fffr", "down: 3 requests in a row were not answered"},
		{"it has said something between them", "aaf.f.f", "up"},
		{"something is no success", "aaff..", "degraded: 2 requests in a row were not answered"},
		{"one answer after two refusals", "aarro", "degraded: 2 calls in a row were answered 503"},
		{"a peer that answers calls and never OPTIONS", "mmomo", "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCourse().hear(tt.words)
			h := c.Health(first)
			got := strings.TrimSuffix(h.State.String()+": "+h.Why, ": ")
			if got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			if (h.State == Degraded || h.State == Down) != (h.Why != "") {
				t.Error("a state without a reason, or a reason without a state")
			}
			if h.State != Unknown && h.Since.IsZero() {
				t.Error("since when?")
			}
			if c.State(second) != Unknown {
				t.Error("the other one changed")
			}
		})
	}
}

func TestHealthOfNobody(t *testing.T) {
	b := newCourse().Book
	b.Probed(zero, tu.Health{Peer: "nobody", Up: true, Known: true})
	if b.Attempt("nobody", false, zero) || b.Refused("nobody", zero) || b.Usable("nobody") || b.Health("nobody") != (Health{}) || b.Asked("nobody") != Unknown {
		t.Error("of nobody nothing is known")
	}
}

func TestPlanGoesByHealth(t *testing.T) {
	c := &course{Book: NewBook(nodes(at(1, 1, 1), at(2, 2, 1), at(3, 3, 1)), nil), now: zero}
	for _, tt := range []struct {
		words, drained string
		want           string
		available      bool
	}{
		{"aa", "", "1 2 3", true},
		{"ff", "", "2 3 1", true},  // degraded: behind those that are up, or unknown
		{"fff", "", "2 3 1", true}, // down
		{"aa", "10.0.0.1:5060", "2 3", true},
		{"ff", "10.0.0.2:5060", "3 1", true},
	} {
		c.hear(tt.words)
		if tt.drained != "" {
			c.Drain(tu.KindNode, tt.drained, true)
		}
		if got := names(c.Plan("pbx", nat.Inside)); got != tt.want || c.Available(tu.KindNode) != tt.available {
			t.Errorf("after %q: %s, want %s", tt.words, got, tt.want)
		}
		if tt.drained != "" {
			if c.IsDrained(tu.KindNode, tt.drained) != true || c.State("pbx "+tt.drained) != Drained || c.Usable("pbx "+tt.drained) {
				t.Error("not drained")
			}
			c.Drain(tu.KindNode, tt.drained, false)
		}
		c.hear("aa")
	}
}

// TestDrainedNodesAreTheLastResort: one is tried where no other one is usable.
func TestDrainedNodesAreTheLastResort(t *testing.T) {
	b := newCourse().Book
	b.Drain(tu.KindNode, "10.0.0.1:5060", true)
	if got := names(b.Plan("pbx", nat.Inside)); got != "2" {
		t.Errorf("%s", got)
	}
	b.Report(second, Down)
	if got := names(b.Plan("pbx", nat.Inside)); got != "2 1" || b.Available(tu.KindNode) {
		t.Errorf("the other one is down: %s", got)
	}
	b.Report(second, Up)
	b.Drain(tu.KindNode, "10.0.0.2:5060", true)
	if got := names(b.Plan("pbx", nat.Inside)); got != "1 2" || b.Available(tu.KindNode) {
		t.Errorf("all are drained: %s", got)
	}
	b.Drain(tu.KindNode, "10.0.0.1:5060", false)
	if got := names(b.Plan("pbx", nat.Inside)); got != "1" || !b.Available(tu.KindNode) {
		t.Errorf("%s", got)
	}
}

// TestADrainedTrunkIsNeverTried, and stays drained over a reload, with addresses that are new.
func TestADrainedTrunkIsNeverTried(t *testing.T) {
	systems := house()
	b := NewBook(systems, nil)
	b.Drain(tu.KindTrunk, "narrow", true)
	b.Drain(tu.KindTrunk, "later", true)
	if len(b.Plan("narrow", nat.Outside)) != 0 || len(b.Plan("wide", nat.Outside)) != 1 {
		t.Error("plans")
	}
	systems = append(systems, outside("later", nil, hop("later", "203.0.113.77:5060", 1, 1)))
	systems[3].Hops = append(systems[3].Hops, hop("narrow", "203.0.113.32:5060", 1, 1))
	b = NewBook(systems, b)
	if len(b.Plan("narrow", nat.Outside)) != 0 || len(b.Plan("later", nat.Outside)) != 0 {
		t.Error("a reload brought it back")
	}
	states := map[string]State{}
	for s := range b.Systems {
		states[s.Name] = b.Best(s)
	}
	if states["narrow"] != Drained || states["later"] != Drained || states["wide"] != Unknown {
		t.Errorf("%v", states)
	}
	b.Drain(tu.KindTrunk, "narrow", false)
	if len(b.Plan("narrow", nat.Outside)) != 3 {
		t.Error("it is back")
	}
	for _, name := range []string{"wide", "late", "narrow"} {
		b.Drain(tu.KindTrunk, name, true)
	}
	if b.Available(tu.KindTrunk) {
		t.Error("every trunk is drained")
	}
}

func TestBestOfASystem(t *testing.T) {
	s := nodes(at(1, 1, 1), at(2, 1, 1))
	b := NewBook(s, nil)
	for _, tt := range []struct{ one, two, want State }{
		{Unknown, Unknown, Unknown}, {Down, Up, Up}, {Down, Down, Down}, {Down, Unknown, Unknown}, {Unknown, Up, Up},
	} {
		b.Report(first, tt.one)
		b.Report(second, tt.two)
		if got := b.Best(&s[0]); got != tt.want {
			t.Errorf("%v and %v: %v", tt.one, tt.two, got)
		}
	}
	b.Report(first, Down)
	b.Report(second, Up)
	b.Attempt(second, false, zero)
	b.Attempt(second, false, zero)
	if got := b.Best(&s[0]); got != Degraded {
		t.Errorf("%v", got)
	}
}

// TestAvailabilityIsCounted: whatever is heard, what OPTIONS says is what the states say.
func TestAvailabilityIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCourse()
		for range rapid.IntRange(1, 40).Draw(t, "words") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				c.Drain(tu.KindNode, fmt.Sprintf("10.0.0.%d:5060", rapid.IntRange(1, 3).Draw(t, "node")), rapid.Bool().Draw(t, "on"))
			case 1:
				c.Report(second, State(rapid.IntRange(0, 3).Draw(t, "state")))
			case 2:
				c.Book = NewBook(nodes(at(1, 1, 1), at(2, 2, 1)), c.Book)
			default:
				c.hear(rapid.SampledFrom(strings.Split("asmorf.-", "")).Draw(t, "word"))
			}
			want := c.Usable(first) || c.Usable(second)
			if c.Available(tu.KindNode) != want {
				t.Fatalf("available: %v; %v %v", !want, c.Health(first), c.Health(second))
			}
			if plan := c.Plan("pbx", nat.Inside); len(plan) == 0 {
				t.Fatal("no node is left to try")
			}
		}
	})
}
