package call

import (
	"bytes"
	"slices"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Some providers refuse a re-INVITE that holds a call, or end the call upon it (tu.Manners.KeepsFlowing). Towards them a new offer
// of the other leg that leaves their own streams as they are is answered here, with the direction that it asks for (RFC 3264 §6.1,
// §8.4): hold and resume, and music that comes from elsewhere meanwhile. The relay alone acts upon it. Whatever would change what
// such a peer sends or gets passes as ever, and so does a direction that it could not know of.

// holdHere answers an offer of a leg in the place of the other one, if that one need not know of it. before is what the other leg has
// been told, edit having made p of the offer. done is false where the offer must pass.
func (c *Call) holdHere(from, i int, ev tu.Arrived, p proposal, before spoken, do []tu.Action) (_ []tu.Action, done bool) {
	near, far := &c.legs[from].media, &c.legs[1-from].media
	body := c.standing(from, &p)
	if body == nil {
		return do, false
	}
	mine := near.told()
	q, err := c.answerOf(1-from, &message.Message{
		Method: ev.Msg.Method, Status: 200, Body: body, Headers: []message.Header{{Name: "Content-Type", Value: "application/sdp"}},
	}, &p)
	if err != nil || declines(q.out, p.out) {
		near.tell(mine)
		return do, false
	}
	bid, out := far.bid, far.out
	c.adopt(from, p)
	far.out, far.formats, far.bid = out, q.formats, bid
	far.tell(before)
	near.out = q.out
	return c.answerRefresh(from, i, ev, c.settle(true, do)), true
}

// standing is what the other leg would answer to an offer of leg from that changes nothing for it: what it has said last, as far as
// the offer has it, and flowing as the offer allows. Nil: it must be asked.
func (c *Call) standing(from int, p *proposal) []byte {
	near, far := &c.legs[from].media, &c.legs[1-from].media
	if len(near.in) == 0 || len(far.in) == 0 || len(far.out) == 0 || slices.ContainsFunc(far.seals, shaken) {
		return nil
	}
	offer, was, shown, told, said := parsed(p.in), parsed(near.in), parsed(p.out), parsed(far.out), parsed(far.in)
	if was == nil || said == nil || offer.Len() != was.Len() || shown.Len() != told.Len() || shown.Len() != said.Len() || offer.Len() > len(p.formats) {
		return nil
	}
	same := shown.SameStreams(told)
	if !same && (c.conditional || !redirected(offer, was)) {
		return nil
	}
	for i := range shown.Len() {
		x, y := shown.At(i), told.At(i)
		switch {
		case x.Rejected() != y.Rejected() || x.Type != y.Type || x.Proto != y.Proto:
			return nil
		case x.Rejected():
			continue
		case !same && (!x.IsRTP() || !c.serves(from, i, p) || !sameKeys(shown.Cryptos(i), told.Cryptos(i))):
			return nil
		}
		way, ok := wayBack(wayOf(offer, i), wayOf(told, i), wayOf(said, i), far.bid)
		if !ok {
			return nil
		}
		keepOffered(said, i, p.formats[i].said)
		said.SetDirection(i, way)
	}
	return said.Bytes()
}

// redirected reports whether an offer has a stream flow another way than before, or to another place.
func redirected(offer, was *sdp.Session) bool {
	for i := range offer.Len() {
		x, y := offer.At(i), was.At(i)
		if x.Direction != y.Direction || x.Addr != y.Addr || x.Port != y.Port {
			return true
		}
	}
	return false
}

// serves reports whether an offer of a leg still has all that is spoken in a stream, under the numbers that the other leg knows. What it
// has besides is only possible: the answer need not take it.
func (c *Call) serves(from, i int, p *proposal) bool {
	a, b := c.legs[from].media.formats, c.legs[1-from].media.formats
	if i >= len(a) || i >= len(b) {
		return false
	}
	spoken := 0
	for _, f := range a[i].told {
		if _, both := meaning(f, b[i].said); !both || besideVoice(f) {
			continue
		}
		spoken++
		if !slices.ContainsFunc(p.formats[i].told, func(g sdp.Format) bool { return g.Number == f.Number && g.Base() == f.Base() }) {
			return false
		}
	}
	return spoken > 0
}

func sameKeys(a, b []sdp.Crypto) bool {
	return slices.EqualFunc(a, b, func(x, y sdp.Crypto) bool {
		return x.Tag == y.Tag && x.Suite == y.Suite && bytes.Equal(x.Key, y.Key)
	})
}

// way is how a stream flows by one description.
type way struct {
	sdp.Direction
	deaf bool // its writer has no address: the hold of RFC 2543
}

func wayOf(s *sdp.Session, i int) way {
	line := s.At(i)
	return way{line.Direction, line.Hold()}
}

func (w way) receives() bool { return w.Receives() && !w.deaf }

// wayBack is the direction of the answer to an offer, by the peer that has said and been told these. ok is false where the
// peer has to hear of the offer: it would send, or could be sent, what it was told not to. What it does not do itself it may have left
// because it was told so, unless that was an offer of its own (bid).
func wayBack(offer, told, said way, bid bool) (_ sdp.Direction, ok bool) {
	sends := said.Sends() || !bid && !told.receives()
	receives := said.receives() || !bid && !told.Sends()
	if offer.receives() && sends && !told.receives() || offer.Sends() && receives && !told.Sends() {
		return sdp.Inactive, false
	}
	// "If a stream is offered as sendonly, the corresponding stream MUST be marked as recvonly or inactive in the answer", one that is
	// "recvonly …, sendonly or inactive" (RFC 3264 §6.1). An address of zeros alone asks for no other answer (§8.4).
	switch sends, receives = said.Sends() && offer.Receives(), said.Receives() && offer.Sends(); {
	case sends && receives:
		return sdp.SendRecv, true
	case sends:
		return sdp.SendOnly, true
	case receives:
		return sdp.RecvOnly, true
	}
	return sdp.Inactive, true
}

// keepOffered leaves in stream i of an answer what the offer has: it may be what its writer has offered itself.
func keepOffered(s *sdp.Session, i int, offered []sdp.Format) {
	var drop []uint8
	for _, f := range s.Formats(i) {
		if _, ok := meaning(f, offered); !ok && !slices.ContainsFunc(offered, func(g sdp.Format) bool { return g.Base() == f.Base() }) {
			drop = append(drop, f.Number)
		}
	}
	if len(drop) > 0 {
		s.DropFormats(i, drop...)
	}
}

// declines reports whether an answer of ours has a stream less than the offer.
func declines(answer, offer []byte) bool {
	a, o := parsed(answer), parsed(offer)
	if a == nil || a.Len() != o.Len() {
		return true
	}
	for i := range a.Len() {
		x, y := a.At(i), o.At(i)
		if x.Rejected() && !y.Rejected() {
			return true
		}
	}
	return false
}

// untell has the answer of a leg to an offer within the call say nothing of a hold to a peer that keeps its streams flowing: they flow as
// they were offered. The aims have been read before.
func (c *Call) untell(from int, s *sdp.Session) {
	to := &c.legs[1-from]
	if !to.peer.Manners.KeepsFlowing || c.won < 0 {
		return
	}
	k := slices.IndexFunc(c.relays, func(r relay) bool { return r.from == 1-from && !r.answered && !r.offer.empty() })
	if k < 0 {
		return
	}
	offer := parsed(c.relays[k].offer.in)
	if offer == nil || offer.Len() != s.Len() {
		return
	}
	for i := range s.Len() {
		if line := s.At(i); line.Rejected() || !line.IsRTP() {
			continue
		}
		line := offer.At(i)
		s.SetDirection(i, [...]sdp.Direction{sdp.SendRecv: sdp.SendRecv, sdp.SendOnly: sdp.RecvOnly, sdp.RecvOnly: sdp.SendOnly, sdp.Inactive: sdp.Inactive}[line.Direction])
		s.Revive(i, to.hop.Here.Media)
	}
}

// repeatsAnew reports whether an offer of a peer that keeps its streams flowing says what it has said last, under another version alone.
func (c *Call) repeatsAnew(from int, m *message.Message) bool {
	l := &c.legs[from]
	if !l.peer.Manners.KeepsFlowing || !bytes.Equal(l.media.out, l.media.sent) {
		return false
	}
	now, was := sdpOf(m), l.media.in
	return len(was) > 0 && bytes.Equal(withoutOrigin(now), withoutOrigin(was))
}

// held has a peer that keeps its streams flowing neither heard nor sent to where the other leg holds: it was not told, and its silence,
// or the lack of it, counts as that of other calls on hold.
func (c *Call) held(x, y *tu.Aim) {
	if c.legs[caller].peer.Manners.KeepsFlowing {
		x.Send, x.Receive = x.Send && y.Receive, x.Receive && y.Send
	}
	if c.legs[callee].peer.Manners.KeepsFlowing {
		y.Send, y.Receive = y.Send && x.Receive, y.Receive && x.Send
	}
}
