package call

import (
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// moveHeard hands what concerns a transfer to it; taken is false for every other event.
func (c *Call) moveHeard(now time.Time, ev tu.Event, do []tu.Action) (_ []tu.Action, taken bool) {
	mv := c.moves
	of := func(tx tu.TxID) bool { return mv.taker != nil && mv.taker.tx == tx }
	switch ev := ev.(type) {
	case tu.Routed:
		if mv.third != nil && mv.third.phase == seeking {
			return c.thirdRouted(now, ev, do), true
		}
	case tu.Trying:
		if t, a := c.thirdOf(ev.Ref); a != nil {
			t.attemptAt = time.Time{}
			return do, true
		}
	case tu.Answered:
		if k := mv.staleOf(ev.Ref); k >= 0 {
			return c.staleHeard(k, ev.Msg, do), true
		}
		if t, a := c.thirdOf(ev.Ref); a != nil {
			return c.thirdHeard(now, t, a, ev, do), true
		}
	case tu.Failed:
		if k := mv.staleOf(ev.Ref); k >= 0 {
			mv.stale = slices.Delete(mv.stale, k, k+1)
			return do, true
		}
		if t, a := c.thirdOf(ev.Ref); a != nil {
			return c.thirdSilent(now, t, a, ev, do), true
		}
	case tu.Acked:
		if of(ev.Tx) && mv.taker.phase != asking {
			return c.takerAcked(now, ev.Msg, do), true
		}
	case tu.NotAcked:
		if of(ev.Tx) && mv.taker.phase != asking {
			return c.takerSilent(now, do), true
		}
	case tu.Cancelled:
		if of(ev.Tx) {
			return c.takerLeft(do), true
		}
	}
	return do, false
}

// staleOf finds a re-INVITE of ours whose leg has gone, -1 if it is none.
func (m *moves) staleOf(ref tu.Ref) int {
	return slices.IndexFunc(m.stale, func(x stale) bool { return x.ref == ref })
}

// arrivedAgain takes an INVITE outside dialogs that the core has handed to a call which has begun: it replaces one of its
// dialogs.
func (c *Call) arrivedAgain(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	if d, ok := Replacing(ev.Msg); ok {
		return c.take(now, d, ev, do)
	}
	return c.turnAway(ev, 482, do) // the core makes one call of one INVITE
}

// deadlines tells the timers of transfers.
func (m *moves) deadlines(earlier func(time.Time)) {
	if t := m.third; t != nil {
		earlier(t.attemptAt)
		earlier(t.ringAt)
		earlier(t.timerC)
	}
	for i := range m.subs {
		earlier(m.subs[i].until)
	}
}

// tickMoves runs them.
func (c *Call) tickMoves(now time.Time, do []tu.Action) []tu.Action {
	if c.moves == nil {
		return do
	}
	c.forgetSubs(now, false)
	t := c.moves.third
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	switch {
	case t == nil:
	case due(t.attemptAt):
		a := &t.attempts[len(t.attempts)-1]
		a.given, t.attemptAt = true, time.Time{}
		return c.thirdNext(now, t, 408, append(do, tu.Cancel{Ref: a.ref, Quiet: true}))
	case due(t.ringAt), due(t.timerC):
		return c.thirdFailed(now, 480, do)
	}
	return do
}

// underWay tells the administrator of a transfer that has not ended.
func (c *Call) underWay() string {
	switch {
	case !c.exchanging():
		return ""
	case c.moves.taker != nil:
		return legNames[c.moves.taker.at] + " → " + c.moves.taker.req.From.URI.UserName() + ", answering"
	}
	t := c.moves.third
	state := [...]string{seeking: "routing", calling: "trying", joining: "answered", settled: "over"}[t.phase]
	if t.phase == calling && t.rang {
		state = "ringing"
	}
	return legNames[t.from] + " → " + t.invite.To.URI.UserName() + ", " + state
}

// exchanging reports whether a leg is being exchanged.
func (c *Call) exchanging() bool {
	return c.moves != nil && (c.moves.third != nil || c.moves.taker != nil)
}

// joins reports whether the two ends of the call are being made known to each other: neither may make an offer of its own then.
func (c *Call) joins() bool {
	return c.moves != nil && (c.moves.taker != nil || c.moves.third != nil && c.moves.third.phase == joining)
}

// left is the leg that has hung up after it referred, while what it asked for is under way; -1: none.
func (c *Call) left() int {
	if c.moves != nil && c.moves.third != nil && c.moves.third.gone {
		return c.moves.third.from
	}
	return -1
}

// leaves takes the BYE of a leg that has referred: "the transferor … MAY send a BYE" as soon as its REFER was accepted (RFC
// 5589 §6.1), and the call goes on without it.
func (c *Call) leaves(from int, do []tu.Action) (_ []tu.Action, goesOn bool) {
	if c.moves == nil || c.moves.third == nil || c.moves.third.from != from {
		return do, false
	}
	c.moves.third.gone = true
	do = append(c.letGo(from, do), tu.Vacate{Ref: c.legs[from].place})
	c.legs[from].timer, c.legs[from].keys = nil, nil // nothing more is asked of it
	return do, true
}

// nobody answers what is asked of a leg that has left, or has been replaced since: not 481, for the dialog lives.
func (c *Call) nobody(from int, tx tu.TxID, m *message.Message, do []tu.Action) []tu.Action {
	if m.Method == "INVITE" || m.Method == "UPDATE" {
		return c.answer(from, tx, m, 491, do) // its next far end will make it an offer
	}
	return c.answer(from, tx, m, 500, do, message.Header{Name: "Retry-After", Value: "5"})
}

// busy reports whether something of transfers is still to be waited for when the call has ended.
func (m *moves) busy() bool {
	if m == nil {
		return false
	}
	if len(m.subs) > 0 || m.taker != nil || len(m.stale) > 0 {
		return true
	}
	for _, t := range m.past {
		for i := range t.attempts {
			if !t.attempts[i].done {
				return true
			}
		}
	}
	return false
}

// waits reports whether a leg's BYE must wait for the ACK of what it was answered (RFC 3261 §15).
func (m *moves) waits(to int) bool {
	if m == nil || m.taker == nil || m.taker.phase != stands || m.taker.at != to {
		return false
	}
	m.taker.bye = true
	return true
}

// endMoves gives up what is under way when the call ends.
func (c *Call) endMoves(now time.Time, code int, by string, do []tu.Action) []tu.Action {
	mv := c.moves
	if mv == nil {
		return do
	}
	if by == "sbc" {
		c.forgetSubs(now, true) // who ends everything waits for nobody
	} else {
		c.outlive(now) // in an early dialog, too, whose INVITE is refused or cancelled
	}
	if t := mv.third; t != nil {
		if code < 300 {
			code = 487
		}
		do = c.report(t, code, c.thirdOver(t, do))
		c.moveOver(t)
	}
	x := mv.taker
	switch {
	case x == nil:
	case x.phase == asking:
		mv.taker = nil
		if !x.left {
			do = c.takerRefused(x, 480, do)
		}
	case x.phase == offered:
		x.bye = true
	}
	return do
}

// certain is what had to be ended when the last Step began.
func (m *moves) certain() (t *third, x *taker) {
	if m == nil {
		return nil, nil
	}
	if t = m.third; t != nil && t.phase != joining {
		t = nil
	}
	if x = m.taker; x != nil && (x.phase != asking || x.left) {
		x = nil
	}
	return t, x
}

// abortMoves ends what Abort finds of transfers: legs that are being called, and the INVITE that would have taken a place.
func (c *Call) abortMoves(do []tu.Action) []tu.Action {
	mv := c.moves
	if mv == nil {
		return do
	}
	for _, t := range append(slices.Clip(mv.past), mv.third) {
		for i := 0; t != nil && i < len(t.attempts); i++ {
			if !t.attempts[i].done {
				do = append(do, tu.Cancel{Ref: t.attempts[i].ref})
			}
		}
	}
	if t := c.sure.joining; t != nil && (c.sure.won < 0 || c.pairs[c.sure.won].dlg[t.from].CallID != t.dlg.CallID) {
		m := t.dlg.Request("BYE", 1)
		m.CSeq = 0
		c.lastRef++
		do = append(do, tu.Send{Ref: c.lastRef, Hop: t.hop, Msg: m, Hide: &c.legs[1-t.from].brought})
	}
	if x := c.sure.asking; x != nil {
		m := message.Reply(x.req, 500, "")
		m.To.Tag = x.tag
		do = append(do, tu.Respond{Tx: x.tx, Side: x.peer.Side, Msg: m})
	}
	return do
}

// mayAskIn is mayAsk for a request of one of a leg's dialogs: in one that the leg had before, who stood there may speak.
func (c *Call) mayAskIn(from, i int, ev tu.Arrived) bool {
	was := c.pairs[i].was
	if was == nil {
		return c.mayAsk(from, ev)
	}
	l := &c.legs[from]
	peer, hop := l.peer, l.hop
	l.peer, l.hop = was.peer, was.hop
	may := c.mayAsk(from, ev)
	l.peer, l.hop = peer, hop
	return may
}

// sideOfDialog is the side of a dialog of ours, by its Call-ID: every leg that stands or has stood here has one of its own.
func (c *Call) sideOfDialog(m *message.Message) nat.Side {
	for i := range c.pairs {
		for l := range c.pairs[i].dlg {
			if p := c.legs[l].peer; p != nil && c.pairs[i].dlg[l].CallID == m.CallID {
				return p.Side
			}
		}
	}
	if c.moves != nil {
		for _, t := range append(c.moves.past, c.moves.third) {
			if t != nil && t.callID == m.CallID {
				return t.peer.Side
			}
		}
	}
	return nat.Outside
}

// loops reports whether a leg is the other half of another call of this program.
func (c *Call) loops(l int) bool {
	return c.set.Loop != nil && c.legs[l].peer != nil && c.legs[l].hop.Flow.Interface == c.set.Loop.Flow.Interface
}

// answerOf is editAnswer for a description that is known to be one.
func (c *Call) answerOf(from int, m *message.Message, offer *proposal) (proposal, error) {
	p, err := c.describeAs(from, m, offer, stance{read: true, write: true})
	if err == nil && strange(p.formats, offer.formats) {
		return proposal{}, errNoCodec
	}
	return p, err
}

// supports notes whether a leg's peer says that it can replace dialogs.
func (l *leg) supports(m *message.Message) {
	if _, said := m.Get("Supported"); said {
		l.replaces = has(m, "Supported", tieTags["Replaces"]) && !l.lacks().Option("replaces")
	}
}
