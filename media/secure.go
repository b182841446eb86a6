package media

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// secure is what protects one leg (RFC 3711): the keys of both directions and what has been done under them. It stands
// beside the leg table, since it has pointers; the RTP and the RTCP leg of a stream have one in common.
//
// The transforms are pion's; which packets have been and how far the counters are is kept here, so that it can go to the
// Board and into another context, and so that what is refused costs no memory. Packets allocate nothing. The exceptions
// are a few bytes each: SRTCP and failed packets of AES-GCM, and, a bounded number a second, SSRCs never heard before.
type secure struct {
	generation uint32
	in, out    session
	sent       uint32 // index of the last SRTCP packet (RFC 3711 §3.2.1), one count for all SSRCs
	heard      uint16 // mark of the peer's key that packets have come under last

	// After a change of the peer's key: packets of the one before are on their way still.
	before  *session
	until   int64
	scratch []byte // what came, for a second attempt; nil: the key never changed

	second int64 // when strangers began to count
	alien  int
}

// session is one direction of a protected leg.
type session struct {
	suite   Suite
	master  [maxKey]byte
	mark    uint16
	context *srtp.Context
	states  int // SSRCs that the context has taken note of
	packets indices
	reports indices // of what is received only
	past    []spent // of what is sent only: the keys before
	joint   bool    // there were too many of them: all keys have one count
	header  rtp.Header
	control rtcp.Header
}

const (
	rekeyGrace = int64(10 * time.Second) // packets of the old key are taken so long
	maxAliens  = 50                      // packets of unknown SSRCs that are tried a second
	maxStates  = 4 * sourcesKept         // of a context; then it is made anew
	scratchLen = 2048                    // the longest datagram of a back end
)

// arm gives a leg the keys that a command brings. Equal ones change nothing. Keys that are not wanted any more stay until
// the port is free: should they come back, no packet may be protected twice under one index (RFC 3711 §9.1).
func (e *Engine) arm(now int64, c *Command) {
	if c.flags&flagSecure == 0 {
		return
	}
	s := e.secured[c.Leg/2]
	fresh := s == nil || s.generation != c.Generation
	if fresh {
		s = &secure{generation: c.Generation, sent: c.resume.reported}
		s.follow(&c.resume, &c.crypto)
		e.secured[c.Leg/2] = s
		e.board.annex(int(c.Leg)).carry(c.resume)
	}
	s.receive(now, c.crypto.Suite, &c.crypto.Receive)
	if s.out.send(c.crypto.Suite, &c.crypto.Send) || fresh {
		// An engine to come is not to go on with another key's.
		at := e.board.annex(int(c.Leg))
		at.rollOut.Store(s.out.packets.foremost())
		at.marks.Store(marksOf(s.heard, s.out.mark))
	}
}

// receive sets the peer's key.
func (s *secure) receive(now int64, suite Suite, master *[maxKey]byte) {
	if s.in.has(suite, master) {
		return
	}
	if s.before != nil && s.before.has(suite, master) {
		s.in, *s.before, s.until = *s.before, s.in, now+rekeyGrace // back again: what has been then stays refused
		return
	}
	if s.in.context != nil {
		// Who changes its key does so when its offer or answer is on its way, and what it sent before may be behind that.
		before := s.in
		s.before, s.until = &before, now+rekeyGrace
		if s.scratch == nil {
			s.scratch = make([]byte, scratchLen)
		}
	}
	if s.in.key(suite, master) {
		s.in.packets.loosen()
		s.in.reports = indices{}
	}
}

// has reports whether a key is the one in force.
func (s *session) has(suite Suite, master *[maxKey]byte) bool {
	return s.suite == suite && s.master == *master
}

// key sets the master key, and reports whether there was another one.
func (s *session) key(suite Suite, master *[maxKey]byte) (changed bool) {
	if s.has(suite, master) {
		return false
	}
	changed = s.context != nil
	s.suite, s.master, s.mark = suite, *master, markOf(suite, master)
	s.renew()
	return changed
}

// renew makes the context anew. Nothing is lost: what has been is known by the indices.
func (s *session) renew() {
	s.states = 0
	s.context, _ = s.suite.context(&s.master) // fails for NoCrypto alone, and then everything is refused
}

