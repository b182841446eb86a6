package media

// RFC 3550 §A.1.
const (
	maxDropout  = 3000
	maxMisorder = 100
	seqModulus  = 1 << 16
)

// sequence extends sequence numbers and counts losses (RFC 3550 §A.1, §A.3). It has no probation: the latch sees to
// that.
type sequence struct {
	base, cycles, bad uint32
	received          uint32
	max               uint16
	started           bool
}

func (s *sequence) reset(seq uint16) {
	*s = sequence{base: uint32(seq), bad: seqModulus + 1, max: seq, started: true}
}

// update takes in one packet. It reports false for a jump that the next packet has yet to confirm; restarted says that
// this packet confirmed one, and the count began anew.
func (s *sequence) update(seq uint16) (ok, restarted bool) {
	delta := seq - s.max
	switch {
	case delta < maxDropout:
		if seq < s.max {
			s.cycles += seqModulus
		}
		s.max = seq
	case delta <= seqModulus-maxMisorder:
		// RFC 3550 §A.1: two in a row after a jump mean that the other side restarted without telling.
		if uint32(seq) != s.bad {
			s.bad = (uint32(seq) + 1) & (seqModulus - 1)
			return false, false
		}
		s.reset(seq)
		restarted = true
	}
	s.received++
	return true, restarted
}

// lost is expected less received; duplicates may make it negative (RFC 3550 §A.3).
func (s *sequence) lost() int64 {
	if !s.started {
		return 0
	}
	return int64(s.cycles) + int64(s.max) - int64(s.base) + 1 - int64(s.received)
}

// ahead reports whether seq follows last within what loss and a short silence explain.
func ahead(seq, last uint16) bool {
	d := seq - last
	return d > 0 && d < maxDropout
}
