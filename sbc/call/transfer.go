package call

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// A transfer that the gate does itself (RFC 5589 §6): the leg that refers is answered 202; a third leg is called, as the peer
// of the leg that stays would call it; when it has answered, the leg that stays is offered what it said, and the one that
// referred gets a BYE. It hears by NOTIFY how far that is, and may hang up before. If the third leg does not come about, nothing
// has changed; if the one that referred has gone by then, the call ends.

// third is a leg on its way into the call.
type third struct {
	from   int    // the leg that referred; it is to go
	cseq   uint32 // of its REFER
	named  bool   // NOTIFYs say which REFER they are about
	silent bool   // they are not wanted
	told   []int  // the codes that were reported
	over   bool   // the last report has gone
	gone   bool   // the leg has hung up

	phase  thirdPhase
	invite *message.Message // what the peer of the leg that stays would have asked for
	leg
	seals    seals
	hops     []tu.Hop
	attempts []attempt
	rang     bool
	after    uint32   // the number of the INVITE before, at a hop that has died
	offer    proposal // what the third leg was offered: the last description of the leg that stays
	early    []byte   // what a provisional answer has said
	answer   proposal // what it has said, for the leg that stays
	dlg      dialog.Dialog

	attemptAt, ringAt, timerC time.Time
}

type thirdPhase uint8

const (
	seeking thirdPhase = iota // waiting for a plan
	calling                   // an INVITE is out
	joining                   // it has answered; the leg that stays is asked
	settled                   // it has become a leg, or nothing
)

// refer begins a transfer.
func (c *Call) refer(now time.Time, from, i int, r header.Refer, ev tu.Arrived, do []tu.Action) []tu.Action {
	m, mv := ev.Msg, c.moving()
	switch {
	case c.phase != established || c.won != i || c.exchanging():
		// "491 … the server had a pending request": one transfer at a time, of a call that stands.
		return c.answer(from, ev.Tx, m, 491, do)
	case mv.count >= maxTransfers:
		return c.referRefused(from, ev, "the call has been transferred too often", do)
	case len(c.legs[1-from].media.in) == 0:
		return c.referRefused(from, ev, "the other side of the call has no media that could be moved", do)
	}
	hop, fits := c.placeOf(from, &r)
	if !fits {
		return c.referRefused(from, ev, "what it asks for cannot be done here", do)
	}
	mv.count++
	t := &third{from: from, cseq: m.CSeq, named: mv.count > 1, silent: unsubscribed(m)}
	t.invite = c.askedFor(from, &r, m)
	mv.third = t
	ok := message.Reply(m, 202, "")
	ok.Headers = append(ok.Headers, c.contact(from))
	if t.silent {
		ok.Add("Refer-Sub", "false") // RFC 4488 §4
	}
	c.pairs[i].dlg[from].Refresh(m)
	c.lastHand(from, nil, ok)
	do = c.report(t, 100, c.respond(from, ev.Tx, ok, do))
	if hop != nil {
		t.hops, t.phase = []tu.Hop{*hop}, calling
		return c.thirdNext(now, t, 0, do)
	}
	return append(do, tu.Route{Msg: t.invite, Peer: c.legs[1-from].peer, Anew: true, Chosen: c.legs[from].hop.Flow})
}

// unsubscribed reports whether a REFER wants no NOTIFYs.
func unsubscribed(m *message.Message) bool {
	v, _ := m.Get("Refer-Sub")
	v, _, _ = strings.Cut(v, ";")
	return strings.EqualFold(strings.TrimSpace(v), "false")
}

// placeOf tells where the third leg of a REFER leads, if that is not for the routes to say: a dialog of ours that is to be
// replaced is taken by the call that has it, over the loop. fits is false where there is no way.
func (c *Call) placeOf(from int, r *header.Refer) (hop *tu.Hop, fits bool) {
	near, stays := c.legs[from].peer, c.legs[1-from].peer
	var named *header.DialogRef
	for _, f := range r.Fields {
		if !header.NamesDialog(f.Name) || f.Name == "Target-Dialog" {
			continue
		}
		d, err := header.ParseDialogRef(f.Name, f.Value)
		if err != nil || named != nil {
			return nil, false
		}
		named = &d
	}
	if near.Kind == tu.KindPhone { // whose REFER is the PBX's to follow
		return nil, false
	}
	if named == nil || c.set.Ties == nil {
		return nil, true
	}
	if _, ours := c.set.Ties.Counterpart(near.Side, tu.DialogID{CallID: named.CallID, Local: named.Local, Remote: named.Remote}); !ours {
		return nil, true
	}
	if named.Name != "Replaces" || stays.Side == near.Side || near.Kind != tu.KindNode || c.set.Loop == nil {
		return nil, false
	}
	h := *c.set.Loop
	return &h, true
}

