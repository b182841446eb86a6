//go:build interop

package interop

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

var roles = []string{local, roaming, trunk}

// stage is an office with its PBX (Kamailio, a proxy), three telephones in each place, and the gate.
type stage struct {
	*world
	g     *gate
	seats map[string][]seat
	fresh time.Time // when the phones have registered
}

func newStage(t *testing.T, trunkKeys string) *stage {
	t.Helper()
	w := newHomes(t)
	w.pbx(t, node1)
	s := &stage{world: w, g: w.phoneGate(t, phoneSettings{unlimited: true, health: "1h", trunk: trunkKeys}), seats: map[string][]seat{}}
	office := w.desks(t)
	carrier := w.callers(t)
	for i, x := range []extension{anna, cora, bert} {
		u := w.userAgent(t, x.ns, x.address, doors["udp"], "PhoneProduct", &x)
		s.seats[local] = append(s.seats[local], seat{office, local, fmt.Sprint(100 + i)})
		s.seats[roaming] = append(s.seats[roaming], seat{u, roaming, x.user})
		s.seats[trunk] = append(s.seats[trunk], seat{carrier, trunk, fmt.Sprint("+49305550", i+1)})
	}
	return s
}

// cast gives each role a telephone of its own.
func (s *stage) cast(t *testing.T, roles ...string) (list []seat) {
	t.Helper()
	if time.Since(s.fresh) > 20*time.Second {
		for _, x := range s.seats[roaming] {
			x.register(t, 60)
		}
		s.fresh = time.Now()
	}
	taken := map[string]int{}
	for _, r := range roles {
		x := s.seats[r][taken[r]]
		x.behave(x.number, "")
		x.clear()
		list = append(list, x)
		taken[r]++
	}
	return list
}

// clear forgets the calls of earlier cases.
func (u *agentUser) clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.lines {
		l.media.close()
	}
	u.lines = nil
}

// uri is how a telephone dials another one.
func (x seat) uri(to seat) string {
	if x.role == trunk {
		return "sip:" + to.number + "@" + gateOutside + ":5080"
	}
	return "sip:" + to.number + "@" + domain
}

// calls has a telephone call another one, which answers, and talk.
func (x seat) calls(t *testing.T, to seat, more ...string) (mine, theirs *line) {
	t.Helper()
	return x.connects(t, to, x.uri(to), more...)
}

// heardOf counts what a telephone hears of another one, in all its calls.
func (x seat) heardOf(other seat) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lines {
		n += l.media.from(other.number)
	}
	return n
}

// forget begins anew with counting what a telephone hears.
func (x seat) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lines {
		l.media.forget()
	}
}

// talking has two telephones talk and fails the test unless each hears the other one, and neither hears a third.
func talking(t *testing.T, a, b seat, others ...seat) {
	t.Helper()
	const least = 15
	wrong := func() (n int) {
		for _, o := range others {
			n += a.heardOf(o) + b.heardOf(o)
		}
		return n
	}
	for range 4 { // what was under way before has to run out
		a.forget()
		b.forget()
		time.Sleep(400 * time.Millisecond)
		if a.heardOf(b) >= least && b.heardOf(a) >= least && wrong() == 0 {
			break
		}
	}
	n, m := a.heardOf(b), b.heardOf(a)
	if n < least || m < least {
		t.Errorf("%s hears %d packets of %s, which hears %d: want %d at least", a.number, n, b.number, m, least)
	} else {
		t.Logf("audio: %s hears %d packets of %s, which hears %d", a.number, n, b.number, m)
	}
	for _, o := range others {
		if x, y := a.heardOf(o), b.heardOf(o); x+y > 0 {
			t.Errorf("%s and %s hear %d and %d packets of %s, which is out", a.number, b.number, x, y, o.number)
		}
	}
}

// gone waits until a telephone has no call any more.
func gone(t *testing.T, x seat) {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := x.live(x.number)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s still has %d calls", x.number, len(left))
			for _, l := range left {
				l.hangUp()
			}
			return
		}
	}
}

// leaves has one of two that talk hang up, and the other one hear of it.
func leaves(t *testing.T, a, b seat) {
	t.Helper()
	list := a.live(a.number)
	if len(list) != 1 {
		t.Errorf("%s has %d calls, want the one", a.number, len(list))
	}
	for _, l := range list {
		l.hangUp()
	}
	gone(t, b)
}

// plays observes one case: as many records, no leaks, and nothing left behind.
func (s *stage) plays(t *testing.T, records int, happens func()) []map[string]any {
	t.Helper()
	before := len(s.g.records(t))
	s.g.observe(t, records, nil, happens)
	s.spotless(t)
	return s.g.records(t)[min(before, len(s.g.records(t))):]
}

// spotless fails the test unless the gate has let go all that belonged to calls.
func (s *stage) spotless(t *testing.T) {
	t.Helper()
	var out string
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var code int
		if out, code = s.g.verb("status", "--audit"); code == 0 {
			return
		}
	}
	t.Errorf("the gate keeps something of calls that have ended:\n%s", out)
}

// crossings is how often a call between two places crosses the gate.
func crossings(a, b seat) int {
	switch {
	case a.role == local && b.role == local:
		return 0
	case a.role == local || b.role == local:
		return 1
	}
	return 2
}

