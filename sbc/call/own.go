package call

import (
	"slices"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// purpose is what a request of our own within a dialog is for.
type purpose uint8

const (
	refreshing purpose = iota // of the leg's session timer
	shifting                  // the leg is given another far end
	restoring                 // it is given back the one that it had
)

// own is a re-INVITE or UPDATE that nobody asked us to pass: one of our own within a leg's dialog. It lives until its final
// answer is here, and of an INVITE without description until the ACK has gone that answers what the 2xx offered.
type own struct {
	to     int
	method string
	p      proposal // what the leg is offered; empty: nothing
	why    purpose

	ref     tu.Ref // 0: it waits, for its turn or for the time after a 491
	seq     uint32
	tries   int
	again   time.Time // when it may be tried again
	timerC  time.Time // an INVITE: when it is cancelled
	unheard bool      // it got no answer
	owes    bool      // its 2xx has an offer, and no ACK yet
	in      []byte    // that offer
}

// maxOwn bounds the requests of our own towards one leg: one is on its way, one waits. maxTries bounds how often one is sent.
const (
	maxOwn   = 2
	maxTries = 5
)

// offers reports whether the request takes part in offer and answer: only an UPDATE without a description does not.
func (o *own) offers() bool { return o.method == "INVITE" || len(o.p.out) > 0 }

// ask sends a re-INVITE or UPDATE of our own within the dialog of leg to. p.out is what it is offered; empty: no
// description. It goes as soon as nothing else is on its way that it must not cross, and c.asked hears how it ended:
// not if the call ends first.
func (c *Call) ask(now time.Time, to int, method string, p proposal, why purpose, do []tu.Action) []tu.Action {
	if c.phase == ending || c.won < 0 {
		return do
	}
	o := own{to: to, method: method, p: p, why: why}
	n := 0
	for i := range c.owns {
		if c.owns[i].to == to {
			n++
		}
	}
	if n >= maxOwn {
		return c.asked(now, o, nil, 491, do)
	}
	c.owns = append(c.owns, o)
	return c.askOn(now, do)
}

// asked hears what became of a request of ours: m is its 2xx, or nil, and then code says why not. The 2xx to an INVITE has
// its ACK, unless the INVITE had no description: then c.ackOwn must be called with the answer to what m offers.
func (c *Call) asked(now time.Time, o own, m *message.Message, code int, do []tu.Action) []tu.Action {
	switch o.why {
	case refreshing:
		return c.refreshed(now, o, m, do)
	case shifting:
		return c.shifted(now, o, m, code, do)
	case restoring:
		return c.restored(now, o, m, do)
	}
	return do
}

// askOn sends what has waited and need wait no longer: in each leg one after the other.
func (c *Call) askOn(now time.Time, do []tu.Action) []tu.Action {
	if c.phase == ending {
		return do
	}
	var busy [2]bool
	for i := range c.owns {
		o := &c.owns[i]
		if o.ref == 0 && o.again.IsZero() && !busy[o.to] && c.mayAskOf(o) {
			do = c.sendOwn(now, o, do)
		}
		busy[o.to] = true
	}
	return do
}

// mayAskOf reports whether nothing is in a request's way: "a UAC MUST NOT initiate a new INVITE transaction within a dialog
// while another INVITE transaction is in progress in either direction" (RFC 3261 §14.1), and so it is with offers (RFC 3264
// §4, RFC 3311 §5.1). One that was accepted is in progress until its ACK is here.
func (c *Call) mayAskOf(o *own) bool {
	if c.phase != established || !c.pairs[c.won].acked {
		return false
	}
	if !o.offers() {
		return true
	}
	if c.moves != nil && c.moves.taker != nil && o.why != shifting {
		return false
	}
	return !slices.ContainsFunc(c.relays, func(r relay) bool {
		return (r.req.Method == "INVITE" || !r.offer.empty()) && (r.from == o.to || !r.closed || r.delayed && !r.acked)
	})
}

// sendOwn sends a request of ours, for the first time or again.
func (c *Call) sendOwn(now time.Time, o *own, do []tu.Action) []tu.Action {
	d := &c.pairs[c.won].dlg[o.to]
	m := d.Request(o.method, 0)
	c.dress(m, o.to)
	capable(m)
	c.askTimer(m, o.to)
	if len(o.p.out) > 0 {
		c.renewed(o)
		o.p.out = c.saidAgain(o.to, o.p.out)
		m.Body = o.p.out
		m.Set("Content-Type", "application/sdp")
	}
	c.lastHand(o.to, nil, m)
	c.lastRef++
	o.ref, o.seq, o.again = c.lastRef, m.CSeq, time.Time{}
	o.tries++
	if o.method == "INVITE" {
		o.timerC = now.Add(timerC(c.legs[o.to].peer))
	}
	return append(do, tu.Send{Ref: o.ref, Msg: m, Hop: c.hopOf(o.to, d), Hide: &c.legs[1-o.to].brought})
}

// saidAgain is a description of ours as it may be sent to a leg now: its version counts from what the leg saw last, even if
// that was refused.
func (c *Call) saidAgain(to int, out []byte) []byte {
	s, err := sdp.Parse(out)
	if err != nil {
		return out // we wrote it
	}
	return c.sign(&c.legs[to], s)
}

// crosses reports whether an offer of a leg meets one of ours: on its way to that leg, or to the other one, where it would
// have to go.
func (c *Call) crosses(from int, m *message.Message) bool {
	return slices.ContainsFunc(c.owns, func(o own) bool {
		return o.ref != 0 && o.offers() && (o.to == from || !c.legs[from].media.repeats(m))
	})
}

// ownOf finds our request of a client transaction, -1 if there is none.
func (c *Call) ownOf(ref tu.Ref) int {
	return slices.IndexFunc(c.owns, func(o own) bool { return o.ref == ref && ref != 0 })
}

// ownHeard takes a response to a request of ours.
func (c *Call) ownHeard(now time.Time, k int, ev tu.Answered, do []tu.Action) []tu.Action {
	o, m := &c.owns[k], ev.Msg
	switch {
	case o.owes:
		return do // a copy of the 2xx: its ACK waits for the answer
	case m.Status < 200:
		if !o.timerC.IsZero() {
			o.timerC = now.Add(timerC(c.legs[o.to].peer))
		}
		return do
	}
	done := *o
	done.timerC = time.Time{}
	do = c.answeredBy(o.to, ev.Flow, do)
	c.legs[o.to].brought.Notice(m, ev.Flow.Remote.Addr())
	if m.Status < 300 {
		return c.ownAccepted(now, k, done, m, do)
	}
	if wait, again := c.retry(&done, m); again && c.phase != ending {
		o.ref, o.timerC, o.again = 0, time.Time{}, time.Time{}
		if wait > 0 {
			o.again = now.Add(wait)
		}
		return do
	}
	c.owns = slices.Delete(c.owns, k, k+1)
	if tu.Challenge(m.Status) {
		do = c.challengeStays(done.to, done.method, m.Status, do)
	}
	return c.ownRefused(now, done, m.Status, reason.SignallingLost, do)
}

// retry tells whether a refused request is sent again, and after what time.
func (c *Call) retry(o *own, m *message.Message) (wait time.Duration, again bool) {
	if o.tries >= maxTries {
		return 0, false
	}
	switch m.Status {
	case 491:
		// "If the UAC is the owner of the Call-ID of the dialog ID …, T has a randomly chosen value between 2.1 and 4 seconds
		// in units of 10 ms. If the UAC is not the owner …, between 0 and 2 seconds" (RFC 3261 §14.1; §5.1 of RFC 3311).
		if c.legs[o.to].guest {
			return c.ids.Between(0, 2*time.Second).Truncate(10 * time.Millisecond), true
		}
		return c.ids.Between(2100*time.Millisecond, 4*time.Second).Truncate(10 * time.Millisecond), true
	case 422:
		return 0, c.tooSmall(o.to, m)
	case 500:
		// A UAS whose own answer is still to come says when to try again: "between 0 and 10 seconds" (RFC 3261 §14.2).
		if after, ok := retryAfterOf(m); ok && after <= 10*time.Second {
			return after, true
		}
	}
	return 0, false
}

// ownAccepted takes the 2xx to a request of ours. That of an INVITE is acknowledged at once, unless the ACK is to bring an
// answer; where the call has ended meanwhile, the ACK is all that is left (RFC 5407 §3.2.3).
func (c *Call) ownAccepted(now time.Time, k int, o own, m *message.Message, do []tu.Action) []tu.Action {
	d := &c.pairs[c.won].dlg[o.to]
	d.Refresh(m)
	if o.method == "INVITE" {
		if len(o.p.out) == 0 {
			o.owes, o.in = true, sdpOf(m)
			c.owns[k] = o
			if c.phase == ending {
				return c.ackOwn(o, func(ack *message.Message) { declineOffer(ack, o.in) }, do)
			}
			c.timerGiven(now, o.to, m)
			return c.asked(now, o, m, 0, do)
		}
		do = c.sendAck(o.ref, "", o.to, c.hopOf(o.to, d), d.Request("ACK", o.seq), do)
	}
	c.owns = slices.Delete(c.owns, k, k+1)
	if c.phase == ending {
		return do
	}
	c.timerGiven(now, o.to, m)
	return c.asked(now, o, m, 0, do)
}

// ackOwn acknowledges the 2xx to an INVITE of ours that had no description, with the answer to what the 2xx offers.
func (c *Call) ackOwn(o own, answer func(ack *message.Message), do []tu.Action) []tu.Action {
	k := c.ownOf(o.ref)
	if k < 0 || !c.owns[k].owes {
		return do
	}
	c.owns = slices.Delete(c.owns, k, k+1)
	d := &c.pairs[c.won].dlg[o.to]
	m := d.Request("ACK", o.seq)
	answer(m)
	return c.sendAck(o.ref, "", o.to, c.hopOf(o.to, d), m, do)
}

// ownRefused ends a call whose peer has lost it, and tells of every other refusal: "If the response for a request within a
// dialog is a 481 … or a 408 …, the UAC SHOULD terminate the dialog. A UAC SHOULD also terminate a dialog if no response
// at all is received" (RFC 3261 §12.2.1.2).
func (c *Call) ownRefused(now time.Time, o own, code int, why reason.Reason, do []tu.Action) []tu.Action {
	switch {
	case c.phase == ending:
		return do
	case code == 481:
		c.legs[o.to].bye = true // nobody there to send one to
		return c.hangUp(now, code, why, do)
	case code == 408:
		return c.hangUp(now, code, why, do)
	}
	return c.asked(now, o, nil, code, do)
}

// ownFailed hears that a request of ours gets no answer.
func (c *Call) ownFailed(now time.Time, k int, ev tu.Failed, do []tu.Action) []tu.Action {
	o := c.owns[k]
	if o.owes {
		return do
	}
	c.owns = slices.Delete(c.owns, k, k+1)
	o.unheard = true
	return c.ownRefused(now, o, ev.Code, reason.Timeout, do)
}

// tickOwn cancels what is too late, and lets what has waited for its time go on.
func (c *Call) tickOwn(now time.Time, do []tu.Action) []tu.Action {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	for i := range c.owns {
		o := &c.owns[i]
		if due(o.again) {
			o.again = time.Time{}
		}
		if due(o.timerC) {
			o.timerC = time.Time{}
			do = append(do, tu.Cancel{Ref: o.ref})
		}
	}
	return do
}

// dropOwn lets go what has not been sent when the call ends, and gives up what has: it stays until its final answer, for a
// 2xx must have its ACK.
func (c *Call) dropOwn(do []tu.Action) []tu.Action {
	for i := 0; i < len(c.owns); {
		o := &c.owns[i]
		switch {
		case o.owes:
			in := o.in
			do = c.ackOwn(*o, func(ack *message.Message) { declineOffer(ack, in) }, do)
			continue
		case o.ref == 0:
			c.owns = slices.Delete(c.owns, i, i+1)
			continue
		case o.method == "INVITE":
			o.timerC = time.Time{}
			do = append(do, tu.Cancel{Ref: o.ref}) // a bound for a peer that does not answer the BYE either
		}
		i++
	}
	return do
}
