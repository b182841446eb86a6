package media_test

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// expect compares where the PBX's audio goes.
func (s *scene) expect(to netip.AddrPort) {
	if t, ok := s.t.(*testing.T); ok {
		t.Helper()
	}
	if got := s.hears(); got != to {
		s.t.Fatalf("the PBX's audio goes to %v, want %v", got, to)
	}
}

func (s *scene) outside() media.LegStats {
	legs, ok := s.plane.Stats(s.id)
	if !ok {
		s.t.Fatal("no stats")
	}
	return legs[nat.Outside]
}

// Until the latch we send to the SDP's address if it is usable, else to its port at the signalling address.
func TestSendsBeforeTheLatch(t *testing.T) {
	for _, mode := range []media.Mode{media.Off, media.Strict, media.Delayed} {
		for name, w := range map[string]media.Want{"public": public(mode), "natted": natted(mode)} {
			s := newScene(t, w)
			s.expect(phone)
			if got := s.hearsRTCP(); got != phoneRTCP {
				t.Errorf("%v %s: reports go to %v", mode, name, got)
			}
		}
	}
	elsewhere := with(public(media.Strict), func(w *media.Want) { w.RTP = netip.MustParseAddrPort("192.0.2.1:9000") })
	newScene(t, elsewhere).expect(elsewhere.RTP)
	nothing := with(natted(media.Strict), func(w *media.Want) { w.Fallback = netip.Addr{} })
	newScene(t, nothing).expect(netip.AddrPort{})
}

// The SDP's port has the first 500 ms to itself; then the port is learned from three valid packets.
func TestStrictWaitsForTheExactPort(t *testing.T) {
	s := newScene(t, natted(media.Strict))
	if n := s.talk(mappedPort, phoneSSRC, 1, 24); n != 0 { // until 480 ms
		t.Fatalf("%d packets relayed within the window", n)
	}
	s.expect(phone)
	if n := s.talk(mappedPort, phoneSSRC, 25, 3); n != 3 {
		t.Fatalf("%d of 3 packets relayed after the window", n)
	}
	s.expect(mappedPort)
	if st := s.outside(); !st.Latched || st.Latches != 1 || st.Remote != mappedPort {
		t.Fatalf("stats %+v", st)
	}
}

func TestStrictPrefersTheExactPort(t *testing.T) {
	s := newScene(t, natted(media.Strict))
	s.talk(neighbour, attackSSRC, 1, 20)
	if n := s.talk(phone, phoneSSRC, 1, 1); n != 1 {
		t.Fatal("the exact port was not relayed at once")
	}
	// Two more lock it, however long the neighbour goes on.
	s.talk(phone, phoneSSRC, 2, 2)
	s.talk(neighbour, attackSSRC, 21, 40)
	s.talk(phone, phoneSSRC, 4, 1)
	s.expect(phone)
	if st := s.outside(); !st.Latched || st.Latches != 1 {
		t.Fatalf("stats %+v", st)
	}
}

func TestThreeValidPacketsOfOneSSRC(t *testing.T) {
	cases := []struct {
		name    string
		packets [][]byte
		locked  bool
	}{
		{"in order", [][]byte{rtp(0, 1, 1), rtp(0, 2, 1), rtp(0, 3, 1)}, true},
		{"with a gap", [][]byte{rtp(0, 1, 1), rtp(0, 5, 1), rtp(101, 6, 1)}, true},
		{"with a repeat", [][]byte{rtp(0, 1, 1), rtp(0, 1, 1), rtp(0, 2, 1)}, false},
		{"reordered, then in order", [][]byte{rtp(0, 2, 1), rtp(0, 1, 1), rtp(0, 3, 1), rtp(0, 4, 1)}, true},
		{"wrapping", [][]byte{rtp(0, 65535, 1), rtp(0, 0, 1), rtp(0, 1, 1)}, true},
		{"two SSRCs", [][]byte{rtp(0, 1, 1), rtp(0, 2, 2), rtp(0, 3, 1)}, false},
		{"another payload type", [][]byte{rtp(8, 1, 1), rtp(8, 2, 1), rtp(8, 3, 1)}, false},
		{"junk between", [][]byte{rtp(0, 1, 1), {1}, rtp(0, 2, 1), stun(), rtp(0, 3, 1)}, true},
		{"reports", [][]byte{rtcp(1), rtcp(1), rtcp(1)}, false},
		{"version 1", [][]byte{version1(1), version1(2), version1(3)}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, natted(media.Strict))
			s.pass(time.Second)
			for _, p := range c.packets {
				s.pass(20 * time.Millisecond)
				s.rtpFrom(mappedPort, p)
			}
			if s.outside().Latched != c.locked {
				t.Fatalf("latched: %v", !c.locked)
			}
		})
	}
}

