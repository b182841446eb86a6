//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// TestWrongPassword: the PBX refuses, and its refusal is what the phone hears; nothing is bound.
func TestWrongPassword(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			g.observe(t, 0, nil, func() {
				w.verdict(t, w.phone(t, sippPhone{extension: anna, transport: transport, scenario: "phone-wrong", password: "guess", registrar: doors[transport]}))
			})
			g.binds(t, 0)
		})
	}
	g.stop(t)
}

// TestSecondNodeOfPhones: with the first node dead, phones register and call at the second one.
func TestSecondNodeOfPhones(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	first := w.pbx(t, node1)
	w.pbx(t, node2)
	g := w.phoneGate(t, phoneSettings{second: true, outside: "10s"})
	b := w.baresip(t, anna, "udp", doors["udp"], 10)
	b.registers(t, 1)
	w.deskCalls(t, anna, node1)
	first.signal(15)
	if _, err := first.wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	all := g.observe(t, 2, []string{anna.ns}, func() {
		b.registers(t, b.seen("REGISTER_OK")+1)
		w.deskCalls(t, anna, node2)
		calls := b.seen("CALL_ESTABLISHED")
		callee := w.deskAnswers(t, "callee")
		b.call("100")
		b.established(t, calls+1)
		time.Sleep(1200 * time.Millisecond) // they talk
		b.hangUp()
		w.verdict(t, callee)
	})
	audible(t, all, desk, anna.address, 80, false)
	for _, p := range choose(all, packet.sip, to(node1)) {
		if strings.HasPrefix(p.start(), "INVITE") {
			t.Errorf("a call tries the dead node first: %s", p.start())
		}
	}
	b.quit(t)
	g.stop(t)
}

// TestMessageWaiting: a phone subscribes to its voice mail and is told; another is told without having asked (RFC 3842).
func TestMessageWaiting(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	for _, transport := range transports {
		s := sippPhone{extension: anna, transport: transport, registrar: doors[transport]}
		t.Run("subscribed/"+transport, func(t *testing.T) {
			s.scenario = "phone-subscribes"
			g.observe(t, 0, nil, func() {
				mail := w.sipp(t, agent{ns: nsInside, address: desk, scenario: "desk-notifies", number: anna.user})
				w.meet(t, w.phone(t, s), mail)
			})
		})
		t.Run("unasked/"+transport, func(t *testing.T) {
			s.scenario, s.called = "phone-stays", "phone-notified"
			g.observe(t, 0, nil, func() {
				p := w.phone(t, s)
				w.registered(t, p, 1)
				w.verdict(t, w.sipp(t, agent{ns: nsInside, address: desk, scenario: "desk-tells", number: anna.user, towards: node1 + ":5060"}))
				p.kill()
			})
		})
	}
	g.stop(t)
}
