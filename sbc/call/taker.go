package call

import (
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// An INVITE of the inside with Replaces (RFC 3891) may be taken by the call whose dialog it names: its sender takes the place
// of that leg, the other leg is offered what it says, and the one whose place it was gets a BYE. If the other leg refuses, all
// stays as it was. A call that rings inside may be picked up so as well: what rang there is cancelled.

// taker is an INVITE that takes a leg's place.
type taker struct {
	at    int // the leg
	tx    tu.TxID
	req   *message.Message
	phase takerPhase
	leg
	seals seals
	dlg   dialog.Dialog
	offer proposal // what one of both has offered: the taker, or, where its INVITE had none, the other leg
	own   own      // then: the INVITE of ours that has brought it
	bye   bool     // it is to be hung up as soon as its ACK is here
	left  bool     // its INVITE was cancelled
	early bool     // the call was picked up while it rang
}

type takerPhase uint8

const (
	asking  takerPhase = iota // the other leg is asked
	offered                   // its 200 has an offer, the ACK is to bring the answer
	stands                    // its 200 is out, the ACK is awaited
)

// Takes reports whether an INVITE with Replaces is for this call to act upon: it names a dialog that we have on the inside, and
// the peer behind it could not act upon it itself. loop: it came over the loop, and has no other meaning.
func (c *Call) Takes(d header.DialogRef, loop bool) bool {
	at, i := c.dialogOf(d)
	if at < 0 || c.legs[at].peer.Side != nat.Inside || c.legs[1-at].peer == nil {
		return false
	}
	if c.won < 0 {
		// "If the Replaces header field matches an early dialog that was not initiated by this UA, it returns a 481": one that
		// we have called may be picked up, of the other it is for the far end to say so (RFC 3891 §3).
		return at == callee && !c.pairs[i].over
	}
	far := &c.legs[1-at]
	return loop || c.phase == ending || far.peer.Transfer == tu.TransferLocal || !far.replaces
}

// dialogOf finds the leg and the pair of a dialog that another request names; -1: none.
func (c *Call) dialogOf(d header.DialogRef) (at, i int) {
	for i := range c.pairs {
		for at := range c.pairs[i].dlg {
			x := &c.pairs[i].dlg[at]
			if x.CallID == d.CallID && x.Local.Tag == d.Local && x.Remote.Tag == d.Remote {
				return at, i
			}
		}
	}
	return -1, -1
}

// Replacing is the dialog that an INVITE is to replace; ok is false where it is to replace none, or says so in a way that cannot be
// read.
func Replacing(m *message.Message) (d header.DialogRef, ok bool) {
	v, ok := m.Get("Replaces")
	if !ok || m.Method != "INVITE" || m.To.Tag != "" || badTies(m) {
		return header.DialogRef{}, false
	}
	d, err := header.ParseDialogRef("Replaces", v)
	return d, err == nil
}

// take takes an INVITE that replaces a leg of this call.
func (c *Call) take(now time.Time, d header.DialogRef, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	at, i := c.dialogOf(d)
	if at >= 0 && c.phase != ending {
		all, _ := placed(m, c.legs[1-at].media.out, nil)
		if do, waits := c.needStreams(all, ev, do); waits {
			return do
		}
	}
	if code, extra := c.takeable(at, i, d, m); code != 0 {
		return c.turnAway(ev, code, do, extra...)
	}
	x := &taker{at: at, tx: ev.Tx, req: m, early: c.won < 0}
	l := &x.leg
	l.peer, l.callID, l.guest, l.tag = ev.Peer, m.CallID, true, c.ids.Tag()
	l.hop = tu.Hop{Peer: ev.Peer, Here: ev.Here, Flow: ev.Flow}
	l.place = c.takerPlaceAnew()
	l.user = c.legs[at].user
	l.media.epoch = c.legs[at].media.epoch
	l.learn(m)
	l.brought.Notice(m, ev.Flow.Remote.Addr())
	var err error
	if x.dlg, err = dialog.UAS(m, l.tag); err != nil {
		return c.turnAway(ev, 400, do)
	}
	x.dlg.State = dialog.Confirmed
	do = append(do, tu.Respond{Tx: ev.Tx, Side: ev.Peer.Side, Msg: message.Reply(m, 100, "")})
	if x.early {
		return c.pickUp(now, x, i, do)
	}
	var tooSmall []message.Header
	c.inPlace(at, &x.leg, &x.seals, func() {
		if tooSmall = c.timerAsked(at, m); tooSmall == nil && described(m) {
			offer, places := placed(m, c.legs[1-at].media.out, nil)
			x.offer, err = c.edit(at, offer)
			x.offer.places = places
		}
	})
	switch {
	case tooSmall != nil:
		return c.turnAway(ev, 422, do, tooSmall...)
	case err != nil:
		code, _ := verdict(err)
		return c.turnAway(ev, code, do)
	}
	mv := c.moving()
	mv.taker = x
	mv.count++
	return c.ask(now, 1-at, "INVITE", x.offer, shifting, do)
}

// takeable tells what forbids an INVITE to replace a leg; 0: nothing.
func (c *Call) takeable(at, i int, d header.DialogRef, m *message.Message) (code int, extra []message.Header) {
	switch {
	case m.MaxForwards == 0:
		return 483, nil
	case at < 0 || c.legs[at].peer.Side != nat.Inside || c.won >= 0 && i != c.won && !c.pairs[i].over:
		return 481, nil
	case c.phase == ending || c.pairs[i].over:
		// "If the Replaces header field matches a confirmed dialog that has already terminated …, 603" (RFC 3891 §3).
		return 603, nil
	case c.won >= 0 && d.Early():
		// "If … the early-only parameter … and the dialog is confirmed, 486" (RFC 3891 §3).
		return 486, nil
	case c.exchanging() || c.won >= 0 && c.phase != established:
		return 491, nil
	case c.moves != nil && c.moves.count >= maxTransfers:
		return 486, nil
	case len(m.Body) > 0 && !described(m):
		return 415, []message.Header{acceptSDP}
	}
	if tags := header.Unsupported(m); len(tags) > 0 {
		return 420, []message.Header{{Name: "Unsupported", Value: strings.Join(tags, ", ")}}
	}
	return 0, nil
}

// turnAway refuses an INVITE that would have taken a leg's place.
func (c *Call) turnAway(ev tu.Arrived, code int, do []tu.Action, extra ...message.Header) []tu.Action {
	m := message.Reply(ev.Msg, code, "")
	m.To.Tag = c.ids.Tag()
	m.Headers = append(m.Headers, extra...)
	header.Finish(nil, ev.Peer, nil, m)
	return append(do, tu.Respond{Tx: ev.Tx, Side: ev.Peer.Side, Msg: m})
}

// takerShifted hears what the other leg says to the taker's offer, or offers it.
func (c *Call) takerShifted(now time.Time, x *taker, o own, m *message.Message, code int, do []tu.Action) []tu.Action {
	if m == nil {
		c.moves.taker = nil
		if x.left {
			return do
		}
		return c.takerRefused(x, code, do)
	}
	var p proposal
	var err error
	delayed := x.offer.empty()
	c.inPlace(x.at, &x.leg, &x.seals, func() {
		if delayed {
			p, err = c.describeAs(1-x.at, m, nil, stance{})
		} else {
			p, err = c.answerOf(1-x.at, m, &x.offer)
		}
	})
	if err != nil || p.empty() || x.left {
		if delayed {
			do = c.ackOwn(o, func(ack *message.Message) { declineOffer(ack, sdpOf(m)) }, do)
		}
		c.moves.taker = nil
		if !x.left {
			do = c.takerRefused(x, 488, do)
		}
		return c.restore(now, x.at, do)
	}
	if delayed {
		x.phase, x.own, x.offer = offered, o, p
		return c.takerAnswer(x, p, nil, do)
	}
	do = c.takerAnswer(x, p, x.offer.places, do)
	do = c.exchange(x.at, &x.leg, x.seals, x.dlg, do)
	c.adopt(x.at, x.offer)
	c.adopt(1-x.at, p)
	x.phase = stands
	c.noteTransfer(x.at, x.req.From.URI.UserName())
	return c.settle(true, do)
}

// takerAnswer is the 200 to the taker's INVITE; places are those of the m= lines that it has offered.
func (c *Call) takerAnswer(x *taker, p proposal, places []int, do []tu.Action) []tu.Action {
	m := message.Reply(x.req, 200, "")
	m.To.Tag = x.dlg.Local.Tag
	p.into(m, sdpMessage(nil))
	c.inPlace(x.at, &x.leg, &x.seals, func() {
		m.Headers = append(m.Headers, c.contact(x.at))
		capable(m)
		c.legs[x.at].order(m, places)
		c.answerTimer(x.at, m)
		c.lastHand(x.at, nil, m)
	})
	return append(do,
		tu.OpenDialog{Side: x.peer.Side, CallID: x.callID, Local: x.dlg.Local.Tag, Source: x.hop.Flow.Remote.Addr()},
		tu.Respond{Tx: x.tx, Side: x.peer.Side, Msg: m, Hide: &c.legs[1-x.at].brought})
}

// takerRefused answers the taker that its place is not to be had.
func (c *Call) takerRefused(x *taker, code int, do []tu.Action) []tu.Action {
	switch {
	case tu.Challenge(code) || code < 300:
		code = 503
	case code == 481 || code == 408: // they speak of a dialog that it has nothing to do with
		code = 480
	}
	m := message.Reply(x.req, code, "")
	m.To.Tag = x.tag
	header.Finish(nil, x.peer, nil, m)
	return append(do, tu.Respond{Tx: x.tx, Side: x.peer.Side, Msg: m})
}

// restore tells a leg again what its old far end has said: it has heard of another one that came to nothing.
func (c *Call) restore(now time.Time, at int, do []tu.Action) []tu.Action {
	p, err := c.describeAs(at, sdpMessage(evened(c.legs[at].media.in, c.legs[1-at].media.sent)), nil, stance{})
	if err != nil || p.empty() {
		return do
	}
	return c.ask(now, 1-at, "INVITE", p, restoring, do)
}

// restored hears what the leg says to that.
func (c *Call) restored(now time.Time, o own, m *message.Message, do []tu.Action) []tu.Action {
	if m == nil {
		return do // it keeps what it has: the media relay aims where its last answer said
	}
	return c.heardAnew(now, o.to, o.p.out, m, do)
}

// takerAcked takes the ACK for the 200 that the taker got; where that had an offer, it brings the answer.
func (c *Call) takerAcked(now time.Time, ack *message.Message, do []tu.Action) []tu.Action {
	x := c.moves.taker
	c.moves.taker = nil
	switch {
	case x.bye && x.phase == offered: // it never came into the call
		return c.takerBye(x, do)
	case x.bye:
		return c.sendBye(x.at, do)
	case x.phase == stands:
		return do
	case x.early:
		return c.pickedUp(now, x, ack, do)
	}
	var p proposal
	var err error
	c.inPlace(x.at, &x.leg, &x.seals, func() {
		if p, err = c.answerOf(x.at, ack, &x.offer); err == nil && p.empty() {
			err = errSilent
		}
	})
	if err != nil {
		do = c.ackOwn(x.own, func(a *message.Message) { declineOffer(a, sdpOf(ack)) }, do)
		return c.restore(now, x.at, c.takerBye(x, do))
	}
	do = c.ackOwn(x.own, func(a *message.Message) { p.into(a, ack) }, do)
	do = c.exchange(x.at, &x.leg, x.seals, x.dlg, do)
	c.adopt(1-x.at, x.offer)
	c.adopt(x.at, p)
	c.noteTransfer(x.at, x.req.From.URI.UserName())
	return c.settle(true, do)
}

// takerBye hangs up a taker that has not come into the call.
func (c *Call) takerBye(x *taker, do []tu.Action) []tu.Action {
	hop := x.hop
	hop.Flow = hop.Toward(x.dlg.NextHop())
	m := x.dlg.Request("BYE", 0)
	header.Finish(nil, x.peer, nil, m)
	c.keep(x.at, &x.leg, x.dlg)
	return append(do, tu.Send{Ref: c.newBye(), Msg: m, Hop: hop, Hide: &c.legs[1-x.at].brought})
}

// takerSilent hears that the ACK of the taker never came.
func (c *Call) takerSilent(now time.Time, do []tu.Action) []tu.Action {
	x := c.moves.taker
	c.moves.taker = nil
	switch {
	case x.phase == offered:
		if !x.early {
			do = c.ackOwn(x.own, func(a *message.Message) { declineOffer(a, x.offer.in) }, do)
		}
		do = c.takerBye(x, do)
		switch {
		case c.phase == ending:
			return do
		case x.early:
			return do // what rings inside rings on
		}
		return c.restore(now, x.at, do)
	case x.bye:
		return c.sendBye(x.at, do)
	}
	return c.over(now, 408, reason.Timeout, "sbc", c.byeBoth(do))
}

// takerLeft takes a CANCEL for the taker's INVITE.
func (c *Call) takerLeft(do []tu.Action) []tu.Action {
	x := c.moves.taker
	if x.phase != asking || x.left {
		return do
	}
	x.left = true // the other leg has been asked: it is told of its old far end again
	return c.takerRefused(x, 487, do)
}
