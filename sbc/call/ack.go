package call

import (
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// sentAck is an ACK for a 2xx, kept for copies of that 2xx: "Whenever a 2xx … is received, an ACK is sent" (RFC 3261
// §13.2.2.4).
type sentAck struct {
	ref tu.Ref // the INVITE
	tag string // To tag of the 2xx: an INVITE may have several
	msg *message.Message
	hop tu.Hop
	to  int
}

// maxAcks bounds them. A copy comes within 64·T1 of its first, and the oldest is let go for a new one: as many as all forks of an
// INVITE can have, and twice that for what comes after them.
const maxAcks = 3 * maxPairs

// sendAck sends an ACK within a leg's dialog and keeps it.
func (c *Call) sendAck(ref tu.Ref, tag string, to int, hop tu.Hop, m *message.Message, do []tu.Action) []tu.Action {
	if len(c.acks) >= maxAcks {
		c.acks = c.acks[:copy(c.acks, c.acks[1:])]
	}
	header.Finish(nil, hop.Peer, nil, m)
	c.acks = append(c.acks, sentAck{ref: ref, tag: tag, msg: m, hop: hop, to: to})
	return c.transmitAck(&c.acks[len(c.acks)-1], do)
}

// ackAgain answers the copy of a 2xx; again is false if the 2xx has had no ACK yet.
func (c *Call) ackAgain(ref tu.Ref, tag string, do []tu.Action) (_ []tu.Action, again bool) {
	for i := range c.acks {
		if c.acks[i].ref == ref && c.acks[i].tag == tag {
			return c.transmitAck(&c.acks[i], do), true
		}
	}
	return do, false
}

// transmitAck makes the action; every copy is a message of its own, since the core writes a Via into it.
func (c *Call) transmitAck(a *sentAck, do []tu.Action) []tu.Action {
	copied := *a.msg
	return append(do, tu.SendAck{Msg: &copied, Hop: a.hop, Hide: &c.legs[1-a.to].brought})
}

// acknowledge sends the ACK of the winner's 2xx, with the answer of a delayed offer where there is one.
func (c *Call) acknowledge(answer func(ack *message.Message), do []tu.Action) []tu.Action {
	p := &c.pairs[c.won]
	d := &p.dlg[callee]
	m := d.Request("ACK", c.cseq)
	if answer != nil {
		answer(m)
	}
	p.acked = true
	return c.sendAck(c.attempts[len(c.attempts)-1].ref, d.Remote.Tag, callee, c.hopOf(callee, d), m, do)
}

// ackLate acknowledges the winner's 2xx where the caller's ACK never came or brought no answer: its offer is declined.
func (c *Call) ackLate(do []tu.Action) []tu.Action {
	if c.won < 0 || c.pairs[c.won].acked {
		return do
	}
	return c.acknowledge(func(ack *message.Message) { declineOffer(ack, c.legs[callee].media.in) }, do)
}

// ackArrived takes the ACK for a 2xx of ours: the caller's to the INVITE, or either side's to a re-INVITE.
func (c *Call) ackArrived(now time.Time, ev tu.Acked, do []tu.Action) []tu.Action {
	if ev.Tx != c.tx {
		return c.relayAcked(now, ev, do)
	}
	if !c.final || c.acked || c.won < 0 {
		return do
	}
	c.acked = true
	if c.byeCaller {
		c.byeCaller = false
		return c.sendBye(caller, do)
	}
	if c.phase != answered {
		return do
	}
	c.phase = established
	c.invite = nil
	c.legs[caller].brought.Notice(ev.Msg, c.legs[caller].hop.Flow.Remote.Addr())
	if c.pairs[c.won].acked {
		return do
	}
	offer := c.inForce(callee)
	p, err := c.editAnswer(caller, ev.Msg, &offer)
	if err != nil || p.empty() {
		// RFC 3261 §13.2.1: the offer of a 2xx is answered in the ACK. Without an answer there is no media.
		return c.hangUp(now, 488, reason.MediaForbidden, do)
	}
	c.adopt(caller, p)
	do = c.settle(true, do)
	return c.acknowledge(func(ack *message.Message) { p.into(ack, ev.Msg) }, do)
}

// notAcked gives up: no ACK for a 2xx in 64·T1 (RFC 3261 §13.3.1.4: "the dialog is confirmed, but the session SHOULD
// be terminated … by a BYE").
func (c *Call) notAcked(now time.Time, ev tu.NotAcked, do []tu.Action) []tu.Action {
	if ev.Tx == c.tx && c.final && c.won >= 0 {
		c.acked = true // no ACK will come: BYE may go
		if c.byeCaller {
			c.byeCaller = false
			return c.sendBye(caller, do)
		}
	} else if k := c.relayOf(ev.Tx); k >= 0 {
		do = c.forget(k, do)
	} else {
		return do
	}
	if c.phase == ending {
		return do
	}
	return c.over(now, 408, reason.Timeout, "sbc", c.byeBoth(do))
}

// hangUpFork acknowledges a 2xx that nobody wants and ends its dialog (RFC 3261 §13.2.2.4, RFC 5407 §3.1.2).
func (c *Call) hangUpFork(at *attempt, ok *message.Message, do []tu.Action) []tu.Action {
	d := c.unwanted(at, ok)
	hop := at.hop
	hop.Flow = hop.Toward(d.NextHop())
	ack := d.Request("ACK", at.sent.CSeq)
	if !c.offered {
		declineOffer(ack, sdpOf(ok)) // the offer of a 2xx needs an answer, even one that declines all
	}
	do = c.sendAck(at.ref, ok.To.Tag, callee, hop, ack, do)
	bye := d.Request("BYE", 0)
	header.Finish(nil, hop.Peer, nil, bye)
	return append(do, tu.Send{Ref: c.newBye(), Msg: bye, Hop: hop, Hide: &c.legs[caller].brought})
}

// unwanted is the dialog of a 2xx that is to be hung up. It is kept, so that a BYE of its own is answered.
func (c *Call) unwanted(at *attempt, ok *message.Message) *dialog.Dialog {
	i := c.pairOf(ok.To.Tag)
	if i < 0 {
		d, err := dialog.UAC(at.sent, ok)
		if err != nil { // what can be told of it is where the INVITE went
			d = dialog.Dialog{
				CallID: at.sent.CallID, Local: at.sent.From, Remote: ok.To, LocalSeq: at.sent.CSeq, Target: at.sent.URI,
			}
		}
		if len(c.pairs) >= maxPairs || ok.To.Tag == "" {
			return &d
		}
		i = len(c.pairs)
		c.pairs = append(c.pairs, pair{dlg: [2]dialog.Dialog{callee: d}})
	}
	c.pairs[i].over = true
	d := &c.pairs[i].dlg[callee]
	d.Confirm(ok)
	return d
}
