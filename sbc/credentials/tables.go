package credentials

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
)

// The bounds of Suspects.
const (
	suspectFor   = 10 * time.Minute // for how long a phone that has guessed at another's password is not forgiven because it knows its own
	suspectsMost = 512              // the oldest goes first
)

// Suspects are phones that have answered a challenge in a name that is not one of their own, by address-of-record and source. The zero
// value is ready. A source is an address, of IPv6 a /64: who has one has 2⁶⁴ of them.
type Suspects struct {
	last map[suspect]time.Time
	ring []suspect // in order of their first time
	next int
}

type suspect struct {
	aor    string // in lower case: to many PBXes Alice and alice are one, and have one password
	source netip.Addr
}

// Note notes that a phone has done so.
func (s *Suspects) Note(now time.Time, aor string, source netip.Addr) {
	x := suspect{strings.ToLower(aor), source}
	if s.last == nil {
		s.last = make(map[suspect]time.Time)
	}
	if _, known := s.last[x]; !known {
		if len(s.ring) < suspectsMost {
			s.ring = append(s.ring, x)
		} else {
			delete(s.last, s.ring[s.next])
			s.ring[s.next] = x
			s.next = (s.next + 1) % suspectsMost
		}
	}
	s.last[x] = now
}

// Has reports whether it did lately. That its own password is right says nothing then of what it has tried.
func (s *Suspects) Has(now time.Time, aor string, source netip.Addr) bool {
	at, known := s.last[suspect{strings.ToLower(aor), source}]
	return known && now.Sub(at) < suspectFor
}

// challengesMost bounds a generation of challenges; two are kept.
const challengesMost = 8192

// Challenges remembers which requests have been challenged, so that a challenge that is sent again counts once. The zero value is
// ready.
type Challenges struct{ young, old map[Challenge]struct{} }

// Challenge names a challenged request (RFC 3261 §8.1.1.4, §8.1.1.5) and the challenge: who asks again and again under one
// Call-ID and CSeq is challenged anew each time.
type Challenge struct {
	To     nat.Flow
	CallID string
	CSeq   uint32
	Nonces string // all of them
}

// Add reports whether a challenge is a new one.
func (c *Challenges) Add(x Challenge) bool {
	if _, there := c.young[x]; there {
		return false
	}
	if _, there := c.old[x]; there {
		return false
	}
	if c.young == nil || len(c.young) >= challengesMost {
		c.old, c.young = c.young, make(map[Challenge]struct{})
	}
	c.young[x] = struct{}{}
	return true
}
