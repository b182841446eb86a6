//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// long has a test run by make interop-full alone: it takes long, or shows little that another does not.
func long(t *testing.T) {
	t.Helper()
	if !*full {
		t.Skip("make interop-full runs it")
	}
}

// TestSessionTimers: a session timer on one leg alone (RFC 4028): too short an interval is answered, or met, with 422, the one
// that asked for it refreshes, and the other end hears nothing of it all.
func TestSessionTimers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t)
	timed := func(d direction, c call) {
		t.Run(d.name+"/"+c.name, func(t *testing.T) {
			all := g.call(t, d, c)
			afterEach(t, all, d.ends(), false)
			other := d.callee.address
			if c.caller == "caller" {
				other = d.caller.address
			}
			for _, p := range choose(all, packet.sip, on(home[other])) {
				if strings.HasPrefix(p.start(), "UPDATE ") || p.inDialog("INVITE") || strings.Contains(p.start(), " 422 ") {
					t.Errorf("the leg without a timer hears of it: %s", p.start())
				}
			}
		})
	}
	for _, d := range directions {
		timed(d, call{name: "caller", caller: "caller-timed", callee: "callee", audio: 35, refused: 1})
	}
	timed(directions[1], call{name: "callee", caller: "caller", callee: "callee-timed", audio: 35})
	g.stop(t)
}

// inDialog reports whether the packet is a request of that method within a dialog.
func (p packet) inDialog(method string) bool {
	return strings.HasPrefix(p.start(), method+" ") && strings.Contains(p.header("To"), ";tag=")
}

// TestSessionExpires: the gate refreshes at half the interval; who does not answer that, or does not refresh as he has promised,
// loses the call at both ends. 90 s is the shortest interval there is.
func TestSessionExpires(t *testing.T) {
	long(t)
	t.Parallel()
	for name, caller := range map[string]string{"the gate refreshes": "caller-refreshed", "nobody refreshes": "caller-expires"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.trunkGate(t)
			g.observe(t, 1, nil, func() {
				callee := directions[0].callee
				callee.scenario, callee.load = "callee", []string{"-m", "1", "-timeout", "130s"}
				answering := w.sipp(t, callee)
				calling := directions[0].caller
				calling.scenario, calling.load = caller, []string{"-m", "1", "-timeout", "130s"}
				p := w.sipp(t, calling)
				if _, err := p.wait(130 * time.Second); err != nil {
					t.Fatal(err)
				}
				w.meet(t, p, answering)
			})
			g.reason(t, "session-expired")
			g.stop(t)
		})
	}
}

// reason fails the test unless the last call ended for that reason.
func (g *gate) reason(t *testing.T, want string) {
	t.Helper()
	list := g.records(t)
	if len(list) == 0 || list[len(list)-1]["reason"] != want {
		t.Errorf("call records %v, want reason %q in the last one", list, want)
	}
}

// TestClock: a phone that nobody answers, and a call that lasts as long as any may.
func TestClock(t *testing.T) {
	t.Parallel()
	t.Run("ring_timeout", func(t *testing.T) {
		w := newWorld(t)
		g := w.trunkGate(t, "ring_timeout: 1s")
		g.call(t, directions[1], call{caller: "caller-unanswered", callee: "callee-cancelled"})
		g.reason(t, "ring-timeout")
		g.stop(t)
	})
	t.Run("max_call", func(t *testing.T) {
		long(t)
		w := newWorld(t)
		g := w.trunkGate(t, "max_call: 60s") // the shortest there is
		g.observe(t, 1, nil, func() {
			caller, callee := directions[0].caller, directions[0].callee
			caller.scenario, callee.scenario = "caller-hears-bye", "callee"
			caller.load = []string{"-m", "1", "-timeout", "80s"}
			callee.load = caller.load
			answering := w.sipp(t, callee)
			calling := w.sipp(t, caller)
			if _, err := calling.wait(80 * time.Second); err != nil {
				t.Fatal(err)
			}
			w.meet(t, calling, answering)
		})
		g.reason(t, "limit-exceeded")
		g.stop(t)
	})
}
