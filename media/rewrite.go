package media

import "encoding/binary"

// rewrites is what rewriting knows, one entry for a pair of ports, RTP and RTCP together.
type rewrites struct {
	numbers []Numbering  // of a peer whose leg is flagNumbered
	heard   []continuity // by a peer whose leg is flagContinuous
	cnames  []CNAMEKey   // for what a peer says of itself
}

func newRewrites(pairs int) rewrites {
	return rewrites{numbers: make([]Numbering, pairs), heard: make([]continuity, pairs), cnames: make([]CNAMEKey, pairs)}
}

// set takes a leg's wanted state; a fresh leg has heard nothing.
func (r *rewrites) set(i int, c *Command, fresh bool) {
	if i&1 != 0 {
		return
	}
	renew(&r.numbers[i>>1], c.numbers)
	renew(&r.cnames[i>>1], c.cnames)
	if fresh {
		renew(&r.heard[i>>1], continuity{})
	}
}

// rewrite makes of a datagram from leg i what the peer of the leg p, number out, expects to hear.
func (e *Engine) rewrite(now int64, i int, out int32, l, p *leg, h *header, buf []byte) Rejection {
	if l.flags&(flagNumbered|flagContinuous)|p.flags&flagContinuous == 0 || h.class != classRTP {
		if h.class == classRTCP {
			e.reconcile(i, out, l, p, buf)
		}
		return Accepted
	}
	clock := e.receptions[i>>1].clockOf(h.pt)
	if l.is(flagNumbered) {
		n := &e.numbers[i>>1]
		to, ok := n.Of(h.pt)
		if !ok {
			e.omit(now, i, out, p, h)
			return RejectedDiscarded
		}
		buf[1] = buf[1]&0x80 | to // RFC 3550 §5.1: the marker shares the byte
		if n[redundantAt] == h.pt+1 {
			n.blocks(payloadOf(buf))
		}
	}
	if !p.is(flagContinuous) {
		return Accepted
	}
	t := &e.heard[out>>1]
	g, begins := t.take(now, clock, h)
	if g == nil {
		return RejectedDiscarded
	}
	if !t.altered {
		return Accepted
	}
	if begins {
		buf[1] |= 0x80 // RFC 3551 §4.1: what comes now does not go on with what was heard
	}
	binary.BigEndian.PutUint16(buf[2:], h.seq+uint16(g.shift))
	binary.BigEndian.PutUint32(buf[4:], h.stamp+g.clock)
	binary.BigEndian.PutUint32(buf[8:], t.ssrc)
	return Accepted
}

// redundantAt is where a Numbering has the payload type of redundant audio.
const redundantAt = 128

// blocks renumbers the blocks of redundant audio (RFC 2198 §3): headers of four bytes, and a last one of one.
func (n *Numbering) blocks(p []byte) {
	for at := 0; at < len(p); at += 4 {
		if to, ok := n.Of(p[at]); ok {
			p[at] = p[at]&0x80 | to
		}
		if p[at]&0x80 == 0 {
			return
		}
	}
}

// omit is told of a packet from leg i that the peer of leg p, number out, would have heard, and does not: what follows
// closes up.
func (e *Engine) omit(now int64, i int, out int32, p *leg, h *header) {
	if h.class == classRTP && p.is(flagContinuous) {
		e.heard[out>>1].skip(now, e.receptions[i>>1].clockOf(h.pt), h)
	}
}

// interject takes the next sequence number of what the peer of RTP leg out hears, for a packet that the engine makes
// itself, and tells the clock of that moment. It reports false where the peer has heard nothing yet.
func (e *Engine) interject(now int64, out int32, clock uint32) (ssrc uint32, seq uint16, stamp uint32, ok bool) {
	return e.heard[out>>1].insert(now, clock)
}

// clockOf is the RTP clock of a payload type that the leg's peer sends, in Hz.
func (x *reception) clockOf(pt uint8) uint32 {
	if x.clock == 0 || pt < firstDynamic {
		return clockOf(pt)
	}
	return min(x.clock, fastestClock)
}

const (
	firstDynamic = 35     // the payload types from here on have no meaning of their own (RFC 3551 §6)
	fastestClock = 192000 // of audio
)
