package silence

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/trunk"
)

// The ways of a node with its probe.
const (
	answersIt = "answers"          // always
	diesOnIt  = "answers no more"  // it has, before the test
	neverHas  = "has not answered" // ever
	nobodyHas = "has none"
)

// plays lets time pass for a node in steps of a tenth of a second; each is called at each of them. It returns the states that the node
// was in, and when it was first called down.
func (x *bench) plays(d time.Duration, probe string, each func(at time.Duration)) (states []trunk.State, down time.Duration) {
	x.probed = probe != nobodyHas
	if probe == answersIt || probe == diesOnIt {
		x.probe(one, true, true)
	}
	states = []trunk.State{x.book.State("pbx " + one)}
	for at := time.Duration(0); at <= d; at += 100 * time.Millisecond {
		x.count()
		if s := x.book.State("pbx " + one); s != states[len(states)-1] {
			if states = append(states, s); s == trunk.Down && down == 0 {
				down = at
			}
		}
		for f, some := x.Next(); some; f, some = x.Next() {
			if f.What == Doubted && probe == answersIt {
				x.probe(one, true, true)
			}
		}
		each(at)
		x.pass(100 * time.Millisecond)
	}
	return states, down
}

// TestWhoMayMoveANode: five requests a second, by whom they are made, which they are, whether the node answers them and whether it
// answers its probe. What strangers make moves nothing unless the probe says so, too; then it is found out no later than by others.
func TestWhoMayMoveANode(t *testing.T) {
	const never = 0
	for _, tt := range []struct {
		known    bool
		method   string
		answered bool
		probe    string
		down     time.Duration
	}{
		{true, "INVITE", false, answersIt, attempt},
		{true, "INVITE", false, diesOnIt, attempt},
		{true, "INVITE", false, neverHas, attempt},
		{true, "INVITE", false, nobodyHas, attempt},
		{true, "REGISTER", false, answersIt, slowest},
		{true, "REGISTER", false, diesOnIt, slowest},
		{true, "REGISTER", false, neverHas, slowest},
		{true, "REGISTER", false, nobodyHas, slowest},
		{true, "MESSAGE", false, answersIt, never},
		{true, "MESSAGE", false, diesOnIt, slowest},
		{true, "MESSAGE", false, neverHas, never},
		{true, "MESSAGE", false, nobodyHas, never},

		{false, "INVITE", false, answersIt, never},
		{false, "INVITE", false, diesOnIt, soonest + askedLong},
		{false, "INVITE", false, neverHas, never},
		{false, "INVITE", false, nobodyHas, never},
		{false, "REGISTER", false, answersIt, never},
		{false, "REGISTER", false, diesOnIt, slowest},
		{false, "REGISTER", false, neverHas, never},
		{false, "REGISTER", false, nobodyHas, never},
		{false, "SUBSCRIBE", false, answersIt, never},
		{false, "SUBSCRIBE", false, diesOnIt, slowest},
		{false, "SUBSCRIBE", false, neverHas, never},
		{false, "SUBSCRIBE", false, nobodyHas, never},

		{true, "INVITE", true, diesOnIt, never},
		{true, "REGISTER", true, diesOnIt, never},
		{false, "INVITE", true, diesOnIt, never},
		{false, "REGISTER", true, neverHas, never},
		{false, "OPTIONS", false, diesOnIt, never},
	} {
		x := newBench(t, one, two)
		states, down := x.plays(12*time.Second, tt.probe, func(at time.Duration) {
			switch at % time.Second {
			case 0:
				for range 5 {
					x.asks(tt.known, tt.method, one)
				}
			case 100 * time.Millisecond:
				if tt.answered {
					x.answers(tt.method, 404, one)
				}
			}
		})
		if down != tt.down || tt.down == never && len(states) > 1 {
			t.Errorf("known %v: %s, answered %v, and its probe %s: it was %v, and down after %v, not %v", tt.known, tt.method, tt.answered, tt.probe, states, down, tt.down)
		}
		if s := x.book.State("pbx " + two); s != trunk.Unknown {
			t.Errorf("known %v: %s: the other one is %s", tt.known, tt.method, s)
		}
	}
}

