//go:build interop

package interop

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// attacker sends what it has to every media port of the gate until it is stopped, and counts what it hears.
type attacker struct {
	conn        *net.UDPConn
	sent, heard atomic.Int64
	stop        chan struct{}
}

// attack begins to send from an address of a host.
func (g *gate) attack(t *testing.T, ns, address string) *attacker {
	t.Helper()
	a := &attacker{conn: g.w.socket(t, ns, address+":0"), stop: make(chan struct{})}
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
			for _, port := range g.mediaPorts() {
				for _, p := range weapons(i) {
					if n, err := a.conn.WriteToUDPAddrPort(p, netip.AddrPortFrom(netip.MustParseAddr(gateOutside), port)); err == nil && n > 0 {
						a.sent.Add(1)
					}
				}
			}
			select {
			case <-a.stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return a
}

// mediaPorts are the ports of the gate's outside that are open for media. A process shows the sockets of its namespace.
func (g *gate) mediaPorts() (list []uint16) {
	table, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", g.pid()))
	ip := netip.MustParseAddr(gateOutside).As4()
	prefix := fmt.Sprintf("%02X%02X%02X%02X:", ip[3], ip[2], ip[1], ip[0])
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.HasPrefix(f[1], prefix) {
			continue
		}
		if n, err := strconv.ParseUint(f[1][len(prefix):], 16, 16); err == nil && n >= 30000 && n <= 31000 {
			list = append(list, uint16(n))
		}
	}
	return list
}

// weapons are one of each kind of packet: audio as the call's own, junk, a STUN binding request, RTCP, a single byte.
func weapons(seq uint16) [][]byte {
	rtp := append([]byte{0x80, 0, byte(seq >> 8), byte(seq), 0, 0, byte(seq), 0, 0xde, 0xad, 0xbe, 0xef}, strings.Repeat("\xaa", 160)...)
	stun, _ := hex.DecodeString("000100002112a442a1a1a1a1a1a1a1a1a1a1a1a1")
	rtcp := append([]byte{0x80, 200, 0, 6, 0xde, 0xad, 0xbe, 0xef}, make([]byte, 20)...)
	return [][]byte{rtp, []byte("junk that is no protocol at all"), stun, rtcp, {0}}
}

// injected are the datagrams that reach a listener from the gate's media ports and that nobody he talks to has sent.
func injected(all []packet, speaker, listener string) (list []packet) {
	sent := map[string]bool{}
	for _, p := range choose(all, packet.own, from(speaker)) {
		sent[string(p.payload)] = true
	}
	for _, p := range choose(all, on(home[listener]), to(listener)) {
		if !p.own() && !p.sip() && p.src.Port() >= 30000 && !sent[string(p.payload)] {
			list = append(list, p)
		}
	}
	return list
}

// TestMediaAttackers: while a phone talks, a stranger from before the first packet on, and a host behind the phone's own
// router from the middle of the call on, send to every media port. They hear nothing and nobody hears them.
func TestMediaAttackers(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	b := w.baresip(t, anna, "udp", doors["udp"], 60)
	b.registers(t, 1)
	var attackers []*attacker
	all := g.observe(t, 1, []string{anna.ns}, func() {
		attackers = append(attackers, g.attack(t, nsOutside, stranger))
		callee := w.deskAnswers(t, "callee")
		b.call("100")
		b.established(t, 1)
		time.Sleep(1500 * time.Millisecond) // they talk
		attackers = append(attackers, g.attack(t, bert.ns, bert.address))
		time.Sleep(1500 * time.Millisecond)
		for _, a := range attackers {
			close(a.stop)
		}
		b.hangUp()
		w.verdict(t, callee)
	})
	audible(t, all, anna.address, desk, 100, false)
	for i, who := range []string{"a stranger", "a host behind the phone's router"} {
		a := attackers[i]
		t.Logf("%s: %d packets sent, %d heard", who, a.sent.Load(), a.heard.Load())
		if a.heard.Load() > 0 || a.sent.Load() < 200 {
			t.Errorf("%s has sent %d packets and heard %d, want at least 200 and 0", who, a.sent.Load(), a.heard.Load())
		}
	}
	for _, ends := range [][2]string{{anna.address, desk}, {desk, anna.address}} {
		if list := injected(all, ends[0], ends[1]); len(list) > 0 {
			t.Errorf("%d datagrams at %s that %s never sent; first: % x", len(list), ends[1], ends[0], list[0].payload)
		}
	}
	b.quit(t)
	g.stop(t)
}
