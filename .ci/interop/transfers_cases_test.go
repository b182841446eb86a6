//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// scene is a case of transfers that is not one of the combinations.
type scene struct {
	name  string
	cast  []string
	shown bool // make interop has it
	play  func(t *testing.T, s *stage, x []seat)
}

// scenes: providers may not refer here, which is what is shipped.
var scenes = []scene{
	{"a provider may not refer", []string{trunk, local, roaming}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 1, func() {
			one := s.pair(t, x[0], x[1], true)
			if code := one.refer(x[0].uri(x[2])); code != 603 {
				t.Errorf("REFER: %d, want 603", code)
			}
			talking(t, x[0], x[1])
			leaves(t, x[0], x[1])
		})
	}},
	{"who refers a trunk hangs up at once", []string{local, trunk, roaming}, false, hangsUpAtOnce(2, false)},
	{"who refers the office hangs up at once", []string{roaming, local, trunk}, false, hangsUpAtOnce(2, true)},
	{"a phone that refers a trunk hangs up at once", []string{roaming, trunk, local}, true, hangsUpAtOnce(2, true)},
	{"the target of a trunk is busy", []string{local, trunk, roaming}, true, targetIsBusy(2)},
	{"the target of the office is busy", []string{roaming, local, trunk}, false, targetIsBusy(2)},
	{"the target of a phone is busy", []string{local, roaming, trunk}, false, targetIsBusy(3)},
	{"the target is busy and who referred has gone", []string{local, trunk, roaming}, false, func(t *testing.T, s *stage, x []seat) {
		x[2].behave(x[2].number, busy)
		list := s.plays(t, 2, func() {
			one := s.pair(t, x[0], x[1], false)
			if code := one.refer(x[0].uri(x[2])); code != 202 {
				t.Errorf("REFER: %d", code)
			}
			one.hangUp()
			gone(t, x[1])
		})
		for _, r := range list {
			if r["code"] == 200.0 && r["reason"] != "transfer" {
				t.Errorf("the record of a call that nobody took over: %v", r)
			}
		}
	}},
	{"the target still rings: local, trunk, roaming", []string{local, trunk, roaming}, false, stillRings},
	{"the target still rings: local, trunk, trunk", []string{local, trunk, trunk}, false, stillRings},
	{"the target still rings: roaming, trunk, local", []string{roaming, trunk, local}, false, stillRings},
	{"the target still rings: local, roaming, trunk", []string{local, roaming, trunk}, false, stillRings},
	{"who is referred does not move", []string{local, trunk, roaming}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 2, func() {
			one := s.pair(t, x[0], x[1], false)
			x[1].behave(x[1].number, stays)
			one.refer(x[0].uri(x[2]))
			if got := one.reported(t); !strings.HasPrefix(got, "488") {
				t.Errorf("%s hears of its transfer: %v, want 488", x[0].number, one.told)
			}
			gone(t, x[2])
			talking(t, x[0], x[1], x[2])
			leaves(t, x[0], x[1])
		})
	}},
	{"who is referred hangs up while the target rings", []string{local, trunk, roaming}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 2, func() {
			x[2].behave(x[2].number, rings)
			one := s.pair(t, x[0], x[1], false)
			one.refer(x[0].uri(x[2]))
			third := x[2].comes(t, x[2].number)
			if code := one.refer(x[0].uri(x[1])); code != 491 {
				t.Errorf("a second REFER meanwhile: %d, want 491", code)
			}
			x[1].live(x[1].number)[0].hangUp()
			third.wait(t, "given up", third.over)
			gone(t, x[0])
		})
	}},
	{"who refers hangs up, and so does who is referred", []string{local, trunk, roaming}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 2, func() {
			x[2].behave(x[2].number, rings)
			one := s.pair(t, x[0], x[1], false)
			one.refer(x[0].uri(x[2]))
			third := x[2].comes(t, x[2].number)
			one.hangUp()
			x[1].live(x[1].number)[0].hangUp()
			third.wait(t, "given up", third.over)
			gone(t, x[0])
		})
	}},
	{"round and round", []string{local, trunk, local, local}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 1, func() { // five times, and no more
			one := s.pair(t, x[0], x[1], false)
			at := 0
			for i := range 6 {
				next := []int{0, 2, 3}[(i+1)%3]
				code := one.refer(x[at].uri(x[next]))
				if i == 5 {
					if code != 603 {
						t.Errorf("the sixth REFER: %d, want 603", code)
					}
					break
				}
				one.reported(t)
				gone(t, x[at])
				talking(t, x[1], x[next], x[at])
				one, at = x[next].live(x[next].number)[0], next
			}
			leaves(t, x[1], x[at])
		})
	}},
	{"one after another", []string{local, trunk, local, roaming}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 2, func() {
			one := s.pair(t, x[0], x[1], false)
			one.refer(x[0].uri(x[2]))
			second := x[2].comes(t, x[2].number)
			one.reported(t)
			gone(t, x[0])
			talking(t, x[1], x[2], x[0])
			second.refer(x[2].uri(x[3]))
			second.reported(t)
			gone(t, x[2])
			talking(t, x[1], x[3], x[0], x[2])
			leaves(t, x[3], x[1])
		})
	}},
	{"consultation and back", []string{local, trunk, roaming}, false, consults(2)},
	{"consultation and back, a phone", []string{roaming, trunk, local}, false, consults(3)},
	{"a trunk rings in the office and is picked up", []string{trunk, local, local}, true, pickUp(1)},
	{"a trunk rings at a phone and is picked up", []string{trunk, roaming, local}, false, pickUp(2)},
	{"a phone rings in the office and is picked up", []string{roaming, local, local}, false, pickUp(1)},
	{"who was too late picks up nothing", []string{trunk, local, local}, false, func(t *testing.T, s *stage, x []seat) {
		s.plays(t, 2, func() {
			_, theirs := x[0].calls(t, x[1])
			late := x[2].dial(x[2].number, x[2].uri(x[0]), "Replaces: "+theirs.replaces()+";early-only", "Require: replaces")
			late.wait(t, "refused", late.over)
			if late.final != 486 {
				t.Errorf("an INVITE with early-only for a call that has been answered: %d, want 486 (RFC 3891 §3)", late.final)
			}
			wrong := x[2].dial(x[2].number, x[2].uri(x[0]), "Replaces: none@nowhere;to-tag=a;from-tag=b", "Require: replaces")
			wrong.wait(t, "refused", wrong.over)
			if wrong.final != 481 {
				t.Errorf("an INVITE for a call that does not exist: %d, want 481", wrong.final)
			}
			talking(t, x[0], x[1], x[2])
			leaves(t, x[0], x[1])
		})
	}},
	{"the target knows no Replaces: local, trunk", []string{local, trunk, roaming}, false, ignorantTarget},
	{"the target knows no Replaces: local, local", []string{local, local, roaming}, false, ignorantTarget},
	{"the target knows no Replaces: local, roaming", []string{local, roaming, roaming}, false, ignorantTarget},
	{"the target knows no Replaces: roaming, trunk", []string{roaming, trunk, roaming}, false, ignorantTarget},
	{"the target knows no Replaces: roaming, local", []string{roaming, local, roaming}, false, ignorantTarget},
}

