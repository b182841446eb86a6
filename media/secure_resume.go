package media

// resume is where a leg of an earlier engine stood (Board): SSRC << 32 | the lower half of the index, by direction, the
// highest index of its SRTCP packets, and the marks of the keys that this counts for. It counts on a fresh leg only.
type resume struct {
	in, out          uint64
	proved, reported uint32
	marks            uint32
}

// follow goes on where an earlier engine stood, as far as the keys are the same. A key of ours that has come since begins anew, and the
// one before it is remembered, should it come back. Whoever has another key since may go on counting, or begin anew.
func (s *secure) follow(r *resume, keys *Crypto) {
	s.in.follow(r.in, r.proved)
	if s.heard = uint16(r.marks >> 16); s.heard != 0 && s.heard != markOf(keys.Suite, &keys.Receive) {
		s.in.packets.loosen()
		s.in.reports = indices{}
		s.scratch = make([]byte, scratchLen)
	}
	s.out.follow(r.out, 0)
	if mark := uint16(r.marks); mark != 0 && mark != markOf(keys.Suite, &keys.Send) {
		s.out.past, s.out.packets = []spent{{mark: mark, packets: s.out.packets}}, indices{}
	}
}

// follow goes on where an earlier engine stood.
func (s *session) follow(stood uint64, proved uint32) {
	if stood == 0 {
		return
	}
	*s.packets.add(uint32(stood >> 32)) = index{ssrc: uint32(stood >> 32), top: stood & 0xffffffff, seen: 1<<window - 1, live: true}
	if proved != 0 {
		*s.reports.add(uint32(stood >> 32)) = index{ssrc: uint32(stood >> 32), top: uint64(proved), seen: 1<<window - 1, live: true}
	}
}

// carry publishes where an earlier engine stood: nothing may be sent before this one is lost too.
func (c *annex) carry(r resume) {
	c.rollIn.Store(r.in)
	c.rollOut.Store(r.out)
	c.proved.Store(r.proved)
	c.secured.Store(r.reported)
	c.marks.Store(r.marks)
}

// carried is where a leg of a stream stands on a board.
func (b *Board) carried(leg int, generation uint32) (r resume) {
	if b.cell(leg).generation.Load() != generation {
		return r
	}
	c := b.annexOf(leg)
	return resume{in: c.rollIn.Load(), out: c.rollOut.Load(), proved: c.proved.Load(), reported: c.secured.Load(), marks: c.marks.Load()}
}
