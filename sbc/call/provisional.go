package call

import (
	"errors"
	"slices"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// heard takes a response from a peer: to an INVITE attempt, to a relayed request, or to a BYE of ours.
func (c *Call) heard(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	a := c.attemptOf(ev.Ref)
	if a == nil {
		return c.relayHeard(now, ev, do)
	}
	if ev.Msg.Status >= 200 && !a.done {
		a.done = true
	} else if a.done && (ev.Msg.Status < 200 || ev.Msg.Status >= 300) {
		return do // after the final answer only a 2xx counts: a copy, or a fork's
	}
	do = c.answeredBy(callee, ev.Flow, do)
	if !a.given && !c.final {
		if c.cdrAgent(callee, ev.Msg); ev.Msg.Status >= 200 {
			c.said(now, ev.Msg.Status)
		}
	}
	ok := ev.Msg.Status >= 200 && ev.Msg.Status < 300
	switch {
	case ok:
		return c.accepted(now, a, ev, do)
	case a.given || c.final:
		return do // the table has acknowledged a late failure
	case ev.Msg.Status < 200:
		return c.progressed(now, ev, do)
	default:
		return c.declined(now, ev.Msg, do)
	}
}

// progressed passes a 101–199 to the caller, in the dialog that stands for the callee's.
func (c *Call) progressed(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	in, b := ev.Msg, &c.legs[callee]
	c.attemptAt = time.Time{}
	if in.Status == 100 {
		return do // it goes one hop (RFC 3261 §8.2.6.1)
	}
	// "Timer C MUST be reset … when a provisional response in the range 101 to 199 arrives" (RFC 3261 §16.7).
	c.timerC = now.Add(timerC(b.peer))
	if in.Status == 199 {
		return c.dialogEnded(in, do)
	}
	if c.ringAt.IsZero() && in.Status >= 180 && b.peer.RingTimeout > 0 {
		c.ringAt = now.Add(b.peer.RingTimeout)
	}
	b.brought.Notice(in, ev.Flow.Remote.Addr())
	if !c.offered {
		if do, waits := c.needStreams(in, ev, do); waits {
			return do
		}
	}
	b.learn(in)
	i, do, err := c.fork(in, false, do)
	if errors.Is(err, errCrowded) || i >= 0 && c.pairs[i].over {
		return do // one early dialog too many, or one that the caller has left: it rings unheard
	}
	rseq := uint32(0)
	if i >= 0 {
		if rseq = rseqOf(in); rseq != 0 && (len(c.byes) >= maxPracks || !c.pairs[i].inOrder(rseq)) {
			return do
		}
	}
	c.phase = ringing
	if c.cdr.Ringing.IsZero() && in.Status >= 180 {
		c.cdr.Ringing = c.wall(now)
	}
	return c.passProgress(now, i, rseq, in, do)
}

// passProgress passes a provisional response of an early dialog, -1 for none; rseq is not 0 where the callee sent it reliably.
func (c *Call) passProgress(now time.Time, i int, rseq uint32, in *message.Message, do []tu.Action) []tu.Action {
	m := c.relayed(in, c.invite, callee)
	m.To.Tag = c.defaultTag()
	if i >= 0 {
		m.To.Tag = c.pairs[i].dlg[caller].Local.Tag
	}
	if !c.offered && c.assured == unassured && described(in) {
		rseq = 0 // nobody can answer in a PRACK; the callee was not told that we could
	}
	p, err := c.editCallee(i, in)
	switch {
	case !c.offered && i >= 0 && (c.pairs[i].complete(callee) || rseq == 0 && c.pairs[i].waitsForPrack()):
		p = proposal{} // its offer has its answer, or is to have it, and this is no other one (RFC 3262 §5)
	case err == nil:
		p.into(m, in)
		do = c.settleEarly(i, p, do)
	case rseq != 0:
		return c.refuseMedia(now, callee, err, do) // it is the answer
	default:
		p = proposal{} // a preview that cannot be used does not pass: the final answer decides
	}
	if rseq != 0 && c.offered && !p.empty() {
		c.pairs[i].steady.complete[callee] = true
	}
	plain := c.bared(m, &p)
	reliably := c.assured == required || c.assured == supported && rseq != 0
	switch {
	case !reliably && rseq != 0:
		do = c.prack(i, rseq, do)
	case reliably && i < 0:
		return do // a response without Contact or tag makes no dialog that a PRACK could come in: it rings unheard
	case reliably:
		if do = c.pledges(now, i, pledge{msg: m, theirs: rseq, said: p}, do); plain != nil {
			do = c.pledges(now, i, pledge{msg: plain}, do)
		}
		return do
	}
	if do = append(do, c.tellCaller(m)); plain != nil {
		do = append(do, c.tellCaller(plain))
	}
	return do
}

// tellCaller sends a provisional response.
func (c *Call) tellCaller(m *message.Message) tu.Action {
	return tu.Respond{Tx: c.tx, Side: c.legs[caller].peer.Side, Msg: m, Hide: &c.legs[callee].brought}
}

// bared makes a 183 of a provisional response with a description, for a caller that takes it in no other one. Where nothing is to be
// heard by that description, the caller's side has to ring by itself, and is told so by a 180 without one, which follows: "If a 180
// (Ringing) has been received but there are no incoming media packets, generate local ringing" (RFC 3960 §3.2). Where the callee makes
// the ringing nothing follows, for there are gateways that would cut it off.
func (c *Call) bared(m *message.Message, p *proposal) (plain *message.Message) {
	if !c.legs[caller].peer.Manners.RingsBare || p.empty() || m.Status == 183 {
		return nil
	}
	if m.Status == 180 && !slices.ContainsFunc(p.aims, func(a tu.Aim) bool { return a.Receive && (a.RTP.IsValid() || a.Latch != tu.LatchOff) }) {
		bare := *m
		bare.Body, bare.Headers = nil, slices.Clone(m.Headers)
		for _, name := range [...]string{"Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language", "MIME-Version"} {
			bare.Remove(name)
		}
		plain = &bare
	}
	m.Status, m.Reason = 183, message.Phrase(183)
	return plain
}

// dialogEnded takes a 199: one of the INVITE's early dialogs has ended, others have not. It is told to a caller that wants to
// know, but never reliably: what it says the final answer makes plain (RFC 6228 §5, §6).
func (c *Call) dialogEnded(in *message.Message, do []tu.Action) []tu.Action {
	i := c.pairOf(in.To.Tag)
	if i < 0 || c.pairs[i].over {
		return do
	}
	if rseq := rseqOf(in); rseq != 0 {
		if !c.pairs[i].inOrder(rseq) {
			return do
		}
		do = c.prack(i, rseq, do)
	}
	if !c.wants199 || c.assured == required {
		return do
	}
	m := c.relayed(in, c.invite, callee)
	m.To.Tag = c.pairs[i].dlg[caller].Local.Tag
	return append(do, tu.Respond{Tx: c.tx, Side: c.legs[caller].peer.Side, Msg: m, Hide: &c.legs[callee].brought})
}

// errCrowded means that an INVITE has forked into more early dialogs than we follow.
var errCrowded = errors.New("call: too many early dialogs of one INVITE")

// pairOf finds the pair of dialogs of a callee's To tag, -1 if there is none.
func (c *Call) pairOf(tag string) int {
	for i := range c.pairs {
		d := &c.pairs[i].dlg[callee]
		// A leg that was exchanged has a Call-ID of its own, and may have any tag.
		if d.Remote.Tag == tag && tag != "" && (len(c.attempts) == 0 || d.CallID == c.attempts[0].sent.CallID) {
			return i
		}
	}
	return -1
}

// fork finds or makes the pair of dialogs of a response's To tag. It is -1 and an error without a tag, a Contact (which a
// provisional response may lack), or, for a provisional response, room.
func (c *Call) fork(m *message.Message, final bool, do []tu.Action) (int, []tu.Action, error) {
	if i := c.pairOf(m.To.Tag); i >= 0 {
		return i, do, nil
	}
	if len(c.pairs) >= maxEarly && !final {
		return -1, do, errCrowded
	}
	down, err := dialog.UAC(c.attempts[len(c.attempts)-1].sent, m)
	if err != nil {
		return -1, do, err
	}
	tag := c.defaultTag() // the first dialog has that of provisional answers that made none
	if c.taken {
		tag = c.ids.Tag()
	}
	c.taken = true
	up := c.up
	up.Local.Tag = tag
	c.pairs = append(c.pairs, pair{dlg: [2]dialog.Dialog{caller: up, callee: down}})
	a := &c.legs[caller]
	return len(c.pairs) - 1, append(do, tu.OpenDialog{
		Side: a.peer.Side, CallID: a.callID, Local: tag, Source: a.hop.Flow.Remote.Addr(),
	}), nil
}

// declined takes a 3xx–6xx of the current hop: the next hop, or the caller's answer.
func (c *Call) declined(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	c.attemptAt = time.Time{}
	code := m.Status
	a, b := &c.legs[caller], &c.legs[callee]
	switch {
	case code == 503 && c.phase == inviting:
		return c.nextHop(now, code, reason.NoCapacity, do)
	case c.phase == inviting && len(c.attempts) < len(c.hops) && b.peer.Elsewhere(code):
		return c.nextHop(now, code, "", do)
	case code == 503 && b.phone():
		return c.unavailable(now, code, reason.NoCapacity, do)
	case c.otherwise(code):
		return c.nextHop(now, code, reason.MediaForbidden, do)
	case code == 422:
		if do, ok := c.againLarger(now, m, do); ok {
			return do
		}
		return c.refuse(now, 500, "", "callee", do) // of a session timer that the caller knows nothing of
	case tu.Challenge(code) && c.phase == inviting:
		if rest, other := c.creds.Others(b.peer, c.hops, len(c.attempts)); other {
			do = c.challengeStays(callee, "INVITE", code, do)
			c.hops = rest
			return c.nextHop(now, code, reason.NoRoute, do)
		}
	}
	b.brought.Notice(m, b.hop.Flow.Remote.Addr())
	c.cdrCause(m)
	do = tu.Judged(a.hop, b.peer, c.invite, m, do)
	m = c.seen(now, m)
	code = m.Status
	switch {
	case tu.Challenge(code) && !c.challengePasses(caller):
		return c.challenged(now, code, do)
	case code >= 300 && code < 400 && a.peer.Kind == tu.KindTrunk:
		return c.refuse(now, 480, reason.NoRoute, "callee", do)
	}
	if do, taken := c.redirected(now, m, do); taken {
		return do
	}
	out := c.relayed(m, c.invite, callee)
	switch {
	case code >= 300 && code < 400:
		host := a.hop.Here.Signal.String() // the next call comes through the gate again
		if b.phone() {
			host = a.hop.Peer.Host // whom the phone means is a user of the PBX
		}
		header.Redirect(m, out, host)
	case code == 503:
		out.Remove("Retry-After") // it would speak for the whole gate
	case code == 421 && has(m, "Require", "100rel"):
		out.Add("Require", "100rel") // which we could not offer in the caller's place
	}
	out.To.Tag = c.defaultTag()
	return c.over(now, code, "", "callee", c.finalAnswer(out, do))
}

// defaultTag is the To tag of an answer that belongs to no dialog: that of the first one, if there is one.
func (c *Call) defaultTag() string {
	if c.tag == "" {
		c.tag = c.ids.Tag()
	}
	return c.tag
}