func version1(seq uint16) []byte {
	b := rtp(0, seq, 1)
	b[0] = 0x40
	return b
}

func TestDelayedLearnsAtOnceAndLetsTheExactPortRetake(t *testing.T) {
	s := newScene(t, natted(media.Delayed))
	if n := s.talk(mappedPort, phoneSSRC, 1, 3); n != 1 {
		t.Fatalf("%d of the first 3 packets relayed", n)
	}
	s.expect(mappedPort)
	s.pass(2 * time.Second)
	if s.talk(phone, phoneSSRC+1, 1, 1) != 1 {
		t.Fatal("the exact port did not retake within 3 s")
	}
	s.expect(phone)

	s = newScene(t, natted(media.Delayed))
	s.talk(mappedPort, phoneSSRC, 1, 3)
	s.talk(mappedPort, phoneSSRC, 4, 151)
	if s.talk(phone, phoneSSRC+1, 1, 3) != 0 {
		t.Fatal("the exact port retook after 3 s")
	}
	s.expect(mappedPort)
}

// talkingScene is the same after two seconds of talk; the next sequence number is 65100.
func talkingScene(t *testing.T) *scene {
	s := newScene(t, natted(media.Strict))
	s.pass(time.Second)
	s.talk(mappedPort, phoneSSRC, 65000, 100)
	return s
}

func TestRebindingNAT(t *testing.T) {
	t.Run("follows", func(t *testing.T) {
		s := talkingScene(t)
		s.pass(500 * time.Millisecond)
		if n := s.talk(rebound, phoneSSRC, 65125, 3); n != 1 {
			t.Fatalf("%d of 3 packets relayed", n)
		}
		s.expect(rebound)
		if n := s.talk(rebound, phoneSSRC, 65128, 10); n != 10 {
			t.Fatalf("%d of 10 packets relayed", n)
		}
	})
	t.Run("although a neighbour is trying", func(t *testing.T) {
		s := talkingScene(t)
		s.pass(460 * time.Millisecond)
		relayed := 0
		for n := range uint16(4) {
			s.rtpFrom(neighbour, rtp(0, n, attackSSRC))
			relayed += s.talk(rebound, phoneSSRC, 65125+n, 1)
		}
		if relayed == 0 {
			t.Fatal("the phone stays deaf")
		}
		s.expect(rebound)
	})
}

