package silence

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// began is when all tests begin. attempt is how long an INVITE has for its first word.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const attempt = 1500 * time.Millisecond

// bench is a watch with its book and the time.
type bench struct {
	Watch
	t      interface{ Fatal(...any) }
	now    time.Time
	probed bool
}

func newBench(t interface{ Fatal(...any) }, nodes ...string) *bench {
	x := &bench{t: t, now: began, probed: true}
	x.Learn(pbx(t, nil, nodes...))
	return x
}

func (x *bench) pass(d time.Duration) { x.now = x.now.Add(d) }

func (x *bench) leaves(method, to string) { x.asks(true, method, to) }

// asks has somebody send a request, who is known or is not.
func (x *bench) asks(known bool, method, to string) {
	x.Left(x.now, nat.Trunks, flow(x.t, nat.Trunks, to), Request{Method: method, Attempt: attempt, Known: known})
}

func (x *bench) hears(code int, from string) { x.answers("REGISTER", code, from) }

func (x *bench) answers(method string, code int, from string) {
	x.Heard(x.now, nat.Trunks, flow(x.t, nat.Trunks, from), method, code)
}

// probe has a node answer its probe, or not; up is what the probe says of it then.
func (x *bench) probe(at string, alive, up bool) {
	if alive {
		x.answers("OPTIONS", 200, at)
	}
	x.book.Probed(x.now, tu.Health{Peer: "pbx " + at, Up: up, Known: true, Alive: alive, Took: time.Millisecond})
}

func (x *bench) count() { x.Count(x.now, func(string) bool { return x.probed }) }

// finds is what has come out since the last time.
func (x *bench) finds() string {
	var out []string
	for f, some := x.Next(); some; f, some = x.Next() {
		out = append(out, [...]string{"changed", "doubted", "vain"}[f.What]+" "+strings.TrimPrefix(f.ID, "pbx "))
	}
	return strings.Join(out, ", ")
}

func (x *bench) state(at string) string { return x.book.State("pbx " + at).String() }

const one, two = "10.0.0.10:5060", "10.0.0.11:5060"

// TestWhatCounts: which requests without a word count against their node, when, and how many make it what.
func TestWhatCounts(t *testing.T) {
	invites := []string{"INVITE", "INVITE", "INVITE"}
	for _, tt := range []struct {
		name   string
		sent   []string
		passed time.Duration // before it is counted for the second time, the first time at once
		probed bool
		finds  string
		state  string
	}{
		{"too early", invites, attempt - time.Nanosecond, true, "", "unknown"},
		{"calls", invites, attempt, true, "changed " + one + ", doubted " + one, "down"},
		{"fewer than must fail", invites[:2], attempt, true, "changed " + one + ", doubted " + one, "degraded"},
		{"one proves nothing", invites[:1], attempt, true, "doubted " + one, "unknown"},
		{"and without a probe", invites[:1], attempt, false, "", "unknown"},
		{"registrations have more time", []string{"REGISTER", "REGISTER", "REGISTER"}, slowest - time.Nanosecond, true, "", "unknown"},
		{"and no more", []string{"REGISTER", "REGISTER", "REGISTER"}, slowest, false, "changed " + one, "down"},
		{"what the far end has to answer", []string{"MESSAGE", "BYE", "SUBSCRIBE", "INFO"}, time.Minute, true, "doubted " + one, "unknown"},
		{"that, and nobody can ask", []string{"MESSAGE", "BYE", "SUBSCRIBE", "INFO"}, time.Minute, false, "", "unknown"},
		{"the probe's own", []string{"OPTIONS", "OPTIONS", "OPTIONS"}, time.Minute, true, "", "unknown"},
		{"nothing", nil, time.Hour, true, "", "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newBench(t, one, two)
			x.probed = tt.probed
			for _, m := range tt.sent {
				x.leaves(m, one)
			}
			x.count()
			x.pass(tt.passed)
			x.count()
			found := strings.Split(x.finds(), ", ")
			slices.Sort(found)
			if got := strings.Join(found, ", "); got != tt.finds {
				t.Errorf("found %q, want %q", got, tt.finds)
			}
			if got := x.state(one); got != tt.state {
				t.Errorf("the node is %s, want %s", got, tt.state)
			}
			if got := x.state(two); got != "unknown" {
				t.Errorf("the other one is %s", got)
			}
		})
	}
}

