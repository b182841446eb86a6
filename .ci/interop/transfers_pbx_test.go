//go:build interop

package interop

import (
	"testing"
	"time"
)

// TestProvidersTransfer: what a provider asks for is done by the gate, which calls by the trunks.
func TestProvidersTransfer(t *testing.T) {
	long(t)
	t.Parallel()
	s := newStage(t, "    referral: local\n")
	for _, b := range roles {
		t.Run(b, func(t *testing.T) {
			x := s.cast(t, trunk, b, trunk)
			s.plays(t, crossings(x[0], x[1]), func() { s.sends(t, x[0], x[1], x[2], true) })
		})
	}
	s.g.stop(t)
}

// TestTransfersOfAPBX: the PBX is a user agent itself. It knows its calls by ids of its own alone, and answers 481 to all others.
func TestTransfersOfAPBX(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	s := &stage{world: w}
	pbx := w.ownPBX(t)
	carrier := w.callers(t)
	phone := w.userAgent(t, anna.ns, anna.address, doors["udp"], "PhoneProduct", &anna)
	s.g = w.phoneGate(t, phoneSettings{health: "1h"})
	phone.register(t, 60)
	a, b := seat{pbx, local, "100"}, seat{pbx, local, "101"}
	one, two := seat{carrier, trunk, "+493055501"}, seat{carrier, trunk, "+493055502"}
	r := seat{phone, roaming, anna.user}
	outward := func(to seat) string { return "sip:" + to.number + "@" + gateInside + ":5080" }
	cases := []struct {
		name    string
		records int
		play    func(t *testing.T)
	}{
		{"it joins two calls of the trunk", 2, func(t *testing.T) {
			_, first := one.calls(t, a)
			second := pbx.dial(a.number, outward(two))
			two.comes(t, two.number)
			second.wait(t, "answered", second.up)
			first.transfers(t, referTo(second.remote, second.replaces()))
			gone(t, a)
			talking(t, one, two, a)
			leaves(t, two, one)
		}},
		{"it puts another leg in the place of one, and offers late: the trunk is offered, and answers", 1, func(t *testing.T) {
			_, first := one.calls(t, a)
			next := pbx.dialLate(b.number, outward(one), "Replaces: "+first.replaces(), "Require: replaces")
			next.wait(t, "answered", next.up)
			gone(t, a)
			talking(t, one, b, a)
			leaves(t, one, b)
		}},
		{"it sends a call of the trunk to a telephone of its own", 1, func(t *testing.T) {
			_, first := one.calls(t, a)
			first.transfers(t, "sip:101@"+domain)
			gone(t, a)
			talking(t, one, b, a)
			leaves(t, b, one)
		}},
		{"it puts another leg in the place of one", 1, func(t *testing.T) {
			_, first := one.calls(t, a)
			b.gets(t, outward(one), "Replaces: "+first.replaces(), "Require: replaces")
			gone(t, a)
			talking(t, one, b, a)
			leaves(t, one, b)
		}},
		{"somebody whom the trunk serves takes over a call of his own", 2, func(t *testing.T) {
			first, _ := one.calls(t, a)
			two.gets(t, two.uri(a), "Replaces: "+first.replaces(), "Require: replaces")
			gone(t, one)
			talking(t, two, a, one)
			leaves(t, a, two)
		}},
		{"a phone joins two calls", 2, func(t *testing.T) {
			pbx.behave(a.number, joins)
			first, _ := r.calls(t, a)
			second, _ := r.calls(t, b)
			first.transfers(t, referTo(second.remote, second.replaces()))
			gone(t, r)
		}},
		{"a phone takes over a call of its own", 2, func(t *testing.T) {
			first, _ := r.calls(t, a)
			r.gets(t, first.remote, "Replaces: "+first.replaces(), "Require: replaces")
			first.wait(t, "replaced", first.over)
			talking(t, r, a)
			leaves(t, r, a)
		}},
	}
	for i, c := range cases {
		if !*full && i > 1 {
			break
		}
		t.Run(c.name, func(t *testing.T) {
			for _, x := range []seat{a, one, r} {
				x.clear()
			}
			pbx.behave(a.number, "")
			s.plays(t, c.records, func() { c.play(t) })
		})
	}
	s.g.stop(t)
}

// TestCrashAfterTransfer: two whom the office has joined talk on when signalling dies, and the records tell of the transfer.
func TestCrashAfterTransfer(t *testing.T) {
	long(t)
	t.Parallel()
	settings := phoneSettings{health: "1h", ports: "30000-31000, timeout: 10s"}
	w := newHomes(t)
	w.pbx(t, node1)
	s := &stage{world: w, g: w.phoneGate(t, settings)}
	office := w.desks(t)
	carrier := w.callers(t)
	a, b, c := seat{office, local, "100"}, seat{carrier, trunk, "+493055501"}, seat{carrier, trunk, "+493055502"}
	_, one := b.calls(t, a)
	two, _ := a.calls(t, c)
	one.refer(referTo(two.remote, two.replaces()))
	one.reported(t)
	gone(t, a)
	talking(t, b, c, a)
	time.Sleep(time.Second) // what is open is on the disk
	s.g.kill()
	talking(t, b, c, a)
	s.g = w.phoneGate(t, settings)
	talking(t, b, c, a)
	for _, x := range []seat{b, c} {
		for _, l := range x.live(x.number) {
			l.hangUp() // nobody is told, for nobody knows
		}
	}
	until(t, "the records of lost calls are written", 30*time.Second, func() bool {
		time.Sleep(200 * time.Millisecond)
		return len(s.g.records(t)) >= 2
	})
	s.g.recorded(t, 0, 2)
	n := 0
	for _, r := range s.g.records(t) {
		taken, _ := r["transfers"].([]any)
		if n += len(taken); r["reason"] != "signalling-lost" {
			t.Errorf("a call that signalling has lost: %v", r)
		}
	}
	if n != 2 {
		t.Errorf("the records tell of %d transfers, want 2: %v", n, s.g.records(t))
	}
	s.spotless(t)
	s.g.stop(t)
}