// referTo is a URI with the dialog that is to be replaced.
func referTo(uri string, replaces string) string {
	return uri + "?Replaces=" + url.QueryEscape(replaces)
}

// byGate reports whether a transfer is done by the gate: that of somebody whom the provider serves.
func byGate(b seat) bool { return b.role == trunk }

// blind: A talks to B and sends B to C.
func (s *stage) blind(t *testing.T, a, b, c seat, calls bool) {
	records := crossings(a, b)
	switch {
	case byGate(b) && c.role != local:
		records++
	case !byGate(b):
		records += crossings(b, c)
	}
	list := s.plays(t, records, func() { s.sends(t, a, b, c, calls) })
	done := 0
	if byGate(b) {
		done = 1
	}
	completed(t, list, done)
}

// sends has A, who talks to B, send B to C.
func (s *stage) sends(t *testing.T, a, b, c seat, calls bool) {
	t.Helper()
	one := s.pair(t, a, b, calls)
	one.transfers(t, a.uri(c))
	s.settles(t, a, b, c, one)
}

// completed checks the records of calls that were all answered: as many legs were taken by somebody else.
func completed(t *testing.T, list []map[string]any, transfers int) {
	t.Helper()
	n := 0
	for _, r := range list {
		taken, _ := r["transfers"].([]any)
		n += len(taken)
		if why, _ := r["reason"].(string); r["code"] != 200.0 || why != "" {
			t.Errorf("a call record says %v %q, want 200 and nothing else: %v", r["code"], why, r)
		}
	}
	if n != transfers {
		t.Errorf("the records tell of %d transfers, want %d: %v", n, transfers, list)
	}
}

// attended: A talks to B, then to C, and joins them.
func (s *stage) attended(t *testing.T, a, b, c seat, calls bool) {
	records := crossings(a, b) + crossings(a, c)
	if !byGate(b) {
		records += s.between(b, c)
	}
	list := s.plays(t, records, func() {
		one := s.pair(t, a, b, calls)
		one.hold(t)
		two, _ := a.calls(t, c)
		talking(t, a, c, b)
		one.transfers(t, referTo(two.remote, two.replaces()))
		s.settles(t, a, b, c, one)
	})
	done := 0
	if byGate(b) {
		done++
	}
	if c.role == trunk || c.role == roaming && (byGate(b) || c.conductOf(c.number) == ignorant) { // its call takes the new leg
		done++
	}
	completed(t, list, done)
}

// between is how many records an INVITE with Replaces from b to c makes: what c's call of the gate takes itself makes none.
func (s *stage) between(b, c seat) (n int) {
	if b.role == roaming {
		n++
	}
	if c.role == roaming && c.conductOf(c.number) != ignorant {
		n++
	}
	return n
}

// pair has A and B talk; calls: it was A who called.
func (s *stage) pair(t *testing.T, a, b seat, calls bool) (ofA *line) {
	t.Helper()
	if calls {
		ofA, _ = a.calls(t, b)
	} else {
		_, ofA = b.calls(t, a)
	}
	talking(t, a, b)
	return ofA
}

// settles checks what has come of a transfer: A is out, B and C talk, and end.
func (s *stage) settles(t *testing.T, a, b, c seat, one *line) {
	t.Helper()
	if len(one.told) == 0 || !strings.HasPrefix(one.told[0], "100") {
		t.Errorf("%s is not told that its transfer is tried: %v", a.number, one.told)
	}
	select { // the gate hangs up; between telephones it is for who has referred (RFC 5589 §6.1)
	case <-one.over:
	case <-time.After(200 * time.Millisecond):
		one.hangUp()
	}
	gone(t, a)
	talking(t, b, c, a)
	leaves(t, b, c)
}

// TestTransfers: every kind of telephone refers every other kind to every other kind, blind and after a consultation.
func TestTransfers(t *testing.T) {
	t.Parallel()
	s := newStage(t, "    referral: pass\n")
	kinds := map[string]func(*testing.T, seat, seat, seat, bool){"blind": s.blind, "attended": s.attended}
	for kind, play := range kinds {
		for _, x := range roles {
			for _, y := range roles {
				for _, z := range roles {
					if x == y && y == z && z == local { // not the gate's
						continue
					}
					name := kind + "/" + x + " refers " + y + " to " + z
					if !*full && !shown[name] {
						continue
					}
					for _, calls := range []bool{false, true} {
						if calls && !*full {
							continue
						}
						t.Run(name+map[bool]string{true: ", called", false: ""}[calls], func(t *testing.T) {
							list := s.cast(t, x, y, z)
							play(t, list[0], list[1], list[2], calls)
						})
					}
				}
			}
		}
	}
	s.g.stop(t)
}

// shown are the cases that make interop has.
var shown = map[string]bool{
	"blind/local refers trunk to roaming":      true,
	"blind/roaming refers trunk to local":      true,
	"blind/trunk refers roaming to local":      true,
	"attended/local refers trunk to trunk":     true,
	"attended/roaming refers trunk to roaming": true,
	"attended/local refers roaming to trunk":   true,
}
