package media

// Verdict is what becomes of a datagram.
type Verdict struct {
	To  Endpoint  // destination, if Why is Accepted
	Out int32     // the leg whose socket sends it
	Why Rejection // Accepted: relay it
	// Data is what is to be sent: the datagram that Packet was given, as it has been changed, in the same memory.
	Data []byte
	Own  bool // an answer of ours, not relayed
}

// Tailroom is how many bytes of capacity a datagram's buffer must have behind its end: a packet that goes out protected
// (RFC 3711 §3.1, §3.4) is longer than it came.
const Tailroom = 32

// Packet says what becomes of a datagram that arrived on a leg at a time. It depends on nothing but its arguments and
// the table, allocates nothing, takes no lock and makes no system call; the records of handshakes alone are handed over
// under a lock. It may change buf and the Tailroom behind it.
func (e *Engine) Packet(now int64, i int, from Endpoint, buf []byte) Verdict {
	if e.legs[i].is(flagTapped) {
		return e.watched(now, i, from, buf)
	}
	return e.judge(now, i, from, buf)
}

// Warm reads the rows that Packet is going to need for a datagram on a leg, and tells the leg that will send it; 0 where
// the port is free. Of a whole batch, read before the first is judged, the processor fetches the rows side by side, where
// each Packet would wait for its own. touched has no meaning: who uses it keeps the reads in the program.
// It never fails: the batch would fail with it, each time anew.
func (e *Engine) Warm(i int) (out int32, touched int64) {
	if uint(i) >= uint(len(e.legs)) {
		return 0, 0
	}
	l := &e.legs[i]
	if l.state == stateFree || uint(l.peer) >= uint(len(e.legs)) {
		return 0, 0 // of a free one, the peer is nobody's, or another worker's by now
	}
	p, x := &e.legs[l.peer], &e.receptions[i>>1]
	touched = x.arrived + e.meters[i].due + e.board.cell(i).seen.Load() + p.heard + int64(e.board.cell(int(l.peer)).sent.Load())
	return l.peer, touched
}

// judge is Packet without an onlooker.
func (e *Engine) judge(now int64, i int, from Endpoint, buf []byte) Verdict {
	l, c := &e.legs[i], e.board.cell(i)
	if l.state == stateFree {
		c.seen.Store(now) // the pool gives the port more rest
		e.board.head.totals[RejectedStray].Add(1)
		e.tooEarly(now, i, from, buf)
		return Verdict{Why: RejectedStray}
	}
	if l.is(flagControl) && l.is(flagMux) {
		return e.reject(i, RejectedPort)
	}
	h := parse(l.flags, buf)
	switch {
	case h.class == classSTUN && l.is(flagChecked):
		return e.check(now, i, l, from, buf)
	case h.class == classDTLS && l.is(flagDTLS):
		return e.carry(now, i, l, from, &h, buf)
	case h.class == classDTLS:
		e.tooEarly(now, i, from, buf)
	}
	buf, why := e.enter(now, i, l, from, &h, buf)
	if why != Accepted {
		return e.reject(i, why)
	}
	c.seen.Store(now)
	if h.class == classRTCP {
		return e.control(now, i, l, &h, buf)
	}
	e.account(now, i, c, &h, len(buf))
	if l.is(flagEvents) {
		e.listen(now, i, l, &h, buf)
	}
	out := l.peer
	p := &e.legs[out]
	// RFC 3264 §5.1: direction is about media; RTCP flows through a hold.
	if !l.is(flagReceive) || !p.is(flagSend) {
		e.omit(now, i, out, p, &h)
		return e.reject(i, RejectedDirection)
	}
	return e.forward(now, i, out, l, &h, buf)
}

// enter lets a datagram in that is the peer's, is authentic, and is not too much; plain is what it says.
func (e *Engine) enter(now int64, i int, l *leg, from Endpoint, h *header, buf []byte) (plain []byte, why Rejection) {
	if l.is(flagDTLS) && !l.is(flagSecure) {
		return nil, RejectedAuth // nothing is believed before there are keys
	}
	if plain, why = e.authentic(now, i, l, from, h, buf); why != Accepted {
		return nil, why
	}
	if l.is(flagTapped) {
		e.bare(now, i, l, from, plain)
	}
	if why = e.admit(now, i, l, from, h); why != Accepted {
		return nil, why
	}
	if why = refusal(h, l.flags, Accepted); why != Accepted {
		return nil, why
	}
	if l.is(flagPoliced) && !e.meters[i].admit(now, h.class, len(plain)) {
		return nil, RejectedPolice
	}
	return plain, Accepted
}

// control reads a report and passes on what the other side may know of it.
func (e *Engine) control(now int64, i int, l *leg, h *header, buf []byte) Verdict {
	e.board.cell(i).control.Add(1)
	e.reported(now, i, buf)
	if buf = e.conceal(i, buf); len(buf) == 0 {
		return e.reject(i, RejectedDiscarded)
	}
	out := l.peer
	// RFC 5761 §5.1.1: each side has its own agreement on rtcp-mux.
	if !e.legs[out].is(flagMux) {
		out++
	}
	return e.forward(now, i, out, l, h, buf)
}