// TestASlowFlood: where the node is dead, one request of a stranger's a second has it found out as soon as it would be if each counted
// at once: one question follows the other, and nobody waits for each of them anew.
func TestASlowFlood(t *testing.T) {
	x := newBench(t, one, two)
	_, down := x.plays(10*time.Second, diesOnIt, func(at time.Duration) {
		if at%time.Second == 0 {
			x.asks(false, "REGISTER", one)
		}
	})
	if down != slowest+2*time.Second {
		t.Errorf("three were in vain, and it was down after %v", down)
	}
}

// TestALoneRequestProvesNothing, whoever makes it: each that comes long after another has its own question.
func TestALoneRequestProvesNothing(t *testing.T) {
	x := newBench(t, one, two)
	asked := 0
	_, down := x.plays(29*time.Second, diesOnIt, func(at time.Duration) {
		if at%(10*time.Second) == 0 {
			x.asks(false, "REGISTER", one)
		}
		if n := x.nodes["pbx "+one]; n.asked.Equal(x.now) {
			asked++
		}
	})
	if asked != 3 || down != 20*time.Second+slowest {
		t.Errorf("it was asked %d times, and down after %v", asked, down)
	}
}

// TestStrangersHideNobody: however many requests of theirs wait, those of others are watched.
func TestStrangersHideNobody(t *testing.T) {
	x := newBench(t, one, two)
	for range 3 * dueMost {
		x.asks(false, "REGISTER", one)
		x.asks(true, "MESSAGE", one)
	}
	for range 3 {
		x.asks(true, "INVITE", one)
	}
	x.pass(attempt)
	if x.count(); x.state(one) != "down" {
		t.Errorf("three calls were in vain, and the node is %s", x.state(one))
	}
}

// TestWhatStrangersLose: a node may end a connection for what it cannot read, and take along what others wait for, and a firewall may
// refuse a datagram: that makes the node suspect, no more. Otherwise an error counts.
func TestWhatStrangersLose(t *testing.T) {
	const conn = "tcp 10.0.0.10:5060 conn"
	for _, tt := range []struct {
		name  string
		known bool
		by    string
		state string
	}{
		{"a stranger, and an ICMP error", false, one, "up"},
		{"a stranger, and nobody takes the connection", false, "tcp " + one, "down"},
		{"a stranger, and his connection", false, conn, "up"},
		{"somebody known, and the connection", true, conn, "up"},
		{"somebody known, and an ICMP error", true, one, "down"},
	} {
		x := newBench(t, one, two)
		x.probe(one, true, true)
		for range 3 {
			x.asks(tt.known, "REGISTER", one)
		}
		for range 3 {
			x.Unreached(x.now, nat.Trunks, flow(t, nat.Trunks, tt.by))
		}
		if x.count(); x.state(one) != tt.state {
			t.Errorf("%s: the node is %s", tt.name, x.state(one))
		}
		if found := x.finds(); tt.state == "up" && found != "doubted "+one {
			t.Errorf("%s: %q", tt.name, found)
		}
		x.Vain("pbx " + one)
		x.Vain("pbx " + two)
		if x.count(); x.state(one) != "down" || x.state(two) != "unknown" {
			t.Errorf("%s: the probe is refused, too, and it is %s", tt.name, x.state(one))
		}
	}
}

// TestGoneInAFlood: what a dead node holds is given up, however many questions strangers have it asked.
func TestGoneInAFlood(t *testing.T) {
	x := newBench(t, one, two)
	var gone time.Duration
	_, down := x.plays(12*time.Second, diesOnIt, func(at time.Duration) {
		x.asks(false, "REGISTER", one)
		if len(x.Gone(x.now)) > 0 && gone == 0 {
			gone = at
		}
	})
	if down == 0 || gone != down {
		t.Errorf("down after %v, and gone after %v", down, gone)
	}
}