// TestTransferScenes: who hangs up at once, who is busy, who still rings, who is picked up.
func TestTransferScenes(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	for _, c := range scenes {
		if !*full && !c.shown {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.play(t, s, s.cast(t, c.cast...)) })
	}
	s.g.stop(t)
}

// hangsUpAtOnce: A is out as soon as its REFER is accepted, and may still hear how it ends.
func hangsUpAtOnce(records int, hears bool) func(*testing.T, *stage, []seat) {
	return func(t *testing.T, s *stage, x []seat) {
		s.plays(t, records, func() {
			one := s.pair(t, x[0], x[1], false)
			if code := one.refer(x[0].uri(x[2])); code != 202 {
				t.Errorf("REFER: %d", code)
			}
			one.hangUp()
			talking(t, x[1], x[2], x[0])
			if got := ""; hears {
				if got = one.reported(t); !strings.HasPrefix(got, "200") {
					t.Errorf("who has hung up hears of its transfer: %v", one.told)
				}
			}
			gone(t, x[0])
			leaves(t, x[1], x[2])
		})
	}
}

// targetIsBusy: A hears of it, and still has its call.
func targetIsBusy(records int) func(*testing.T, *stage, []seat) {
	return func(t *testing.T, s *stage, x []seat) {
		x[2].behave(x[2].number, busy)
		s.plays(t, records, func() {
			one := s.pair(t, x[0], x[1], false)
			if code := one.refer(x[0].uri(x[2])); code != 202 {
				t.Errorf("REFER: %d", code)
			}
			if got := one.reported(t); !strings.HasPrefix(got, "486") {
				t.Errorf("%s hears of its transfer: %v, want 486", x[0].number, one.told)
			}
			talking(t, x[0], x[1], x[2])
			leaves(t, x[0], x[1])
		})
	}
}

