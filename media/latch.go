package media

// admit decides whether a datagram's source may speak for a leg. Every path that changes where a leg sends to goes
// through lock, and lock is reached from confirm and learn alone.
func (e *Engine) admit(now int64, i int, l *leg, from Endpoint, h *header) Rejection {
	if l.is(flagChecked) {
		return e.checked(now, i, l, from, h)
	}
	if why := e.vouched(i, l, from); why != Accepted {
		return why
	}
	if from == l.remote {
		l.heard = now
		if e.counts(i, l, h) {
			before := l.valid
			l.valid = now
			if l.state == stateOpen {
				e.confirm(now, before, i, l, from, h)
			}
		}
		return Accepted
	}
	if l.state == stateFixed {
		return Accepted
	}
	// Never on junk, STUN or RTCP: an address is learned from media only.
	if !e.counts(i, l, h) {
		return refusal(h, l.flags, RejectedSource)
	}
	return e.learn(now, i, l, e.ruling(i), from, h)
}

// vouched is why a source has nothing to say on a leg, whatever it sends; it changes nothing.
func (e *Engine) vouched(i int, l *leg, from Endpoint) Rejection {
	if l.is(flagChecked) {
		return e.hasChecked(i, l, from)
	}
	if from.port == 0 {
		return RejectedSource // nobody can be answered there; and a leg without a destination has port 0
	}
	if from == l.remote {
		return Accepted
	}
	r := e.ruling(i)
	switch {
	case e.isOwn(from) && from != r.exact:
		return RejectedOwn // a loop, or a hairpin that no SDP named
	case l.state == stateFixed && !r.listed(from), l.state != stateFixed && !r.candidate(from):
		return RejectedSource
	}
	return Accepted
}

// confirm counts packets of the exact address. They are relayed at once, since the SDP vouches for them; the lock
// comes with the third. before is when one came before.
func (e *Engine) confirm(now, before int64, i int, l *leg, from Endpoint, h *header) {
	r := e.ruling(i)
	p := &r.own[r.port]
	u := run{from, before, p.ssrc, p.seq, p.count}
	proven := u.step(now, l, from, h, true)
	p.ssrc, p.seq, p.count = u.ssrc, u.seq, u.count
	if proven {
		e.lock(now, i, l, r, from)
	}
}

// learn handles a valid packet of a candidate that is not the leg's remote.
func (e *Engine) learn(now int64, i int, l *leg, r ruling, from Endpoint, h *header) Rejection {
	locked, refused := l.state == stateLocked, RejectedLearn
	if locked {
		refused = RejectedSource
	}
	if l.is(flagControl) && !e.receptions[i>>1].speaks(h.ssrc) {
		// Reports come seldom, so a leg may wait for its latch for long. Who sends them must name the SSRC of the RTP leg
		// (RFC 3550 §6.4.1), which a neighbour behind the same NAT does not know.
		return refused
	}
	if locked && from == r.exact && now <= l.limit {
		e.lock(now, i, l, r, from)
		return Accepted
	}
	goesOn := locked && from.sameAddr(l.remote) && e.receptions[i>>1].continues(h)
	if r.slot(from).step(now, l, from, h, goesOn) && r.mayMove(now, l, goesOn) {
		e.lock(now, i, l, r, from)
		return Accepted
	}
	return refused
}

// mayMove reports whether a proven candidate may become the leg's remote. goesOn says that it goes on with the locked stream
// from another port of its address, as after a NAT has rebound.
func (r ruling) mayMove(now int64, l *leg, goesOn bool) bool {
	if l.state == stateOpen {
		return now >= l.limit && (l.valid == 0 || now-l.valid >= strictWindow)
	}
	if (goesOn || r.own[r.port].permit) && now-l.heard >= rebindQuiet {
		return true
	}
	if l.is(flagControl) {
		return now-l.valid >= controlQuiet
	}
	// A held peer is silent by agreement: nobody may take its place meanwhile.
	return l.is(flagReceive) && now-l.valid >= lostQuiet
}

// continues reports whether a packet goes on with the stream that an RTP leg hears.
func (x *reception) continues(h *header) bool {
	return h.class == classRTP && x.speaks(h.ssrc) && ahead(h.seq, x.seq.max)
}

// speaks reports whether an SSRC is the one that an RTP leg hears.
func (x *reception) speaks(ssrc uint32) bool { return x.seq.started && x.ssrc == ssrc }

// step takes a valid packet into its source's run, or one that it may take, and reports whether the source is proven: three
// packets of one SSRC in order. Some sources are watched at a time, each by itself, so that none keeps another from the
// latch by turns. Who has a slot keeps it while he sends; only those that go first take it from the longest silent.
func (u *run) step(now int64, l *leg, from Endpoint, h *header, first bool) bool {
	gap := runGap
	if l.is(flagControl) {
		gap = controlGap
	}
	same := u.count > 0 && u.from == from
	switch {
	case same && u.ssrc == h.ssrc && now-u.at <= gap:
		if h.class == classRTP && !ahead(h.seq, u.seq) {
			return false // repeated or late: it proves nothing and spoils nothing
		}
		u.count = min(u.count+1, latchAfter)
	case !same && u.count > 0 && now-u.at < runSticky && !first:
		return false
	default:
		*u = run{from: from, ssrc: h.ssrc, count: 1}
	}
	u.at, u.seq = now, h.seq
	return u.count >= latchAfter
}

// slot is a source's run, or the one that it may take: a free one, else that of the longest silent.
func (r ruling) slot(from Endpoint) *run {
	oldest := &r.runs[0]
	for i := range r.runs {
		u := &r.runs[i]
		switch {
		case u.count == 0:
			return u // slots fill from the first
		case u.from == from:
			return u
		case u.at < oldest.at:
			oldest = u
		}
	}
	return oldest
}

// lock makes a source the leg's proven remote.
func (e *Engine) lock(now int64, i int, l *leg, r ruling, from Endpoint) {
	l.state = stateLocked
	l.heard, l.valid = now, now
	r.forget()
	r.permit(false)
	l.limit = 0
	if l.mode == Delayed || l.mode == Ported {
		l.limit = now + l.mode.exactWindow()
	}
	e.direct(i, l, from, true)
}

// learnAfter is how long a mode leaves a leg to the exact port alone.
func (m Mode) learnAfter() int64 {
	if m == Strict {
		return strictWindow
	}
	return 0
}

// exactWindow is how long the exact port may take a leg after the 2xx.
func (m Mode) exactWindow() int64 {
	if m == Delayed {
		return retakeWithin
	}
	return strictWindow
}