// TestStrangersMoveNothing: whatever they send, whenever, and whatever connections the node ends because of it.
func TestStrangersMoveNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newBench(t, one, two)
		witness := false // the node answers its probe
		switch rapid.IntRange(0, 3).Draw(t, "probe") {
		case 0:
			witness = true
			x.probe(one, true, true)
		case 1: // it answers calls, and OPTIONS no more
			x.probe(one, true, true)
			x.probe(one, false, false)
			x.book.Attempt("pbx "+one, true, x.now)
			x.book.Attempt("pbx "+one, true, x.now)
		case 2:
			x.probed = false
		default: // it has never answered its probe
		}
		was := x.state(one)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				for range rapid.SampledFrom([]int{1, 5, 300}).Draw(t, "times") {
					x.asks(false, rapid.SampledFrom([]string{"INVITE", "REGISTER", "BYE", "MESSAGE"}).Draw(t, "method"), one)
				}
			case 2:
				x.Unreached(x.now, nat.Trunks, flow(t, nat.Trunks, rapid.SampledFrom([]string{one, "tcp 10.0.0.10:41000 conn"}).Draw(t, "lost")))
			default:
				x.pass(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			}
			x.count()
			for f, some := x.Next(); some; f, some = x.Next() {
				if f.What == Doubted && witness {
					x.probe(one, true, true)
				}
			}
			if s := x.state(one); s != was {
				t.Fatalf("the node was %s, and is %s", was, s)
			}
		}
	})
}

// TestAnAnswerIsOneSuccess, whoever hears of it besides: a node that must answer two requests to come back answers two.
func TestAnAnswerIsOneSuccess(t *testing.T) {
	for name, answer := range map[string]func(x *bench){
		"OPTIONS": func(x *bench) { x.probe(one, true, true) },
		"INVITE": func(x *bench) { // as whoever has its place hears of it, after a 100
			x.answers("INVITE", 100, one)
			x.answers("INVITE", 180, one)
			x.book.Attempt("pbx "+one, true, x.now)
			x.answers("INVITE", 200, one)
		},
		"REGISTER": func(x *bench) {
			x.answers("REGISTER", 100, one)
			x.answers("REGISTER", 200, one)
		},
	} {
		x := newBench(t, one, two)
		x.probe(one, true, true)
		for range 3 {
			x.leaves("INVITE", one)
		}
		x.pass(attempt)
		x.count()
		states := []string{x.state(one)}
		for range 2 {
			answer(x)
			states = append(states, x.state(one))
		}
		if want := []string{"down", "down", "up"}; !slices.Equal(states, want) {
			t.Errorf("%s: it was %v, want %v", name, states, want)
		}
	}
}

// TestAWordBreaksTheRow, be it no success.
func TestAWordBreaksTheRow(t *testing.T) {
	for _, code := range []int{100, 503, 200} {
		for _, method := range []string{"INVITE", "OPTIONS", "REGISTER"} {
			x := newBench(t, one, two)
			for range 5 {
				x.leaves("INVITE", one)
				x.pass(attempt)
				x.count()
				x.answers(method, code, one)
			}
			if x.state(one) != "unknown" {
				t.Errorf("%d to %s: the node is %s", code, method, x.state(one))
			}
		}
	}
}

// TestAQuestionForEach: what is found to be in vain while a question is open, and has left since, is followed by another one: of what a
// dialog waits for another node is to be asked.
func TestAQuestionForEach(t *testing.T) {
	x := newBench(t, one, two)
	left := map[time.Duration]bool{0: true, attempt + 100*time.Millisecond: true}
	var since []time.Duration
	for at := time.Duration(0); at < 10*time.Second; at += 100 * time.Millisecond {
		if x.count(); left[at] {
			x.leaves("INVITE", one)
		}
		for f, some := x.Next(); some; f, some = x.Next() {
			if f.What == AskedInVain {
				since = append(since, f.Since.Sub(began))
			}
		}
		x.pass(100 * time.Millisecond)
	}
	if want := []time.Duration{attempt, attempt + askedLong}; !slices.Equal(since, want) {
		t.Errorf("other nodes are asked for what left before %v, want %v", since, want)
	}
}
