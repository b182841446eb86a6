package media_test

import (
	"testing"
	"time"

	"sallyport/media"
)

// A phone whose NAT is known to change ports is heard from its third packet on; the first two prove who it is.
func TestPortedWaitsForNobody(t *testing.T) {
	s := newScene(t, natted(media.Ported))
	s.expect(phone) // until the latch, as ever
	if n := s.talk(mappedPort, phoneSSRC, 1, 10); n != 8 {
		t.Fatalf("%d of 10 packets relayed, want all but the two that prove the source", n)
	}
	s.expect(mappedPort)
	if st := s.outside(); !st.Latched || !st.Ported || st.Latches != 1 {
		t.Fatalf("stats %+v", st)
	}
}

// The NAT may keep the port this time, and a neighbour behind it may be quicker: the SDP's port takes the leg back.
func TestPortedGivesTheExactPortItsWindow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		won   bool
	}{{"at once", 0, true}, {"within the window", 400 * time.Millisecond, true}, {"later", 600 * time.Millisecond, false}} {
		s := newScene(t, natted(media.Ported))
		s.talk(neighbour, attackSSRC, 1, 3)
		s.pass(tt.after)
		s.talk(phone, phoneSSRC, 1, 3)
		want := neighbour
		if tt.won {
			want = phone
		}
		s.expect(want)
		if st := s.outside(); st.Ported == tt.won {
			t.Errorf("%s: ported %v", tt.name, st.Ported)
		}
	}
}

// It changes nothing about who may be heard: not from another address, not with what is no media.
func TestPortedLearnsFromTheSignallingAddressOnly(t *testing.T) {
	s := newScene(t, natted(media.Ported))
	if n := s.talk(third, attackSSRC, 1, 50); n != 0 {
		t.Fatalf("%d packets of a stranger relayed", n)
	}
	s.expect(phone)
	s.talk(mappedPort, phoneSSRC, 1, 3)
	s.talk(third, attackSSRC, 51, 50)
	s.expect(mappedPort)
}
