//go:build interop

package interop

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRestart: the gate dies and comes back. Phones over UDP are called at once, without having registered again; those
// whose connection is gone are said to be away.
func TestRestart(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	b := w.baresip(t, anna, "udp", doors["udp"], 600)
	b.registers(t, 1)
	l := w.linphone(t, cora, "tcp", doors["tcp"], 600)
	l.registers(t, 1)
	g.binds(t, 2)
	time.Sleep(1500 * time.Millisecond) // what is bound is on disk within a second
	g.kill()
	g = w.phoneGate(t, phoneSettings{})
	all := g.observe(t, 1, []string{anna.ns}, func() { w.deskRings(t, b, node1, 1) })
	audible(t, all, desk, anna.address, 40, false)
	if n := b.registrations(); n != 1 {
		t.Errorf("the phone has registered %d times: the test proves nothing", n)
	}
	b.quit(t)
	l.quit(t)
	g.stop(t)
}

// TestLostConnection: a phone whose connection has ended is away at once, and the PBX need not wait.
func TestLostConnection(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	for transport, x := range map[string]extension{"tcp": anna, "tls": bert} {
		t.Run(transport, func(t *testing.T) {
			b := w.baresip(t, x, transport, doors[transport], 600)
			b.registers(t, 1)
			b.kill() // its kernel closes the connection
			time.Sleep(200 * time.Millisecond)
			g.observe(t, 1, nil, func() {
				w.verdict(t, w.sipp(t, agent{ns: nsInside, address: desk, scenario: "caller-unavailable", number: x.user, towards: node1 + ":5060"}))
			})
			again := w.baresip(t, x, transport, doors[transport], 600) // with another Contact: the PBX tries both
			again.registers(t, 1)
			g.observe(t, 2, nil, func() { w.deskRings(t, again, node1, 1) })
			again.quit(t)
		})
	}
	g.stop(t)
}

// TestForkedCall: a subscriber with two phones. Both ring, the one that answers has the call, the other is told to stop.
func TestForkedCall(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	b := w.baresip(t, anna, "udp", doors["udp"], 60)
	b.registers(t, 1)
	office := extension{anna.user, cora.ns, cora.address} // the same number elsewhere
	p := w.phone(t, sippPhone{extension: office, transport: "tcp", scenario: "phone-stays", called: "callee-cancelled", registrar: doors["tcp"]})
	w.registered(t, p, 1)
	g.binds(t, 2)
	all := g.observe(t, 2, []string{anna.ns}, func() {
		w.verdict(t, w.sipp(t, agent{ns: nsInside, address: desk, scenario: "caller-forked", number: anna.user, towards: node1 + ":5060"}))
	})
	audible(t, all, desk, anna.address, 40, false)
	if w.heard(p, "CANCEL sip:", "Via") == 0 || w.heard(p, "ACK sip:", "Via") == 0 {
		t.Errorf("the phone that rang on has heard no CANCEL, or no ACK to its 487\n%s", p.tail())
	}
	p.kill()
	b.quit(t)
	g.stop(t)
}

// TestSIPALG: a router that understands SIP and edits it. The kernel's own edits all of it, Via, Contact and SDP, so that
// nothing is left to tell it by; the phone works all the same, and not a packet of its audio has to wait for a latch.
func TestSIPALG(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	w.in(t, "nat1", "nft", `add table ip alg; add ct helper ip alg sip { type "sip" protocol udp; };`+
		`add chain ip alg pre { type filter hook prerouting priority 0; }; add rule ip alg pre udp dport 5060 ct helper set "sip"`)
	g := w.phoneGate(t, phoneSettings{})
	b := w.baresip(t, anna, "udp", doors["udp"], 60)
	b.registers(t, 1)
	all := g.observe(t, 2, []string{anna.ns}, func() {
		w.deskRings(t, b, node1, 1)
		callee := w.deskAnswers(t, "callee")
		b.call("100")
		b.established(t, 2)
		time.Sleep(1200 * time.Millisecond) // they talk
		b.hangUp()
		w.verdict(t, callee)
	})
	audible(t, all, desk, anna.address, 80, false)
	if !slices.ContainsFunc(choose(all, packet.sip, on(nsOutside)), func(p packet) bool { return strings.Contains(string(p.payload), "c=IN IP4 "+public1) }) {
		t.Error("the router has not edited the SDP: the test proves nothing")
	}
	b.quit(t)
	g.stop(t)
}
