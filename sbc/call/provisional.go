package call

import (
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
		c.open--
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
	c.attemptAt = time.Time{}
	b := &c.legs[callee]
	// "Timer C MUST be reset … when a provisional response in the range 101 to 199 arrives" (RFC 3261 §16.7).
	c.timerC = now.Add(timerC(b.peer))
	if c.ringAt.IsZero() && ev.Msg.Status >= 180 && b.peer.RingTimeout > 0 {
		c.ringAt = now.Add(b.peer.RingTimeout)
	}
	if ev.Msg.Status == 199 {
		return do // RFC 6228: only where the caller asked for it, and we cut that option
	}
	b.notice(ev.Msg, ev.Flow.Remote.Addr())
	i, do := c.fork(ev.Msg, do)
	if ev.Msg.To.Tag != "" && i < 0 {
		return do // one early dialog too many: it rings unheard
	}
	c.phase = ringing
	if c.cdr.Ringing.IsZero() && ev.Msg.Status >= 180 {
		c.cdr.Ringing = now
	}
	m := c.relayed(ev.Msg, c.invite, callee)
	if i >= 0 {
		m.To.Tag = c.pairs[i].dlg[caller].Local.Tag
	}
	if len(ev.Msg.Body) > 0 {
		kind := answerSDP
		if len(c.invite.Body) == 0 {
			kind = offerSDP // to a caller without an offer of its own
		}
		if do, waits := c.needStreams(ev.Msg, ev, do); waits {
			return do
		}
		p, err := c.edit(callee, ev.Msg, kind)
		c.noPorts = false
		if err != nil {
			// A provisional answer that cannot be used is passed without its body: the final one decides.
			return append(do, c.toCaller(m))
		}
		p.into(m, ev.Msg)
		do = c.settleEarly(p, do)
	}
	return append(do, c.toCaller(m))
}

func (c *Call) toCaller(m *message.Message) tu.Action {
	return tu.Respond{Tx: c.tx, Side: c.legs[caller].peer.Side, Msg: m, Hide: &c.legs[callee].brought}
}

// fork finds or makes the pair of dialogs of a callee's To tag. It is -1 without a tag, a Contact, or room.
func (c *Call) fork(m *message.Message, do []tu.Action) (int, []tu.Action) {
	if m.To.Tag == "" {
		return -1, do
	}
	for i := range c.pairs {
		if c.pairs[i].dlg[callee].Remote.Tag == m.To.Tag {
			return i, do
		}
	}
	if len(c.pairs) >= maxEarly {
		return -1, do
	}
	down, err := dialog.UAC(c.attempts[len(c.attempts)-1].sent, m)
	if err != nil {
		return -1, do
	}
	up, err := dialog.UAS(c.invite, c.ids.Tag())
	if err != nil {
		return -1, do
	}
	up.LocalSeq = 0
	c.pairs = append(c.pairs, pair{dlg: [2]dialog.Dialog{caller: up, callee: down}})
	a := &c.legs[caller]
	do = append(do, tu.OpenDialog{
		Side: a.peer.Side, CallID: a.callID, Local: up.Local.Tag, Source: a.hop.Flow.Remote.Addr(),
	})
	return len(c.pairs) - 1, do
}

// declined takes a 3xx–6xx of the current hop: the next hop, or the caller's answer.
func (c *Call) declined(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	c.attemptAt = time.Time{}
	if m.Status == 503 && c.phase == inviting && len(c.attempts) < len(c.hops) {
		return c.nextHop(now, m.Status, "", do)
	}
	if m.Status == 503 && c.phase == inviting {
		return c.exhausted(now, m.Status, reason.NoCapacity, do)
	}
	a, b := &c.legs[caller], &c.legs[callee]
	b.notice(m, b.hop.Flow.Remote.Addr())
	code := m.Status
	switch {
	case (code == 401 || code == 407) && a.peer.Kind == tu.KindTrunk:
		// The PBX's challenge never reaches a provider, who has no account there.
		do = append(do, tu.Note{
			Source: a.hop.Flow.Remote, Side: a.peer.Side, Realm: a.peer.Realm, Method: "INVITE", Code: code,
			Why: reason.NoRoute, Text: "the PBX challenges calls of this trunk; let it accept calls from our inside trunks address without a password",
		})
		return c.refuse(now, 503, reason.NoRoute, "callee", do)
	case code >= 300 && code < 400 && a.peer.Kind == tu.KindTrunk:
		return c.refuse(now, 480, reason.NoRoute, "callee", do)
	}
	out := c.relayed(m, c.invite, callee)
	if code >= 300 && code < 400 {
		header.Redirect(m, out, a.hop.Here.Signal.String()) // the next call comes through the gate again
	}
	out.To.Tag = c.defaultTag()
	return c.over(now, code, "", "callee", c.finalAnswer(out, do))
}

// defaultTag is the To tag of a failure: that of the first early dialog, or a fresh one.
func (c *Call) defaultTag() string {
	if len(c.pairs) > 0 {
		return c.pairs[0].dlg[caller].Local.Tag
	}
	return c.ids.Tag()
}
