package call

import (
	"strings"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// thirdRouted takes the plan for the third leg.
func (c *Call) thirdRouted(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	t := c.moves.third
	for _, h := range ev.Hops {
		if h.Peer.Side == c.legs[t.from].peer.Side { // media has one end on each side
			t.hops = append(t.hops, h)
		}
	}
	switch {
	case ev.Why == reason.Fraud:
		return c.thirdFailed(now, 603, do) // what a rule on calls says of us is no affair of who refers
	case len(t.hops) == 0:
		return c.thirdFailed(now, max(ev.Code, 404), do)
	}
	t.phase = calling
	return c.thirdNext(now, t, 0, do)
}

// thirdNext sends the INVITE of the third leg to the next hop; code tells how the last one failed.
func (c *Call) thirdNext(now time.Time, t *third, code int, do []tu.Action) []tu.Action {
	at := len(t.attempts)
	if at > 0 {
		t.attempts[at-1].given = true
	}
	if at >= len(t.hops) {
		if code == 408 {
			code = 503
		}
		return c.thirdFailed(now, code, do)
	}
	hop := t.hops[at]
	l := leg{peer: hop.Peer, hop: hop, callID: t.callID, tag: t.tag}
	if l.callID == "" {
		l.callID, l.tag = c.ids.CallID(), c.ids.Tag()
	}
	l.media.epoch = c.legs[t.from].media.epoch // a new one permits a new latch
	t.leg = l
	m, err := c.thirdInvite(t, hop)
	if err != nil {
		code, _ := verdict(err)
		return c.thirdFailed(now, code, do)
	}
	c.lastRef++
	t.attempts = append(t.attempts, attempt{ref: c.lastRef, hop: hop, sent: m})
	t.timerC, t.attemptAt, t.ringAt = now.Add(timerC(hop.Peer)), time.Time{}, time.Time{}
	if at+1 < len(t.hops) && hop.Peer.AttemptTimeout > 0 {
		t.attemptAt = now.Add(hop.Peer.AttemptTimeout)
	}
	return append(do,
		tu.OpenDialog{Side: hop.Peer.Side, CallID: t.callID, Local: t.tag, Source: hop.Flow.Remote.Addr()},
		tu.Send{Ref: c.lastRef, Msg: m, Hop: hop, Hide: &c.legs[1-t.from].brought})
}

// thirdInvite writes the INVITE of the third leg.
func (c *Call) thirdInvite(t *third, hop tu.Hop) (m *message.Message, err error) {
	in, stays := t.invite, 1-t.from
	said := c.lastSaid(stays)
	c.inPlace(t.from, &t.leg, &t.seals, func() {
		_, hosts := c.hosts(stays)
		m = &message.Message{
			Method: "INVITE", URI: header.RewriteURIHost(in.URI, hosts.RequestURI), CallID: c.legs[t.from].callID, CSeq: t.after + 1,
			From: header.RewriteNameAddr(c.nameOf(t, hop), hosts.From), To: header.RewriteNameAddr(in.To, hosts.To),
			MaxForwards: in.MaxForwards,
		}
		m.From.Tag, m.To.Tag = c.legs[t.from].tag, ""
		c.legs[t.from].user = header.ContactUser(m.From.URI)
		if p := c.legs[stays].peer; p.Kind == tu.KindPhone && p.Token != "" {
			c.legs[t.from].user = p.Token
		}
		hop.Peer.Preload(m)
		c.dress(m, t.from)
		for _, f := range in.Headers {
			if f.Name == "Referred-By" {
				var ok bool
				if f.Value, ok = header.ReferredBy(f.Value, hosts.From); !ok {
					continue
				}
			}
			m.Headers = append(m.Headers, f) // of the side that it goes to
		}
		capable(m)
		c.askTimer(m, t.from)
		t.offer, err = c.describeAs(stays, said, nil, stance{})
		if err == nil {
			t.offer.into(m, sdpMessage(nil))
			name := m.From.URI.User
			if c.lastHand(t.from, nil, m); c.legs[t.from].user == name {
				c.legs[t.from].user = header.ContactUser(m.From.URI) // our Contact must not tell a name that From does not
			}
		}
	})
	return m, err
}

// nameOf is who calls the third leg. Its side knows the one that stays by the name that was shown there, with the numbers and the
// privacy of that. What is written for a peer with rules of its own begins with the true name, as in a new call, unless that was
// hidden.
func (c *Call) nameOf(t *third, hop tu.Hop) message.NameAddr {
	shown := c.pairs[c.won].dlg[t.from].Local
	if hop.Peer.Rules == nil || strings.EqualFold(shown.URI.Host, "anonymous.invalid") {
		return shown
	}
	return t.invite.From
}

// sdpMessage is a message of a leg that has a description and nothing else.
func sdpMessage(body []byte) *message.Message {
	return &message.Message{
		Method: "INVITE", Headers: []message.Header{{Name: "Content-Type", Value: "application/sdp"}}, Body: body,
	}
}

// lastSaid is what a leg has said last of its media, as an offer to somebody else: where it is merely being held, it is so no
// longer.
func (c *Call) lastSaid(l int) *message.Message {
	raw := c.legs[l].media.in
	other, err := sdp.Parse(c.legs[1-l].media.in)
	if err != nil {
		return sdpMessage(raw)
	}
	for i := range other.Len() {
		if at := other.At(i); at.Hold() || !at.Rejected() && at.Direction != sdp.SendRecv {
			return sdpMessage(unheld(raw))
		}
	}
	return sdpMessage(raw)
}

// unheld takes the directions out of a description that answers to being held: sendrecv is what is meant without any (RFC 3264
// §5.1).
func unheld(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for line := range strings.Lines(string(raw)) {
		switch strings.TrimSpace(line) {
		case "a=recvonly", "a=inactive":
			continue
		}
		out = append(out, line...)
	}
	return out
}

// inPlace lets f see a leg in the place of another one: descriptions are edited between those who stand there.
func (c *Call) inPlace(at int, l *leg, s *seals, f func()) {
	c.legs[at], *l = *l, c.legs[at]
	c.seals, *s = *s, c.seals
	f()
	c.legs[at], *l = *l, c.legs[at]
	c.seals, *s = *s, c.seals
}

// thirdOf finds the third leg, and its INVITE, of a client transaction.
func (c *Call) thirdOf(ref tu.Ref) (*third, *attempt) {
	if c.moves == nil {
		return nil, nil
	}
	in := func(t *third) *attempt {
		for i := range t.attempts {
			if t.attempts[i].ref == ref {
				return &t.attempts[i]
			}
		}
		return nil
	}
	if t := c.moves.third; t != nil {
		if a := in(t); a != nil {
			return t, a
		}
	}
	for _, t := range c.moves.past {
		if a := in(t); a != nil {
			return t, a
		}
	}
	return nil, nil
}

// thirdHeard takes a response to an INVITE of a third leg.
func (c *Call) thirdHeard(now time.Time, t *third, a *attempt, ev tu.Answered, do []tu.Action) []tu.Action {
	m := ev.Msg
	ok := m.Status >= 200 && m.Status < 300
	switch {
	case m.Status >= 200 && !a.done:
		a.done = true
	case a.done && !ok:
		return do
	}
	if do, again := c.ackAgain(a.ref, m.To.Tag, do); ok && again {
		return do
	}
	if a.given || t.phase != calling {
		if ok {
			return c.thirdUnwanted(t, a, m, do)
		}
		return do
	}
	switch {
	case m.Status < 200:
		return c.thirdProgress(now, t, m, do)
	case ok:
		return c.thirdAnswered(now, t, a, ev, do)
	case t.peer.Elsewhere(m.Status) && !t.rang:
		return c.thirdNext(now, t, m.Status, do)
	}
	t.attemptAt = time.Time{}
	code, other := m.Status, false
	if tu.Challenge(code) || code < 400 { // there is nobody to answer a challenge, and no 3xx is followed for somebody else
		text := "the third leg of a transfer was challenged or redirected; its calls must be taken from our address as they are"
		if tu.Challenge(code) {
			text = c.creds.Complaint("who is called for a transfer", accountKeys+", or pbx.credentials", text)
		}
		do = append(do, tu.Note{
			Source: a.hop.Flow.Remote, Side: t.peer.Side, Realm: t.peer.Realm, Method: "INVITE", Code: code, Why: reason.Transfer,
			Text: text,
		})
		if tu.Challenge(code) && !t.rang {
			t.hops, other = c.creds.Others(t.peer, t.hops, len(t.attempts))
			t.after = a.sent.CSeq // it may be behind the same door
		}
		code = 503
	}
	if other {
		return c.thirdNext(now, t, code, do)
	}
	return c.thirdFailed(now, code, do)
}

func (c *Call) thirdProgress(now time.Time, t *third, m *message.Message, do []tu.Action) []tu.Action {
	t.attemptAt, t.rang = time.Time{}, true
	if m.Status == 100 {
		return do
	}
	t.timerC = now.Add(timerC(t.peer))
	if t.ringAt.IsZero() && m.Status >= 180 && t.peer.RingTimeout > 0 {
		t.ringAt = now.Add(t.peer.RingTimeout)
	}
	if described(m) {
		t.early = sdpOf(m)
	}
	return c.report(t, m.Status, do)
}

// thirdAnswered takes the 2xx of the third leg: it has its ACK at once, and the leg that stays is offered what it says.
func (c *Call) thirdAnswered(now time.Time, t *third, a *attempt, ev tu.Answered, do []tu.Action) []tu.Action {
	m := ev.Msg
	d, err := dialog.UAC(a.sent, m)
	if err != nil {
		return c.thirdFailed(now, 502, c.thirdUnwanted(t, a, m, do))
	}
	d.Confirm(m)
	t.dlg, t.phase, t.place = d, joining, a.ref
	t.attemptAt, t.ringAt, t.timerC = time.Time{}, time.Time{}, time.Time{}
	t.brought.Notice(m, ev.Flow.Remote.Addr())
	body := sdpOf(m)
	if len(body) == 0 {
		body = t.early // RFC 3261 §13.2.1 wants it in the 2xx too; not all do as it says
	}
	c.inPlace(t.from, &t.leg, &t.seals, func() {
		c.timerGiven(now, t.from, m)
		said, places, lost := answerTo(sdpMessage(body), t.offer.out)
		t.answer, err = c.describeAs(t.from, said, nil, stance{})
		if t.answer.places = places; lost {
			err = errNoStream
		}
	})
	do = c.thirdAck(t, a, &t.dlg, do)
	if err == nil && t.answer.empty() {
		err = errSilent
	}
	if err != nil {
		code, _ := verdict(err)
		return c.thirdFailed(now, code, do)
	}
	return c.ask(now, 1-t.from, "INVITE", t.answer, shifting, do)
}

// thirdAck acknowledges a 2xx of the third leg.
func (c *Call) thirdAck(t *third, a *attempt, d *dialog.Dialog, do []tu.Action) []tu.Action {
	hop := a.hop
	hop.Flow = hop.Toward(d.NextHop())
	return c.sendAck(a.ref, d.Remote.Tag, t.from, hop, d.Request("ACK", a.sent.CSeq), do)
}

// thirdBye ends a dialog of the third leg.
func (c *Call) thirdBye(t *third, hop tu.Hop, d *dialog.Dialog, do []tu.Action) []tu.Action {
	hop.Flow = hop.Toward(d.NextHop())
	m := d.Request("BYE", 0)
	header.Finish(nil, hop.Peer, nil, m)
	c.keep(t.from, &t.leg, *d)
	return append(do, tu.Send{Ref: c.newBye(), Msg: m, Hop: hop, Hide: &c.legs[1-t.from].brought})
}

// thirdUnwanted acknowledges a 2xx that nobody waits for any more, and hangs up (RFC 3261 §13.2.2.4).
func (c *Call) thirdUnwanted(t *third, a *attempt, m *message.Message, do []tu.Action) []tu.Action {
	d, err := dialog.UAC(a.sent, m)
	if err != nil {
		d = dialog.Dialog{CallID: a.sent.CallID, Local: a.sent.From, Remote: m.To, LocalSeq: a.sent.CSeq, Target: a.sent.URI}
	}
	d.Confirm(m)
	if c.phase != ending && (a.given || t.phase == calling) { // else it is another fork of what has come into the call
		do = append(do, tu.Vacate{Ref: a.ref})
	}
	return c.thirdBye(t, a.hop, &d, c.thirdAck(t, a, &d, do))
}

// thirdSilent hears that an INVITE of a third leg gets no answer.
func (c *Call) thirdSilent(now time.Time, t *third, a *attempt, ev tu.Failed, do []tu.Action) []tu.Action {
	if a.done {
		return do
	}
	a.done = true
	switch {
	case a.given || t.phase != calling:
		return do
	case ev.Lost:
		t.after, t.rang, t.early = a.sent.CSeq, false, nil // another number, as in forsaken
		return c.thirdNext(now, t, ev.Code, do)
	case t.rang || ev.Why == reason.Leak:
		return c.thirdFailed(now, ev.Code, do)
	default:
		return c.thirdNext(now, t, ev.Code, do)
	}
}
