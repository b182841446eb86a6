package exchange

import (
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// answered takes a response. The first final one counts, whichever hop it comes from.
func (e *Exchange) answered(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	a := e.attemptOf(ev.Ref)
	if a == nil || e.phase != asking {
		return do
	}
	m := ev.Msg
	was, challenged := e.creds.Heard(now, ev)
	if m.Status < 200 {
		return e.provisional(ev.Ref, do)
	}
	a.done = true
	e.legs[asked].brought.Notice(m, ev.Flow.Remote.Addr())
	if challenged {
		if do, challenged = e.answersChallenge(now, a, was, m, do); challenged {
			return e.provisional(a.ref, do) // the hop lives
		}
	}
	switch {
	case m.Status == 503 && a == e.current():
		return e.nextHop(now, 503, reason.NoCapacity, do)
	case a == e.current() && len(e.attempts) < len(e.hops) && e.legs[asked].hop.Peer.Elsewhere(m.Status):
		return e.nextHop(now, m.Status, "", do)
	case tu.Challenge(m.Status) && a == e.current():
		if rest, other := e.creds.Others(e.legs[asked].hop.Peer, e.hops, len(e.attempts)); other {
			e.hops = rest
			return e.nextHop(now, m.Status, reason.NoRoute, append(do, e.challengeStays(m.Status)))
		}
	case m.Status == 503:
		if !e.open() {
			return e.exhausted(503, reason.NoCapacity, do)
		}
		return do
	case m.Status == 482 && e.open():
		// The receiver knows the request already: a slow hop did deliver what we then sent by another one (RFC 3261
		// §8.2.2.2). That one's answer is the true one.
		return do
	}
	e.legs[asked].hop = e.hops[a.at]
	return e.pass(now, m, do)
}

// pass gives the far side's final answer to the asker.
func (e *Exchange) pass(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	near := e.legs[asker].hop
	do = tu.Judged(near, e.legs[asked].hop.Peer, e.req, m, do)
	m = e.seen(now, m)
	code := m.Status
	switch {
	case tu.Challenge(code) && !(e.legs[asker].phone() && e.legs[asked].hop.Peer.Kind == tu.KindNode):
		return e.challenged(code, do)
	case code == 408:
		return e.refuseFor(504, reason.Timeout, do) // it may not be passed to anybody (RFC 4320 §4.2)
	case code >= 300 && code < 400 && near.Peer.Kind == tu.KindTrunk:
		return e.refuse(480, do)
	}
	return e.finish(e.relayed(m), do)
}

// seen is the PBX's answer as the asker may see it. Which users there are is nobody's business whom none knows.
func (e *Exchange) seen(now time.Time, m *message.Message) *message.Message {
	near, far := &e.legs[asker], &e.legs[asked]
	switch {
	case !near.phone() || far.hop.Peer.Kind != tu.KindNode:
	case tu.Challenge(m.Status):
		e.set.Decoys.Keep(m)
	case near.hop.Peer.Stranger && header.Tells(m.Status):
		return e.set.Decoys.Disguise(now, e.req, m, e.ids.Block)
	}
	return m
}

// relayed makes of the far side's answer the asker's: status, phrase, and the fields and body that may pass.
func (e *Exchange) relayed(m *message.Message) *message.Message {
	near, far := &e.legs[asker], &e.legs[asked]
	out := message.Reply(e.req, m.Status, m.Reason)
	out.To.Tag = e.toTag()
	if m.Status < 300 && e.req.Method == "OPTIONS" {
		// RFC 3261 §11.2: Contact in a 200 says where to ask again; that is here.
		if t := far.hop.Peer.Token; t != "" {
			near.user = t
		}
		out.Headers = append(out.Headers, header.Contact(near.hop, near.user, near.secure))
	}
	dir, hosts := e.hosts(asked)
	header.Copy(dir, m, out, hosts)
	if m.Status >= 300 && m.Status < 400 {
		host := near.hop.Here.Signal.String() // whoever asks again asks through the gate
		if far.phone() {
			host = near.hop.Peer.Host // whom the phone means is a user of the PBX
		}
		header.Redirect(m, out, host)
	}
	e.copyBody(asked, out, m)
	e.lastHand(asker, m, out)
	return out
}

// lastHand is the last hand on a message to a leg. in is what it was made of; nil: it is our own.
func (e *Exchange) lastHand(to int, in, out *message.Message) {
	header.Finish(e.legs[1-to].hop.Peer, e.legs[to].hop.Peer, in, out)
}

// challenged ends an exchange whose far side wants a password, where that challenge does not pass.
func (e *Exchange) challenged(code int, do []tu.Action) []tu.Action {
	do = append(do, e.challengeStays(code))
	if e.legs[asked].phone() {
		return e.refuse(480, do) // 503 would speak for all phones
	}
	return e.refuse(503, do)
}

// challengeStays says why a request had to fail. A provider has no account at the PBX, nor the PBX one that the challenge of a
// provider or phone would be good for.
func (e *Exchange) challengeStays(code int) tu.Note {
	from := e.legs[asked].hop
	text := e.creds.Complaint("the trunk", "trunks[].credentials or .registration",
		"the trunk challenges requests of the PBX; set trunks[].credentials, or let the provider accept them from our address without a password")
	switch {
	case e.legs[asked].phone():
		text = "the phone challenges requests of the PBX; switch their authentication off in the phone"
	case from.Peer.Kind == tu.KindNode:
		from = e.legs[asker].hop
		text = e.creds.Complaint("the PBX", "pbx.credentials",
			"the PBX challenges requests of this trunk; set pbx.credentials, or let it accept them from our inside trunks address without a password")
	}
	return tu.Note{
		Source: from.Flow.Remote, Side: from.Peer.Side, Realm: from.Peer.Realm, Method: e.req.Method, Code: code,
		Why: reason.NoRoute, Text: text,
	}
}

// refuseFor refuses for one of our own reasons.
func (e *Exchange) refuseFor(code int, why reason.Reason, do []tu.Action) []tu.Action {
	code, extra := tu.Refusal(code, why)
	return e.refuse(code, do, extra...)
}

// refuse answers with a code of our own.
func (e *Exchange) refuse(code int, do []tu.Action, extra ...message.Header) []tu.Action {
	m := e.reply(code)
	m.Headers = append(m.Headers, extra...)
	e.lastHand(asker, nil, m)
	return e.finish(m, do)
}

func (e *Exchange) reply(code int) *message.Message {
	m := message.Reply(e.req, code, "")
	m.To.Tag = e.toTag()
	return m
}

// finish gives the asker the final answer, the only one, and ends the exchange. Attempts that are still out are answered
// to nobody.
func (e *Exchange) finish(m *message.Message, do []tu.Action) []tu.Action {
	e.phase, e.attemptAt = over, time.Time{}
	return append(e.respond(m, do), tu.End{})
}

func (e *Exchange) respond(m *message.Message, do []tu.Action) []tu.Action {
	return append(do, tu.Respond{Tx: e.tx, Side: e.legs[asker].side(), Msg: m, Hide: &e.legs[asked].brought})
}
