package call

import (
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// accepted takes a 2xx to an INVITE: the winner's goes to the caller; a copy is acknowledged again; a fork's, or one
// that comes after CANCEL, is acknowledged and hung up (RFC 3261 §13.2.2.4, RFC 5407 §3.1.2).
func (c *Call) accepted(now time.Time, at *attempt, ev tu.Answered, do []tu.Action) []tu.Action {
	if c.won >= 0 && !at.given && c.pairs[c.won].dlg[callee].Remote.Tag == ev.Msg.To.Tag {
		if ack := c.pairs[c.won].ack; ack != nil && !c.legs[callee].bye {
			return append(do, c.sendAck(ack))
		}
		if c.legs[callee].bye {
			return do // the BYE has told it
		}
		return do // its ACK waits for the caller's, which carries the answer
	}
	if c.final || at.given || c.phase == ending {
		return c.hangUpFork(at, ev.Msg, do)
	}
	b := &c.legs[callee]
	b.notice(ev.Msg, ev.Flow.Remote.Addr())
	if do, waits := c.needStreams(ev.Msg, ev, do); waits {
		return do
	}
	i, do := c.fork(ev.Msg, do)
	if i < 0 {
		// A 2xx without tag or Contact makes no dialog: nothing could ever end that call.
		do = c.hangUpFork(at, ev.Msg, do)
		return c.refuse(now, 502, "", "callee", do)
	}
	c.pairs[i].dlg[callee].Confirm(ev.Msg)
	out, do, err := c.agree(i, ev.Msg, do)
	c.noPorts = false
	if err != nil {
		code, why := verdict(err)
		do = c.hangUpFork(at, ev.Msg, do)
		return c.refuse(now, code, why, "sbc", do)
	}
	c.won, c.phase = i, answered
	c.attemptAt, c.ringAt, c.timerC = time.Time{}, time.Time{}, time.Time{}
	c.answerAt = now
	c.cdr.Answer = now
	if len(c.invite.Body) > 0 {
		// "The callee's 2xx is ACKed at once unless the answer travels in the ACK."
		do = c.acknowledge(i, nil, do)
	}
	return c.finalAnswer(out, do)
}

// agree writes the caller's 2xx with the callee's SDP.
func (c *Call) agree(i int, m *message.Message, do []tu.Action) (*message.Message, []tu.Action, error) {
	p := &c.pairs[i]
	out := c.relayed(m, c.invite, callee)
	out.To.Tag = p.dlg[caller].Local.Tag
	p.dlg[caller].State = dialog.Confirmed
	a, b := &c.legs[caller], &c.legs[callee]
	switch {
	case len(m.Body) == 0 && len(c.invite.Body) > 0 && b.media.in != nil:
		// The answer came in a provisional response only; RFC 3261 §13.2.1 wants it in the 2xx too.
		out.Body = a.media.out
		out.Set("Content-Type", "application/sdp")
		do = c.settle(true, do)
	case len(m.Body) > 0 && len(c.invite.Body) > 0:
		prop, err := c.edit(callee, m, answerSDP)
		if err != nil {
			return nil, do, err
		}
		prop.into(out, m)
		b.media.propose(prop)
		a.media.told(prop)
		do = c.settle(true, do)
	case len(m.Body) > 0:
		prop, err := c.edit(callee, m, offerSDP)
		if err != nil {
			return nil, do, err
		}
		prop.into(out, m)
		b.media.propose(prop)
		a.media.told(prop)
		do = append(do, prop.points(c, callee)...)
	}
	return out, do, nil
}

// acknowledge sends the ACK of the callee's 2xx, with the answer of a delayed offer where there is one.
func (c *Call) acknowledge(i int, body *message.Message, do []tu.Action) []tu.Action {
	d := &c.pairs[i].dlg[callee]
	m := d.Request("ACK", c.cseq)
	if body != nil && len(body.Body) > 0 {
		m.Body = body.Body
		m.Set("Content-Type", contentType(body))
	}
	c.pairs[i].ack = m
	return append(do, c.sendAck(m))
}

// sendAck makes the action; every copy is a message of its own, since the core writes a Via into it.
func (c *Call) sendAck(m *message.Message) tu.Action {
	copied := *m
	return tu.SendAck{Msg: &copied, Hop: c.hopTo(callee), Hide: &c.legs[caller].brought}
}

// hangUpFork acknowledges a 2xx that nobody wants and ends its dialog.
func (c *Call) hangUpFork(at *attempt, ok *message.Message, do []tu.Action) []tu.Action {
	d, err := dialog.UAC(at.sent, ok)
	if err != nil {
		d = dialog.Dialog{
			CallID: at.sent.CallID, Local: at.sent.From, Remote: ok.To, LocalSeq: at.sent.CSeq, Target: at.sent.URI,
		}
	}
	hop := at.hop
	hop.Flow = nextHop(hop, &d)
	ack := d.Request("ACK", at.sent.CSeq)
	if len(at.sent.Body) == 0 {
		declineOffer(ack, sdpOf(ok)) // the offer of a 2xx needs an answer, even one that declines all
	}
	do = append(do, tu.SendAck{Msg: ack, Hop: hop, Hide: &c.legs[caller].brought})
	for _, tag := range at.hungUp {
		if tag == ok.To.Tag {
			return do // a copy: its BYE is on the way
		}
	}
	at.hungUp = append(at.hungUp, ok.To.Tag)
	return append(do, tu.Send{Ref: c.newRef(), Msg: d.Request("BYE", 0), Hop: hop, Hide: &c.legs[caller].brought})
}