func TestNoRebinding(t *testing.T) {
	for name, try := range map[string]func(s *scene){
		"too early":         func(s *scene) { s.pass(400 * time.Millisecond); s.talk(rebound, phoneSSRC, 65120, 3) },
		"another SSRC":      func(s *scene) { s.pass(time.Second); s.talk(rebound, attackSSRC, 65125, 9) },
		"older numbers":     func(s *scene) { s.pass(time.Second); s.talk(rebound, phoneSSRC, 65000, 9) },
		"numbers far ahead": func(s *scene) { s.pass(time.Second); s.talk(rebound, phoneSSRC, 10000, 9) },
		"another address":   func(s *scene) { s.pass(time.Second); s.talk(third, phoneSSRC, 65125, 9) },
		"still heard": func(s *scene) {
			for n := range uint16(30) {
				s.rtpFrom(mappedPort, stun()) // a keepalive is a sign of life
				s.talk(rebound, phoneSSRC, 65125+n, 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := talkingScene(t)
			try(s)
			s.expect(mappedPort)
		})
	}
}

func TestFiveSecondsWithoutAValidPacket(t *testing.T) {
	s := newScene(t, natted(media.Strict))
	s.pass(time.Second)
	s.talk(mappedPort, phoneSSRC, 1, 3)
	s.pass(4900 * time.Millisecond)
	if s.talk(rebound, 5, 1, 4) != 0 {
		t.Fatal("moved before five seconds")
	}
	if s.talk(rebound, 5, 5, 3) == 0 {
		t.Fatal("a phone that restarted stays deaf")
	}
	s.expect(rebound)
	s.pass(time.Minute)
	if s.talk(third, 6, 1, 10) != 0 {
		t.Fatal("moved to an address that is no candidate")
	}

	held := newScene(t, natted(media.Strict))
	held.pass(time.Second)
	held.talk(mappedPort, phoneSSRC, 1, 3)
	held.point(nat.Outside, with(natted(media.Strict), func(w *media.Want) { w.Receive, w.Epoch = false, 0 }))
	held.pass(time.Minute)
	held.talk(neighbour, attackSSRC, 1, 10)
	held.expect(mappedPort)
}

func TestReportsLatchOnTheirOwn(t *testing.T) {
	s := newScene(t, natted(media.Strict))
	s.pass(time.Second)
	s.talk(mappedPort, phoneSSRC, 1, 3)
	if got := s.hearsRTCP(); got != phoneRTCP {
		t.Fatalf("reports go to %v before any came", got)
	}
	from := netip.AddrPortFrom(phone.Addr(), 61001)
	for n, why := range []media.Rejection{media.RejectedLearn, media.RejectedLearn, media.Accepted, media.Accepted} {
		s.pass(5 * time.Second)
		if got := s.rtcpFrom(from, rtcp(phoneSSRC)); got != why {
			t.Fatalf("report %d: %v, want %v", n, got, why)
		}
	}
	if got := s.hearsRTCP(); got != from {
		t.Fatalf("reports go to %v, want %v", got, from)
	}
	// A pause of some intervals is no invitation.
	s.pass(20 * time.Second)
	for range 5 {
		s.pass(time.Second / 2)
		if got := s.rtcpFrom(neighbour, rtcp(phoneSSRC)); got != media.RejectedSource {
			t.Fatal(got)
		}
	}
}

// Re-INVITE and UPDATE: a new epoch permits a new latch, and costs the proven source nothing.
func TestEpoch(t *testing.T) {
	t.Run("repeat changes nothing", func(t *testing.T) {
		s := latchedScene(t)
		for range 3 {
			s.point(nat.Outside, natted(media.Strict))
		}
		s.plane.Refill()
		s.expect(mappedPort)
		if s.talk(mappedPort, phoneSSRC, 4, 2) != 2 || s.outside().Packets != 3 {
			t.Fatalf("stats %+v", s.outside())
		}
	})
	t.Run("same SDP", func(t *testing.T) {
		s := latchedScene(t)
		s.point(nat.Outside, with(natted(media.Strict), func(w *media.Want) { w.Epoch = 1 }))
		s.expect(mappedPort)
		if s.talk(mappedPort, phoneSSRC, 4, 2) != 2 || s.talk(rebound, 9, 1, 9) != 0 {
			t.Fatal("a new epoch moved a source that still talks")
		}
		s.pass(time.Second / 2)
		if s.talk(rebound, 9, 10, 3) == 0 {
			t.Fatal("a new epoch permits a new latch once the old source is silent")
		}
		s.expect(rebound)
	})
}

// latchedScene is a phone behind a NAT whose port has been learned.
func latchedScene(t *testing.T) *scene {
	s := newScene(t, natted(media.Strict))
	s.pass(time.Second)
	s.talk(mappedPort, phoneSSRC, 1, 3)
	return s
}

// An SDP that names another address moves the leg.
func TestMove(t *testing.T) {
	t.Run("another address", func(t *testing.T) {
		s := latchedScene(t)
		moved := netip.MustParseAddrPort("198.51.100.99:4000")
		s.point(nat.Outside, with(public(media.Strict), func(w *media.Want) {
			w.RTP, w.Fallback, w.Epoch = moved, moved.Addr(), 1
		}))
		s.expect(moved)
		if s.talk(mappedPort, phoneSSRC, 4, 3) != 0 || s.talk(moved, phoneSSRC, 7, 3) != 3 {
			t.Fatal("the leg did not move with the SDP")
		}
	})
	t.Run("the flow moved", func(t *testing.T) {
		s := latchedScene(t)
		s.point(nat.Outside, with(natted(media.Strict), func(w *media.Want) { w.Fallback = netip.MustParseAddr("198.51.100.99") }))
		s.expect(netip.MustParseAddrPort("198.51.100.99:4000"))
	})
	t.Run("old hold and resume", func(t *testing.T) {
		s := latchedScene(t)
		s.point(nat.Outside, with(natted(media.Strict), func(w *media.Want) {
			w.RTP, w.Send, w.Receive, w.Epoch = netip.AddrPort{}, false, false, 1
		}))
		s.expect(netip.AddrPort{})
		if s.talk(mappedPort, phoneSSRC, 4, 3) != 0 {
			t.Fatal("a held phone is heard")
		}
		s.point(nat.Outside, with(natted(media.Strict), func(w *media.Want) { w.Epoch = 2 }))
		s.expect(mappedPort)
		if s.talk(mappedPort, phoneSSRC, 7, 3) != 3 {
			t.Fatal("the resume was not heard from its first packet")
		}
	})
	t.Run("off follows at once", func(t *testing.T) {
		s := newScene(t, public(media.Off))
		s.talk(phone, phoneSSRC, 1, 3)
		moved := netip.MustParseAddrPort("198.51.100.99:4000")
		s.point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.RTP = moved }))
		s.expect(moved)
		if s.talk(phone, phoneSSRC, 4, 1) != 0 || s.talk(moved, 5, 1, 1) != 1 {
			t.Fatal("the old address is still heard")
		}
	})
}

