package media

import "sallyport/media/ice"

// checks is what a leg knows of a peer that shows where it is by ICE (RFC 8445, lite): who has sent an authentic check may
// be heard, and the pair that the peer nominates is where its media goes. Beside the leg table, since few legs have it.
type checks struct {
	agent      *ice.Agent
	before     *ice.Agent // of the credentials before a restart; nil: there was none, or the new ones have been used
	generation uint32
	priority   uint32 // of the nominated candidate
	valid      [checkedMost]checkedSource
}

// checkedSource is an address that an authentic check came from.
type checkedSource struct {
	at    Endpoint
	heard int64
}

const (
	checkedMost = 8                 // addresses of one peer: its interfaces, by both families
	checkedFor  = int64(30e9)       // an address is believed so long without another check (RFC 7675 §5.1)
	checkedTurn = int64(2500 * 1e6) // a nominated pair that was silent so long yields to any other
)

// examine sets up or drops what a leg needs for checks. New credentials are a restart (RFC 8445 §9): where the peer is
// remains known until it nominates anew, and the old ones count until the new ones are used. Browsers begin to check before
// they have our answer, and go on with what they began with.
func (e *Engine) examine(i int, c *Command) {
	k := e.checks[i]
	switch {
	case c.flags&flagChecked == 0:
		renew(&e.checks[i], nil)
	case k == nil || k.generation != c.Generation:
		e.checks[i] = &checks{agent: ice.NewAgent(c.ice), generation: c.Generation}
	case k.agent.Own() != c.ice:
		k.agent, k.before, k.priority = ice.NewAgent(c.ice), k.agent, 0
	}
}

// check answers a check on a leg, in the datagram's own memory.
func (e *Engine) check(now int64, i int, l *leg, from Endpoint, buf []byte) Verdict {
	k := e.checks[i]
	if k == nil || e.isOwn(from) || from.port == 0 {
		return e.reject(i, RejectedSTUN)
	}
	answer, verdict, priority := k.answer(buf, from)
	if verdict == ice.Silent {
		return e.reject(i, RejectedSTUN)
	}
	if verdict != ice.Refused {
		k.note(now, from)
		if l.state != stateLocked && k.since(l.remote) == 0 {
			// Browsers nominate late, a second and more after they have begun to speak; till then the first address that was
			// proven hears what there is.
			e.direct(i, l, from, false)
		}
	}
	if verdict == ice.Nominated && k.yields(now, l, from, priority) {
		k.priority = priority
		l.heard, l.valid = now, now
		if l.state != stateLocked {
			l.limit = 0
		}
		if l.state != stateLocked || l.remote != from {
			l.state = stateLocked
			e.direct(i, l, from, true)
		}
		if p := e.peers[i/2]; p.Role == Active && e.keying != nil && !l.is(flagControl|flagSecure) {
			e.keying.Begin(int32(i), l.generation, from.AddrPort())
		}
	}
	return Verdict{To: from, Out: int32(i), Why: Accepted, Data: answer, Own: true}
}

// answer judges a check by the credentials that count.
func (k *checks) answer(buf []byte, from Endpoint) (answer []byte, v ice.Verdict, priority uint32) {
	answer, v, priority = k.agent.Check(buf, from.AddrPort(), buf)
	switch {
	case k.before == nil:
	case v != ice.Silent:
		k.before = nil
	default:
		return k.before.Check(buf, from.AddrPort(), buf)
	}
	return answer, v, priority
}

// yields reports whether a nomination counts: of several the one of the highest priority (RFC 8445 §8.1.1), unless that
// pair has fallen silent. Peers nominate with each check, and may change their mind.
func (k *checks) yields(now int64, l *leg, from Endpoint, priority uint32) bool {
	return l.state != stateLocked || from == l.remote || priority >= k.priority || now-max(l.heard, k.since(l.remote)) >= checkedTurn
}

// note keeps an address in mind, in the place of the longest silent if need be.
func (k *checks) note(now int64, from Endpoint) {
	oldest := &k.valid[0]
	for n := range k.valid {
		s := &k.valid[n]
		if s.at == from {
			s.heard = now
			return
		}
		if s.heard < oldest.heard {
			oldest = s
		}
	}
	*oldest = checkedSource{from, now}
}

// since is when the last check came from an address; 0: never.
func (k *checks) since(at Endpoint) int64 {
	for n := range k.valid {
		if k.valid[n].at == at {
			return k.valid[n].heard
		}
	}
	return 0
}

// hasChecked is why a source has nothing to say on a leg with ICE, whatever it sends; it changes nothing.
func (e *Engine) hasChecked(i int, l *leg, from Endpoint) Rejection {
	k := e.checks[i]
	if k == nil || e.isOwn(from) || (from != l.remote || l.state != stateLocked) && k.since(from) == 0 {
		return RejectedSource
	}
	return Accepted
}

// checked decides for a leg with ICE whether a datagram that is no check may be the peer's: from the nominated pair, or
// from another that has been checked (RFC 8445 §12.2).
func (e *Engine) checked(now int64, i int, l *leg, from Endpoint, h *header) Rejection {
	k := e.checks[i]
	if k == nil || e.isOwn(from) {
		return RejectedSource
	}
	if from != l.remote || l.state != stateLocked {
		if at := k.since(from); at == 0 || now-at > checkedFor {
			return RejectedSource
		}
		return Accepted
	}
	l.heard = now
	if e.counts(i, l, h) {
		l.valid = now
	}
	return Accepted
}
