package media

// Verdict is what becomes of a datagram.
type Verdict struct {
	To  Endpoint  // destination, if Why is Accepted
	Out int32     // the leg whose socket sends it
	Why Rejection // Accepted: relay it
	// Data is what is to be sent: the datagram that Packet was given, as it has been changed, in the same memory.
	Data []byte
}

// Tailroom is how many bytes of capacity a datagram's buffer must have behind its end: a packet that goes out protected
// (RFC 3711 §3.1, §3.4) is longer than it came.
const Tailroom = 32

// Packet says what becomes of a datagram that arrived on a leg at a time. It depends on nothing but its arguments and
// the table, allocates nothing, takes no lock and makes no system call. It may change buf and the Tailroom behind it.
func (e *Engine) Packet(now int64, i int, from Endpoint, buf []byte) Verdict {
	l, c := &e.legs[i], &e.board.cells[i]
	if l.state == stateFree {
		c.seen.Store(now) // the pool gives the port more rest
		e.board.head.totals[RejectedStray].Add(1)
		return Verdict{Why: RejectedStray}
	}
	if l.is(flagControl) && l.is(flagMux) {
		return e.reject(i, RejectedPort)
	}
	h := parse(l.flags, buf)
	if why := e.admit(now, i, l, from, &h); why != Accepted {
		return e.reject(i, why)
	}
	if why := refusal(&h, l.flags, Accepted); why != Accepted {
		return e.reject(i, why)
	}
	c.seen.Store(now)
	out := l.peer
	if h.class == classRTCP {
		c.control.Add(1)
		// RFC 5761 §5.1.1: each side has its own agreement on rtcp-mux.
		if !e.legs[out].is(flagMux) {
			out++
		}
	} else {
		e.account(now, l, c, &h, len(buf))
		// RFC 3264 §5.1: direction is about media; RTCP flows through a hold.
		if !l.is(flagReceive) || !e.legs[out].is(flagSend) {
			return e.reject(i, RejectedDirection)
		}
	}
	p := &e.legs[out]
	if p.state == stateFree || p.generation != l.generation || p.remote.port == 0 {
		return e.reject(i, RejectedNowhere)
	}
	e.board.cells[out].sent.Add(1)
	return Verdict{To: p.remote, Out: out, Why: Accepted, Data: buf}
}

// Unsent takes back what Packet counted: the back end could not send.
func (e *Engine) Unsent(v Verdict) {
	e.board.cells[v.Out].sent.Add(^uint64(0))
	e.reject(int(v.Out), RejectedUnsent)
}

// Failed counts a datagram or command on which the engine panicked; the back end goes on with the next.
func (e *Engine) Failed() { e.board.head.totals[RejectedInternal].Add(1) }

func (e *Engine) reject(i int, why Rejection) Verdict {
	e.board.cells[i].rejected[why].Add(1)
	e.board.head.totals[why].Add(1)
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
func (e *Engine) account(now int64, l *leg, c *cell, h *header, size int) {
	c.packets.Add(1)
	c.bytes.Add(uint64(size))
	if h.class != classRTP {
		return
	}
	switch {
	case !l.seq.started:
		l.ssrc = h.ssrc
		l.seq.reset(h.seq)
	case h.ssrc == l.ssrc:
		l.alt = 0
	case l.alt != h.ssrc:
		// RFC 3550 §8.2 asks for caution with a new SSRC. Retransmission streams (RFC 4588) come singly, in between.
		l.alt = h.ssrc
		return
	default:
		l.lostBefore += max(0, l.seq.lost())
		l.ssrc, l.alt = h.ssrc, 0
		l.seq.reset(h.seq)
		l.arrived = 0
		c.changes.Add(1)
	}
	before := l.seq.lost()
	if ok, restarted := l.seq.update(h.seq); !ok {
		return
	} else if restarted {
		l.lostBefore += max(0, before)
		l.arrived = 0
	}
	if lost := l.lostBefore + max(0, l.seq.lost()); lost != c.lost.Load() {
		c.lost.Store(lost)
	}
	l.spread(now, c, h)
}

// jitterSane bounds a step of the jitter: beyond it the sender has set its clock anew.
const jitterSane = int64(10e9)

// spread updates the interarrival jitter (RFC 3550 §A.8), kept in nanoseconds × 16. Packets of one timestamp, such as
// those of a telephone event (RFC 4733 §2.5.1.1), say nothing about the network.
func (l *leg) spread(now int64, c *cell, h *header) {
	if l.arrived != 0 && h.stamp == l.stamp {
		return
	}
	if l.arrived != 0 {
		clock := l.clock
		if clock == 0 {
			clock = clockOf(h.pt)
		}
		d := (now - l.arrived) - int64(int32(h.stamp-l.stamp))*1e9/int64(clock)
		if d < 0 {
			d = -d
		}
		if d < jitterSane {
			l.jitter += d - (l.jitter+8)>>4
			c.jitter.Store(l.jitter)
		}
	}
	l.arrived, l.stamp = now, h.stamp
}