// clearPart is what a protected datagram shows of itself.
type clearPart struct {
	ssrc    uint32
	seq     uint16
	control bool // SRTCP
}

// authentic is the first gate of a protected leg: what a stranger sends is refused before it costs anything, and of the
// rest what the peer's key did not protect, so that nothing else latches or counts. Other legs it lets pass.
func (e *Engine) authentic(now int64, i int, l *leg, from Endpoint, h *header, buf []byte) ([]byte, Rejection) {
	if !l.is(flagSecure) || h.class != classRTP && h.class != classRTCP {
		return buf, Accepted
	}
	if why := e.vouched(i, l, from); why != Accepted {
		return nil, why
	}
	plain, ok := e.unprotect(now, i, h, buf)
	if !ok {
		return nil, RejectedAuth
	}
	return plain, Accepted
}

// unprotect checks and decrypts a datagram that came to a protected leg, in place. What it refuses may have been changed
// by the trial.
func (e *Engine) unprotect(now int64, i int, h *header, buf []byte) (plain []byte, ok bool) {
	s := e.secured[i/2]
	if s == nil || s.in.context == nil {
		return nil, false
	}
	is := clearPart{h.ssrc, h.seq, h.class == classRTCP}
	plain, top := s.try(now, is, buf)
	if c := e.board.annex(i); top != nil && is.control {
		c.proved.Store(uint32(top.top))
	} else if top != nil {
		s.in.packets.publish(&c.rollIn, top)
		if s.heard != s.in.mark {
			s.heard = s.in.mark
			c.marks.Store(marksOf(s.heard, s.out.mark))
		}
	}
	return plain, plain != nil
}

// try opens a packet by the key in force; soon after a change also as a sender would have protected it who counts from
// zero again, and by the key before. top is not nil where the packet is the foremost of its SSRC.
func (s *secure) try(now int64, is clearPart, buf []byte) (plain []byte, top *index) {
	if s.scratch == nil {
		return s.in.open(s, now, is, buf, false)
	}
	saved := s.scratch[:copy(s.scratch, buf)]
	if plain, top = s.in.open(s, now, is, buf, false); plain != nil {
		return plain, top
	}
	copy(buf, saved)
	if plain, top = s.in.open(s, now, is, buf, true); plain != nil {
		return plain, top
	}
	if now > s.until {
		s.before = nil
	}
	if s.before == nil {
		return nil, nil
	}
	copy(buf, saved)
	plain, _ = s.before.open(s, now, is, buf, false)
	return plain, nil
}

// stranger reports whether a packet of an unknown SSRC may be tried: each takes memory for a moment.
func (s *secure) stranger(now int64) bool {
	if now-s.second >= int64(time.Second) {
		s.second, s.alien = now, 0
	}
	s.alien++
	return s.alien <= maxAliens
}

// open opens a packet (RFC 3711 §3.3, §3.4). again: as of a sender that has begun to count anew.
func (s *session) open(r *secure, now int64, is clearPart, buf []byte, again bool) (plain []byte, top *index) {
	known, i := &s.packets, uint64(is.seq)
	if is.control {
		at := len(buf) - suiteTable[s.suite].control - 4
		if again || at < minRTCP || buf[at]&0x80 == 0 {
			return nil, nil // not encrypted: a parameter would have had to say so (RFC 4568 §6.3.2)
		}
		known, i = &s.reports, uint64(binary.BigEndian.Uint32(buf[at:])&^(1<<31))
	}
	x := known.find(is.ssrc)
	switch {
	case x == nil && (again || !r.stranger(now)), x != nil && again && !x.loose:
		return nil, nil
	case x != nil && !is.control && !again:
		i = x.of(is.seq)
	}
	if x != nil && !x.fresh(i) {
		return nil, nil // a repeat, before it costs more
	}
	if x == nil && !is.control {
		plain, i = s.first(is, buf)
	} else {
		plain = s.decrypt(is, uint32(i>>16), x != nil, buf)
	}
	if plain == nil {
		return nil, nil
	}
	if x == nil {
		x = known.add(is.ssrc)
		s.note()
	}
	if x.take(i) {
		top = x
	}
	return plain, top
}

