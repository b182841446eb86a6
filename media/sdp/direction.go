package sdp

import (
	"net/netip"
	"slices"
	"strings"
)

// SetDirection has stream i flow one way, or both, or none. What the session says of all streams no longer counts for it.
func (s *Session) SetDirection(i int, d Direction) {
	sec := s.media[i]
	if s.direction(sec) == d {
		return
	}
	sec = slices.DeleteFunc(sec, line.directs)
	s.media[i] = s.insert(sec, len(sec), "a="+d.String())
}

// Revive takes the hold of RFC 2543 out of stream i (see Media.Hold): its address is unknown then, an unspecified one says no more that
// nothing is to be sent. The address is a stand-in until SetMedia.
func (s *Session) Revive(i int, addr netip.Addr) {
	if line := s.At(i); !line.Hold() {
		return
	}
	sec := s.media[i]
	if at := find(sec, 'c'); at >= 0 {
		sec[at].text = "c=" + network(addr)
		return
	}
	s.media[i] = s.insert(sec, 1, "c="+network(addr))
}

// SameStreams reports whether two descriptions say the same of their streams, whichever way these flow, whatever address they have and
// whoever describes them: only o=, c=, a=rtcp and the directions (RFC 8866 §6.7) may differ.
func (s *Session) SameStreams(o *Session) bool {
	if len(s.media) != len(o.media) || !sameLines(slices.Concat(s.head, s.tail), slices.Concat(o.head, o.tail)) {
		return false
	}
	for i := range s.media {
		if !sameLines(s.media[i], o.media[i]) {
			return false
		}
	}
	return true
}

// sameLines compares sections without what is said of addresses and directions.
func sameLines(a, b []line) bool {
	differs := func(l line) bool {
		name, _ := l.attribute()
		return l.text[0] == 'o' || l.text[0] == 'c' || l.directs() || strings.EqualFold(name, "rtcp")
	}
	j := 0
	for _, l := range a {
		if differs(l) {
			continue
		}
		for j < len(b) && differs(b[j]) {
			j++
		}
		if j == len(b) || b[j].text != l.text {
			return false
		}
		j++
	}
	return !slices.ContainsFunc(b[j:], func(l line) bool { return !differs(l) })
}

// directs reports whether a line is a direction.
func (l line) directs() bool {
	name, _ := l.attribute()
	return slices.Contains(directionNames[:], name)
}
