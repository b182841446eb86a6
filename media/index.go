package media

import "math/bits"

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
	oldest := &s.list[0]
	for i := range s.list {
		x := &s.list[i]
		if !x.live {
			oldest = x
			break
		}
		if int32(x.used-oldest.used) < 0 {
			oldest = x
		}
	}
	s.turn++
	*oldest = index{ssrc: ssrc, used: s.turn, live: true}
	return oldest
}

// loosen forgets which packets have been, under a new key; where they stand is remembered.
func (s *indices) loosen() {
	for i := range s.list {
		s.list[i].seen, s.list[i].loose = 0, true
	}
}
