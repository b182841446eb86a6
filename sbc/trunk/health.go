package trunk

import (
	"fmt"
	"math/bits"
	"time"

	"sallyport/sbc/tu"
)

// State is what is known of a peer's address.
type State uint8

// The states. A peer that never answered is unknown, and used.
const (
	Unknown  State = iota
	Up             // it answers
	Degraded       // it answers late, or not always, or not to calls, or refuses our password: those that are up go first
	Down           // it does not answer
	Drained        // the administrator has taken it out, whatever is heard of it
)

// String is the state's name in `sbc trunks` and `sbc pbx`.
func (s State) String() string {
	return [...]string{"unknown", "up", "degraded", "down", "drained"}[s%5]
}

// Health is what is known of an address, as the administrator sees it.
type Health struct {
	State   State
	Why     string        // what makes it degraded or down; "": it is neither
	Since   time.Time     // of the state; zero: since the start
	Answer  string        // to the last question of its probe
	Latency time.Duration // smoothed round trip of its probe; 0: not measured
}

// The bounds of health.
const (
	lateFrom    = time.Second            // a mean round trip beyond it is late
	lateUntil   = 500 * time.Millisecond // and below it no longer
	missesMost  = 2                      // of the last eight questions that may go unanswered: one
	spareCalls  = 2                      // failed calls in a row after which others go first
	tryAgain    = 30 * time.Second       // without a probe that answers: how long what failed is spared
	byDefault   = 3                      // failures in a row that make an address down, where its probe has no figure
	healDefault = 2                      // successes in a row that bring it back, likewise
)

// record is what is known of a hop.
type record struct {
	kind   tu.Kind
	name   string // what a drain names: the trunk, the node's address
	credit int    // of spread

	state   State // but for drained
	own     State // of the address itself, whatever its trunk makes of our password
	denial  *denial
	why     string
	since   time.Time
	drained bool

	failures, successes int

	asked   State // what its probe says: unknown, up or down
	answer  string
	misses  uint8 // of its last eight questions, the last one in bit 0
	missing bool
	missed  bool // its last question
	latency time.Duration
	late    bool

	silent  int       // requests in a row that nobody answered
	refused int       // calls in a row that were answered 503
	healthy int       // successes in a row, of requests and of questions
	failing bool      // calls fail there, whatever the probe says
	lost    bool      // nothing at all was answered for so long that it is down
	blame   string    // the last of what made it so
	spared  time.Time // until when, if nothing is heard meanwhile
}

// judge is the state that follows from what is known.
func (r *record) judge() (State, string) {
	switch {
	case r.lost:
		return Down, r.blame
	case r.asked == Down && r.healthy < r.successes:
		return Down, r.probed("OPTIONS: " + r.answer)
	case r.asked == Down:
		return Degraded, r.probed("calls are answered, OPTIONS is not: " + r.answer)
	case r.failing:
		return Degraded, r.blame
	case r.late:
		return Degraded, "OPTIONS is answered after " + r.latency.Round(10*time.Millisecond).String()
	case r.missing:
		return Degraded, fmt.Sprintf("%d of the last 8 OPTIONS were not answered", bits.OnesCount8(r.misses))
	}
	return r.asked, ""
}

// probed is why a probe's word down still holds where the last question was answered, else another text.
func (r *record) probed(unanswered string) string {
	if r.missed {
		return unanswered
	}
	return fmt.Sprintf("OPTIONS is answered again (%s), not yet %d times in a row", r.answer, r.successes)
}

// heal counts a success; so many in a row, and nothing is held against the hop.
func (r *record) heal() {
	r.healthy++
	if r.healthy >= r.successes {
		r.failing, r.lost, r.silent, r.refused = false, false, 0, 0
	}
}