// askedFor is the INVITE that the peer of the leg that stays would send for what is referred to.
func (c *Call) askedFor(from int, r *header.Refer, refer *message.Message) *message.Message {
	stays := c.pairs[c.won].dlg[1-from].Remote
	u := c.behind(r.URI)
	m := &message.Message{
		Method: "INVITE", URI: u, To: message.NameAddr{Display: r.Display, URI: u}, From: stays, CallID: c.legs[1-from].callID,
		CSeq: 1, MaxForwards: header.Forwards(refer),
	}
	for _, f := range r.Fields {
		switch f.Name {
		case "Replaces", "Join", "Target-Dialog", "Accept-Contact", "Subject", "User-to-User", "Priority":
			m.Headers = append(m.Headers, f)
		}
	}
	// "the value of the Referred-By header field … SHOULD be copied" (RFC 3892 §2.2).
	if by, ok := refer.Get("Referred-By"); ok {
		m.Add("Referred-By", by)
	}
	return m
}

// shifted hears what the leg that stays says to its new far end.
func (c *Call) shifted(now time.Time, o own, m *message.Message, code int, do []tu.Action) []tu.Action {
	mv := c.moves
	switch {
	case mv == nil:
		return do
	case mv.taker != nil && mv.taker.phase == asking:
		return c.takerShifted(now, mv.taker, o, m, code, do)
	case mv.third == nil || mv.third.phase != joining:
		return do
	}
	t := mv.third
	if m == nil {
		return c.thirdFailed(now, code, do)
	}
	var p proposal
	var err error
	c.inPlace(t.from, &t.leg, &t.seals, func() {
		near := &c.legs[t.from].media
		before := near.told()
		p, err = c.answerOf(1-t.from, m, &t.answer)
		near.tell(before) // it has been told enough: what the other leg said last
	})
	if err != nil || p.empty() {
		// The leg that stays has left its old far end and not found to the new one.
		c.legs[t.from].bye = c.legs[t.from].bye || t.gone
		return c.hangUp(now, 488, reason.Transfer, do)
	}
	do = c.report(t, 200, do)
	told := t.offer.out
	do = c.exchange(t.from, &t.leg, t.seals, t.dlg, do)
	c.adopt(t.from, t.answer)
	c.adopt(1-t.from, p)
	c.legs[t.from].media.out = told
	c.moveOver(t)
	c.noteTransfer(t.from, t.invite.To.URI.UserName())
	return c.settle(true, do)
}

// exchange puts a leg in the place of another one, which gets its BYE.
func (c *Call) exchange(at int, l *leg, s seals, d dialog.Dialog, do []tu.Action) []tu.Action {
	do = c.sendBye(at, do)
	if at == callee && !c.loops(at) {
		c.cdrName(c.legs[at].peer)
	}
	old, was := c.pairs[c.won].dlg[at], c.legs[at]
	do = c.exchangePlaces(c.legs[at].place, l, c.letGo(at, do))
	c.legs[at], c.seals = *l, s
	c.legs[at].bye = false
	c.pairs[c.won].dlg[at] = d
	if c.moves != nil { // what was referred in a dialog that is over is told of in none
		c.moves.subs = slices.DeleteFunc(c.moves.subs, func(s subscription) bool { return s.pair == c.won })
	}
	c.keep(at, &was, old)
	return do
}

// stale is a re-INVITE of ours whose leg has gone before it was answered: a 2xx must have its ACK all the same.
type stale struct {
	ref tu.Ref
	to  int
	hop tu.Hop
	ack *message.Message
	bid bool // it had no description: a 2xx has an offer
}

// letGo lets go what is under way on a leg that is exchanged, or has left: its answers are awaited, and nothing is made of them.
func (c *Call) letGo(at int, do []tu.Action) []tu.Action {
	d := c.pairs[c.won].dlg[at] // a copy: an ACK has the number of its INVITE
	kept := c.owns[:0]
	for _, o := range c.owns {
		switch {
		case o.to != at:
			kept = append(kept, o)
		case o.ref == 0:
		case o.method != "INVITE":
			c.byes = append(c.byes, o.ref)
		default:
			x := stale{ref: o.ref, to: at, hop: c.hopOf(at, &d), ack: d.Request("ACK", o.seq), bid: len(o.p.out) == 0}
			if o.owes {
				declineOffer(x.ack, o.in)
				do = c.sendAck(x.ref, "", at, x.hop, x.ack, do)
				continue
			}
			c.moving().stale = append(c.moves.stale, x)
			do = append(do, tu.Cancel{Ref: o.ref})
		}
	}
	clear(c.owns[len(kept):])
	c.owns = kept
	if k := c.legs[at].keys; k != nil && k.ref != 0 {
		c.byes = append(c.byes, k.ref)
	}
	open := c.relays[:0]
	for _, r := range c.relays {
		if r.from != at || !r.answered || !r.closed { // but for an ACK that the one who is gone still owes
			r.lost = r.lost || r.from != at
			open = append(open, r)
		}
	}
	clear(c.relays[len(open):])
	c.relays = open
	return do
}