// TestTheProbeDecides: requests that may wait for their far ends count when the probe has had no word either, and not once more.
func TestTheProbeDecides(t *testing.T) {
	x := newBench(t, one, two)
	x.probe(one, true, true)
	for range 3 {
		x.leaves("MESSAGE", one)
	}
	x.pass(slowest)
	x.count()
	asked := x.now
	if got := x.finds(); got != "doubted "+one {
		t.Fatalf("found %q", got)
	}
	x.pass(askedLong - time.Nanosecond)
	x.leaves("INFO", one)
	if x.count(); x.finds() != "" {
		t.Fatal("the probe has had no time")
	}
	x.pass(time.Nanosecond)
	x.count()
	f, _ := x.Next()
	if f.What != AskedInVain || f.ID != "pbx "+one || !f.Since.Equal(asked) {
		t.Errorf("found %+v; what left when the probe was asked may go elsewhere", f)
	}
	if got := x.finds(); got != "changed "+one || x.state(one) != "down" {
		t.Errorf("then %q, and the node is %s", got, x.state(one))
	}
	x.pass(time.Minute)
	x.count()
	if got := x.finds(); got != "doubted "+one { // the INFO
		t.Errorf("then %q", got)
	}
	x.pass(askedLong)
	x.count()
	if got := x.finds(); got != "vain "+one {
		t.Errorf("then %q", got)
	}
	x.pass(time.Hour)
	if x.count(); x.finds() != "" {
		t.Error("nothing is sent, and the node is doubted")
	}
}

// TestAnyWordAcquits: a response, whatever it says, and from wherever the node sends it; of requests before it, not of those after.
func TestAnyWordAcquits(t *testing.T) {
	for name, from := range map[string]string{
		"its door": one, "another port": "10.0.0.10:5090", "a connection": "tcp 10.0.0.10:41000 conn", "another transport": "tcp " + one,
	} {
		x := newBench(t, one, two)
		for range 5 {
			for range 2 {
				x.leaves("INVITE", one)
			}
			x.pass(time.Second)
			x.hears(100, from)
			x.pass(time.Minute)
			x.count()
		}
		if got := x.finds(); got != "" || x.state(one) != "unknown" {
			t.Errorf("%s: %q, and the node is %s", name, got, x.state(one))
		}
		for range 3 {
			x.leaves("INVITE", one)
		}
		x.pass(time.Minute)
		if x.count(); x.state(one) != "down" {
			t.Errorf("%s: later the node is %s", name, x.state(one))
		}
	}
}

// TestWhatComesBackIsUsed: a node that is down answers as often as the book wants, and is no longer; a 503 is a word, and no use.
func TestWhatComesBackIsUsed(t *testing.T) {
	x := newBench(t, one, two)
	x.probed = false
	for range 3 {
		x.leaves("INVITE", one)
	}
	x.pass(attempt)
	if x.count(); x.state(one) != "down" || x.finds() != "changed "+one {
		t.Fatalf("the node is %s", x.state(one))
	}
	for range 5 {
		if x.hears(503, one); x.finds() != "" || x.state(one) != "down" {
			t.Fatalf("after a 503 the node is %s", x.state(one))
		}
	}
	x.hears(200, one)
	x.hears(404, one)
	if got := x.finds(); got != "changed "+one || x.state(one) != "unknown" {
		t.Errorf("%q, and the node is %s", got, x.state(one))
	}
	for range 2 { // not so many that it is down: calls go to others first until it answers
		x.leaves("INVITE", one)
	}
	x.pass(attempt)
	if x.count(); x.state(one) != "degraded" {
		t.Fatalf("the node is %s", x.state(one))
	}
	x.finds()
	for i, want := range []string{"degraded", "unknown", "unknown"} {
		if x.hears(200, one); x.state(one) != want {
			t.Errorf("after %d answers the node is %s", i+1, x.state(one))
		}
	}
	if got := x.finds(); got != "changed "+one {
		t.Errorf("found %q", got)
	}
}

