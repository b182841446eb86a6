package call

import (
	"slices"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// offerArrived takes a re-INVITE or UPDATE: refreshes are answered here, everything else goes to the other leg.
func (c *Call) offerArrived(now time.Time, from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	if code := c.glare(from, m); code != 0 {
		var extra []message.Header
		if code == 500 {
			// "MUST include a Retry-After header field with a randomly chosen value of between 0 and 10 seconds" (RFC
			// 3261 §14.2).
			extra = append(extra, message.Header{Name: "Retry-After", Value: seconds(c.ids.Between(0, 10*time.Second))})
		}
		return c.answer(from, ev.Tx, m, code, do, extra...)
	}
	l := &c.legs[from]
	switch {
	case m.Method == "UPDATE" && len(m.Body) == 0:
		c.pairs[i].dlg[from].Refresh(m)
		return c.answer(from, ev.Tx, m, 200, do, c.contact(from))
	case c.won == i && c.refresh(l, m):
		return c.answerRefresh(from, i, ev, do)
	case len(m.Body) == 0:
		return c.pass(from, i, ev, proposal{empty: true}, do)
	}
	if do, waits := c.needStreams(m, ev, do); waits {
		return c.unaccept(from, i, m, do)
	}
	p, err := c.edit(from, m, offerSDP)
	c.noPorts = false
	if err != nil {
		code, _ := verdict(err)
		return c.answer(from, ev.Tx, m, code, do) // a refused re-INVITE changes nothing
	}
	return c.pass(from, i, ev, p, do)
}

// unaccept takes a request's number back: it comes again when its ports are there.
func (c *Call) unaccept(from, i int, m *message.Message, do []tu.Action) []tu.Action {
	c.pairs[i].dlg[from].RemoteSeq = m.CSeq - 1
	return do
}

// glare tells whether an offer may not be taken now: 491 if one of ours is on its way to that leg (RFC 3261 §14.2), 500
// if that leg's own last one has no answer yet.
func (c *Call) glare(from int, m *message.Message) int {
	if m.Method == "UPDATE" && len(m.Body) == 0 {
		return 0
	}
	if !c.acked && (m.Method == "INVITE" || c.final) {
		if from == callee {
			return 491 // the caller's INVITE is not complete: none may cross it
		}
		return 500
	}
	for k := range c.relays {
		r := &c.relays[k]
		if r.req.Method != "INVITE" && r.offer.empty {
			continue
		}
		if r.from != from {
			return 491
		}
		return 500
	}
	return 0
}

// refresh reports whether an offer says what its leg has said last: a session refresh.
func (c *Call) refresh(l *leg, m *message.Message) bool {
	return len(l.media.out) > 0 && sameBody(l.media.in, sdpOf(m))
}

// answerRefresh answers a session refresh with what we have said last.
func (c *Call) answerRefresh(from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	c.pairs[i].dlg[from].Refresh(ev.Msg)
	m := c.reply(ev.Msg, 200, "")
	h := c.contact(from)
	m.Add(h.Name, h.Value)
	m.Add("Allow", allow)
	m.Add("Content-Type", "application/sdp")
	m.Body = c.legs[from].media.out
	if ev.Msg.Method == "INVITE" {
		c.relays = append(c.relays, relay{from: from, pair: i, tx: ev.Tx, req: ev.Msg, answered: true, closed: true})
	}
	return append(do, tu.Respond{Tx: ev.Tx, Side: c.legs[from].peer.Side, Msg: m, Hide: &c.legs[1-from].brought})
}

// reinviteAccepted passes the far side's 2xx to a re-INVITE.
func (c *Call) reinviteAccepted(now time.Time, k int, m *message.Message, do []tu.Action) []tu.Action {
	r := &c.relays[k]
	to := 1 - r.from
	d := &c.pairs[r.pair].dlg[to]
	d.Refresh(m)
	kind := answerSDP
	if r.delayed {
		kind = offerSDP
	}
	p, err := c.edit(to, m, kind)
	if err != nil || r.answered {
		// Nobody waits for it any more, or it cannot be used: it gets its ACK all the same.
		ack := d.Request("ACK", r.seq)
		if r.delayed {
			declineOffer(ack, sdpOf(m))
		}
		r.ack = ack
		do = append(do, c.ackOf(r))
		if r.answered {
			c.relays = slices.Delete(c.relays, k, k+1)
			return do
		}
		code, why := verdict(err)
		return c.hangUp(now, code, why, do)
	}
	c.pairs[r.pair].dlg[r.from].Refresh(r.req)
	out := c.relayed(m, r.req, to)
	p.into(out, m)
	r.answered = true
	r.far = p
	if !r.delayed {
		r.ack = d.Request("ACK", r.seq)
		do = append(do, c.ackOf(r))
		c.adopt(r.from, r.offer)
		c.adopt(to, p)
		do = c.settle(true, do)
	}
	return append(do, tu.Respond{Tx: r.tx, Side: c.legs[r.from].peer.Side, Msg: out, Hide: &c.legs[to].brought})
}

// updateAccepted passes the far side's 2xx to an UPDATE that carried an offer.
func (c *Call) updateAccepted(now time.Time, k int, m *message.Message, do []tu.Action) []tu.Action {
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	to := 1 - r.from
	p, err := c.edit(to, m, answerSDP)
	if err != nil {
		code, why := verdict(err)
		do = c.answer(r.from, r.tx, r.req, code, do)
		return c.hangUp(now, code, why, do)
	}
	c.pairs[r.pair].dlg[to].Refresh(m)
	c.pairs[r.pair].dlg[r.from].Refresh(r.req)
	c.adopt(r.from, r.offer)
	c.adopt(to, p)
	do = c.settle(c.final, do)
	out := c.relayed(m, r.req, to)
	p.into(out, m)
	return append(do, tu.Respond{Tx: r.tx, Side: c.legs[r.from].peer.Side, Msg: out, Hide: &c.legs[to].brought})
}

// adopt puts a proposal in force: what one leg said, and what the other was told.
func (c *Call) adopt(from int, p proposal) {
	if p.empty {
		return
	}
	c.legs[from].media.propose(p)
	c.legs[1-from].media.told(p)
}

// relayAcked takes the ACK for a re-INVITE's 2xx; with a delayed offer it brings the answer.
func (c *Call) relayAcked(now time.Time, ev tu.Acked, do []tu.Action) []tu.Action {
	k := slices.IndexFunc(c.relays, func(r relay) bool { return r.tx == ev.Tx })
	if k < 0 {
		return do
	}
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	if r.ref == 0 || !r.delayed {
		return do
	}
	to := 1 - r.from
	d := &c.pairs[r.pair].dlg[to]
	r.ack = d.Request("ACK", r.seq)
	p, err := c.edit(r.from, ev.Msg, answerSDP)
	if err != nil || p.empty && !r.far.empty {
		declineOffer(r.ack, r.far.in)
		return c.hangUp(now, 488, reason.MediaForbidden, append(do, c.ackOf(&r)))
	}
	p.into(r.ack, ev.Msg)
	c.adopt(to, r.far)
	c.adopt(r.from, p)
	return append(c.settle(true, do), c.ackOf(&r))
}

// relayNotAcked forgets a re-INVITE whose 2xx got no ACK; the far side must have one.
func (c *Call) relayNotAcked(ev tu.NotAcked, do []tu.Action) []tu.Action {
	k := slices.IndexFunc(c.relays, func(r relay) bool { return r.tx == ev.Tx })
	if k < 0 {
		return do
	}
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	if r.ref == 0 || !r.delayed {
		return do
	}
	r.ack = c.pairs[r.pair].dlg[1-r.from].Request("ACK", r.seq)
	declineOffer(r.ack, r.far.in)
	return append(do, c.ackOf(&r))
}

// ackOf sends a relayed INVITE's ACK; every copy is a message of its own.
func (c *Call) ackOf(r *relay) tu.Action {
	copied := *r.ack
	to := 1 - r.from
	c.lastAck[to] = *r
	return tu.SendAck{Msg: &copied, Hop: c.hopOf(to, &c.pairs[r.pair].dlg[to]), Hide: &c.legs[r.from].brought}
}
