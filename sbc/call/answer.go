package call

import (
	"bytes"
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
	if won := c.won; won >= 0 && !at.given && c.pairs[won].dlg[callee].Remote.Tag == m.To.Tag && c.pairs[won].dlg[callee].CallID == m.CallID {
		return do // a copy; its ACK waits for the caller's, which carries the answer
	}
	known := c.pairOf(m.To.Tag)
	if c.final || at.given || c.phase == ending || known >= 0 && c.pairs[known].over {
		if at.given && c.phase != ending {
			do = append(do, tu.Vacate{Ref: at.ref})
		}
		return c.hangUpFork(at, m, do)
	}
	if known >= 0 && c.pairs[known].waitsForPrack() {
		c.withhold(ev)
		return do
	}
	c.legs[callee].brought.Notice(m, ev.Flow.Remote.Addr())
	c.legs[callee].learn(m)
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
	c.won, c.phase, c.legs[callee].place = i, answered, at.ref
	c.attemptAt, c.ringAt, c.timerC = time.Time{}, time.Time{}, time.Time{}
	c.answerAt = now
	c.cdr.Answer = c.wall(now)
	c.endAt = c.longest(now)
	c.timerGiven(now, callee, m)
	c.early = proposal{}
	do = c.dropKept(c.finalAnswer(out, do)) // another fork's, which came too late
	if c.offered || c.pairs[i].complete(callee) {
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
	c.reinstate(i)
	p, err := c.conclude(i, m, out)
	if err != nil {
		return nil, do, err
	}
	d.State = dialog.Confirmed
	c.adopt(callee, p)
	if c.offered || c.pairs[i].complete(callee) {
		return out, c.settle(true, do), nil
	}
	return out, c.point(callee, do), nil
}

// conclude finds the callee's description that counts with its 2xx, and writes what the caller gets of it.
func (c *Call) conclude(i int, m, out *message.Message) (proposal, error) {
	known := &c.pairs[i]
	said, _, _ := answerTo(m, c.askedIn(i).out)
	if known.complete(callee) && (!c.offered || known.complete(caller) && bytes.Equal(sdpOf(said), known.early.in)) {
		// Offer and answer are complete; what a 2xx says then answers nothing (RFC 6337 §3.1.1). Where it repeats the answer, so
		// do we; after an offer of the callee's it would look like another one.
		if c.offered {
			out.Body = known.early.out
			out.Set("Content-Type", "application/sdp")
		}
		return known.early, nil
	}
	p, err := c.editCallee(i, m)
	switch {
	case err != nil:
		return p, err
	case !p.empty():
		p.into(out, m)
		return p, nil
	case known.complete(caller):
		return known.early, nil // the caller has its answer
	}
	// The description came in a provisional response only; RFC 3261 §13.2.1 wants it in the 2xx too.
	if p = known.early; p.empty() {
		p = c.early // of a callee that changes its tag
	}
	if p.empty() {
		return p, errSilent
	}
	out.Body = p.out
	out.Set("Content-Type", "application/sdp")
	return p, nil
}
