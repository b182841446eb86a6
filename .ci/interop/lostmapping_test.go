//go:build interop

package interop

import (
	"testing"
	"time"
)

// TestLostMapping: a router forgets a phone, and takes other ports or gets another address from its provider. With its next
// REGISTER the phone is reachable again, once, and nothing goes where it was. Over streams that REGISTER meets a reset, and
// linphone connects anew at once, where baresip waits for a minute.
func TestLostMapping(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{outside: "10s"})
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			var p telephone
			if transport == "udp" {
				p = w.baresip(t, anna, transport, doors[transport], 10)
			} else {
				p = w.linphone(t, anna, transport, doors[transport], 10)
			}
			p.registers(t, 1)
			for calls, c := range []struct{ name, public string }{{"other ports", public1}, {"another address", renewed1}} {
				t.Run(c.name, func(t *testing.T) {
					if transport == "tcp" || transport == "tls" && c.public != public1 {
						long(t) // TLS loses its connection as TCP does, and a new address loses it as new ports do
					}
					all := g.observe(t, 1, []string{anna.ns}, func() {
						w.reconnect(t, "nat1", c.public)
						p.registers(t, p.registrations()+1)
						w.deskRings(t, p, node1, calls+1)
					})
					audible(t, all, desk, anna.address, 40, false)
					g.binds(t, 1)
				})
			}
			p.quit(t)
			g.binds(t, 0)
			w.reconnect(t, "nat1", public1)
		})
	}
	g.stop(t)
}

// TestRebindingCall: a router that takes another port in the middle of a call. The phone says nothing about it; its audio
// arrives from elsewhere, and the gate goes with it.
func TestRebindingCall(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	b := w.baresip(t, anna, "udp", doors["udp"], 60)
	b.registers(t, 1)
	var moved float64
	all := g.observe(t, 1, []string{anna.ns}, func() {
		callee := w.deskAnswers(t, "callee")
		b.call("100")
		b.established(t, 1)
		time.Sleep(1500 * time.Millisecond) // they talk
		w.reconnect(t, "nat1", public1)
		moved = float64(time.Now().UnixNano()) / 1e9
		time.Sleep(3 * time.Second)
		b.hangUp()
		w.verdict(t, callee)
	})
	audible(t, all, desk, anna.address, 100, false)
	for _, ends := range [][2]string{{anna.address, desk}, {desk, anna.address}} {
		after := choose(all, packet.rtp, on(home[ends[1]]), from(map[string]string{desk: gateInside, anna.address: gateOutside}[ends[1]]), to(ends[1]),
			func(p packet) bool { return p.at > moved })
		if len(after) < 75 {
			t.Errorf("audio %s to %s: %d packets heard in the 3 s after the router took another port, want at least 75", ends[0], ends[1], len(after))
			continue
		}
		t.Logf("audio %s to %s: heard again after %.0f ms, %d packets since", ends[0], ends[1], (after[0].at-moved)*1000, len(after))
	}
	b.quit(t)
	g.stop(t)
}

// TestSilentPhone: a router that forgets after seconds does not forget a phone that says nothing, as the gate keeps the
// way to it open.
func TestSilentPhone(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	w.forgetful(t, "nat1", "7")
	g := w.phoneGate(t, phoneSettings{keepalive: "5s"})
	b := w.baresip(t, anna, "udp", doors["udp"], 600)
	b.registers(t, 1)
	time.Sleep(16 * time.Second) // more than twice as long as the router remembers
	all := g.observe(t, 1, []string{anna.ns}, func() { w.deskRings(t, b, node1, 1) })
	audible(t, all, desk, anna.address, 40, false)
	if n := b.seen("REGISTER_OK"); n != 1 {
		t.Errorf("the phone has registered %d times: the test proves nothing", n)
	}
	b.quit(t)
	g.stop(t)
}
