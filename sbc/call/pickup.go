package call

import (
	"slices"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// pickUp lets a taker have a call that rings inside: "if the … dialog is an early dialog … initiated by this UA, … CANCEL", and
// the taker's INVITE is answered in the place of what rang (RFC 3891 §3).
func (c *Call) pickUp(now time.Time, x *taker, i int, do []tu.Action) []tu.Action {
	x.at = callee
	if !c.offered {
		// The caller waits for an offer, which nobody who is picked up by can give before it is known who that is.
		return c.takerRefused(x, 488, do)
	}
	mv := c.moving()
	var err error
	if !described(x.req) {
		c.inPlace(callee, &x.leg, &x.seals, func() {
			x.offer, err = c.describeAs(caller, sdpMessage(c.legs[caller].media.in), nil, stance{})
		})
		if err != nil {
			return c.takerRefused(x, 488, do)
		}
		x.phase, mv.taker = offered, x
		return c.takerAnswer(x, x.offer, nil, do)
	}
	offer, places := placed(x.req, c.legs[caller].media.in, nil)
	theirs, ours, fits := matched(sdpOf(offer), c.legs[caller].media.in)
	if !fits {
		return c.takerRefused(x, 488, do)
	}
	before, asked := c.seals, c.inForce(caller)
	var p, q proposal
	c.inPlace(callee, &x.leg, &x.seals, func() {
		c.seals = before
		if p, err = c.describeAs(callee, sdpMessage(theirs), &asked, stance{write: true}); err != nil {
			return
		}
		c.seals = seals{by: p.seals}
		q, err = c.describeAs(caller, sdpMessage(ours), &p, stance{write: true})
	})
	if err != nil {
		return c.takerRefused(x, 488, do)
	}
	p.places = places
	do = c.takerAnswer(x, q, places, do)
	x.phase, mv.taker = stands, x
	return c.pickedUpWith(now, x, i, p, do)
}

// pickedUp takes the answer of a taker that was offered the caller's description.
func (c *Call) pickedUp(now time.Time, x *taker, ack *message.Message, do []tu.Action) []tu.Action {
	var p proposal
	var err error
	c.inPlace(callee, &x.leg, &x.seals, func() {
		if p, err = c.answerOf(callee, ack, &x.offer); err == nil && p.empty() {
			err = errSilent
		}
	})
	if err != nil || c.final {
		return c.takerBye(x, do) // what rings inside rings on
	}
	i := slices.IndexFunc(c.pairs, func(p pair) bool { return !p.over && p.dlg[caller].Local.Tag != "" })
	return c.pickedUpWith(now, x, max(i, 0), p, do)
}

// pickedUpWith answers the caller with what the taker says, and cancels what rang.
func (c *Call) pickedUpWith(now time.Time, x *taker, i int, p proposal, do []tu.Action) []tu.Action {
	c.why = `SIP;cause=200;text="Call completed elsewhere"` // no missed call (RFC 3326)
	if at := c.current(); at != nil && at.done {            // answered by a fork that waits for the caller, or that he has left
		do = append(do, tu.Vacate{Ref: at.ref})
	}
	do = c.dropKept(c.giveUp(false, do))
	c.why = ""
	up := c.pairs[i].dlg[caller]
	if c.pairs[i].steady != nil {
		// What the caller was told reliably is that dialog's: this one is another fork's.
		up = c.up
		up.Local.Tag = c.ids.Tag()
		a := &c.legs[caller]
		do = append(do, tu.OpenDialog{Side: a.peer.Side, CallID: a.callID, Local: up.Local.Tag, Source: a.hop.Flow.Remote.Addr()})
	} else {
		c.pairs[i].dlg[caller] = dialog.Dialog{}
	}
	up.State = dialog.Confirmed
	for k := range c.pairs {
		c.pairs[k].over = true
	}
	c.pairs = append(c.pairs, pair{dlg: [2]dialog.Dialog{caller: up, callee: x.dlg}, acked: true})
	c.won, c.phase, c.answerAt = len(c.pairs)-1, answered, now
	c.attemptAt, c.ringAt, c.timerC = time.Time{}, time.Time{}, time.Time{}
	c.cdr.Answer, c.endAt, c.early = c.wall(now), c.longest(now), proposal{}
	do = append(do, x.occupy())
	c.legs[callee], c.seals = x.leg, x.seals
	c.noteTransfer(callee, x.req.From.URI.UserName())
	c.moves.count++
	m := message.Reply(c.invite, 200, "")
	m.To.Tag = up.Local.Tag
	m.Headers = append(m.Headers, c.contact(caller))
	capable(m)
	p.into(m, sdpMessage(nil))
	c.lastHand(caller, nil, m)
	c.adopt(callee, p)
	do = c.settle(true, do)
	c.answerTimer(caller, m)
	return c.finalAnswer(m, do)
}

// matched makes answers to each other of two offers: of every stream the codecs that both have. fits is false where they have
// none in common, or not the same streams.
func matched(a, b []byte) (x, y []byte, fits bool) {
	s, err1 := sdp.Parse(a)
	t, err2 := sdp.Parse(b)
	if err1 != nil || err2 != nil || s.Len() != t.Len() {
		return nil, nil, false
	}
	for i := range s.Len() {
		p, q := s.At(i), t.At(i)
		switch {
		case p.Type != q.Type, p.IsRTP() != q.IsRTP():
			return nil, nil, false
		case p.Rejected() || q.Rejected():
			s.Reject(i)
			t.Reject(i)
		case p.IsRTP():
			f, g := s.Formats(i), t.Formats(i)
			if !inCommon(s, i, f, g) || !inCommon(t, i, g, f) {
				s.Reject(i)
				t.Reject(i)
				continue
			}
			fits = true
		default:
			fits = true
		}
	}
	return s.Bytes(), t.Bytes(), fits
}

// inCommon leaves of a stream's formats those that stand in another list too; false: none that carries anything does.
func inCommon(s *sdp.Session, i int, list, other []sdp.Format) (some bool) {
	var drop []uint8
	for _, f := range list {
		if slices.ContainsFunc(other, func(x sdp.Format) bool { return x.Codec == f.Codec }) {
			some = some || !isEvent(f)
		} else {
			drop = append(drop, f.Number)
		}
	}
	if some && len(drop) > 0 {
		s.DropFormats(i, drop...)
	}
	return some
}
