package transaction

import (
	"sallyport/nat"
	"sallyport/sbc/message"
)

// The INVITE client machine (RFC 3261 §17.1.1, figure 5, with RFC 6026 §7.2):
//
//	calling ─ 1xx ─▶ proceeding        both ─ 2xx ─────▶ accepted ─ Timer M ─▶ end
//	   └─ Timer B, transport error      both ─ 3xx–6xx ─▶ completed ─ Timer D ─▶ end

// inviteCalls is Timer A: T1, doubling without a cap.
func (t *Table) inviteCalls(c *client) { c.backOff(t.now, 0) }

// inviteResponse takes a response to an INVITE.
func (t *Table) inviteResponse(c *client, m *message.Message, from nat.Flow) {
	switch {
	case c.waiting() && m.Status < 200:
		t.inviteRings(c, m, from)
	case c.waiting() && m.Status < 300:
		// RFC 6026 §7.2: Accepted for Timer M, 64·T1. The user sends the ACK.
		t.settled(c, accepted, t.all)
		t.inviteAnswered(c, m, from)
	case c.waiting():
		t.inviteDeclined(c, m, from)
	case c.state == accepted && 200 <= m.Status && m.Status < 300:
		// RFC 6026 §7.2: each copy of the 2xx and each fork goes to the user, which acknowledges it.
		t.inviteAnswered(c, m, from)
	case c.state == completed && m.Status >= 300:
		// "Any retransmissions of the final response … MUST cause the ACK to be re-passed to the transport layer",
		// and are not passed up.
		t.transmit(c.raw, c.to)
	case c.state == completed && m.Status >= 200:
		// A proxy passes every 2xx on, even behind a refusal of another branch (RFC 3261 §16.7): that callee hears a
		// dead line until somebody ends it.
		t.reportLate(c, m, from)
	}
	// Left over: 1xx after a final response, and 3xx–6xx after a 2xx. Neither changes anything.
	t.queue.settle(&c.timer)
}

// inviteRings takes a provisional response: it stops Timers A and B, and lets a remembered CANCEL go (RFC 3261 §9.1).
func (t *Table) inviteRings(c *client, m *message.Message, from nat.Flow) {
	if c.state == calling {
		c.state = proceeding
		c.retry, c.limit = never, never
		t.keep(&c.raw, nil)
		t.ringing(c)
		if c.cancel {
			t.sendCancel(c)
		}
	}
	t.report(c, Effect{Kind: Provisional, Msg: m, Flow: from})
}

func (t *Table) inviteAnswered(c *client, m *message.Message, from nat.Flow) {
	if c.orphan {
		t.reportLate(c, m, from)
		return
	}
	t.report(c, Effect{Kind: Response, Msg: m, Flow: from})
}

// inviteDeclined takes a 3xx–6xx: "the client transaction MUST generate an ACK request … to the same address, port, and
// transport to which the original request was sent" (RFC 3261 §17.1.1.2); Completed for Timer D, at least 32 s on UDP,
// zero on others.
func (t *Table) inviteDeclined(c *client, m *message.Message, from nat.Flow) {
	ack := t.compose(ackOf(c.req, m))
	wait := lasting(c.to.Transport, t.all)
	t.settled(c, completed, wait)
	t.transmit(ack, c.to)
	t.report(c, Effect{Kind: Response, Msg: m, Flow: from})
	t.byUser.drop(c.user, c)
	if wait == 0 {
		t.endClient(c)
		return
	}
	t.keep(&c.raw, ack)
}

// giveUp cancels an INVITE without a final response, now or with its first provisional: "If no provisional response has
// been received, the CANCEL request MUST NOT be sent" (RFC 3261 §9.1). Timer B runs on, and Timer A too unless quiet: a
// far end whose provisional responses were all lost would else ring until its own patience ends.
func (t *Table) giveUp(c *client, quiet bool, reason string) {
	if c.cancel || !c.waiting() {
		return
	}
	c.cancel, c.reason = true, reason
	switch {
	case c.state == proceeding:
		t.sendCancel(c)
	case quiet:
		c.retry = never
		t.keep(&c.raw, nil)
	}
	t.queue.settle(&c.timer)
}

// sendCancel sends a CANCEL to where the INVITE went, as a transaction whose end nobody hears. "If there is no final
// response for the original request in 64*T1 seconds … the client SHOULD then consider the original transaction
// cancelled and SHOULD destroy the client transaction" (RFC 3261 §9.1).
func (t *Table) sendCancel(c *client) {
	c.limit = t.now.after(t.all)
	m := follow(c.req, "CANCEL")
	if c.reason != "" {
		m.Add("Reason", c.reason)
		c.reason = ""
	}
	b := t.compose(m)
	if b == nil { // a foul word of the other side must not let this one ring on
		m.Remove("Reason")
		b = t.compose(m)
	}
	if b != nil {
		t.openClient(m, c.to, b).orphan = true
	}
}

// inviteFailed takes a transport error while calling (RFC 3261 §17.1.4): the user is told and tries elsewhere. An ICMP
// error may be stale or forged and the INVITE be alive: until Timer B a provisional is answered by CANCEL, and a 2xx is
// reported as late.
func (t *Table) inviteFailed(c *client) {
	t.report(c, Effect{Kind: Failed})
	t.orphaned(c)
}

// inviteLost takes that who has said that it works on an INVITE is gone. It may be alive after all: it gets a CANCEL, and a
// 2xx is reported as late.
func (t *Table) inviteLost(c *client) {
	t.report(c, Effect{Kind: Lost})
	t.orphaned(c)
}

// orphaned gives up an INVITE whose user has been told that it gets no answer.
func (t *Table) orphaned(c *client) {
	t.byUser.drop(c.user, c)
	c.user, c.orphan = 0, true
	t.giveUp(c, true, "")
}
