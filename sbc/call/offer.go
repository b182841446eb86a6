package call

import (
	"bytes"
	"slices"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// offerArrived takes a re-INVITE or UPDATE: refreshes are answered here, everything else goes to the other leg.
func (c *Call) offerArrived(now time.Time, from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	m, places := c.even(from, i, ev.Msg)
	ev.Msg = m
	switch c.glare(from, i, m) {
	case 491:
		return c.answer(from, ev.Tx, m, 491, do)
	case 500:
		// "MUST include a Retry-After header field with a randomly chosen value of between 0 and 10 seconds" (RFC 3261
		// §14.2).
		wait := message.Header{Name: "Retry-After", Value: seconds(c.ids.Between(0, 10*time.Second))}
		return c.answer(from, ev.Tx, m, 500, do, wait)
	}
	c.legs[from].asked = places
	switch {
	case len(m.Body) > 0 && !described(m):
		return c.answer(from, ev.Tx, m, 415, do, acceptSDP)
	case m.Method == "UPDATE" && len(m.Body) == 0:
		c.pairs[i].dlg[from].Refresh(m)
		return c.answer(from, ev.Tx, m, 200, do, c.contact(from), message.Header{Name: "Allow", Value: allow})
	case c.won == i && (c.legs[from].media.repeats(m) || c.repeatsAnew(from, m)):
		c.legs[from].media.fresh = false
		return c.answerRefresh(from, i, ev, do)
	case fewer(c.legs[from].media.in, sdpOf(m)) && len(m.Body) > 0:
		return c.answer(from, ev.Tx, m, 488, do)
	case !c.final && !c.mayOffer(1-from, i):
		return c.answerEarly(from, i, ev, places, do)
	}
	before := c.legs[1-from].media.told()
	p, err := c.edit(from, m)
	if err != nil {
		code, _ := verdict(err)
		return c.answer(from, ev.Tx, m, code, do, c.warning(from, err)...) // a refused re-INVITE changes nothing
	}
	p.places = places
	if c.won == i && c.concernsUs(from, &p) {
		return c.answerHere(from, i, ev, p, do)
	}
	if c.won == i && len(m.Body) > 0 && c.legs[1-from].peer.Manners.KeepsFlowing {
		if do, done := c.holdHere(from, i, ev, p, before, do); done {
			return do
		}
	}
	return c.pass(now, from, i, ev, p, do)
}

// glare tells whether an offer may not be taken now: 491 if one of ours is on its way to that leg (RFC 3261 §14.2), 500
// if that leg's own last one has no answer yet. One that has its answer and whose ACK is merely late stands in nobody's
// way (RFC 5407 §3.1.4).
func (c *Call) glare(from, i int, m *message.Message) int {
	if m.Method == "UPDATE" && len(m.Body) == 0 {
		return 0
	}
	switch {
	case c.acked:
	case m.Method == "UPDATE" && c.pairs[i].complete(from) && (!c.final || c.pairs[i].complete(1-from)):
		// RFC 3311 §5.1: then it need not wait for the ACK, in neither leg: a 2xx may be lost that is all the answer the other one has.
	case m.Method == "UPDATE" && !c.final:
		return c.earlyGlare(from, i)
	case from == callee:
		return 491 // the caller's INVITE is not complete: none may cross it
	case !c.final:
		return 500
	case !c.pairs[c.won].acked:
		return 491 // our 2xx offers, and the answer is still to come (RFC 5407 §3.1.5)
	}
	if c.crosses(from, m) || c.joins() {
		return 491
	}
	return c.openOffer(from)
}

// openOffer is glare with the offers that are on their way in a dialog.
func (c *Call) openOffer(from int) int {
	for k := range c.relays {
		r := &c.relays[k]
		switch {
		case r.req.Method != "INVITE" && r.offer.empty():
		case r.from != from:
			return 491
		case !r.answered:
			return 500
		case r.delayed:
			return 491
		}
	}
	return 0
}

// repeats reports whether an offer says what its leg has said last: a session refresh. It does not count while that leg
// has seen an offer of ours that was refused since.
func (s *mediaState) repeats(m *message.Message) bool {
	return len(s.out) > 0 && bytes.Equal(s.out, s.sent) && bytes.Equal(s.in, sdpOf(m))
}

// answerRefresh answers a session refresh with what we have said last.
func (c *Call) answerRefresh(from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	c.pairs[i].dlg[from].Refresh(ev.Msg)
	m := message.Reply(ev.Msg, 200, "")
	m.Headers = append(m.Headers, c.contact(from), message.Header{Name: "Allow", Value: allow},
		message.Header{Name: "Content-Type", Value: "application/sdp"})
	m.Body = c.legs[from].media.out
	c.lastHand(from, nil, m)
	if ev.Msg.Method == "INVITE" {
		c.relays = append(c.relays, relay{
			from: from, pair: i, tx: ev.Tx, req: ev.Msg, answered: true, closed: true,
		})
	}
	return c.respond(from, ev.Tx, m, do)
}

// reinviteAccepted passes the far side's 2xx to a re-INVITE.
func (c *Call) reinviteAccepted(now time.Time, k int, m *message.Message, do []tu.Action) []tu.Action {
	r := &c.relays[k]
	to := 1 - r.from
	c.pairs[r.pair].dlg[to].Refresh(m)
	if r.answered { // the call has ended: it gets its ACK all the same (RFC 5407 §3.2.3)
		r.far.in = sdpOf(m)
		return c.forget(k, c.ackAccepted(r, do))
	}
	var p proposal
	var err error
	if r.delayed {
		m, places := c.even(to, r.pair, m)
		p, err = c.edit(to, m)
		p.places = places
	} else {
		p, err = c.editAnswer(to, m, &r.offer)
	}
	if err != nil {
		code, why := verdict(err)
		r.answered, r.far.in = true, sdpOf(m)
		do = c.answer(r.from, r.tx, r.req, code, c.ackAccepted(r, do))
		return c.hangUp(now, code, why, do)
	}
	c.pairs[r.pair].dlg[r.from].Refresh(r.req)
	out := c.relayed(m, r.req, to)
	p.into(out, m)
	if p.empty() && !r.delayed {
		// "if the initial offer is in an INVITE, the answer MUST be in a reliable non-failure message" (RFC 3261 §13.2.1): nobody
		// has agreed to anything, and the session is what it was.
		refused := *r
		do = c.ackAccepted(&refused, do)
		c.relays = slices.Delete(c.relays, k, k+1)
		return c.answer(refused.from, refused.tx, refused.req, 488, do)
	}
	r.answered, r.far = true, p
	if !r.delayed {
		do = c.ackAccepted(r, do)
		c.adopt(r.from, r.offer)
		c.legs[r.from].media.bid = true
		c.adopt(to, p)
		do = c.settle(true, do)
	}
	return c.respond(r.from, r.tx, out, do)
}

// ackAccepted acknowledges a 2xx that needs no answer of the near side.
func (c *Call) ackAccepted(r *relay, do []tu.Action) []tu.Action {
	if r.delayed {
		return do
	}
	return c.ackRelay(r, nil, do)
}

// updateAccepted passes the far side's 2xx to an UPDATE.
func (c *Call) updateAccepted(now time.Time, k int, m *message.Message, do []tu.Action) []tu.Action {
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	to := 1 - r.from
	c.pairs[r.pair].dlg[to].Refresh(m)
	if r.method == "INVITE" {
		do = c.ackRelay(&r, nil, do)
	}
	if r.answered {
		return do // the call has ended
	}
	p, err := c.editAnswer(to, m, &r.offer)
	if err != nil {
		code, why := verdict(err)
		return c.hangUp(now, code, why, c.answer(r.from, r.tx, r.req, code, do))
	}
	if p.empty() {
		return c.answer(r.from, r.tx, r.req, 488, do) // nobody has agreed to it
	}
	c.changed(r.pair, r.from, r.offer)
	c.changed(r.pair, to, p)
	c.pairs[r.pair].dlg[r.from].Refresh(r.req)
	c.adopt(r.from, r.offer)
	c.legs[r.from].media.bid = c.won >= 0
	c.adopt(to, p)
	do = c.settle(c.final, do)
	out := c.relayed(m, r.req, to)
	p.into(out, m)
	return c.respond(r.from, r.tx, out, do)
}

// relayAcked takes the ACK for a re-INVITE's 2xx; with a delayed offer it brings the answer.
func (c *Call) relayAcked(now time.Time, ev tu.Acked, do []tu.Action) []tu.Action {
	k := c.relayOf(ev.Tx)
	if k < 0 {
		return do
	}
	r := c.relays[k]
	if r.ref == 0 || r.acked {
		c.relays = slices.Delete(c.relays, k, k+1)
		return do
	}
	p, err := c.editAnswer(r.from, ev.Msg, &r.far)
	if err != nil || p.empty() && !r.far.empty() {
		return c.hangUp(now, 488, reason.MediaForbidden, c.forget(k, do))
	}
	c.relays = slices.Delete(c.relays, k, k+1)
	c.adopt(1-r.from, r.far)
	c.adopt(r.from, p)
	do = c.settle(true, do)
	return c.ackRelay(&r, func(ack *message.Message) {
		p.into(ack, ev.Msg)
		c.legs[1-r.from].order(ack, r.far.places)
	}, do)
}
