package call

import (
	"slices"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// prackArrived takes the caller's PRACK. "If the PRACK does not match any unacknowledged reliable provisional response, the
// UAS MUST respond to the PRACK with a 481" (RFC 3262 §3).
func (c *Call) prackArrived(now time.Time, from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	s := c.pairs[i].steady
	rseq, cseq, method, ok := rackOf(m)
	if from != caller || !ok || s == nil || s.open == nil || rseq != s.said || cseq != c.up.RemoteSeq || method != "INVITE" {
		return c.answer(from, ev.Tx, m, 481, do)
	}
	if len(m.Body) > 0 && !described(m) {
		return c.answer(from, ev.Tx, m, 415, do, acceptSDP)
	}
	x := s.open
	answers := c.pledged(m)
	var p proposal
	var err error
	if answers {
		p, err = c.editAnswer(caller, m, &x.said)
	} else {
		p, err = c.editEven(caller, i, m)
	}
	s.open = nil
	switch code, why := verdict(err); {
	case answers && (err != nil || p.empty()):
		// "If the UAC receives a reliable provisional response with an offer … it MUST generate an answer in the PRACK" (RFC
		// 3262 §5). Without one there is no media.
		if err == nil {
			code, why = 488, reason.MediaForbidden
		}
		return c.refuse(now, code, why, legNames[caller], c.answer(from, ev.Tx, m, 488, do))
	case err != nil:
		do = c.prackRefused(i, ev, x, code, do, c.warning(from, err)...)
	default:
		do = c.prackTaken(now, i, ev, x, p, answers, do)
	}
	return c.afterPrack(now, i, do)
}

// pledged reports whether a PRACK has to answer an offer of ours.
func (c *Call) pledged(m *message.Message) bool {
	from, i := c.find(m)
	if from != caller || c.offered {
		return false
	}
	s := c.pairs[i].steady
	return s != nil && s.open != nil && !s.open.said.empty() && !s.complete[caller]
}

// prackTaken passes a PRACK to a callee that awaits it, or answers it.
func (c *Call) prackTaken(now time.Time, i int, ev tu.Arrived, x *pledge, p proposal, answers bool, do []tu.Action) []tu.Action {
	s := c.pairs[i].steady
	if !x.said.empty() {
		s.complete[caller] = true
	}
	offers := !answers && !p.empty()
	switch {
	case offers && fewer(c.legs[caller].media.in, p.in), offers && (x.theirs == 0 || !s.complete[caller] || !s.complete[callee] || c.openOffer(caller) != 0):
		return c.prackRefused(i, ev, x, 488, do)
	case x.theirs == 0:
		return c.answer(caller, ev.Tx, ev.Msg, 200, do)
	case answers:
		s.complete[callee] = true
		c.changed(i, caller, p)
		c.adopt(caller, p)
		do = c.settle(false, do)
	}
	do = c.pass(now, caller, i, ev, p, do, c.rack(x.theirs))
	if answers {
		c.relays[len(c.relays)-1].offer = proposal{} // it is none
	}
	return do
}

// prackRefused refuses what a PRACK offers where the callee cannot be offered it now. That is said by 488 and not by an
// answer that declines all, for that would take away the media that is there: "a UA should only use PRACK to send an offer
// when it has strong reasons to expect the receiver will accept" it (RFC 6337 §2.3). The response is acknowledged all the
// same, here and to the callee.
func (c *Call) prackRefused(i int, ev tu.Arrived, x *pledge, code int, do []tu.Action, extra ...message.Header) []tu.Action {
	if !x.said.empty() {
		c.pairs[i].steady.complete[caller] = true
	}
	if x.theirs != 0 {
		do = c.prack(i, x.theirs, do)
	}
	return c.answer(caller, ev.Tx, ev.Msg, code, do, extra...)
}

// afterPrack goes on with what waited for a PRACK: the 2xx, else the next provisional response.
func (c *Call) afterPrack(now time.Time, i int, do []tu.Action) []tu.Action {
	s := c.pairs[i].steady
	if c.final {
		return do
	}
	if ev, held := c.release(i); held {
		return c.accepted(now, c.attemptOf(ev.Ref), ev, do)
	}
	if len(s.later) > 0 && s.open == nil {
		next := s.later[0]
		s.later = slices.Delete(s.later, 0, 1)
		do = c.pledges(now, i, next, do)
	}
	return do
}

// prackAccepted passes the callee's 2xx to a PRACK: with the answer, if that had an offer.
func (c *Call) prackAccepted(now time.Time, k int, m *message.Message, do []tu.Action) []tu.Action {
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	to := 1 - r.from
	out := c.relayed(m, r.req, to)
	if r.offer.empty() {
		return c.respond(r.from, r.tx, out, do) // a description here would answer nothing
	}
	p, err := c.editAnswer(to, m, &r.offer)
	switch {
	case err == nil && p.empty():
		err = errSilent
		fallthrough
	case err != nil:
		code, why := verdict(err)
		return c.hangUp(now, code, why, c.answer(r.from, r.tx, r.req, code, do))
	}
	c.changed(r.pair, r.from, r.offer)
	c.changed(r.pair, to, p)
	c.adopt(r.from, r.offer)
	c.adopt(to, p)
	do = c.settle(c.final, do)
	p.into(out, m)
	return c.respond(r.from, r.tx, out, do)
}
