package event

import (
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// answered takes a response: to the first SUBSCRIBE, to a relayed request, or to one of our own.
func (s *Subscription) answered(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	i, m := s.attemptOf(ev.Ref), ev.Msg
	switch {
	case m.Status < 200:
		s.lives(ev.Ref)
		return do // a provisional answer goes no further (RFC 4320 §4.1)
	case i < 0:
		return s.relayAnswered(now, ev, do)
	}
	a := &s.attempts[i]
	a.done = true
	do = s.answeredBy(notifier, ev.Flow, do)
	if s.phase != asking {
		return do // somebody else's answer was taken; its subscription ends by our 481 to its NOTIFY
	}
	s.legs[notifier].brought.Notice(m, ev.Flow.Remote.Addr())
	switch {
	case m.Status < 300:
		return s.accepted(now, i, m, do)
	case m.Status == 503 && a == s.current():
		return s.nextHop(now, 503, reason.NoCapacity, do)
	case m.Status == 503 && !s.trying():
		return s.exhausted(503, reason.NoCapacity, do)
	case m.Status == 503, m.Status == 482 && s.trying():
		// 482: the notifier knows the request already, a slow hop did deliver what we then sent by another one (RFC 3261
		// §8.2.2.2). That one's answer is the true one.
		return do
	case tu.Challenge(m.Status) && a == s.current() && !s.notified:
		if rest, other := s.creds.Others(s.legs[notifier].hop.Peer, s.hops, len(s.attempts)); other {
			s.hops = rest
			return s.nextHop(now, m.Status, reason.NoRoute, append(do, s.challengeStays(subscriber, s.req.Method, m.Status)))
		}
	}
	return s.declined(now, i, m, do)
}

// failed hears that a request gets no answer.
func (s *Subscription) failed(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	i := s.attemptOf(ev.Ref)
	if i < 0 {
		return s.relayFailed(ev, do)
	}
	a := &s.attempts[i]
	a.done = true
	switch {
	case s.phase != asking:
		return do
	case ev.Why == reason.Leak:
		return s.refuseFor(500, reason.Leak, do)
	case a == s.current():
		return s.nextHop(now, ev.Code, ev.Why, do)
	case s.trying():
		return do
	default:
		return s.exhausted(ev.Code, ev.Why, do)
	}
}

// accepted passes the 2xx, which starts the subscription for the subscriber.
func (s *Subscription) accepted(now time.Time, i int, m *message.Message, do []tu.Action) []tu.Action {
	s.phase, s.attemptAt = active, time.Time{}
	switch l := &s.legs[notifier]; {
	case !s.notified:
		do = s.settle(s.hops[i], do)
		s.preliminary(m)
	case l.dlg.Remote.Tag == m.To.Tag:
		l.dlg.Refresh(m)
	}
	if !s.over { // else a NOTIFY that ends it came first
		if !s.notified {
			s.silentAt = now.Add(timerN)
		}
		s.expires(now, m, s.req)
		do = s.open(subscriber, do)
	}
	out := s.relayed(m, s.req, notifier)
	s.copyBody(notifier, out, m)
	do = s.respond(subscriber, s.tx, out, do)
	if !s.over && s.unreported(m) {
		return s.finish(do)
	}
	return do
}

// preliminary makes the dialog with the notifier of a 2xx. A NOTIFY, from whichever notifier the SUBSCRIBE has forked to,
// makes the true one (RFC 6665 §4.4.1); until then a refresh has this one.
func (s *Subscription) preliminary(m *message.Message) {
	l := &s.legs[notifier]
	d, err := dialog.UAC(s.sent, m)
	if err != nil {
		if m.To.Tag == "" {
			return
		}
		// It names no Contact; what leads to it once more leads to it again.
		d = dialog.Dialog{CallID: s.sent.CallID, Local: s.sent.From, Remote: m.To, LocalSeq: s.sent.CSeq, Target: s.sent.URI}
	}
	d.State = dialog.Confirmed
	l.dlg, l.made = d, true
}

// declined passes a 3xx–6xx, and ends the subscription that never was.
func (s *Subscription) declined(now time.Time, i int, m *message.Message, do []tu.Action) []tu.Action {
	s.legs[notifier].hop = s.hops[i]
	away := 503
	if s.legs[notifier].phone() {
		away = 480 // 503 would speak for all phones
	}
	out, do := s.verdict(now, subscriber, m, s.req, away, do)
	s.phase = refused
	return s.finish(s.respond(subscriber, s.tx, out, do))
}

// verdict makes of the far leg's final answer that is no 2xx the near leg's. away is what a challenge becomes that the near
// leg could not meet.
func (s *Subscription) verdict(
	now time.Time, near int, m, req *message.Message, away int, do []tu.Action,
) (*message.Message, []tu.Action) {
	l, far := &s.legs[near], &s.legs[1-near]
	peer := l.hop.Peer
	do = tu.Judged(l.hop, far.hop.Peer, req, m, do)
	m = s.seen(now, near, m, req)
	code := m.Status
	switch {
	case tu.Challenge(code) && !(l.phone() && far.hop.Peer.Kind == tu.KindNode):
		return s.ours(near, req, away), append(do, s.challengeStays(near, req.Method, code))
	case code == 408:
		return s.ours(near, req, 504), do // "MUST NOT" be passed (RFC 4320 §4.2)
	case code >= 300 && code < 400 && peer.Kind == tu.KindTrunk:
		return s.ours(near, req, 480), do
	}
	out := s.relayed(m, req, 1-near)
	if code >= 300 && code < 400 {
		host := l.hop.Here.Signal.String() // whoever asks again asks through the gate
		if far.phone() {
			host = peer.Host // whom the phone means is a user of the PBX
		}
		header.Redirect(m, out, host)
	}
	s.copyBody(1-near, out, m)
	return out, do
}

// seen is the PBX's answer as a leg may see it. Which users there are is nobody's business whom none knows.
func (s *Subscription) seen(now time.Time, near int, m, req *message.Message) *message.Message {
	l, far := &s.legs[near], &s.legs[1-near]
	switch {
	case !l.phone() || far.hop.Peer.Kind != tu.KindNode:
	case tu.Challenge(m.Status):
		s.set.Decoys.Keep(m)
	case l.hop.Peer.Stranger && header.Tells(m.Status):
		return s.set.Decoys.Disguise(now, req, m, s.ids.Block)
	}
	return m
}

// challengeStays says why a request had to fail. The challenges of the PBX are between it and its phones; a provider has no
// account at the PBX, nor the PBX one that the challenge of a phone or provider would be good for.
func (s *Subscription) challengeStays(near int, method string, code int) tu.Note {
	from := s.legs[1-near].hop
	text := s.creds.Complaint("the trunk", "trunks[].credentials or .registration",
		"the trunk challenges subscriptions of the PBX; set trunks[].credentials, or let the provider accept them from our address without a password")
	switch from.Peer.Kind {
	case tu.KindPhone:
		text = "the phone challenges " + method + " of the PBX; switch its authentication off in the phone"
	case tu.KindNode:
		from = s.legs[near].hop
		text = s.creds.Complaint("the PBX", "pbx.credentials",
			"the PBX challenges subscriptions of this trunk; set pbx.credentials, or let it accept them from our inside trunks address without a password")
	case tu.KindTrunk:
	}
	return tu.Note{
		Source: from.Flow.Remote, Side: from.Peer.Side, Realm: from.Peer.Realm, Method: method, Code: code,
		Why: reason.NoRoute, Text: text,
	}
}

// refuseFor refuses the first SUBSCRIBE for one of our own reasons.
func (s *Subscription) refuseFor(code int, why reason.Reason, do []tu.Action) []tu.Action {
	code, extra := tu.Refusal(code, why)
	return s.refuse(code, do, extra...)
}

// refuse answers the first SUBSCRIBE with a code of our own.
func (s *Subscription) refuse(code int, do []tu.Action, extra ...message.Header) []tu.Action {
	m := s.reply(subscriber, s.req, code)
	m.Headers = append(m.Headers, extra...)
	s.lastHand(subscriber, nil, m)
	s.phase = refused
	return s.finish(s.respond(subscriber, s.tx, m, do))
}

// expires takes how long the subscription lives from the 2xx to a SUBSCRIBE, where it must stand ("200-class responses to
// SUBSCRIBE requests MUST also contain an Expires header field", RFC 6665 §4.2.1.1), else from the SUBSCRIBE.
func (s *Subscription) expires(now time.Time, ok, req *message.Message) {
	asked, known := seconds(req, "Expires")
	granted, said := seconds(ok, "Expires")
	switch {
	case known && asked == 0, said && granted == 0:
		// Fetched, or given up: the NOTIFY that says so is all that is still due.
		s.silentAt, s.expiresAt = now.Add(timerN), time.Time{}
	case said:
		s.expiresAt = now.Add(granted + margin)
	case known:
		s.expiresAt = now.Add(asked + margin)
	default:
		s.expiresAt = now.Add(usual + margin)
	}
}

// seconds reads a field that is a number of seconds.
func seconds(m *message.Message, name string) (time.Duration, bool) {
	v, ok := m.Get(name)
	if !ok {
		return 0, false
	}
	return parseSeconds(v)
}

func parseSeconds(v string) (time.Duration, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
	if err != nil {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}
