package media_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	pionstun "github.com/pion/stun/v3"

	"sallyport/media"
	"sallyport/media/ice"
	"sallyport/nat"
)

// checkBy is a connectivity check as a full agent sends it.
func checkBy(t testing.TB, own ice.Credentials, priority uint32, nominate bool) []byte {
	t.Helper()
	setters := []pionstun.Setter{
		pionstun.TransactionID, pionstun.BindingRequest, pionstun.NewUsername(string(own.Fragment[:]) + ":theirs"),
		pionstun.RawAttribute{Type: pionstun.AttrICEControlling, Value: make([]byte, 8)},
		pionstun.RawAttribute{Type: pionstun.AttrPriority, Value: binary.BigEndian.AppendUint32(nil, priority)},
	}
	if nominate {
		setters = append(setters, pionstun.RawAttribute{Type: pionstun.AttrUseCandidate})
	}
	m, err := pionstun.Build(append(setters, pionstun.NewShortTermIntegrity(string(own.Password[:])), pionstun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// iceScene is a call whose outside peer has ICE, behind a NAT.
func iceScene(t *testing.T) *scene {
	return newScene(t, icePeer())
}

func icePeer() media.Want {
	return with(natted(media.Strict), func(w *media.Want) { w.ICE, w.Mux = credentials, true })
}

// check sends one and reports whether it was answered to where it came from.
func (s *scene) check(from netip.AddrPort, own ice.Credentials, priority uint32, nominate bool) bool {
	s.t.Helper()
	n := len(s.out)
	why := s.rtpFrom(from, checkBy(s.t, own, priority, nominate))
	answered := len(s.out) == n+1 && s.out[n].dest == from && s.out[n].local == s.local[nat.Outside]
	if answered != (why == media.Accepted) {
		s.t.Errorf("%v, %d answers", why, len(s.out)-n)
	}
	return answered
}

// Who has shown by a check where he is may speak; who is nominated is spoken to, at once.
func TestChecksLatch(t *testing.T) {
	s := iceScene(t)
	if n := s.talk(mappedPort, 1, 1, 10); n != 0 {
		t.Errorf("%d packets were relayed before any check", n)
	}
	if !s.check(mappedPort, credentials, 100, false) || s.hears() != mappedPort {
		t.Error("a check was not answered, or who has checked hears nothing until it nominates")
	}
	if !s.check(phone, credentials, 200, false) || s.hears() != mappedPort {
		t.Error("another check without nomination moves the stream")
	}
	if n := s.talk(mappedPort, 1, 20, 3); n != 3 {
		t.Errorf("%d of 3 packets of a checked address", n)
	}
	if n := s.talk(third, 1, 40, 3) + s.talk(neighbour, 1, 60, 3); n != 0 {
		t.Errorf("%d packets of addresses that were not checked", n)
	}
	if !s.check(mappedPort, credentials, 100, true) || s.hears() != mappedPort {
		t.Errorf("%v hears, nominated was %v", s.hears(), mappedPort)
	}
	if n := s.talk(mappedPort, 1, 80, 3); n != 3 {
		t.Errorf("%d of 3 packets of the nominated pair", n)
	}
}

// The address need not be one that signalling named: the password is known to the peer alone.
func TestChecksFromAnywhere(t *testing.T) {
	s := iceScene(t)
	if s.check(third, ice.Credentials{Fragment: credentials.Fragment, Password: [24]byte{'x'}}, 100, true) || s.hears() == third {
		t.Error("a check with a guessed password counts")
	}
	if !s.check(third, credentials, 100, true) || s.hears() != third {
		t.Error("a check from an address that the SDP does not name was not answered")
	}
	if own := s.local[nat.Inside]; s.check(own, credentials, 200, true) || s.hears() == own {
		t.Error("a port of our own became a peer")
	}
}

// Several nominations: the best candidate, unless it has fallen silent; the same one may always repeat itself.
func TestNominations(t *testing.T) {
	s := iceScene(t)
	for _, tt := range []struct {
		after    time.Duration
		from     netip.AddrPort
		priority uint32
		hears    netip.AddrPort
	}{
		{0, phone, 50, phone},
		{time.Second, mappedPort, 100, mappedPort},
		{time.Second, phone, 50, mappedPort},
		{2600 * time.Millisecond, phone, 50, phone},
		{time.Second, phone, 10, phone},
		{0, rebound, 10, rebound},
	} {
		s.pass(tt.after)
		if !s.check(tt.from, credentials, tt.priority, true) || s.hears() != tt.hears {
			t.Errorf("%v with %d: %v hears, want %v", tt.from, tt.priority, s.hears(), tt.hears)
		}
	}
}

// A checked address is believed for thirty seconds; the nominated one while it lasts.
func TestChecksAge(t *testing.T) {
	s := iceScene(t)
	s.check(phone, credentials, 100, true)
	s.check(mappedPort, credentials, 50, false)
	s.pass(31 * time.Second)
	if n := s.talk(mappedPort, 1, 1, 3); n != 0 {
		t.Errorf("%d packets of an address that was checked long ago", n)
	}
	if n := s.talk(phone, 1, 1, 3); n != 3 {
		t.Errorf("%d of 3 packets of the nominated pair", n)
	}
}

// New credentials are a restart: the peer stays where it is until it nominates anew. The old password counts until the new one
// is used, then never again. A new SDP address moves nobody.
func TestICERestart(t *testing.T) {
	s := iceScene(t)
	s.check(mappedPort, credentials, 100, true)
	next := credentials
	next.Password[3]++
	s.point(nat.Outside, with(icePeer(), func(w *media.Want) { w.ICE, w.Epoch, w.RTP = next, 1, netip.AddrPortFrom(netip.Addr{}, 4444) }))
	if s.hears() != mappedPort || s.talk(mappedPort, 1, 1, 3) != 3 {
		t.Error("the restart interrupts the call")
	}
	if !s.check(rebound, credentials, 10, true) || s.hears() != rebound {
		t.Error("the old password does not count while the peer has not used the new one")
	}
	if !s.check(mappedPort, next, 20, true) || s.hears() != mappedPort {
		t.Error("the new password does not count")
	}
	if s.check(third, credentials, 200, true) || s.hears() == third {
		t.Error("the old password counts")
	}
	s.point(nat.Outside, with(natted(media.Strict), func(w *media.Want) { w.Mux, w.Epoch = true, 2 }))
	if s.check(rebound, next, 10, true) {
		t.Error("checks are answered without ICE")
	}
}

// A flood of checks with the right password from everywhere grows nothing, and a peer stays known.
func TestManyCheckedAddresses(t *testing.T) {
	s := iceScene(t)
	s.check(phone, credentials, 100, true)
	for n := range uint16(500) {
		s.pass(time.Millisecond)
		s.check(netip.AddrPortFrom(third.Addr(), 1000+n), credentials, 1, false)
	}
	if s.hears() != phone || s.talk(phone, 1, 1, 3) != 3 {
		t.Error("the nominated peer was lost")
	}
	if n := s.talk(netip.AddrPortFrom(third.Addr(), 1000), 1, 50, 1); n != 0 {
		t.Error("every address is remembered")
	}
}