// forward passes what a leg has heard to the other side.
func (e *Engine) forward(now int64, i int, out int32, l *leg, h *header, buf []byte) Verdict {
	p := &e.legs[out]
	if p.state == stateFree || p.generation != l.generation || p.remote.port == 0 {
		return e.reject(i, RejectedNowhere)
	}
	if p.is(flagPlaying) && h.class == classRTP { // a tone is played: the peer hears nothing else meanwhile
		e.omit(now, i, out, p, h)
		return e.reject(i, RejectedDiscarded)
	}
	if why := e.rewrite(now, i, out, l, p, h, buf); why != Accepted {
		return e.reject(i, why)
	}
	if h.class == classRTCP {
		e.told(now, int(out), buf)
	} else if h.class == classRTP && p.is(flagMux) && isControl(flagMux, buf) {
		return e.reject(i, RejectedDiscarded) // RFC 5761 §4: who has both on one port would take it for RTCP
	}
	return e.depart(now, out, p, buf)
}

// depart is the one way out: what a leg's peer hears leaves through here, be it relayed or made by the engine.
func (e *Engine) depart(now int64, out int32, p *leg, buf []byte) Verdict {
	if p.is(flagDTLS) && !p.is(flagSecure) {
		return e.reject(int(out), RejectedNowhere) // no keys yet
	}
	form := tapForms
	if p.is(flagSecure) {
		if p.is(flagTapped) {
			e.leaves(now, out, p, TapClear, buf)
		}
		var ok bool
		if buf, ok = e.protect(out, buf); !ok {
			return e.reject(int(out), RejectedAuth)
		}
		form = TapWire
	}
	if p.is(flagTapped) {
		e.leaves(now, out, p, form, buf)
	}
	if out&1 == 0 {
		e.board.cells[out>>1].sent.Add(1)
	} else {
		e.board.sent(out, 1)
	}
	return Verdict{To: p.remote, Out: out, Why: Accepted, Data: buf}
}

// Unsent takes back what Packet counted: the back end could not send.
func (e *Engine) Unsent(v Verdict) {
	if !v.Own {
		e.board.sent(v.Out, -1)
	}
	e.reject(int(v.Out), RejectedUnsent)
}

// Failed counts a datagram or command on which the engine panicked; the back end goes on with the next.
func (e *Engine) Failed() { e.board.head.totals[RejectedInternal].Add(1) }

func (e *Engine) reject(i int, why Rejection) Verdict {
	e.board.refuse(i, why)
	return Verdict{Why: why}
}

// refusal is why a class of datagram is not relayed on a leg; otherwise is the answer for those that are.
func refusal(h *header, f flags, otherwise Rejection) Rejection {
	switch h.class {
	case classJunk:
		return RejectedJunk
	case classSTUN:
		return RejectedSTUN
	case classDTLS:
		return RejectedDTLS
	case classRTCP:
		if f&(flagControl|flagMux) == 0 {
			return RejectedPort
		}
	case classRTP, classOpaque:
	}
	return otherwise
}

// account keeps the receiver's statistics of RFC 3550 for what the leg's peer sent.
func (e *Engine) account(now int64, i int, c *cell, h *header, size int) {
	c.packets.Add(1)
	c.bytes.Add(uint64(size))
	if h.class != classRTP {
		return
	}
	x := &e.receptions[i>>1]
	switch {
	case !x.seq.started:
		x.ssrc = h.ssrc
		x.seq.reset(h.seq)
	case h.ssrc == x.ssrc:
		x.alt = 0
	case x.alt != h.ssrc:
		// RFC 3550 §8.2 asks for caution with a new SSRC. Retransmission streams (RFC 4588) come singly, in between.
		x.alt = h.ssrc
		return
	default:
		x.lostBefore = x.lost(x.seq.lost())
		x.ssrc, x.alt = h.ssrc, 0
		x.seq.reset(h.seq)
		x.arrived = 0
		c.changes.Add(1)
	}
	before := x.seq.lost()
	if ok, restarted := x.seq.update(h.seq); !ok {
		return
	} else if restarted {
		x.lostBefore = x.lost(before)
		x.arrived = 0
	}
	if lost := x.lost(x.seq.lost()); lost != c.lost.Load() {
		c.lost.Store(lost)
	}
	x.spread(now, c, h)
}

// lost is all that is missing, with so much of the present sequence.
func (x *reception) lost(now int64) int32 { return saturate(int64(x.lostBefore) + max(0, now)) }

// jitterSane bounds a step of the jitter: beyond it the sender has set its clock anew.
const jitterSane = int64(10e9)

// spread updates the interarrival jitter (RFC 3550 §A.8), kept in nanoseconds × 16. Packets of one timestamp, such as
// those of a telephone event (RFC 4733 §2.5.1.1), say nothing about the network.
func (x *reception) spread(now int64, c *cell, h *header) {
	if x.arrived != 0 && h.stamp == x.stamp {
		return
	}
	if x.arrived != 0 {
		d := (now - x.arrived) - int64(int32(h.stamp-x.stamp))*1e9/int64(x.clockOf(h.pt))
		if d < 0 {
			d = -d
		}
		if d < jitterSane {
			jitter := c.jitter.Load()
			c.jitter.Store(jitter + d - (jitter+8)>>4)
		}
	}
	x.arrived, x.stamp = now, h.stamp
}
