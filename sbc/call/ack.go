package call

import (
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// ackArrived takes the ACK for a 2xx of ours: the caller's to the INVITE, or either side's to a re-INVITE.
func (c *Call) ackArrived(now time.Time, ev tu.Acked, do []tu.Action) []tu.Action {
	if ev.Tx != c.tx {
		return c.relayAcked(now, ev, do)
	}
	c.acked = true
	a := &c.legs[caller]
	a.notice(ev.Msg, a.hop.Flow.Remote.Addr())
	if c.byeCaller {
		c.byeCaller = false
		do = c.ackLate(nil, do)
		return c.sendBye(caller, do)
	}
	if c.phase != answered {
		return do
	}
	c.phase = established
	delayed := c.pairs[c.won].ack == nil
	c.invite = nil
	if !delayed {
		return do
	}
	p, err := c.edit(caller, ev.Msg, answerSDP)
	if err != nil || p.empty {
		// RFC 3261 §13.2.1: the offer of a 2xx is answered in the ACK. Without an answer there is no media.
		do = c.ackLate(nil, do)
		return c.hangUp(now, 488, reason.MediaForbidden, do)
	}
	c.legs[caller].media.propose(p)
	c.legs[callee].media.told(p)
	do = c.settle(true, do)
	body := &message.Message{}
	p.into(body, ev.Msg)
	return c.acknowledge(c.won, body, do)
}

// ackLate acknowledges the callee's 2xx whose answer never came, declining its offer.
func (c *Call) ackLate(_ *message.Message, do []tu.Action) []tu.Action {
	if c.won < 0 || c.pairs[c.won].ack != nil {
		return do
	}
	d := &c.pairs[c.won].dlg[callee]
	m := d.Request("ACK", c.cseq)
	declineOffer(m, c.legs[callee].media.in)
	c.pairs[c.won].ack = m
	return append(do, c.sendAck(m))
}

// notAcked gives up: no ACK for a 2xx in 64·T1 (RFC 3261 §13.3.1.4: "the dialog is confirmed, but the session SHOULD
// be terminated … by a BYE").
func (c *Call) notAcked(now time.Time, ev tu.NotAcked, do []tu.Action) []tu.Action {
	if ev.Tx == c.tx {
		c.acked = true // no ACK will come: BYE may go
		if c.byeCaller {
			c.byeCaller = false
			return c.sendBye(caller, do)
		}
	} else {
		do = c.relayNotAcked(ev, do)
	}
	if c.phase == ending || !c.final {
		return do
	}
	do = c.ackLate(nil, do)
	return c.over(now, 408, reason.Timeout, "sbc", c.byeBoth(do))
}