// TestADoorThatTheConfigurationLacks: what goes to a node by TCP, and comes to nothing there, is held against the node that is known by UDP; but
// any word by UDP acquits it of that, too.
func TestADoorThatTheConfigurationLacks(t *testing.T) {
	for _, answers := range []bool{false, true} {
		x := newBench(t, one, two)
		x.probed = false
		for range 4 {
			x.leaves("INVITE", "tcp "+one)
			x.leaves("INVITE", one)
			if x.pass(time.Second); answers {
				x.hears(100, one)
			}
			x.Unreached(x.now, nat.Trunks, flow(t, nat.Trunks, "tcp "+one))
			x.pass(time.Minute)
			x.count()
		}
		if got, want := x.state(one), map[bool]string{false: "down", true: "unknown"}[answers]; got != want {
			t.Errorf("answers %v: the node is %s, want %s", answers, got, want)
		}
	}
}

// TestOneOfTwo: nobody knows which node of a machine has answered from a third port: both are acquitted; neither is known to be it.
func TestOneOfTwo(t *testing.T) {
	const other = "10.0.0.10:5070"
	x := newBench(t, one, other, two)
	for range 3 {
		for _, at := range []string{one, other, two} {
			x.leaves("INVITE", at)
		}
	}
	x.pass(time.Second)
	x.hears(100, "10.0.0.10:5090")
	x.pass(time.Second)
	x.count()
	if got := x.state(one) + " " + x.state(other) + " " + x.state(two); got != "unknown unknown down" {
		t.Errorf("they are %s", got)
	}
}

// TestUnreached: an ICMP error counts at once, for one request that waits; where none waits a connection may end as it likes.
func TestUnreached(t *testing.T) {
	x := newBench(t, one, two)
	lost := func(to string) { x.Unreached(x.now, nat.Trunks, flow(t, nat.Trunks, to)) }
	lost(one)
	lost("10.0.0.99:5060")
	for range 2 {
		x.leaves("INVITE", one)
	}
	lost("10.0.0.10:5080") // another server of that machine
	if x.finds() != "" || x.state(one) != "unknown" {
		t.Fatalf("the node is %s", x.state(one))
	}
	for range 5 {
		lost(one)
	}
	if got := x.finds(); got != "changed "+one || x.state(one) != "degraded" {
		t.Errorf("two that were lost make %q, and the node is %s", got, x.state(one))
	}
	x.leaves("BYE", one)
	if lost(one); x.state(one) != "down" {
		t.Errorf("the third makes it %s", x.state(one))
	}
}

// TestGone: what a dead node holds is given up once it has said nothing of late, neither in answers nor in requests of its own.
func TestGone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		speaks func(x *bench)
		gone   time.Duration // after it was found dead
	}{
		{"silent", func(*bench) {}, 0},
		{"has just answered", func(x *bench) { x.leaves("INVITE", one); x.hears(100, one) }, quietLong},
		{"has answered from another port", func(x *bench) { x.leaves("INVITE", one); x.hears(180, "10.0.0.10:5090") }, quietLong},
		{"has just asked", func(x *bench) { x.Spoke(x.now, nat.Trunks, flow(t, nat.Trunks, "10.0.0.10:41000")) }, quietLong},
		{"has asked by a connection", func(x *bench) { x.Spoke(x.now, nat.Phones, flow(t, nat.Phones, "tcp 10.0.0.10:41000 conn")) }, quietLong},
		{"another one speaks", func(x *bench) { x.Spoke(x.now, nat.Trunks, flow(t, nat.Trunks, two)) }, 0},
	} {
		x := newBench(t, one, two)
		tt.speaks(x)
		x.book.Probed(x.now, tu.Health{Peer: "pbx " + one, Known: true}) // its probe says so
		x.Note("pbx " + one)
		for x.now.Before(began.Add(tt.gone)) {
			if got := x.Gone(x.now); got != nil {
				t.Errorf("%s: gone after %v", tt.name, x.now.Sub(began))
			}
			x.pass(500 * time.Millisecond)
		}
		if got := x.Gone(x.now); !slices.Equal(got, []string{"pbx " + one}) {
			t.Errorf("%s: gone are %v", tt.name, got)
		}
		if got := x.Gone(x.now.Add(time.Hour)); got != nil {
			t.Errorf("%s: gone twice", tt.name)
		}
	}
	x := newBench(t, one, two)
	x.leaves("INVITE", one)
	x.hears(180, one)
	x.book.Report("pbx "+one, trunk.Down)
	x.Note("pbx " + one)
	_ = x.Gone(x.now)
	x.book.Report("pbx "+one, trunk.Up)
	x.Note("pbx " + one)
	if got := x.Gone(x.now.Add(time.Hour)); got != nil {
		t.Errorf("one that came back has lost what it held: %v", got)
	}
	if x.Note("pbx 10.0.0.99:5060"); x.finds() != "changed "+one { // once, and nobody whom the book does not have
		t.Error("the changes are others")
	}
}