// staleHeard takes the final answer to a re-INVITE of ours whose leg has gone.
func (c *Call) staleHeard(k int, m *message.Message, do []tu.Action) []tu.Action {
	x := c.moves.stale[k]
	if m.Status < 200 {
		return do
	}
	c.moves.stale = append(c.moves.stale[:k], c.moves.stale[k+1:]...)
	if m.Status < 300 {
		if x.bid {
			declineOffer(x.ack, sdpOf(m))
		}
		return c.sendAck(x.ref, "", x.to, x.hop, x.ack, do)
	}
	return do
}

// former is who stood at a leg's place before, for requests of a dialog that is over.
type former struct {
	peer *tu.Peer
	hop  tu.Hop
}

// keep keeps a dialog of a leg that is none of the call's any more, so that a BYE of its own is answered.
func (c *Call) keep(at int, l *leg, d dialog.Dialog) {
	if len(c.pairs) >= maxPairs {
		return
	}
	p := pair{over: true, was: &former{peer: l.peer, hop: l.hop}}
	p.dlg[at] = d
	c.pairs = append(c.pairs, p)
}

// thirdFailed ends a transfer that has not come about. The call goes on as it was, or ends, if who asked has gone.
func (c *Call) thirdFailed(now time.Time, code int, do []tu.Action) []tu.Action {
	t := c.moves.third
	if code < 300 || code > 699 {
		code = 503
	}
	do = c.report(t, code, c.thirdOver(t, do))
	c.moveOver(t)
	if t.gone {
		return c.over(now, 200, reason.Transfer, "sbc", c.bye(1-t.from, do))
	}
	return do
}

// thirdOver gives the third leg up, however far it is.
func (c *Call) thirdOver(t *third, do []tu.Action) []tu.Action {
	switch t.phase {
	case calling:
		if n := len(t.attempts); n > 0 {
			if a := &t.attempts[n-1]; !a.done && !a.given {
				a.given = true
				do = append(do, tu.Cancel{Ref: a.ref})
			}
		}
	case joining:
		do = append(c.thirdBye(t, t.hop, &t.dlg, do), tu.Vacate{Ref: t.place})
	case seeking, settled:
	}
	t.phase = settled
	return do
}

// moveOver lets a transfer go; its INVITEs stay until they are answered.
func (c *Call) moveOver(t *third) {
	t.phase = settled
	t.attemptAt, t.ringAt, t.timerC = time.Time{}, time.Time{}, time.Time{}
	c.moves.third = nil
	c.moves.past = append(c.moves.past, t)
}

// maxReports bounds the progress that is told of one transfer.
const maxReports = 8

// report tells who referred how far its transfer is: a status line, as a message of type sipfrag (RFC 3515 §2.4.5), each code
// once. A final one ends the subscription.
func (c *Call) report(t *third, code int, do []tu.Action) []tu.Action {
	if t.silent || t.over || code < 200 && (len(t.told) >= maxReports || slices.Contains(t.told, code)) {
		return do
	}
	t.told, t.over = append(t.told, code), code >= 200
	d := &c.pairs[c.won].dlg[t.from]
	m := d.Request("NOTIFY", 0)
	c.dress(m, t.from)
	event := "refer"
	if t.named { // "MUST include the id parameter" from the second REFER on (RFC 3515 §2.4.6)
		event += ";id=" + strconv.FormatUint(uint64(t.cseq), 10)
	}
	state := "active;expires=180"
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	m.Headers = append(m.Headers, message.Header{Name: "Event", Value: event},
		message.Header{Name: "Subscription-State", Value: state},
		message.Header{Name: "Content-Type", Value: "message/sipfrag;version=2.0"})
	m.Body = []byte("SIP/2.0 " + strconv.Itoa(code) + " " + message.Phrase(code) + "\r\n")
	c.lastHand(t.from, nil, m)
	return append(do, tu.Send{Ref: c.newBye(), Msg: m, Hop: c.hopOf(t.from, d), Hide: &c.legs[1-t.from].brought})
}

// noteTransfer puts a transfer into the record: whose place was taken, and who was asked for.
func (c *Call) noteTransfer(at int, to string) {
	c.cdr.Transfers = append(c.cdr.Transfers, tu.Transferral{Leg: legNames[at], To: to, At: c.wall(c.at)})
}