func TestOwnPortsAreNoPeers(t *testing.T) {
	s := newScene(t, with(public(media.Off), func(w *media.Want) {
		w.Sources = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	}))
	own := netip.AddrPortFrom(s.local[nat.Outside].Addr(), s.local[nat.Outside].Port()+2)
	if why := s.rtpFrom(own, rtp(0, 1, 1)); why != media.RejectedOwn {
		t.Fatalf("%v for a packet of our own pool", why)
	}
	if why := s.rtpFrom(netip.AddrPortFrom(own.Addr(), 9999), rtp(0, 1, 1)); why != media.Accepted {
		t.Fatalf("%v for our address beyond the pool", why)
	}
}

// A leg without a destination and a source without a port have nothing in common.
func TestPortZero(t *testing.T) {
	s := newScene(t, with(natted(media.Off), func(w *media.Want) { w.Fallback = netip.Addr{} }))
	for _, from := range []netip.AddrPort{{}, netip.AddrPortFrom(phone.Addr(), 0)} {
		if why := s.rtpFrom(from, rtp(0, 1, 1)); why != media.RejectedSource {
			t.Errorf("%v: %v", from, why)
		}
	}
	s = newScene(t, natted(media.Delayed))
	if s.talk(netip.AddrPortFrom(phone.Addr(), 0), 1, 1, 9) != 0 {
		t.Error("port 0 was learned")
	}
}

// T.38 has no header to check: the SDP's port, or three packets of one source in a row that are no STUN.
func TestOpaqueLatch(t *testing.T) {
	s := newScene(t, with(natted(media.Strict), func(w *media.Want) { w.Opaque = true }))
	s.pass(time.Second)
	for _, p := range [][]byte{stun(), {1}, nil, stun(), {2}} {
		s.rtpFrom(mappedPort, p)
	}
	s.expect(phone)
	for n := range byte(3) {
		s.rtpFrom(mappedPort, []byte{0, n, 1, 6, 0})
	}
	s.expect(mappedPort)
}