// TestSilent: nothing was heard from an address since a moment, where something was sent at all.
func TestSilent(t *testing.T) {
	x := newBench(t, "tcp "+one, one, two)
	silent := func(at string, since time.Duration) bool {
		return x.Silent(netip.MustParseAddrPort(at), began.Add(since))
	}
	if silent(one, 0) {
		t.Error("nothing was sent there")
	}
	x.leaves("INFO", one)
	if !silent(one, 0) || silent(two, 0) || silent("10.0.0.99:5060", 0) {
		t.Error("nobody has answered there")
	}
	x.pass(time.Second)
	x.hears(200, "tcp "+one) // what stands at an address stands there by all transports
	if !silent(one, 0) {
		t.Error("nothing was sent by TCP, and so nothing answered")
	}
	x.hears(200, one)
	if silent(one, 0) || !silent(one, time.Second) {
		t.Error("it has answered after a second")
	}
}

// TestEver: whether a node was heard of at all.
func TestEver(t *testing.T) {
	x := newBench(t, one, two)
	ever := func(at string) bool { return x.Ever("pbx " + at) }
	x.leaves("INVITE", one)
	if ever(one) || ever(two) || ever("10.0.0.99:5060") {
		t.Error("nobody has said anything")
	}
	x.hears(503, one)
	x.Spoke(x.now, nat.Phones, flow(t, nat.Phones, two))
	if !ever(one) || !ever(two) {
		t.Error("both have spoken")
	}
}

// TestLearn: a reload keeps what is known of the nodes that stay, and forgets the others and what nobody has followed of them.
func TestLearn(t *testing.T) {
	x := newBench(t, one, two)
	for _, at := range []string{one, two} {
		for range 3 {
			x.leaves("INVITE", at)
		}
	}
	x.Spoke(x.now, nat.Trunks, flow(t, nat.Trunks, one))
	x.pass(attempt)
	x.count()
	x.Learn(pbx(t, x.book, "10.0.0.12:5060", one))
	var ids []string
	for f, some := x.Next(); some; f, some = x.Next() {
		ids = append(ids, f.ID)
	}
	if !slices.Equal(ids, []string{"pbx " + one, "pbx " + one}) { // doubted, and changed
		t.Errorf("findings of %v", ids)
	}
	if got := x.Gone(x.now); got != nil {
		t.Errorf("gone are %v: the one has spoken of late, the other is no node any more", got)
	}
	x.pass(quietLong - time.Millisecond)
	if got := x.Gone(x.now); got != nil {
		t.Errorf("gone are %v, which is being asked", got)
	}
	x.pass(time.Millisecond)
	x.count()
	if got := x.Gone(x.now); !slices.Equal(got, []string{"pbx " + one}) {
		t.Errorf("gone are %v", got)
	}
	x.leaves("INVITE", two) // it is nobody's now
	if x.Silent(netip.MustParseAddrPort(two), began) || x.Ever("pbx "+two) {
		t.Error("what is no node is watched")
	}
}

// TestTheOrderIsThatOfTheConfiguration: what comes out in one moment comes out the same each time.
func TestTheOrderIsThatOfTheConfiguration(t *testing.T) {
	var nodes, want []string
	for i := range 20 {
		nodes = append(nodes, fmt.Sprintf("10.0.0.%d:5060", 200-i))
		want = append(want, "doubted "+nodes[i])
	}
	x := newBench(t, nodes...)
	for i := range nodes {
		x.leaves("MESSAGE", nodes[(i*7)%len(nodes)])
	}
	x.pass(time.Minute)
	x.count()
	if got := x.finds(); got != strings.Join(want, ", ") {
		t.Errorf("found %s", got)
	}
}
