package call

import (
	"errors"
	"slices"
	"strings"
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// attempt is one INVITE to one hop: same Call-ID and tag as the others, another branch; the same CSeq, too, but where the hop
// before has died (lost.go).
type attempt struct {
	ref   tu.Ref
	hop   tu.Hop
	sent  *message.Message
	done  bool // it has its final answer, or never gets one
	given bool // given up: a late 1xx is cancelled, a late 2xx is acknowledged and hung up
}

// current is the attempt whose answers count, nil if there is none.
func (c *Call) current() *attempt {
	if len(c.attempts) == 0 {
		return nil
	}
	a := &c.attempts[len(c.attempts)-1]
	if a.given {
		return nil
	}
	return a
}

func (c *Call) attemptOf(ref tu.Ref) *attempt {
	for i := range c.attempts {
		if c.attempts[i].ref == ref {
			return &c.attempts[i]
		}
	}
	return nil
}

// giveUp cancels the current attempt. The table sends the CANCEL as soon as a provisional answer allows it.
func (c *Call) giveUp(quiet bool, do []tu.Action) []tu.Action {
	a := c.current()
	if a == nil || a.done {
		return do
	}
	a.given = true
	c.attemptAt = time.Time{}
	return append(do, c.cancel(callee, a.ref, quiet))
}

// nextHop sends the INVITE to the next hop of the plan; code and why tell how the last one failed.
func (c *Call) nextHop(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	at := len(c.attempts)
	if at > 0 {
		c.attempts[at-1].given = true
		c.tried(now, code, why)
		c.disown()
	}
	if at >= len(c.hops) {
		return c.exhausted(now, code, why, do)
	}
	hop := c.hops[at]
	b := &c.legs[callee]
	b.peer, b.hop, b.media.other = hop.Peer, hop, 0
	m, do, err := c.outgoing(hop, do)
	if e, ok := errors.AsType[*errMedia](err); ok && e.hop && at+1 < len(c.hops) {
		c.hops = slices.Delete(slices.Clone(c.hops), at, at+1)
		return c.nextHop(now, e.code, e.why, do)
	}
	if err != nil {
		return c.refuseMedia(now, caller, err, do)
	}
	c.phase = inviting
	c.lastRef++
	c.attempts = append(c.attempts, attempt{ref: c.lastRef, hop: hop, sent: m})
	c.tryBegins(now, &hop, m)
	c.ringAt = time.Time{}
	c.timerC = now.Add(timerC(hop.Peer))
	c.attemptAt = time.Time{}
	if at+1 < len(c.hops) && hop.Peer.AttemptTimeout > 0 {
		c.attemptAt = now.Add(hop.Peer.AttemptTimeout)
	}
	return append(do,
		tu.OpenDialog{Side: hop.Peer.Side, CallID: b.callID, Local: b.tag, Source: hop.Flow.Remote.Addr()},
		tu.Send{Ref: c.lastRef, Msg: m, Hop: hop, Hide: &c.legs[caller].brought})
}

// timerC is how long an INVITE may stay without a final answer: "Timer C … MUST be larger than 3 minutes" (RFC 3261
// §16.6).
func timerC(p *tu.Peer) time.Duration {
	if p.TimerC > 0 {
		return p.TimerC
	}
	return 185 * time.Second
}

// exhausted refuses a call that no hop took.
func (c *Call) exhausted(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	if c.legs[callee].phone() && why != reason.Overload {
		if why == reason.NoCapacity && code == 486 { // our own word: it has as many calls as it may have
			return c.refuse(now, code, why, "sbc", do)
		}
		return c.unavailable(now, code, why, do)
	}
	if c.full != 0 && (code == 408 || code == 503 || why == reason.NoCapacity) {
		// Some hop lives and is full: that is no condition of the whole gate, whatever the others are.
		return c.refuse(now, c.full, reason.NoCapacity, "sbc", do)
	}
	if c.legs[callee].peer.Kind == tu.KindNode && (code == 408 || code == 503) && why != reason.Overload {
		return c.refuse(now, 503, reason.NoPBX, "sbc", do)
	}
	if code == 408 {
		code = 503 // a dead trunk is unavailable; 408 would tell the PBX's phone to try again itself
	}
	return c.refuse(now, code, why, "sbc", do)
}

// unavailable refuses a call to a phone that cannot be reached: "the callee's end system was contacted successfully but the
// callee is currently unavailable" fits better than what speaks of a server (RFC 3261 §21.4.18), for the server would be us.
func (c *Call) unavailable(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	switch {
	case code == 503 && why == reason.NoCapacity: // the phone says so
		return c.refuse(now, 480, why, "callee", do)
	case code == 503: // its connection is gone, or its network says that nobody is there
		return c.refuse(now, 480, reason.NotRegistered, "sbc", do)
	case code == 408:
		return c.refuse(now, 480, reason.Timeout, "sbc", do)
	}
	return c.refuse(now, code, why, "sbc", do)
}

// outgoing writes the INVITE for a hop from the caller's.
func (c *Call) outgoing(hop tu.Hop, do []tu.Action) (*message.Message, []tu.Action, error) {
	in, b := c.invite, &c.legs[callee]
	dir, hosts := c.hosts(caller)
	m := &message.Message{
		Method: "INVITE", URI: header.RewriteURIHost(c.calledNow(), hosts.RequestURI), CallID: b.callID, CSeq: c.cseq,
		From: header.RewriteNameAddr(in.From, hosts.From), To: header.RewriteNameAddr(in.To, hosts.To),
		MaxForwards: header.Forwards(in), Headers: make([]message.Header, 0, len(in.Headers)+2),
	}
	m.From.Tag = b.tag
	b.user = header.ContactUser(m.From.URI)
	switch {
	case b.phone():
		c.toPhone(m, hop)
	case c.legs[caller].phone() && c.legs[caller].peer.Token != "":
		// What the PBX sends to this Contact outside the dialog finds the phone.
		b.user = c.legs[caller].peer.Token
	}
	hop.Peer.Preload(m)
	c.dress(m, callee)
	header.Copy(dir, in, m, hosts)
	if err := c.tied(caller, in, m); err != nil {
		return nil, do, err
	}
	capable(m)
	c.offerTags(in, m)
	b.timer = nil
	c.askTimer(m, callee)
	b.media.books = nil                   // the hop before was another peer
	b.media.own, b.media.seals = nil, nil // keys are for one hop
	b.places, b.asked, c.first = nil, nil, nil
	p, err := c.edit(caller, in)
	if err != nil {
		return nil, do, err
	}
	p.into(m, in)
	c.adopt(caller, p)
	name := m.From.URI.User
	if c.lastHand(callee, in, m); b.user == name {
		b.user = header.ContactUser(m.From.URI) // our Contact must not tell a name that From does not
	}
	return m, c.point(caller, do), nil
}

// toPhone makes of an INVITE for a token one for the phone: its own Contact is the Request-URI, and where the PBX wrote the
// token as the name of the user (as a B2BUA does that calls a Contact), To has the user's.
func (c *Call) toPhone(m *message.Message, hop tu.Hop) {
	if hop.Target != nil {
		m.URI = *hop.Target
		c.legs[callee].secure = m.URI.Scheme == "sips"
	}
	token := hop.Peer.Token
	if token == "" {
		return
	}
	c.legs[caller].user = token
	user, _, known := strings.Cut(hop.Peer.Name, "@")
	if known && m.To.URI.User == token {
		m.To.URI.User = user
	}
	if known && c.cdr.To == token {
		c.cdr.To = user
	}
}

// failed hears that a request gets no answer.
func (c *Call) failed(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	a := c.attemptOf(ev.Ref)
	if a == nil {
		return c.relayFailed(now, ev, do)
	}
	if a.done {
		return do
	}
	a.done = true
	switch {
	case a.given || c.final:
		return do
	}
	c.tried(now, ev.Code, ev.Why)
	c.unsent(ev.Why)
	if ev.Why == reason.NoCapacity && c.full == 0 {
		c.full = ev.Code
	}
	switch {
	case ev.Why == reason.Leak:
		return c.refuse(now, 500, reason.Leak, "sbc", do)
	case ev.Lost:
		return c.forsaken(now, a, ev, do)
	case c.phase == ringing:
		// The hop lived and then fell silent: the call is over, the next hop would ring a second time.
		return c.refuse(now, 480, reason.Timeout, "sbc", do)
	default:
		return c.nextHop(now, ev.Code, ev.Why, do)
	}
}
