//go:build interop

package interop

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/media/steer"
)

// attacker sends what it has to every media port of the gate until it is stopped, and counts what it hears.
type attacker struct {
	conn        *net.UDPConn
	sent, heard atomic.Int64
	stop        chan struct{}
}

// attack begins to send from an address of a host, to as many ports of the gate, which is less in all than a back end lets
// pass of what one port hears.
func (g *gate) attack(t *testing.T, ns, address string, ports int) *attacker {
	t.Helper()
	a := &attacker{conn: g.w.socket(t, ns, address+":0"), stop: make(chan struct{})}
	guessed := stunGuess()
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, _, err := a.conn.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			a.heard.Add(1)
		}
	}()
	go func() {
		for i := uint16(1); ; i++ {
			for port := range uint16(ports) {
				for _, p := range append(weapons(i), guessed) {
					if n, err := a.conn.WriteToUDPAddrPort(p, netip.AddrPortFrom(netip.MustParseAddr(gateOutside), 30000+port)); err == nil && n > 0 {
						a.sent.Add(1)
					}
				}
			}
			select {
			case <-a.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return a
}

// weapons are one of each kind of packet: audio as the call's own, junk, a STUN binding request, reports with and without a
// farewell, a ClientHello, a single byte.
func weapons(seq uint16) [][]byte {
	rtp := append([]byte{0x80, 0, byte(seq >> 8), byte(seq), 0, 0, byte(seq), 0, 0xde, 0xad, 0xbe, 0xef}, strings.Repeat("\xaa", 160)...)
	stun, _ := hex.DecodeString("000100002112a442a1a1a1a1a1a1a1a1a1a1a1a1")
	rtcp := append([]byte{0x80, 200, 0, 6, 0xde, 0xad, 0xbe, 0xef}, make([]byte, 20)...)
	bye := []byte{0x80, 201, 0, 1, 0xde, 0xad, 0xbe, 0xef, 0x81, 203, 0, 1, 0xde, 0xad, 0xbe, 0xef}
	hello := append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 52, 1}, strings.Repeat("\xaa", 51)...)
	return [][]byte{rtp, []byte("junk that is no protocol at all"), stun, rtcp, bye, hello, {0}}
}

// stunGuess is a check that nominates, of somebody who knows neither name nor password.
func stunGuess() []byte {
	b, _ := hex.DecodeString("000100442112a442a1a1a1a1a1a1a1a1a1a1a1a1" + "0006000a" + "61616161616161613a620000" + "00250000" + "00080014")
	b = append(b, make([]byte, 20)...)
	return append(b, 0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8)
}

// weapon reports whether a packet bears the mark of the attackers.
func (p packet) weapon() bool {
	return bytes.Contains(p.payload, []byte{0xde, 0xad, 0xbe, 0xef}) || bytes.Contains(p.payload, bytes.Repeat([]byte{0xaa}, 20)) ||
		bytes.HasPrefix(p.payload, []byte("junk"))
}

// injected are the datagrams that reach a listener from the gate's media ports and that nobody he talks to has sent. Where
// one end has them protected, they are told by the attackers' mark.
func injected(all []packet, speaker, listener string, sealed bool) (list []packet) {
	sent := map[string]bool{}
	for _, p := range choose(all, packet.rtp, packet.own, from(speaker)) {
		sent[p.spoken()] = true
	}
	for _, p := range choose(all, on(home[listener]), to(listener)) {
		switch {
		case p.own() || p.sip() || p.src.Port() < 30000:
		case p.weapon(), !sealed && p.rtp() && !sent[p.spoken()], !p.rtp() && !p.rtcp():
			list = append(list, p)
		}
	}
	return list
}

// rtcp reports whether the packet is a report (RFC 5761 §4).
func (p packet) rtcp() bool {
	return len(p.payload) >= 8 && p.payload[0]>>6 == 2 && p.payload[1] >= 192 && p.payload[1] <= 223
}

// TestMediaAttackers: over each back end, while a phone talks in the clear and then protected, a stranger from before the
// first packet on, and a host behind the phone's own router from the middle of the call on, send to every media port. They
// hear nothing and nobody hears them.
func TestMediaAttackers(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	for _, backend := range []string{epollName, steerName} {
		t.Run(backend, func(t *testing.T) {
			if backend == steerName {
				if err := steer.Probe(); err != nil {
					t.Skip(err)
				}
			}
			g := w.phoneGate(t, phoneSettings{backend: backend, ports: "30000-30019"})
			if out, _ := g.verb("media"); !strings.Contains(out, backend) {
				t.Errorf("another back end than %s:\n%s", backend, out)
			}
			for _, x := range []struct {
				name, more string
				tag        int
			}{{"RTP", "", 0}, {"SRTP", ";mediaenc=srtp", 10}} {
				t.Run(x.name, func(t *testing.T) { w.besieged(t, g, x.more, x.tag) })
			}
			g.stop(t)
		})
	}
}

// besieged is a call under attack.
func (w *world) besieged(t *testing.T, g *gate, more string, tag int) {
	b := w.baresip(t, anna, "udp", doors["udp"], 60, more)
	b.registers(t, 1)
	var attackers []*attacker
	all := g.observe(t, 1, []string{anna.ns}, func() {
		attackers = append(attackers, g.attack(t, nsOutside, stranger, 20))
		callee := w.deskAnswers(t, "callee")
		b.call("100")
		b.established(t, 1)
		time.Sleep(1500 * time.Millisecond) // they talk
		attackers = append(attackers, g.attack(t, bert.ns, bert.address, 20))
		time.Sleep(1500 * time.Millisecond)
		for _, a := range attackers {
			close(a.stop)
		}
		b.hangUp()
		w.verdict(t, callee)
	})
	if tag == 0 {
		audible(t, all, anna.address, desk, 100, false)
	} else {
		w.protected(t, choose(all, func(p packet) bool { return !p.weapon() || p.src.Addr().String() == gateOutside }), b, tag)
	}
	for i, who := range []string{"a stranger", "a host behind the phone's router"} {
		a := attackers[i]
		t.Logf("%s: %d packets sent, %d heard", who, a.sent.Load(), a.heard.Load())
		if a.heard.Load() > 0 || a.sent.Load() < 2000 {
			t.Errorf("%s has sent %d packets and heard %d, want at least 2000 and 0", who, a.sent.Load(), a.heard.Load())
		}
	}
	for _, ends := range [][2]string{{anna.address, desk}, {desk, anna.address}} {
		if list := injected(all, ends[0], ends[1], tag > 0); len(list) > 0 {
			t.Errorf("%d datagrams at %s that %s never sent; first: % x", len(list), ends[1], ends[0], list[0].payload)
		}
	}
	b.quit(t)
}