// stillRings: A wants B to have a call that has not been answered, which no target can do (RFC 3891 §3): A hears so, has its
// calls still, gives the one that rings up, and sends B without consultation.
func stillRings(t *testing.T, s *stage, x []seat) {
	a, b, c := x[0], x[1], x[2]
	records := crossings(a, b) + crossings(a, c) + crossings(b, c)
	switch {
	case byGate(b) && c.role == local:
		records--
	case byGate(b):
		records = crossings(a, b) + crossings(a, c) + 1
	}
	if b.role == roaming { // its INVITE with Replaces
		records += crossings(b, c)
	}
	s.plays(t, records, func() {
		one := s.pair(t, a, b, false)
		one.hold(t)
		c.behave(c.number, rings)
		two := a.dial(a.number, a.uri(c))
		two.wait(t, "ringing", two.rings)
		c.comes(t, c.number)
		if code := one.refer(referTo(two.remote, two.replaces())); code != 202 {
			t.Errorf("REFER: %d", code)
		}
		if got := one.reported(t); !strings.HasPrefix(got, "4") {
			t.Errorf("%s hears of its transfer: %v, want a refusal", a.number, one.told)
		}
		two.cancel()
		two.wait(t, "given up", two.over)
		one.told = nil
		if code := one.refer(a.uri(c)); code != 202 {
			t.Errorf("REFER: %d", code)
		}
		if l := c.comes(t, c.number); l != nil {
			time.Sleep(100 * time.Millisecond) // so that it is reported
			l.accept()
		}
		if got := one.reported(t); !strings.HasPrefix(got, "200") {
			t.Errorf("%s hears of its transfer: %v", a.number, one.told)
		}
		if byGate(b) && (len(one.told) != 3 || !strings.HasPrefix(one.told[1], "180")) {
			t.Errorf("%s hears of its transfer: %v, want 100, 180 and 200", a.number, one.told)
		}
		s.settles(t, a, b, c, one)
	})
	drop(c)
}

// drop forgets what a telephone was told not to answer.
func drop(x seat) { x.behave(x.number, "") }

// consults: A asks C while B waits, and goes back to B.
func consults(records int) func(*testing.T, *stage, []seat) {
	return func(t *testing.T, s *stage, x []seat) {
		s.plays(t, records, func() {
			one := s.pair(t, x[0], x[1], false)
			one.hold(t)
			two, _ := x[0].calls(t, x[2])
			talking(t, x[0], x[2], x[1])
			two.hangUp()
			gone(t, x[2])
			one.resume(t)
			talking(t, x[0], x[1], x[2])
			leaves(t, x[1], x[0])
		})
	}
}

// pickUp: A calls B, which rings, and C in the office takes the call.
func pickUp(records int) func(*testing.T, *stage, []seat) {
	return func(t *testing.T, s *stage, x []seat) {
		a, b, c := x[0], x[1], x[2]
		s.plays(t, records, func() {
			b.behave(b.number, rings)
			one := a.dial(a.number, a.uri(b))
			theirs := b.comes(t, b.number)
			if !one.wait(t, "ringing", one.rings) || theirs == nil {
				t.FailNow()
			}
			named := theirs.replaces()
			if b.role == roaming { // the office sees another dialog: the PBX's lamps would tell
				named = s.seenInside(t, b.number)
			}
			two := c.dial(c.number, c.uri(a), "Replaces: "+named+";early-only", "Require: replaces")
			two.wait(t, "answered", two.up)
			one.wait(t, "answered", one.up)
			theirs.wait(t, "cancelled", theirs.over)
			if why := theirs.cancelled; !strings.Contains(why, "cause=200") {
				t.Errorf("what rang hears CANCEL with Reason %q, want cause=200: no missed call (RFC 3326)", why)
			}
			talking(t, a, c, b)
			leaves(t, a, c)
		})
	}
}

// ignorantTarget: C does not know Replaces, and knows nothing of what happens but a re-INVITE.
func ignorantTarget(t *testing.T, s *stage, x []seat) {
	x[2].behave(x[2].number, ignorant)
	s.attended(t, x[0], x[1], x[2], false)
}

// seenInside is the Replaces for a call that rings at a phone as the provider's call inside has it, which lamps would tell.
func (s *stage) seenInside(t *testing.T, number string) string {
	t.Helper()
	time.Sleep(600 * time.Millisecond) // until it has been recorded
	found := choose(read(t, nsInside, (&capture{w: s.world}).file(nsInside)), packet.sip, to(gateInside), func(p packet) bool {
		return p.dst.Port() == 5080 && strings.HasPrefix(p.start(), "SIP/2.0 180") && userPart(p.header("To")) == number
	})
	if len(found) == 0 {
		t.Fatalf("nobody has called %s inside", number)
	}
	p := found[len(found)-1]
	return p.header("Call-ID") + ";to-tag=" + tag(p.header("From")) + ";from-tag=" + tag(p.header("To"))
}
