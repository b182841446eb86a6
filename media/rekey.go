package media

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// A master key of ours that is new begins a new context at the receiver, whose rollover counter is zero: who gets it is a peer
// that has come into the call later, or has begun anew with us (RFC 4568 §7.1.4: "a new crypto context where the ROC is set to
// zero"; RFC 5764 §4.2: a new association). Under a key that comes back the counters go on where they stood, for no index may
// serve twice (RFC 3711 §9.1).

// spent is a key of ours that was in force, and what has been sent under it.
type spent struct {
	suite   Suite
	master  [maxKey]byte
	mark    uint16 // of a key that an earlier engine had, of which nothing else is known
	packets indices
}

// is reports whether it is that key.
func (p *spent) is(suite Suite, master *[maxKey]byte) bool {
	if p.mark != 0 {
		return p.mark == markOf(suite, master)
	}
	return p.suite == suite && p.master == *master
}

// markOf tells keys apart on the board, without telling them; 0: no key.
func markOf(suite Suite, master *[maxKey]byte) uint16 {
	in := [1 + maxKey]byte{byte(suite)}
	copy(in[1:], master[:])
	sum := sha256.Sum256(in[:])
	return max(1, binary.BigEndian.Uint16(sum[:]))
}

// marksOf joins those of both directions.
func marksOf(in, out uint16) uint32 { return uint32(in)<<16 | uint32(out) }

// spentKept bounds the keys of one leg that are remembered: a call has as many as peers come into it.
const spentKept = 16

// send sets the key of what is sent, and reports whether there was another one.
func (s *session) send(suite Suite, master *[maxKey]byte) (changed bool) {
	if s.has(suite, master) {
		return false
	}
	if s.context != nil && !s.joint {
		s.turn(suite, master)
	}
	return s.key(suite, master)
}

// turn takes up the counters of another key.
func (s *session) turn(suite Suite, master *[maxKey]byte) {
	now := spent{suite: s.suite, master: s.master, packets: s.packets}
	at := slices.IndexFunc(s.past, func(p spent) bool { return p.is(suite, master) })
	switch {
	case at >= 0:
		s.packets, s.past[at] = s.past[at].packets, now
	case len(s.past) < spentKept:
		s.past, s.packets = append(s.past, now), indices{}
	default:
		s.join()
	}
}

// join has one count for all keys from now on, above all that has been sent: of more keys than are remembered any may come back.
func (s *session) join() {
	for i := range s.past {
		p := &s.past[i].packets
		for _, x := range p.list {
			switch y := s.packets.find(x.ssrc); {
			case !x.live:
			case y == nil:
				s.packets.gone = append(s.packets.gone, x.ssrc)
			default: // which of the last ones were under which key is not told apart any more
				y.top, y.seen = max(x.top, y.top), 1<<window-1
			}
		}
		s.packets.gone = append(s.packets.gone, p.gone...)
	}
	s.past, s.joint = nil, true
}

// foremost is what the board shows of the SSRC whose counter is ahead; 0: there is none.
func (s *indices) foremost() uint64 {
	var first *index
	for i := range s.list {
		if x := &s.list[i]; x.live && (first == nil || x.top > first.top) {
			first = x
		}
	}
	if first == nil {
		return 0
	}
	return uint64(first.ssrc)<<32 | first.top&0xffffffff
}
