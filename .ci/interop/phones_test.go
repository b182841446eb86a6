//go:build interop

package interop

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// meet waits for caller and callee; a callee whose caller has failed would only wait for what will not come.
func (w *world) meet(t *testing.T, caller, callee *process) {
	t.Helper()
	w.verdict(t, caller)
	if t.Failed() {
		callee.kill()
	}
	w.verdict(t, callee)
}

// deskAnswers starts the office's telephone for one call that comes in.
func (w *world) deskAnswers(t *testing.T, scenario string) *process {
	t.Helper()
	return w.sipp(t, agent{ns: nsInside, address: desk, scenario: scenario, number: "100"})
}

// deskCalls has the office call a subscriber through a node of the PBX, and waits until it has hung up.
func (w *world) deskCalls(t *testing.T, x extension, node string) {
	t.Helper()
	w.verdict(t, w.sipp(t, agent{ns: nsInside, address: desk, scenario: "caller", number: x.user, towards: node + ":5060"}))
}

// observe records what happens meanwhile at both sides of the gate and at the hosts. Nothing of one side may be seen on
// the other, and as many call records have to be written.
func (g *gate) observe(t *testing.T, records int, hosts []string, happens func()) (all []packet) {
	t.Helper()
	before := len(g.records(t))
	rec := g.w.capture(t, hosts...)
	stopped := false
	stop := func() {
		if !stopped {
			stopped, all = true, rec.stop(t)
		}
	}
	defer func() {
		stop()
		if t.Failed() || *ladders {
			t.Logf("ladder:\n%s", ladder(choose(all, packet.atGate)))
		}
		if t.Failed() {
			t.Log(g.tail())
		}
	}()
	happens()
	stop()
	noLeak(t, all)
	g.recorded(t, before, records)
	return all
}

// TestPhonesWithoutTheGate proves the instruments: the phones register and call at a PBX that knows about NAT itself, with
// an ordinary router in the gate's place. The leak check has everything to find there, and finds it.
func TestPhonesWithoutTheGate(t *testing.T) {
	long(t)
	w := newHomes(t)
	w.forward(t)
	w.pbx(t, node1, direct(node1)...)
	rec := w.capture(t)
	registrar := node1 + ":5060"
	for _, transport := range []string{"udp", "tcp"} {
		t.Run("sipp over "+transport, func(t *testing.T) {
			callee := w.deskAnswers(t, "callee-held")
			w.meet(t, w.phone(t, sippPhone{extension: anna, transport: transport, scenario: "phone-calls", peer: "100", registrar: registrar}), callee)
			p := w.phone(t, sippPhone{extension: anna, transport: transport, scenario: "phone-stays", called: "callee", registrar: registrar})
			w.registered(t, p, 1)
			w.deskCalls(t, anna, node1)
			p.kill()
		})
		t.Run("baresip over "+transport, func(t *testing.T) {
			w.lead(t, w.baresip(t, bert, transport, registrar, 60), node1)
		})
		t.Run("linphone over "+transport, func(t *testing.T) {
			w.lead(t, w.linphone(t, cora, transport, registrar, 60), node1)
		})
	}
	all := rec.stop(t)
	for side, marks := range map[string][]string{
		nsInside:  {"192.168.1.", "198.51.100.", "PhoneProduct", "baresip", "Linphone"},
		nsOutside: {"10.0.0.", "kamailio", "CalleeProduct"},
	} {
		found := leaks(all, side)
		for _, mark := range marks {
			if !slices.ContainsFunc(found, func(l string) bool { return strings.HasPrefix(l, mark) }) {
				t.Errorf("%s: the leak check is blind for %s", side, mark)
			}
		}
	}
}

// telephone is a phone of another make that does as it is told.
type telephone interface {
	subscriber() extension
	registrations() int                  // how often it has been told its registration
	registers(t *testing.T, times int)   // waits until it has been told its registration as many times
	established(t *testing.T, times int) // waits until as many of its calls have been answered
	call(number string)
	speak() // from the answer on, where it does not by itself
	hold()
	resume()
	hangUp()
	quit(t *testing.T) // unregisters and leaves
}

// deskRings has the office call a telephone, whose call number that is, and talk until the office hangs up.
func (w *world) deskRings(t *testing.T, p telephone, node string, call int) {
	t.Helper()
	caller := w.sipp(t, agent{ns: nsInside, address: desk, scenario: "caller", number: p.subscriber().user, towards: node + ":5060"})
	p.established(t, call)
	p.speak()
	w.verdict(t, caller)
}

// lead has a telephone that has just been started registered, called by the office, and call there itself, hold and resume.
func (w *world) lead(t *testing.T, p telephone, node string) {
	t.Helper()
	p.registers(t, 1)
	w.deskRings(t, p, node, 1)
	callee := w.deskAnswers(t, "callee-held")
	p.call("100")
	p.established(t, 2)
	p.speak()
	time.Sleep(time.Second) // they talk
	p.hold()
	time.Sleep(500 * time.Millisecond)
	p.resume()
	time.Sleep(700 * time.Millisecond)
	p.hangUp()
	w.verdict(t, callee)
	p.quit(t)
}

// TestSippPhones: over every transport a phone behind a NAT registers, calls, holds, is called, and unregisters.
func TestSippPhones(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true})
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			s := sippPhone{extension: anna, transport: transport, registrar: doors[transport]}
			t.Run("calls and holds", func(t *testing.T) {
				s.scenario, s.peer = "phone-calls", "100"
				all := g.observe(t, 1, []string{anna.ns}, func() {
					callee := w.deskAnswers(t, "callee-held")
					w.meet(t, w.phone(t, s), callee)
				})
				audible(t, all, anna.address, desk, 50, false)
				expect(t, all, node1, "INVITE", map[string]string{
					"Request-URI": "sip:100@" + domain, "From": "sip:201@" + domain, "To": "sip:100@" + domain, "Contact": "@" + gateInside + ":5060",
				})
			})
			t.Run("is called", func(t *testing.T) {
				s.scenario, s.called = "phone-stays", "callee"
				all := g.observe(t, 1, []string{anna.ns}, func() {
					p := w.phone(t, s)
					w.registered(t, p, 1)
					w.deskCalls(t, anna, node1)
					p.kill()
				})
				audible(t, all, desk, anna.address, 40, false)
			})
			t.Run("leaves", func(t *testing.T) {
				s.scenario, s.called = "phone-leaves", ""
				g.observe(t, 0, nil, func() { w.verdict(t, w.phone(t, s)) })
				g.binds(t, 0)
			})
		})
	}
	g.stop(t)
}

// TestBaresipPhones and TestLinphonePhones: the same with telephones that people use.
func TestBaresipPhones(t *testing.T) {
	telephones(t, bert, func(w *world, t *testing.T, transport string) telephone {
		return w.baresip(t, bert, transport, doors[transport], 60)
	})
}

func TestLinphonePhones(t *testing.T) {
	telephones(t, cora, func(w *world, t *testing.T, transport string) telephone {
		return w.linphone(t, cora, transport, doors[transport], 60)
	})
}

func telephones(t *testing.T, x extension, start func(*world, *testing.T, string) telephone) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			all := g.observe(t, 2, []string{x.ns}, func() { w.lead(t, start(w, t, transport), node1) })
			audible(t, all, desk, x.address, 100, false)
			g.binds(t, 0)
		})
	}
	g.stop(t)
}
