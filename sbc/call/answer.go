package call

import (
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// accepted takes a 2xx to an INVITE: the winner's goes to the caller; a copy is acknowledged again; a fork's, or one
// that comes after CANCEL, is acknowledged and hung up.
func (c *Call) accepted(now time.Time, at *attempt, ev tu.Answered, do []tu.Action) []tu.Action {
	m := ev.Msg
	if do, again := c.ackAgain(at.ref, m.To.Tag, do); again {
		return do
	}
	if c.won >= 0 && !at.given && c.pairs[c.won].dlg[callee].Remote.Tag == m.To.Tag {
		return do // a copy; its ACK waits for the caller's, which carries the answer
	}
	known := c.pairOf(m.To.Tag)
	if c.final || at.given || c.phase == ending || known >= 0 && c.pairs[known].over {
		return c.hangUpFork(at, m, do)
	}
	c.legs[callee].brought.Notice(m, ev.Flow.Remote.Addr())
	if !c.offered {
		if do, waits := c.needStreams(m, ev, do); waits {
			return do
		}
	}
	i, do, err := c.fork(m, true, do)
	if err != nil {
		// A 2xx without tag or Contact makes no dialog: nothing could ever end that call.
		return c.refuse(now, 502, reason.Malformed, "callee", c.hangUpFork(at, m, do))
	}
	c.pairs[i].dlg[callee].Confirm(m)
	out, do, err := c.agree(i, m, do)
	if err != nil {
		return c.refuseMedia(now, callee, err, c.hangUpFork(at, m, do))
	}
	c.won, c.phase = i, answered
	c.attemptAt, c.ringAt, c.timerC = time.Time{}, time.Time{}, time.Time{}
	c.answerAt = now
	c.cdr.Answer = c.wall(now)
	c.early = proposal{}
	do = c.finalAnswer(out, do)
	if c.offered {
		// "The callee's 2xx is ACKed at once unless the answer travels in the ACK."
		do = c.acknowledge(nil, do)
	}
	return do
}

// errSilent refuses a 2xx that says nothing of media: "the answer MUST be in a reliable non-failure message", and so must
// the offer where the INVITE had none (RFC 3261 §13.2.1).
var errSilent = &errMedia{code: 502, why: reason.Malformed, text: "2xx without a session description"}

// agree writes the caller's 2xx with the callee's SDP, and puts both descriptions in force.
func (c *Call) agree(i int, m *message.Message, do []tu.Action) (*message.Message, []tu.Action, error) {
	d := &c.pairs[i].dlg[caller]
	out := c.relayed(m, c.invite, callee)
	out.To.Tag = d.Local.Tag
	c.legs[callee].media.early = nil // "candidates are the union until the 2xx, then the winner's"
	c.legs[callee].media.unlearn()   // what other forks have said
	p, err := c.editCallee(m)
	switch {
	case err != nil:
		return nil, do, err
	case !p.empty():
		p.into(out, m)
	default:
		// The description came in a provisional response only; RFC 3261 §13.2.1 wants it in the 2xx too.
		if p = c.pairs[i].early; p.empty() {
			p = c.early // of a callee that changes its tag
		}
		if p.empty() {
			return nil, do, errSilent
		}
		out.Body = p.out
		out.Set("Content-Type", "application/sdp")
	}
	d.State = dialog.Confirmed
	c.adopt(callee, p)
	if c.offered {
		return out, c.settle(true, do), nil
	}
	return out, c.point(callee, do), nil
}
