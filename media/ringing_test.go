package media_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// ringing is a call whose phone has told its address and whose PBX has not answered yet.
func ringing(t testing.TB, w media.Want) *scene {
	s := &scene{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	s.open()
	s.point(nat.Outside, w)
	return s
}

// answer is the 2xx, or with final false an 18x that carries the PBX's address.
func (s *scene) answer(phone media.Want, final bool) {
	phone.Final = final
	s.point(nat.Inside, with(want("pbx"), func(w *media.Want) { w.RTP, w.Final = pbx, final }))
	s.point(nat.Outside, phone)
}

// Who has not been told where to send cannot be sending to us: nothing is learned before the other side has an address,
// and then the SDP's port has 500 ms to itself.
func TestNothingIsLearnedWhileItRings(t *testing.T) {
	for _, mode := range []media.Mode{media.Strict, media.Delayed} {
		s := ringing(t, natted(mode))
		if n := s.talk(neighbour, attackSSRC, 1, 1000); n != 0 || s.outside().Latched {
			t.Fatalf("%v: %d packets of a neighbour relayed, %+v", mode, n, s.outside())
		}
		s.answer(natted(mode), true)
		s.expect(phone)
		if n := s.talk(phone, phoneSSRC, 1, 3); n != 3 {
			t.Fatalf("%v: %d of the phone's first 3 packets relayed", mode, n)
		}
		s.expect(phone)
	}
	s := ringing(t, natted(media.Strict))
	s.pass(time.Minute)
	s.answer(natted(media.Strict), true)
	if n := s.talk(mappedPort, phoneSSRC, 1, 24); n != 0 { // until 480 ms
		t.Fatalf("%d packets of another port relayed within the window", n)
	}
	if n := s.talk(mappedPort, phoneSSRC, 25, 3); n != 3 {
		t.Fatalf("%d of 3 packets relayed after it", n)
	}
	s.expect(mappedPort)
}

// What the phone itself sends from the SDP's port is its own at any time.
func TestTheExactPortMayBeEarly(t *testing.T) {
	s := ringing(t, natted(media.Strict))
	s.talk(phone, phoneSSRC, 1, 3)
	if !s.outside().Latched {
		t.Fatal("the exact port did not lock")
	}
	s.answer(natted(media.Strict), true)
	s.expect(phone)
}

// Early media lets a neighbour learn his way in before the phone speaks; the 2xx gives the SDP's port its window again.
func TestTheExactPortTakesTheLegAtTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		mode  media.Mode
		after time.Duration // of the 2xx
		final bool
		taken bool
	}{
		"strict":              {media.Strict, 100 * time.Millisecond, true, true},
		"strict, too late":    {media.Strict, 501 * time.Millisecond, true, false},
		"strict, still rings": {media.Strict, 100 * time.Millisecond, false, false},
		"delayed":             {media.Delayed, 2900 * time.Millisecond, true, true},
		"delayed, too late":   {media.Delayed, 3100 * time.Millisecond, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := ringing(t, natted(c.mode))
			s.answer(natted(c.mode), false)
			s.talk(neighbour, attackSSRC, 1, 300) // six seconds, beyond any window
			s.expect(neighbour)
			s.answer(natted(c.mode), c.final)
			s.pass(c.after - 20*time.Millisecond)
			if n := s.talk(phone, phoneSSRC, 1, 1); (n == 1) != c.taken {
				t.Fatalf("%d packets of the phone relayed", n)
			}
			if c.taken {
				s.expect(phone)
			} else {
				s.expect(neighbour)
			}
		})
	}
	t.Run("a proven phone stays", func(t *testing.T) {
		s := ringing(t, natted(media.Strict))
		s.answer(natted(media.Strict), false)
		s.talk(mappedPort, phoneSSRC, 1, 40)
		s.answer(natted(media.Strict), true)
		s.expect(mappedPort)
		if n := s.talk(mappedPort, phoneSSRC, 41, 50); n != 50 {
			t.Fatalf("%d of 50 packets relayed over the answer", n)
		}
		// A repeated command is no second answer.
		s.answer(natted(media.Strict), true)
		if s.talk(phone, attackSSRC, 1, 3) != 0 {
			t.Fatal("the window opened again")
		}
	})
}