// forget is for a hop that nobody asks any more.
func (r *record) forget() {
	r.answer, r.misses, r.missing, r.missed, r.latency, r.late = "", 0, false, false, 0, false
	r.silent, r.refused, r.healthy, r.failing, r.lost, r.blame = 0, 0, 0, false, false, ""
}

// measure takes the round trip of a question. Late is what is late on the whole.
func (r *record) measure(took time.Duration) {
	if r.latency == 0 {
		r.latency = took
	} else {
		r.latency += (took - r.latency) / 4
	}
	switch {
	case r.latency > lateFrom:
		r.late = true
	case r.latency < lateUntil:
		r.late = false
	}
}

// miss notes whether a question went unanswered.
func (r *record) miss(missed bool) {
	r.missed = missed
	r.misses <<= 1
	if missed {
		r.misses |= 1
	}
	switch {
	case missed && bits.OnesCount8(r.misses) >= missesMost:
		r.missing = true
	case r.misses&0x0f == 0:
		r.missing = false // the last four were answered
	}
	if r.asked != Up {
		r.misses, r.missing = 0, false // of one that comes back, or never came, nothing is expected
	}
}

// settle puts the judgement in force.
func (b *Book) settle(r *record, now time.Time) (changed bool) {
	s, why := r.judge()
	r.own = s
	if r.denial != nil && s != Down {
		s, why = Degraded, r.denial.why()
	}
	r.why = why
	if s == r.state {
		return false
	}
	used := r.usable()
	r.state, r.since, r.credit = s, now, 0 // a node that comes back has no debts to collect
	b.count(r, used)
	return true
}

func (r *record) usable() bool { return r.state != Down && !r.drained }

// count keeps the number of usable addresses of a kind.
func (b *Book) count(r *record, was bool) {
	switch is := r.usable(); {
	case was && !is:
		b.working[r.kind]--
	case is && !was:
		b.working[r.kind]++
	}
}

// Probed takes what a probe has found. It reports whether the state of the address is another.
func (b *Book) Probed(now time.Time, h tu.Health) (changed bool) {
	r := b.hops[h.Peer]
	if r == nil {
		return false
	}
	r.answer = h.Answer
	switch {
	case h.Up:
		r.asked = Up
	case h.Known:
		if r.asked != Down {
			r.healthy, r.latency, r.late = 0, 0, false
		}
		r.asked = Down
	default:
		r.asked = Unknown
	}
	r.miss(!h.Alive)
	if h.Alive {
		r.measure(h.Took)
		r.heal()
	} else if r.asked != Down {
		r.healthy = 0
	}
	return b.settle(r, now)
}

// Attempt takes what became of a request that was sent to an address: ok says that the address answered, with whatever but 503;
// else nobody did, in time. It reports whether the state of the address is another.
func (b *Book) Attempt(id string, ok bool, now time.Time) (changed bool) {
	r := b.hops[id]
	switch {
	case r == nil:
		return false
	case ok:
		r.silent, r.refused = 0, 0
		r.heal()
		return b.settle(r, now)
	}
	r.silent++
	r.blame = fmt.Sprintf("%d requests in a row were not answered", r.silent)
	r.fail(now)
	if r.silent >= r.failures {
		r.lost = true
	}
	return b.settle(r, now)
}

// Refused takes that a call was answered 503: the address lives, and has no use for calls.
func (b *Book) Refused(id string, now time.Time) (changed bool) {
	r := b.hops[id]
	if r == nil {
		return false
	}
	r.silent = 0
	r.refused++
	if !r.lost {
		r.blame = fmt.Sprintf("%d calls in a row were answered 503", r.refused)
	}
	r.fail(now)
	return b.settle(r, now)
}

// Alive takes that an address has said something, be it no answer of use: what it left without a word before is no longer in a row
// with what it leaves so later. It is no success.
func (b *Book) Alive(id string) {
	if r := b.hops[id]; r != nil {
		r.silent = 0
	}
}

