package media_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/sim"
	"sallyport/nat"
)

// scene is one answered call on the sim back end, in a time of its own.
type scene struct {
	t     testing.TB
	now   time.Time
	sim   *sim.Backend
	plane *media.Plane
	id    media.ID
	local [2]netip.AddrPort
	out   []delivery

	times   []time.Duration // when each of out left, since observe was set
	observe func()
}

type delivery struct {
	local, dest netip.AddrPort
	payload     string
}

// The addresses of the scene.
var (
	pbx        = netip.MustParseAddrPort("10.0.0.10:5000")
	pbxRTCP    = netip.MustParseAddrPort("10.0.0.10:5001")
	phone      = netip.MustParseAddrPort("198.51.100.7:4000") // SDP address and signalling address
	phoneRTCP  = netip.MustParseAddrPort("198.51.100.7:4001")
	mappedPort = netip.MustParseAddrPort("198.51.100.7:61000") // what a NAT makes of it
	rebound    = netip.MustParseAddrPort("198.51.100.7:61777")
	neighbour  = netip.MustParseAddrPort("198.51.100.7:7000") // same address, another host behind that NAT
	third      = netip.MustParseAddrPort("192.0.2.66:4000")
)

func sceneConfig() media.Config {
	return media.Config{
		Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")},
		First:     30000, Last: 30099,
	}
}

func newScene(t testing.TB, outside media.Want) *scene {
	s := ringing(t, outside)
	s.point(nat.Inside, with(want("pbx"), func(w *media.Want) { w.RTP = pbx }))
	return s
}

// open makes the relay and reserves a stream.
func (s *scene) open() {
	s.sim = sim.New(func() time.Time { return s.now }, func(local, dest netip.AddrPort, payload []byte) {
		s.out = append(s.out, delivery{local, dest, string(payload)})
		if s.observe != nil {
			s.observe()
		}
	})
	var err error
	if s.plane, err = media.New(sceneConfig(), s.sim, 1); err != nil {
		s.t.Fatal(err)
	}
	if s.id, s.local, err = s.plane.Reserve(s.now); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) point(side nat.Side, w media.Want) {
	if err := s.plane.Point(s.id, side, w); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) pass(d time.Duration) { s.now = s.now.Add(d) }

// rtpFrom sends to the outside RTP port, rtcpFrom to the RTCP port.
func (s *scene) rtpFrom(from netip.AddrPort, payload []byte) media.Rejection {
	return s.sim.Inject(s.local[nat.Outside], from, payload)
}

func (s *scene) rtcpFrom(from netip.AddrPort, payload []byte) media.Rejection {
	at := s.local[nat.Outside]
	return s.sim.Inject(netip.AddrPortFrom(at.Addr(), at.Port()+1), from, payload)
}

// hears is who hears what the PBX says now.
func (s *scene) hears() netip.AddrPort {
	n := len(s.out)
	s.sim.Inject(s.local[nat.Inside], pbx, rtp(0, uint16(n), 77))
	if len(s.out) == n {
		return netip.AddrPort{}
	}
	return s.out[n].dest
}

// hearsRTCP is who hears the PBX's reports.
func (s *scene) hearsRTCP() netip.AddrPort {
	n, at := len(s.out), s.local[nat.Inside]
	s.sim.Inject(netip.AddrPortFrom(at.Addr(), at.Port()+1), pbxRTCP, rtcp(77))
	if len(s.out) == n {
		return netip.AddrPort{}
	}
	return s.out[n].dest
}

// talk sends a source's packets from sequence number first, 20 ms apart, and returns how many were relayed.
func (s *scene) talk(from netip.AddrPort, ssrc uint32, first uint16, count int) (relayed int) {
	for n := range count {
		s.pass(20 * time.Millisecond)
		if s.rtpFrom(from, rtp(0, first+uint16(n), ssrc)) == media.Accepted {
			relayed++
		}
	}
	return relayed
}

// natted is a phone whose SDP names a private address: only the port counts.
func natted(mode media.Mode) media.Want {
	return with(want("phone"), func(w *media.Want) {
		w.RTP, w.Fallback, w.Latch = netip.AddrPortFrom(netip.Addr{}, phone.Port()), phone.Addr(), mode
	})
}

// public is a phone whose SDP names the signalling address.
func public(mode media.Mode) media.Want {
	return with(natted(mode), func(w *media.Want) { w.RTP = phone })
}

// tagged marks a datagram as the attacker's without making it another class.
func tagged(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), b...), 0xbadbad)
}