// first opens a packet of an SSRC that has not been heard. Its counter begins at zero (RFC 3711 §3.3.1); where the numbers began
// short of their wrap, and what was sent before it was lost or came before we had the key, it is at one.
func (s *session) first(is clearPart, buf []byte) (plain []byte, i uint64) {
	i = uint64(is.seq)
	if is.seq >= 1<<15 || len(buf) > scratchLen {
		return s.decrypt(is, 0, false, buf), i
	}
	var saved [scratchLen]byte
	came := saved[:copy(saved[:], buf)]
	if plain = s.decrypt(is, 0, false, buf); plain != nil {
		return plain, i
	}
	copy(buf, came)
	s.note() // the context takes note of the SSRC, whatever comes of it
	return s.decrypt(is, 1, true, buf), i | 1<<16
}

// decrypt has the context open a packet. It takes the rollover counter from us; of an SSRC that it does not know it is 0.
func (s *session) decrypt(is clearPart, roc uint32, known bool, buf []byte) []byte {
	if is.control {
		plain, err := s.context.DecryptRTCP(buf[:0], buf, &s.control)
		if err != nil {
			return nil
		}
		return plain
	}
	if _, kept := s.context.ROC(is.ssrc); known || kept {
		s.context.SetROC(is.ssrc, roc)
	}
	plain, err := s.context.DecryptRTP(buf[:0], buf, s.clean())
	if err != nil {
		return nil
	}
	return plain
}

// note counts an SSRC that the context keeps a state of.
func (s *session) note() {
	if s.states++; s.states > maxStates {
		s.renew()
	}
}

// clean is the header that packets are read into. One that a packet with very many extensions has blown up is let go.
func (s *session) clean() *rtp.Header {
	if cap(s.header.Extensions) > 32 {
		s.header = rtp.Header{}
	}
	return &s.header
}

// protect encrypts a datagram that leaves by a protected leg, in place and into the Tailroom behind it. It refuses one
// that was sent already, and a second one of the same index, which would lay both open (RFC 3711 §9.1).
func (e *Engine) protect(out int32, buf []byte) (sealed []byte, ok bool) {
	s, p := e.secured[out/2], &e.legs[out]
	if s == nil || s.out.context == nil || len(buf) < minRTCP || cap(buf)-len(buf) < Tailroom {
		return nil, false
	}
	c := e.board.annex(int(out))
	if p.is(flagControl) || p.is(flagMux) && isControl(flagMux, buf) {
		ssrc := binary.BigEndian.Uint32(buf[4:])
		if s.sent >= 1<<31-1 {
			return nil, false // RFC 3711 §9.2: no more under this key
		}
		s.out.context.SetIndex(ssrc, s.sent)
		s.sent++
		c.secured.Store(s.sent)
		if s.out.reports.find(ssrc) == nil {
			s.out.reports.add(ssrc)
			s.out.note()
		}
		sealed, err := s.out.context.EncryptRTCP(buf[:0], buf, &s.out.control)
		return sealed, err == nil
	}
	if len(buf) < minRTP {
		return nil, false
	}
	return s.out.seal(c, buf)
}

// seal protects an RTP packet (RFC 3711 §3.3). A source that begins again with numbers that have been used goes on with the
// next ones: under the old indices it could not be sent.
func (s *session) seal(c *annex, buf []byte) (sealed []byte, ok bool) {
	ssrc, seq := binary.BigEndian.Uint32(buf[8:]), binary.BigEndian.Uint16(buf[2:])
	i := uint64(seq)
	x := s.packets.find(ssrc)
	if x == nil {
		if !s.packets.retire(ssrc) {
			return nil, false // it may have been here before: where it stood is forgotten
		}
		x = s.packets.add(ssrc)
		x.top = i
		s.note()
	} else if i = x.of(seq + x.shift); !x.fresh(i) {
		if !x.restarts(seq, i) {
			return nil, false
		}
		i = x.top + 1
		x.shift, x.strays = uint16(i)-seq, 0
	}
	binary.BigEndian.PutUint16(buf[2:], uint16(i))
	s.context.SetROC(ssrc, uint32(i>>16))
	sealed, err := s.context.EncryptRTP(buf[:0], buf, s.clean())
	if err != nil {
		return nil, false
	}
	if x.take(i) {
		s.packets.publish(&c.rollOut, x)
	}
	return sealed, true
}
