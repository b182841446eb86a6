package media

// resume is where a leg of an earlier engine stood (Board): SSRC << 32 | the lower half of the index, by direction, and
// the highest index of its SRTCP packets. It counts on a fresh leg only.
type resume struct {
	in, out          uint64
	proved, reported uint32
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
}

// carried is where a leg of a stream stands on a board.
func (b *Board) carried(leg int, generation uint32) (r resume) {
	if b.cell(leg).generation.Load() != generation {
		return r
	}
	c := b.annexOf(leg)
	return resume{in: c.rollIn.Load(), out: c.rollOut.Load(), proved: c.proved.Load(), reported: c.secured.Load()}
}
