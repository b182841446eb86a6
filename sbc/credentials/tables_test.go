package credentials

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
)

// TestAChallengeCountsOnce however often it is sent, and the table stays bounded.
func TestAChallengeCountsOnce(t *testing.T) {
	var c Challenges
	name := func(i int) Challenge {
		return Challenge{nat.Flow{Interface: uint16(i % 3)}, fmt.Sprint("call-", i), uint32(i), "n"}
	}
	for i := range 3 * challengesMost {
		if !c.Add(name(i)) || c.Add(name(i)) {
			t.Fatalf("%d", i)
		}
		if i > challengesMost/2 && c.Add(name(i-challengesMost/2)) {
			t.Fatalf("%d is forgotten too soon", i-challengesMost/2)
		}
		if len(c.young)+len(c.old) > 2*challengesMost {
			t.Fatalf("%d and %d", len(c.young), len(c.old))
		}
	}
	x := name(1)
	x.CSeq++
	if !c.Add(x) {
		t.Error("the next request of a call counts with the one before")
	}
	if x.Nonces = "another"; !c.Add(x) || c.Add(x) {
		t.Error("another challenge to the same Call-ID and CSeq is not one of its own")
	}
}

// TestSuspects are suspected for a while, in their own name and at their own source alone, and the table is bounded.
func TestSuspects(t *testing.T) {
	var s Suspects
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	at, far := netip.MustParseAddr("2001:db8::"), netip.MustParseAddr("198.51.100.7")
	s.Note(now, "204@example.com", at)
	for _, tt := range []struct {
		aor  string
		at   netip.Addr
		wait time.Duration
		want bool
	}{
		{"204@example.com", at, 0, true},
		{"204@EXAMPLE.com", at, 0, true},
		{"204@example.com", at, suspectFor - 1, true},
		{"204@example.com", at, suspectFor, false},
		{"205@example.com", at, 0, false},
		{"204@example.com", far, 0, false},
	} {
		if got := s.Has(now.Add(tt.wait), tt.aor, tt.at); got != tt.want {
			t.Errorf("%s at %v after %v: %v", tt.aor, tt.at, tt.wait, got)
		}
	}
	for n := range 3 * suspectsMost {
		s.Note(now, fmt.Sprint(n), far)
		s.Note(now, fmt.Sprint(n), far)
		if len(s.last) > suspectsMost || len(s.ring) > suspectsMost || !s.Has(now, fmt.Sprint(n), far) {
			t.Fatalf("%d and %d", len(s.last), len(s.ring))
		}
	}
	if s.Has(now, "204@example.com", at) {
		t.Error("the first is there yet")
	}
}
