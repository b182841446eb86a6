package media

import "encoding/binary"

// RTCP is read where it arrives, as the peer numbered it, and never waited for: figures come from it, and nothing that the
// relay does depends on them. A peer that lies spoils what is said of its own leg.

// survey is what the engine knows of the reports of one leg's peer: a table of its own, a row for each pair of ports,
// which only RTCP touches.
type survey struct {
	told    [toldSlots]told
	next    uint8
	resumed bool   // the peer was heard before this engine was there: what it lost until its first report is not counted
	known   bool   // it has reported
	ssrc    uint32 // of the stream that it reported on last
	lost    int32  // what it said of that
	before  int32  // what it lost of earlier ones
}

// told is the moment at which a leg's peer was sent a time stamp that it will name in its reports.
type told struct {
	at   int64 // 0: none
	ssrc uint32
	mid  uint32 // the middle 32 bits of its NTP time
}

// Of those that a peer was sent the last few are remembered: some seconds, for a sender that has much to report.
const toldSlots = 4

// What is read of extended reports.
const (
	xrTime   = 4  // RFC 3611 §4.4, receiver reference time
	xrDelay  = 5  // RFC 3611 §4.5, DLRR
	xrVoice  = 7  // RFC 3611 §4.7, VoIP metrics
	maxParts = 32 // of a compound packet, or blocks of an extended report: more is nobody's report
)

const longestTrip = int64(60e9) // a round trip beyond it is a wrong one

// compound walks over the packets of a compound packet (RFC 3550 §6.1).
type compound struct {
	rest []byte
	left int
}

func (c *compound) next() (packet []byte, ok bool) {
	if len(c.rest) < 4 || c.left == 0 || c.rest[0]>>6 != 2 {
		return nil, false
	}
	size := 4 + 4*int(binary.BigEndian.Uint16(c.rest[2:]))
	if size > len(c.rest) {
		return nil, false
	}
	packet, c.rest = c.rest[:size], c.rest[size:]
	c.left--
	return packet, true
}

// wholeCompound is a walk over a compound packet of which every part is well formed. RFC 3550 §A.2: all have version 2,
// and their lengths add up to the datagram's. Where that fails it is something else, such as SRTCP of which we have no
// keys, and has no parts.
func wholeCompound(buf []byte) compound {
	c := compound{buf, maxParts}
	for {
		if _, ok := c.next(); !ok {
			break
		}
	}
	if len(c.rest) != 0 {
		return compound{}
	}
	return compound{buf, maxParts}
}

// reported reads what a leg's peer says of the stream that it was sent.
func (e *Engine) reported(now int64, i int, buf []byte) {
	i &^= 1 // RTCP's figures are with those of RTP
	for c := wholeCompound(buf); ; {
		p, ok := c.next()
		if !ok {
			return
		}
		switch p[1] {
		case typeSR:
			e.reportBlocks(now, i, p, 28)
		case typeRR:
			e.reportBlocks(now, i, p, 8)
		case typeXR:
			e.extended(now, i, p)
		}
	}
}

// reportBlocks reads the report blocks of a sender's or receiver's report, which begin at an index.
func (e *Engine) reportBlocks(now int64, i int, p []byte, at int) {
	count := int(p[0] & 0x1f)
	if at+count*reportBlock > len(p) {
		return // it says that there are more than there are
	}
	for n := range count {
		if b := p[at+n*reportBlock:][:reportBlock]; e.hears(i, binary.BigEndian.Uint32(b)) {
			e.block(now, i, b)
			return // one stream is sent to a leg
		}
	}
}

// block takes in what the peer says in one report block (RFC 3550 §6.4.1).
func (e *Engine) block(now int64, i int, b []byte) {
	s, c, x := &e.surveys[i>>1], e.board.cell(i), e.board.annex(i)
	ssrc := binary.BigEndian.Uint32(b)
	lost := int32(binary.BigEndian.Uint32(b[4:])<<8) >> 8 // signed, 24 bits: repeats make it negative
	switch {
	case !s.known && s.resumed:
		s.before = -max(0, lost)
	case s.known && s.ssrc != ssrc:
		s.before = saturate(int64(s.before) + int64(max(0, s.lost)))
	}
	s.known, s.ssrc, s.lost = true, ssrc, lost
	jitter := uint64(binary.BigEndian.Uint32(b[12:])) * 1e6 / uint64(e.clockTo(i))
	trip := s.trip(now, ssrc, binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:]))
	sent := c.sent.Load()
	c.frame(func() {
		x.farLost.Store(saturate(int64(s.before) + int64(max(0, lost))))
		x.farSent.Store(uint32(sent))
		x.farJitter.Store(uint32(min(jitter, 1<<32-1)))
		if trip != 0 {
			x.roundTrip.Store(trip)
		}
		x.reports.Add(1)
	})
}

