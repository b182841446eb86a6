package call

import (
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// A hop that has said that it works on an INVITE, and dies, takes the answer with it: nobody passes it on any more. The call goes to
// the next hop as it would from one that never said a word. What the caller has been told of the first one stands: early dialogs that
// end without an answer, as those of forks do (RFC 3261 §13.2.2.4). What the next one says makes others, each with a tag, numbers of
// reliable responses (RFC 3262 §4) and an answer to the caller's offer of its own.

// forsaken has a call go on whose hop has died; a is the attempt there. The table has sent the CANCEL, and hangs up what may still be
// answered there.
func (c *Call) forsaken(now time.Time, a *attempt, ev tu.Failed, do []tu.Action) []tu.Action {
	if c.phase == ringing && len(c.attempts) >= len(c.hops) {
		return c.refuse(now, 480, reason.Timeout, "sbc", do)
	}
	for i := range c.pairs {
		if !c.pairs[i].over {
			do = c.leavePair(i, do)
		}
	}
	b := &c.legs[callee].media
	b.early, c.early = nil, proposal{}
	b.unlearn()
	// Behind a proxy that died the callee may ring on. To it another INVITE with the same Call-ID, tag and number would be the first
	// one come by two ways, and refused: "the UAS core SHOULD generate a 482 (Loop Detected)" (RFC 3261 §8.2.2.2).
	c.cseq = c.nextSeq(a.sent) + leap
	return c.nextHop(now, ev.Code, ev.Why, do)
}

// leap is how far the number of an INVITE that leaves a dead hop goes beyond the one before it: the INVITEs of a phone that answers a
// challenge of the next hop have the same ids, and the numbers that follow its own.
const leap = 256

// leavePair ends an early dialog whose callee nobody hears any more: what the caller still waits for in it is answered, and what it
// was told reliably is repeated no longer.
func (c *Call) leavePair(i int, do []tu.Action) []tu.Action {
	p := &c.pairs[i]
	p.over, p.forsaken = true, true
	if p.steady != nil {
		p.steady.open, p.steady.later = nil, nil
	}
	for k := range c.relays {
		r := &c.relays[k]
		if r.pair != i || r.answered {
			continue
		}
		code := 481
		if r.req.Method == "PRACK" {
			code = c.forsakenPrack(r.req)
		}
		r.answered = true
		do = c.answer(r.from, r.tx, r.req, code, do)
	}
	// "When a UAS … receives and accepts an INVITE request that contains an option-tag '199' …, it is able to send" one when an early
	// dialog ends (RFC 6228 §5), never reliably.
	if !c.wants199 || c.assured == required {
		return do
	}
	m := message.Reply(c.invite, 199, "")
	m.To.Tag = p.dlg[caller].Local.Tag
	c.dress(m, caller)
	c.lastHand(caller, nil, m)
	return append(do, c.tellCaller(m))
}

// forsakenPrack answers a PRACK in an early dialog that nobody is on the other end of: the response that it is for has arrived, and that
// is all it says (RFC 3262 §3). What it offers nobody can answer.
func (c *Call) forsakenPrack(m *message.Message) int {
	if c.offered && len(m.Body) > 0 {
		return 488
	}
	return 200
}