// weaponsAt are what an attacker can send who does not know the phone's SSRC and must not win, though he shares the
// phone's address: all but a stream of a negotiated payload type before the lock, which is the race that remains.
var weaponsAt = map[string]func(n uint16) []byte{
	"rtp other pt":   func(n uint16) []byte { return tagged(rtp(96, n, attackSSRC)) },
	"changing ssrcs": func(n uint16) []byte { return tagged(rtp(0, n, uint32(n)+9)) },
	"repeated":       func(uint16) []byte { return tagged(rtp(0, 7, attackSSRC)) },
	"backwards":      func(n uint16) []byte { return tagged(rtp(0, 60000-n, attackSSRC)) },
	"rtcp":           func(uint16) []byte { return tagged(rtcp(attackSSRC)) },
	"stun":           func(uint16) []byte { return tagged(stun()) },
	"dtls":           func(uint16) []byte { return tagged(dtls()) },
	"junk":           func(uint16) []byte { return tagged([]byte("junk junk junk junk")) },
	"one byte":       func(uint16) []byte { return []byte{0x80} },
	"empty":          func(uint16) []byte { return nil },
}

// The phone whose port the NAT changed, under attack from the ringing on, from a third address and from its own, from
// one port and from several: it is latched within 600 ms of the answer and heard without a gap from then on.
func TestAttackOnAMappedPort(t *testing.T) {
	for who, attackers := range map[string][]netip.AddrPort{
		"third address": {third}, "same address": {neighbour}, "several ports": {
			neighbour, netip.AddrPortFrom(phone.Addr(), 7001), netip.AddrPortFrom(phone.Addr(), 7002), netip.AddrPortFrom(phone.Addr(), 7003),
		},
	} {
		for what, weapon := range weaponsAt {
			for _, mode := range []media.Mode{media.Strict, media.Delayed} {
				t.Run(who+"/"+what+"/"+mode.String(), func(t *testing.T) {
					attackMapped(t, mode, attackers, weapon)
				})
			}
		}
	}
}

func attackMapped(t *testing.T, mode media.Mode, attackers []netip.AddrPort, weapon func(uint16) []byte) {
	s := ringing(t, natted(mode))
	shots := uint16(0)
	shoot := func() {
		for _, a := range attackers {
			for range 2 {
				s.rtpFrom(a, weapon(shots))
				s.rtcpFrom(a, weapon(shots))
				shots++
			}
		}
	}
	for range 50 {
		s.pass(20 * time.Millisecond)
		shoot()
	}
	s.answer(natted(mode), true)
	latched := -1
	for n := range uint16(250) {
		shoot()
		relayed := s.talk(mappedPort, phoneSSRC, n, 1) == 1
		if relayed && latched < 0 {
			latched = int(n)
		}
		if latched >= 0 && !relayed {
			t.Fatalf("packet %d of the phone was not relayed", n)
		}
		s.hears()
		s.hearsRTCP()
	}
	if latched < 0 || latched > 30 {
		t.Fatalf("latched with packet %d", latched)
	}
	s.expect(mappedPort)
	for _, d := range s.out {
		for _, a := range attackers {
			if d.dest == a {
				t.Fatalf("the attacker heard a packet from %v", d.local)
			}
		}
		if strings.HasSuffix(d.payload, "\x00\xba\xdb\xad") || len(d.payload) < 8 {
			t.Fatalf("the attacker's packet was relayed to %v", d.dest)
		}
	}
}

// Whatever a neighbour does and whenever, a phone that speaks from the SDP's port within 500 ms of the answer is heard
// from its first packet on, and nobody else hears or is heard from then on.
func TestThePhoneAlwaysWinsOnItsOwnPort(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := natted(rapid.SampledFrom([]media.Mode{media.Strict, media.Delayed}).Draw(rt, "mode"))
		s := ringing(t, w)
		attack := func(steps int) {
			for range rapid.IntRange(0, steps).Draw(rt, "steps") {
				s.pass(time.Duration(rapid.IntRange(0, 40).Draw(rt, "ms")) * time.Millisecond)
				from := rapid.SampledFrom([]netip.AddrPort{third, neighbour, mappedPort, rebound}).Draw(rt, "from")
				s.rtpFrom(from, rtp(rapid.SampledFrom([]uint8{0, 8, 101}).Draw(rt, "pt"), rapid.Uint16Range(0, 50).Draw(rt, "seq"), attackSSRC))
			}
		}
		attack(60)
		if rapid.Bool().Draw(rt, "early media") {
			s.answer(w, false)
			attack(60)
		}
		s.answer(w, true)
		// The first packet counts where a lock from early media is undone; else any of a strict window.
		wait := rapid.IntRange(0, 460).Draw(rt, "wait")
		if w.Latch == media.Delayed {
			wait = 0
		}
		s.pass(time.Duration(wait) * time.Millisecond)
		for n := range uint16(40) {
			if s.talk(phone, phoneSSRC, n, 1) != 1 {
				rt.Fatalf("packet %d of the phone was not relayed", n)
			}
			from := rapid.SampledFrom([]netip.AddrPort{third, neighbour, mappedPort, rebound}).Draw(rt, "from")
			if s.rtpFrom(from, rtp(0, n, attackSSRC)) == media.Accepted {
				rt.Fatalf("%v is heard after packet %d", from, n)
			}
			if to := s.hears(); to != phone {
				rt.Fatalf("after packet %d %v hears", n, to)
			}
		}
	})
}

