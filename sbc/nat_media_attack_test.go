package sbc_test

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// weapons are what attackers send to the relay. Each names the attacker's SSRC where it has one.
var weapons = map[string]func(attacker *voice, n int) []byte{
	"rtp":                    func(a *voice, _ int) []byte { return a.packet() },
	"rtp of another payload": func(a *voice, _ int) []byte { return edited(a.packet(), func(b []byte) { b[1] = 96 }) },
	"rtp of ever new ssrcs": func(a *voice, n int) []byte {
		return edited(a.packet(), func(b []byte) { binary.BigEndian.PutUint32(b[8:], 0xbad00000+uint32(n)) })
	},
	"rtcp": func(a *voice, _ int) []byte {
		return binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, a.ssrc)
	},
	"stun": func(*voice, int) []byte {
		return append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...) // RFC 8489 §5: a binding request
	},
	"junk":     func(*voice, int) []byte { return []byte("junk, and more of it") },
	"one byte": func(*voice, int) []byte { return []byte{0x80} },
	"nothing":  func(*voice, int) []byte { return nil },
}

func edited(b []byte, f func([]byte)) []byte {
	f(b)
	return b
}

// assault lets attackers throw what they have at every port of the relay, every 20 ms, until the returned function is
// called.
func (l *audible) assault(weapon func(*voice, int) []byte, attackers ...*voice) (stop func()) {
	halt, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for n := 0; ; n++ {
			for _, a := range attackers {
				b := weapon(a, n)
				for at := range l.air.conns {
					_, _ = a.conn.WriteToUDPAddrPort(b, at)
				}
			}
			select {
			case <-halt:
				return
			case <-time.After(tick):
			}
		}
	}()
	return func() {
		close(halt)
		<-gone
	}
}

// TestNATAttackersAreNeitherHeardNorServed: from a third address and from the phone's own address, before and after the
// latch, nobody but the phone is heard, nobody but the phone hears anything, and the phone has audio throughout.
//
// One race is nobody's to decide: a neighbour behind a NAT that does not keep ports, who sends well-formed audio before
// the phone does, looks exactly as the phone itself would.
func TestNATAttackersAreNeitherHeardNorServed(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range slices.Sorted(maps.Keys(weapons)) {
		weapon := weapons[name]
		for _, o := range []natlab.NATOptions{strictest, {PreservePorts: true}} {
			for _, when := range []string{"before", "after"} {
				for _, who := range []string{"third address", "neighbour"} {
					if who == "neighbour" && when == "before" && strings.HasPrefix(name, "rtp") && !o.PreservePorts {
						continue
					}
					for _, direction := range []string{"called", "calling"} {
						// Each weapon, and each of the others' ways, is in every fifth.
						if n++; testing.Short() && n%5 != 0 {
							continue
						}
						ports := map[bool]string{false: "", true: ", keeps ports"}[o.PreservePorts]
						t.Run(strings.Join([]string{name, o.String() + ports, when, who, direction}, "/"), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) { attacked(t, o, weapon, when == "before", who, direction == "calling") })
						})
					}
				}
			}
		}
	}
}

func attacked(t *testing.T, o natlab.NATOptions, weapon func(*voice, int) []byte, early bool, who string, out bool) {
	l := newAudible(t, roamingConfig, natlab.Options{Seed: 9}, nil)
	defer l.close()
	home := l.home(7, o)
	h, pbx := l.handset(home.Host(private), "204", 5060, nat.UDP, private).registers(), l.pbxEnd()
	villain := l.net.Host(strangerAt.Addr())
	if who == "neighbour" {
		villain = home.Host(private.Next())
	}
	attacker := l.voice(villain, 7000, villain.Addr())
	stop := func() {}
	if early {
		stop = l.assault(weapon, attacker)
		time.Sleep(time.Second)
	}
	for _, e := range []*end{h.end, pbx} { // who rings long gives an attacker time
		l.do(e.agent, func() {
			e.agent.Incoming = func(*message.Message) demo.Script {
				return e.script(demo.Script{Ring: 100 * time.Millisecond, Answer: 4 * time.Second})
			}
		})
	}
	if out {
		h.calls("100")
	} else {
		pbx.rings("204")
	}
	pbx.stands()
	call := h.stands()
	l.bothWays(pbx.voice, h.voice, 100, latching)
	if !early {
		stop = l.assault(weapon, attacker)
	}
	l.bothWays(pbx.voice, h.voice, 100, 0)
	hangs(call, h.end, pbx)
	stop()
	if own, others := attacker.of(h.voice); own+others != 0 {
		t.Errorf("the attacker hears %d packets of the phone, and %d others", own, others)
	}
	h.leaves()
	l.settled()
	if r := l.record(); r.Code != 200 || r.Media[0].Outside.Remote != mappedOf(r.Media[0].Outside.Remote, home.Addr()) {
		t.Errorf("record %+v", r)
	}
}

// mappedOf is a remote that has an address; empty where it has not.
func mappedOf(remote string, addr netip.Addr) string {
	if at, err := netip.ParseAddrPort(remote); err == nil && at.Addr() == addr {
		return remote
	}
	return ""
}