// clockTo is the RTP clock of what a leg's peer hears.
func (e *Engine) clockTo(i int) uint32 {
	return e.receptions[e.legs[i].peer>>1].clockOf(firstDynamic)
}

// hears reports whether a leg's peer is sent a stream of this SSRC: the other peer's own, or the one that it hears
// instead, or one that it was told of in a sender's report.
func (e *Engine) hears(i int, ssrc uint32) bool {
	l := &e.legs[i]
	if t := &e.heard[i>>1]; l.is(flagContinuous) && t.started {
		return t.ssrc == ssrc
	}
	if e.receptions[l.peer>>1].speaks(ssrc) {
		return true
	}
	s := &e.surveys[i>>1]
	for n := range s.told {
		if s.told[n].at != 0 && s.told[n].ssrc == ssrc {
			return true
		}
	}
	return false
}

// trip is the round trip time to the peer in microseconds, 0 if this report does not tell. RFC 3550 §6.4.1: it is the time
// since the sender's report that the peer names (LSR) was sent to it, less what the peer kept it (DLSR, in 1/65536 s).
// That report came from the other side through us, so what is measured is the way between us and this peer.
func (s *survey) trip(now int64, ssrc, mid, kept uint32) uint32 {
	if mid == 0 {
		return 0 // it has had none yet
	}
	for n := range s.told {
		t := &s.told[n]
		if t.at == 0 || t.mid != mid || t.ssrc != ssrc {
			continue
		}
		took := now - t.at - int64(kept)*1e9>>16
		if took >= longestTrip {
			return 0
		}
		return uint32(max(1, took/1e3)) // clocks that run apart may make it negative
	}
	return 0
}

// extended reads the blocks of an extended report (RFC 3611 §3).
func (e *Engine) extended(now int64, i int, p []byte) {
	if len(p) < 8 {
		return
	}
	for b := p[8:]; len(b) >= 4; {
		size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			return
		}
		switch {
		case b[0] == xrDelay:
			e.delayBlock(now, i, b[4:size])
		case b[0] == xrVoice && size == voiceSize && e.hears(i, binary.BigEndian.Uint32(b[4:])):
			e.board.annex(i).farVoice.Store(uint32(voiceOf(b)))
		}
		b = b[size:]
	}
}

// delayBlock takes the round trip from a DLRR block (RFC 3611 §4.5): as in a report block, for who only listens and has
// sent a reference time instead of a sender's report.
func (e *Engine) delayBlock(now int64, i int, b []byte) {
	for n := 0; n < maxParts && len(b) >= 12; n++ {
		trip := e.surveys[i>>1].trip(now, binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]))
		if trip != 0 {
			e.board.annex(i).roundTrip.Store(trip)
			return
		}
		b = b[12:]
	}
}

// told notes the time stamps in RTCP that is sent to a leg's peer, as the peer gets them.
func (e *Engine) told(now int64, i int, buf []byte) {
	s := &e.surveys[i>>1]
	for c := wholeCompound(buf); ; {
		p, ok := c.next()
		if !ok {
			return
		}
		switch {
		case p[1] == typeSR && len(p) >= 28:
			s.note(now, p[4:], p[8:])
		case p[1] == typeXR && len(p) >= 20 && p[8] == xrTime:
			s.note(now, p[4:], p[12:]) // who sends one puts it first
		}
	}
}

// note remembers a time stamp; ssrc and ntp begin with what they are named after.
func (s *survey) note(now int64, ssrc, ntp []byte) {
	s.told[s.next%toldSlots] = told{at: now, ssrc: binary.BigEndian.Uint32(ssrc), mid: binary.BigEndian.Uint32(ntp[2:])}
	s.next++
}

// voiceReport is what is kept of a VoIP metrics block (RFC 3611 §4.7) in one word; 0: there was none.
type voiceReport uint32

const (
	voiceSize = 36
)

// voiceOf reads a block of voiceSize bytes.
func voiceOf(b []byte) voiceReport {
	return 1<<31 | voiceReport(b[9])<<16 | voiceReport(b[26])<<8 | voiceReport(b[27])
}

// discarded is the share of packets that came and were thrown away, too late or too early for the playout buffer.
func (v voiceReport) discarded() float64 { return float64(v>>16&0xff) / 256 }

// mos is the peer's own estimate of conversational quality, else of listening quality; 0: it has none. RFC 3611 §4.7.5:
// in tenths, 10 to 50.
func (v voiceReport) mos() float64 {
	for _, tenths := range [...]voiceReport{v & 0xff, v >> 8 & 0xff} {
		if tenths >= 10 && tenths <= 50 {
			return float64(tenths) / 10
		}
	}
	return 0
}