// A NAT that rebinds while the phone goes on talking: the first packet after 500 ms of silence on the old port is
// heard, and all that follow, whoever else is trying.
func TestRebindInMidTalk(t *testing.T) {
	for name, c := range map[string]struct {
		first uint16
		noise func(s *scene, n uint16)
	}{
		"quiet":            {1000, func(*scene, uint16) {}},
		"numbers wrap":     {65520, func(*scene, uint16) {}},
		"neighbour talks":  {1000, func(s *scene, n uint16) { s.rtpFrom(neighbour, rtp(0, n, attackSSRC)) }},
		"neighbour varies": {1000, func(s *scene, n uint16) { s.rtpFrom(neighbour, rtp(0, n, uint32(n)+9)) }},
		"third talks":      {1000, func(s *scene, n uint16) { s.rtpFrom(third, rtp(0, 1003+n, phoneSSRC)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, natted(media.Strict))
			s.pass(time.Second)
			s.talk(mappedPort, phoneSSRC, c.first, 4)
			lost, heard := 0, 0
			for n := range uint16(100) {
				c.noise(s, n)
				if s.talk(rebound, phoneSSRC, c.first+4+n, 1) == 1 {
					heard++
				} else if lost++; heard > 0 {
					t.Fatalf("a gap after the recovery, at packet %d", n)
				}
			}
			if lost != 24 { // those of 20 to 480 ms
				t.Fatalf("%d packets lost", lost)
			}
			s.expect(rebound)
			if st := s.outside(); st.SSRCChanges != 0 || st.Lost != 24 {
				t.Fatalf("stats %+v", st)
			}
		})
	}
}

// crowd are more ports of the phone's address than are watched at a time.
func crowd() (ports []netip.AddrPort) {
	for port := range uint16(12) {
		ports = append(ports, netip.AddrPortFrom(phone.Addr(), 7000+port))
	}
	return ports
}

// Many ports that say nothing coherent keep a phone from the latch no longer than they go on; and never one that the
// relay already knows by its stream.
func TestACrowdKeepsNobodyOut(t *testing.T) {
	t.Run("of a new latch", func(t *testing.T) {
		s := newScene(t, natted(media.Strict))
		s.pass(time.Second)
		for i, from := range crowd() {
			s.rtpFrom(from, rtp(0, 1, uint32(i)))
		}
		for n := range uint16(13) { // the first of them goes on, the others' places come free
			s.rtpFrom(crowd()[0], rtp(0, 1, uint32(n)))
			s.talk(mappedPort, phoneSSRC, n, 1)
		}
		s.expect(mappedPort)
	})
	t.Run("of a rebind", func(t *testing.T) {
		s := talkingScene(t)
		lost := 0
		for n := range uint16(40) {
			for i, from := range crowd() {
				s.rtpFrom(from, rtp(0, n, uint32(i)))
			}
			lost += 1 - s.talk(rebound, phoneSSRC, 65100+n, 1)
		}
		if lost > 30 {
			t.Fatalf("%d packets lost", lost)
		}
		s.expect(rebound)
	})
}

// Five seconds without a valid packet: keepalives and reports hold no leg, and one valid packet does.
func TestWhatHoldsALeg(t *testing.T) {
	for name, c := range map[string]struct {
		keep  []byte
		moves bool
	}{
		"nothing":            {nil, true},
		"stun":               {stun(), true},
		"one byte":           {[]byte{0}, true},
		"other payload type": {rtp(96, 9, phoneSSRC), true},
		"valid":              {rtp(0, 9, phoneSSRC), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := latchedScene(t)
			for range 12 {
				s.pass(time.Second / 2)
				if c.keep != nil {
					s.rtpFrom(mappedPort, c.keep)
				}
			}
			moved := s.talk(rebound, 5, 1, 3) == 1
			if moved != c.moves {
				t.Fatalf("moved: %v", moved)
			}
		})
	}
}
