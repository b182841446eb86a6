package exchange

import (
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// attempt is the request as it went to one hop: same Call-ID, tag and CSeq as the others, another branch. No attempt can
// be called back: only INVITE has a CANCEL.
type attempt struct {
	ref  tu.Ref
	at   int // of the hops
	sent *message.Message
	done bool // it has its final answer, or never gets one
}

// patience is the least that a hop is given to say something. One that lives owes a 100 or its final answer by then: "an
// SIP element MUST respond to a non-INVITE request with a Status-Code of 100 if it has not otherwise responded after the
// amount of time it takes a client transaction's Timer E to be reset to T2" (RFC 4320 §4.1: 3.5 s), and it must not do so
// sooner over UDP. A shorter wait would have a MESSAGE delivered twice by every PBX that takes two seconds for it.
const patience = 4 * time.Second

// current is the attempt that was made last, nil if there is none.
func (e *Exchange) current() *attempt {
	if len(e.attempts) == 0 {
		return nil
	}
	return &e.attempts[len(e.attempts)-1]
}

func (e *Exchange) attemptOf(ref tu.Ref) *attempt {
	for i := range e.attempts {
		if e.attempts[i].ref == ref && !e.attempts[i].done {
			return &e.attempts[i]
		}
	}
	return nil
}

// open reports whether some attempt may still be answered.
func (e *Exchange) open() bool {
	for i := range e.attempts {
		if !e.attempts[i].done {
			return true
		}
	}
	return false
}

// nextHop asks the next hop of the plan; code and why tell how the last one failed. With no hop left, those that were
// merely slow may still answer.
func (e *Exchange) nextHop(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	at := len(e.attempts)
	e.attemptAt = time.Time{}
	if at >= len(e.hops) {
		if e.open() {
			return do
		}
		return e.exhausted(code, why, do)
	}
	hop := e.hops[at]
	b := &e.legs[asked]
	b.hop = hop
	if at+1 < len(e.hops) && hop.Peer.AttemptTimeout > 0 {
		e.attemptAt = now.Add(max(hop.Peer.AttemptTimeout, patience))
	}
	a := attempt{ref: e.newRef(), at: at, sent: e.outgoing(hop)}
	e.attempts = append(e.attempts, a)
	send := tu.Send{Ref: a.ref, Msg: a.sent, Hop: hop, Hide: &e.legs[asker].brought}
	e.authorize(now, send)
	return append(do, send)
}

// outgoing writes the request for a hop.
func (e *Exchange) outgoing(hop tu.Hop) *message.Message {
	in, b := e.req, &e.legs[asked]
	dir, hosts := e.hosts(asker)
	m := &message.Message{
		Method: in.Method, URI: header.RequestURI(in.URI, hop, hosts), CallID: e.callID, CSeq: e.cseq,
		From: header.RewriteNameAddr(in.From, hosts.From), To: header.RewriteNameAddr(in.To, hosts.To),
		MaxForwards: header.Forwards(in), Headers: make([]message.Header, 0, len(in.Headers)+2),
	}
	m.From.Tag = e.from
	hop.Peer.Preload(m)
	header.NamePhone(&m.To.URI, hop)
	b.user, b.secure = header.ContactUser(m.From.URI), m.URI.Scheme == "sips"
	if p := e.legs[asker].hop.Peer; p.Token != "" {
		b.user = p.Token
	}
	if in.Method == "NOTIFY" || in.Method == "OPTIONS" {
		// NOTIFY must have one (RFC 6665 §8.2.1, table 2), OPTIONS may (RFC 3261 §11.1); MESSAGE must not (RFC 3428 §4), and
		// to PUBLISH it means nothing (RFC 3903 §4).
		m.Headers = append(m.Headers, header.Contact(b.hop, b.user, b.secure))
	}
	header.Copy(dir, in, m, hosts)
	e.copyBody(asker, m, in)
	e.lastHand(asked, in, m)
	return m
}

// provisional hears that a hop lives: the others need not be asked.
func (e *Exchange) provisional(ref tu.Ref, do []tu.Action) []tu.Action {
	if a := e.current(); a != nil && a.ref == ref && !a.done {
		e.attemptAt = time.Time{}
	}
	return do
}

// failed hears that a request gets no answer.
func (e *Exchange) failed(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	a := e.attemptOf(ev.Ref)
	if a == nil || e.phase != asking {
		return do
	}
	a.done = true
	switch {
	case ev.Why == reason.Leak:
		return e.refuseFor(500, reason.Leak, do)
	case a == e.current():
		return e.nextHop(now, ev.Code, ev.Why, do)
	case e.open():
		return do
	default:
		return e.exhausted(ev.Code, ev.Why, do)
	}
}

// tick gives the current hop up.
func (e *Exchange) tick(now time.Time, do []tu.Action) []tu.Action {
	if e.phase != asking || e.attemptAt.IsZero() || now.Before(e.attemptAt) {
		return do
	}
	return e.nextHop(now, 408, reason.Timeout, do)
}

// exhausted refuses a request that no hop took.
func (e *Exchange) exhausted(code int, why reason.Reason, do []tu.Action) []tu.Action {
	code, why = tu.Untaken(&e.legs[asked].hop, code, why)
	return e.refuseFor(code, why, do)
}