func (r *record) fail(now time.Time) {
	r.healthy, r.spared = 0, now.Add(tryAgain)
	if max(r.silent, r.refused) >= min(spareCalls, r.failures) {
		r.failing = true
	}
}

// Tick gives what has failed another chance, after a while, where no probe tells when: "down peers are tried last", so that
// nothing else would be heard of them. It names the addresses whose state is another.
func (b *Book) Tick(now time.Time) (changed []string) {
	b.readmit(now)
	for id, r := range b.hops {
		if !r.failing && !r.lost || now.Before(r.spared) || r.asked == Up {
			continue
		}
		r.failing, r.lost, r.silent, r.refused, r.healthy = false, false, 0, 0, 0
		if b.settle(r, now) {
			changed = append(changed, id)
		}
	}
	return changed
}

// Report says that an address is known to be in a state, and nothing else of it. It reports whether that is news.
func (b *Book) Report(id string, s State) (changed bool) {
	r := b.hops[id]
	if r == nil {
		return false
	}
	r.forget()
	r.asked = s
	return b.settle(r, time.Time{})
}

// Asked is what the probe of an address has found so far: unknown, up or down.
func (b *Book) Asked(id string) State {
	if r := b.hops[id]; r != nil {
		return r.asked
	}
	return Unknown
}

// State is the health of an address.
func (b *Book) State(id string) State {
	r := b.hops[id]
	switch {
	case r == nil:
		return Unknown
	case r.drained:
		return Drained
	}
	return r.state
}

// Usable reports whether an address may be preferred to others: it is neither down nor drained.
func (b *Book) Usable(id string) bool {
	r := b.hops[id]
	return r != nil && r.usable()
}

// Health is all that is known of an address.
func (b *Book) Health(id string) Health {
	r := b.hops[id]
	if r == nil {
		return Health{}
	}
	h := Health{State: r.state, Why: r.why, Since: r.since, Answer: r.answer, Latency: r.latency}
	if r.drained {
		h.State = Drained
	}
	return h
}

// Available reports whether some address of a kind is neither down nor drained: what an OPTIONS asks.
func (b *Book) Available(kind tu.Kind) bool { return b.working[kind] > 0 }

// drain names what the administrator drains.
type drain struct {
	kind tu.Kind
	name string
}

// Drain takes a trunk, by its name, or a node, by its address and port, out, or back in. It holds for addresses that come later,
// too.
func (b *Book) Drain(kind tu.Kind, name string, on bool) {
	if on {
		b.drains[drain{kind, name}] = true
	} else {
		delete(b.drains, drain{kind, name})
	}
	for _, r := range b.hops {
		if r.kind == kind && r.name == name && r.drained != on {
			used := r.usable()
			r.drained = on
			b.count(r, used)
		}
	}
}

// IsDrained reports whether the administrator has taken a trunk or a node out.
func (b *Book) IsDrained(kind tu.Kind, name string) bool { return b.drains[drain{kind, name}] }

// Best is the best state among the addresses of a system.
func (b *Book) Best(s *System) State {
	best, rank := Down, -1
	for i := range s.Hops {
		st := b.State(s.Hops[i].ID)
		if k := [...]int{Unknown: 3, Up: 4, Degraded: 2, Down: 1, Drained: 0}[st]; k > rank {
			best, rank = st, k
		}
	}
	if rank < 0 && len(s.Hops) == 0 && s.Kind == tu.KindTrunk && b.IsDrained(s.Kind, s.Name) {
		return Drained
	}
	return best
}

// Kind is what stands at an address.
func (b *Book) Kind(id string) (kind tu.Kind, known bool) {
	if r := b.hops[id]; r != nil {
		return r.kind, true
	}
	return 0, false
}

// Trunk is the trunk that an address is of; "": of none.
func (b *Book) Trunk(id string) string {
	if r := b.hops[id]; r != nil && r.kind == tu.KindTrunk {
		return r.name
	}
	return ""
}
