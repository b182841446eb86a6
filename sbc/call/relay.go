package call

import (
	"slices"
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// relay is a request of a dialog on its way to the other leg. It lives until both sides are done with it: the far one has
// answered, and of an INVITE that was accepted the near one has sent its ACK.
type relay struct {
	from     int // leg it came from
	pair     int
	tx       tu.TxID
	ref      tu.Ref // 0: answered here, there is no far side
	req      *message.Message
	method   string // of ours to the far leg
	seq      uint32 // its CSeq on the far leg
	offer    proposal
	far      proposal  // of a delayed offer: the far 2xx's
	delayed  bool      // INVITE without offer: the far 2xx brings it, the ACK the answer
	answered bool      // the near side has its final answer
	closed   bool      // the far side gave its final answer, or there is no far side
	acked    bool      // its 2xx has our ACK
	lost     bool      // the leg that it went to is none any more: what it answers concerns this request alone
	timerC   time.Time // an INVITE: when it is cancelled
}

// maxRelays bounds the requests of one call that wait for the far side.
const maxRelays = 16

// pass sends a request on as a request of the other leg's dialog.
func (c *Call) pass(now time.Time, from, i int, ev tu.Arrived, p proposal, do []tu.Action, extra ...message.Header) []tu.Action {
	to := 1 - from
	m := ev.Msg
	d := &c.pairs[i].dlg[to]
	method := m.Method
	if method == "UPDATE" && !c.legs[to].takesUpdate() && c.phase == established {
		method = "INVITE" // it does not take the one, but the other says the same (RFC 3261 §14)
	}
	out := d.Request(method, 0)
	out.MaxForwards = header.Forwards(m)
	dir, hosts := c.hosts(from)
	c.dress(out, to)
	header.Copy(dir, m, out, hosts)
	out.Headers = append(out.Headers, extra...)
	c.conditions(m, out)
	capable(out)
	c.askTimer(out, to)
	p.into(out, m)
	_ = c.tied(from, m, out) // only an INVITE that opens a dialog can be refused for it
	c.lastHand(to, m, out)
	c.lastRef++
	r := relay{from: from, pair: i, tx: ev.Tx, ref: c.lastRef, req: m, method: method, seq: out.CSeq, offer: p}
	if m.Method == "INVITE" {
		r.delayed = p.empty()
		r.timerC = now.Add(timerC(c.legs[to].peer))
		do = c.respond(from, ev.Tx, message.Reply(m, 100, ""), do)
	} else if method == "INVITE" {
		r.timerC = now.Add(lateUpdate)
	}
	c.relays = append(c.relays, r)
	return append(do, tu.Send{Ref: r.ref, Msg: out, Hop: c.hopOf(to, d), Hide: &c.legs[from].brought})
}

// relayHeard takes the far side's response to a relayed request, or to a BYE of ours.
func (c *Call) relayHeard(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	if leg := c.toldBy(ev.Ref); leg >= 0 {
		return c.digitAnswered(now, leg, ev, do)
	}
	if k := c.ownOf(ev.Ref); k >= 0 {
		return c.ownHeard(now, k, ev, do)
	}
	k, m := c.relayTo(ev.Ref), ev.Msg
	if k < 0 || c.relays[k].closed {
		return c.strayHeard(ev, do)
	}
	r := &c.relays[k]
	if m.Status < 200 {
		// A provisional answer in a dialog says only that it takes time.
		if !r.timerC.IsZero() && r.req.Method == "INVITE" {
			r.timerC = now.Add(timerC(c.legs[1-r.from].peer))
		}
		return do
	}
	ok := m.Status < 300
	if ok && r.offers() && c.won >= 0 && !r.lost {
		c.timerGiven(now, 1-r.from, m)
	}
	if r.delayed && ok {
		all, _ := c.even(1-r.from, r.pair, m)
		if do, waits := c.needStreams(all, ev, do); waits {
			return do
		}
	}
	r.closed, r.timerC = true, time.Time{}
	if !r.lost {
		do = c.answeredBy(1-r.from, ev.Flow, do)
		c.legs[1-r.from].brought.Notice(m, ev.Flow.Remote.Addr())
	}
	switch {
	case r.req.Method == "INVITE" && ok:
		return c.reinviteAccepted(now, k, m, do)
	case r.req.Method == "UPDATE" && ok:
		return c.updateAccepted(now, k, m, do)
	case r.answered:
		c.relays = slices.Delete(c.relays, k, k+1)
		return do
	case r.req.Method == "PRACK" && ok:
		return c.prackAccepted(now, k, m, do)
	default:
		return c.relayAnswered(now, k, m, do)
	}
}

// relayTo finds the relay of a client transaction, -1 if there is none.
func (c *Call) relayTo(ref tu.Ref) int {
	return slices.IndexFunc(c.relays, func(r relay) bool { return r.ref == ref && ref != 0 })
}

// strayHeard takes what no open relay waits for: the answer to a BYE of ours, or a copy of a re-INVITE's 2xx whose ACK
// was lost.
func (c *Call) strayHeard(ev tu.Answered, do []tu.Action) []tu.Action {
	if ev.Msg.Status < 200 {
		return do
	}
	mine := len(c.byes)
	c.byes = slices.DeleteFunc(c.byes, func(r tu.Ref) bool { return r == ev.Ref })
	if len(c.byes) < mine && tu.Challenge(ev.Msg.Status) {
		do = c.byeChallenged(ev.Msg, do)
	}
	if ev.Msg.Status < 300 {
		do, _ = c.ackAgain(ev.Ref, "", do)
	}
	return do
}

// relayAnswered passes a final response that changes nothing in the call, but for one that says that the far side no
// longer has it.
func (c *Call) relayAnswered(now time.Time, k int, m *message.Message, do []tu.Action) []tu.Action {
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	to := 1 - r.from
	c.referAnswered(&r, m.Status, m)
	if tu.Challenge(m.Status) && !c.challengePasses(r.from) {
		return c.inDialogChallenge(&r, m.Status, do)
	}
	switch {
	case r.lost && gone(r.req.Method, m.Status):
		return c.nobody(r.from, r.tx, r.req, do)
	case r.method == "UPDATE" && !r.lost && (m.Status == 405 || m.Status == 501):
		c.legs[to].noUpdate = true
		if c.phase == established && r.pair == c.won { // the same is said in another way
			return c.pass(now, r.from, r.pair, tu.Arrived{Tx: r.tx, Msg: r.req}, r.offer, do)
		}
	case r.req.Method == "UPDATE" && r.method == "INVITE" && m.Status == 487:
		return c.answer(r.from, r.tx, r.req, 504, do) // it took too long for an UPDATE
	case r.req.Method != "INVITE" && m.Status == 408:
		return c.answer(r.from, r.tx, r.req, 504, do) // "MUST NOT send a 408 to a non-INVITE request" (RFC 4320 §4.2)
	}
	if m.Status == 422 && !r.lost && c.tooSmall(to, m) {
		return c.answer(r.from, r.tx, r.req, 491, do) // what was too short is our affair, and is not the next time
	}
	out := c.relayed(m, r.req, to)
	copyBody(out, m)
	do = c.respond(r.from, r.tx, out, do)
	if r.pair != c.won || !gone(r.req.Method, m.Status) {
		return do
	}
	if m.Status == 481 {
		c.legs[to].bye = true // nobody there to send one to
	}
	return c.hangUp(now, m.Status, reason.SignallingLost, do)
}

// gone reports whether an answer says that the far side has lost the call: "If the response for a request within a
// dialog is a 481 … or a 408 … the UAC SHOULD terminate the dialog" (RFC 3261 §12.2.1.2); a 408 counts for INVITE only,
// a NOTIFY speaks for its subscription alone (RFC 5057 §5.1), and a PRACK for a response that may be none of the far side's
// last.
func gone(method string, code int) bool {
	return code == 481 && method != "NOTIFY" && method != "PRACK" || code == 408 && method == "INVITE"
}

// relayFailed hears that a relayed request, or a BYE of ours, gets no answer.
func (c *Call) relayFailed(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	if leg := c.toldBy(ev.Ref); leg >= 0 {
		return c.digitFailed(leg, ev.Code, do)
	}
	if k := c.ownOf(ev.Ref); k >= 0 {
		return c.ownFailed(now, k, ev, do)
	}
	k := c.relayTo(ev.Ref)
	if k < 0 {
		c.byes = slices.DeleteFunc(c.byes, func(r tu.Ref) bool { return r == ev.Ref })
		return do
	}
	r := c.relays[k]
	if r.closed {
		return do
	}
	c.relays = slices.Delete(c.relays, k, k+1)
	c.referAnswered(&r, ev.Code, nil)
	if r.answered {
		return do
	}
	code := ev.Code
	if code == 503 && c.legs[1-r.from].phone() && ev.Why != reason.Overload {
		code = 480 // a lost phone is no lost gate
	}
	if r.req.Method != "INVITE" && code == 408 {
		code = 504 // "MUST NOT send a 408 to a non-INVITE request" (RFC 4320 §4.2)
	}
	do = c.answer(r.from, r.tx, r.req, code, do)
	if r.pair == c.won && !r.lost && gone(r.req.Method, ev.Code) {
		return c.hangUp(now, code, reason.Timeout, do)
	}
	return do // an ICMP error, a full table or a leak concerns this one request
}

// dropRelays answers what is still open when the call ends: "any pending requests … SHOULD … respond with a 487" (RFC
// 3261 §15.1.2). Those whose far answer is still to come stay, for a 2xx must have its ACK (RFC 5407 §3.2.3).
func (c *Call) dropRelays(do []tu.Action) []tu.Action {
	kept := c.relays[:0]
	for _, r := range c.relays {
		if r.apart() {
			kept = append(kept, r)
			continue
		}
		if !r.answered {
			code := 487
			if r.req.Method == "PRACK" && r.offer.empty() {
				code = 200 // it acknowledges what was there to be acknowledged (RFC 3262 §3)
			}
			do = c.answer(r.from, r.tx, r.req, code, do)
			r.answered = true
		}
		if r.closed {
			do = c.ackDeclined(&r, do)
			continue
		}
		if r.method == "INVITE" {
			r.timerC = time.Time{}
			do = append(do, tu.Cancel{Ref: r.ref}) // a bound for a far side that does not answer the BYE either
		}
		kept = append(kept, r)
	}
	clear(c.relays[len(kept):])
	c.relays = kept
	return do
}

// relayOf finds the accepted re-INVITE of a server transaction, -1 if there is none.
func (c *Call) relayOf(tx tu.TxID) int {
	return slices.IndexFunc(c.relays, func(r relay) bool {
		return r.tx == tx && r.answered && r.closed && r.req.Method == "INVITE"
	})
}

// forget lets an accepted re-INVITE go whose ACK never came; the far side must have one.
func (c *Call) forget(k int, do []tu.Action) []tu.Action {
	r := c.relays[k]
	c.relays = slices.Delete(c.relays, k, k+1)
	return c.ackDeclined(&r, do)
}

// ackRelay acknowledges the far side's 2xx to a re-INVITE.
func (c *Call) ackRelay(r *relay, answer func(ack *message.Message), do []tu.Action) []tu.Action {
	to := 1 - r.from
	d := &c.pairs[r.pair].dlg[to]
	m := d.Request("ACK", r.seq)
	if answer != nil {
		answer(m)
	}
	r.acked = true
	return c.sendAck(r.ref, "", to, c.hopOf(to, d), m, do)
}

// ackDeclined acknowledges a 2xx whose offer nobody answers any more.
func (c *Call) ackDeclined(r *relay, do []tu.Action) []tu.Action {
	if r.ref == 0 || r.acked || !r.delayed {
		return do
	}
	return c.ackRelay(r, func(ack *message.Message) {
		declineOffer(ack, r.far.in)
		peersOrder(ack, r.far.places)
	}, do)
}
