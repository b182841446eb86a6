package media

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// index follows the packets of one SSRC under one key: how often its sequence numbers have wrapped (RFC 3711 §3.3.1) and
// which packets have been (§3.3.2). Of SRTCP, whose packets bear their index, it is the list alone.
type index struct {
	top  uint64 // the highest index: rollover counter << 16 | sequence number
	seen uint64 // bit n: top-n has been; "at least 64" are remembered (RFC 3711 §3.3.2)
	ssrc uint32
	used uint32 // when it was looked up last, in lookups
	live bool
	// loose follows a new key: the counter should go on ("MUST NOT be reset to zero", RFC 3711 §3.3.1), but many begin anew.
	loose bool

	// Of what is sent: what is added to the numbers of a source that has begun again with old ones, and how it shows.
	shift, stray uint16
	strays       uint8
}

// window is how many packets behind the highest are told apart.
const window = bits.UintSize

// of is the index of a sequence number: the one next to the highest.
func (x *index) of(seq uint16) uint64 {
	roc, last := x.top>>16, uint16(x.top)
	switch {
	case last < 1<<15 && int(seq)-int(last) > 1<<15 && roc > 0:
		roc--
	case last >= 1<<15 && int(last)-1<<15 > int(seq):
		roc++
	}
	return (roc<<16 | uint64(seq)) & (1<<48 - 1)
}

// fresh reports whether a packet has not been yet, as far as the list goes back.
func (x *index) fresh(i uint64) bool {
	return x.loose || i > x.top || x.top-i < window && x.seen&(1<<(x.top-i)) == 0
}

// take notes an authentic packet, and reports whether it is the highest now.
func (x *index) take(i uint64) (highest bool) {
	switch {
	case x.loose:
		x.top, x.seen, x.loose = i, 1, false
	case i > x.top:
		x.seen = x.seen<<(i-x.top) | 1
		x.top = i
	default:
		x.seen |= 1 << (x.top - i)
		return i == x.top
	}
	return true
}

// restarts reports whether a packet that would go out under an index of long ago belongs to a source that has begun to count
// anew, as after the loss of a media process that had renumbered it: it is the third such one in a row.
func (x *index) restarts(seq uint16, i uint64) bool {
	if i > x.top || x.top-i < window {
		return false
	}
	if x.strays++; seq != x.stray+1 {
		x.strays = 1
	}
	x.stray = seq
	return x.strays >= 3
}

// sourcesKept bounds the SSRCs of one direction that are remembered. A telephone has one at a time; music on hold and
// transfers bring others.
const sourcesKept = 16

// indices are those of one direction, found by SSRC.
type indices struct {
	list [sourcesKept]index
	turn uint32
	gone []uint32 // SSRCs of what has been sent that are no more in the list; at most goneKept, and as many of each key that join has taken in
}

// goneKept bounds the SSRCs that are known to have been there.
const goneKept = 4096

// retire makes room for a new SSRC in the list of what is sent. It reports false for one that has been there before, or,
// once too many have been, might have been: no packet may go out under an index that has served (RFC 3711 §9.1).
func (s *indices) retire(ssrc uint32) bool {
	if len(s.gone) >= goneKept || slices.Contains(s.gone, ssrc) {
		return false
	}
	if x := s.oldest(); x.live {
		s.gone = append(s.gone, x.ssrc)
	}
	return true
}

// publish shows on the board where an SSRC stands. There is room for one: that which was heard within the last packets, and
// of several, as video and its repairs, that whose counter is ahead. One whose numbers have not wrapped needs no help.
func (s *indices) publish(at *atomic.Uint64, x *index) {
	was := at.Load()
	if uint32(was>>32) == x.ssrc || x.top>>16 >= was>>16&0xffff || !s.lately(uint32(was>>32)) {
		at.Store(uint64(x.ssrc)<<32 | x.top&0xffffffff)
	}
}

// lately reports whether an SSRC was looked up within the last packets.
func (s *indices) lately(ssrc uint32) bool {
	const packets = 500
	for i := range s.list {
		if x := &s.list[i]; x.live && x.ssrc == ssrc {
			return s.turn-x.used < packets
		}
	}
	return false
}

// find is the index of an SSRC, nil if it is not known.
func (s *indices) find(ssrc uint32) *index {
	for i := range s.list {
		if x := &s.list[i]; x.live && x.ssrc == ssrc {
			s.turn++
			x.used = s.turn
			return x
		}
	}
	return nil
}

// add begins an SSRC, in the place of the one that was used longest ago.
func (s *indices) add(ssrc uint32) *index {
	x := s.oldest()
	s.turn++
	*x = index{ssrc: ssrc, used: s.turn, live: true}
	return x
}

// oldest is a free place, or that of the SSRC that was used longest ago.
func (s *indices) oldest() *index {
	oldest := &s.list[0]
	for i := range s.list {
		x := &s.list[i]
		if !x.live {
			return x
		}
		if int32(x.used-oldest.used) < 0 {
			oldest = x
		}
	}
	return oldest
}

// loosen forgets which packets have been, under a new key; where they stand is remembered.
func (s *indices) loosen() {
	for i := range s.list {
		s.list[i].seen, s.list[i].loose = 0, true
	}
}
