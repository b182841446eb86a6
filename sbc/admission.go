package sbc

import (
	"bytes"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/call"
	"sallyport/sbc/core"
	"sallyport/sbc/event"
	"sallyport/sbc/exchange"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/registrar"
	"sallyport/sbc/tu"
)

// New makes a user for a request outside any dialog, or answers it.
func (a *assembly) New(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	from := ev.Peer // as its flow has it
	u, answer := a.newUser(now, seed, id, ev)
	if u != nil {
		a.madeFor(id, from)
	}
	return u, answer
}

func (a *assembly) newUser(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	a.tell(ev)
	a.spoke(now, ev)
	a.dialled(ev)
	switch {
	case ev.Peer == nil:
		// The guard lets nobody in whom no rule names; what still comes here gets silence.
		return nil, core.Answer{Why: reason.Stranger}
	case ev.Flow.Interface == loopInterface:
		return nil, core.Answer{Code: 481} // the call that it was for has ended
	case ev.Peer.Realm != a.realm(ev.Flow):
		return nil, core.Answer{Code: 404, Why: reason.NoRoute}
	case a.draining && !refreshes(ev) && !a.emergency(ev), !has(a.world.snap.Interfaces, ev.Flow.Interface) && !a.calledByToken(ev):
		// A listener that the configuration no longer has serves its dialogs and nothing else.
		return nil, core.Answer{Code: 503, Why: reason.Draining, RetryAfter: 10}
	case a.drainedTrunk(ev.Peer) && !a.emergency(ev):
		return nil, core.Answer{Code: 503, Why: reason.Draining, RetryAfter: 10} // it is meant to stop the whole trunk
	case ev.Peer.Kind == tu.KindPhone:
		return a.fromPhone(now, seed, id, ev)
	case ev.Msg.Method == "OPTIONS" && (ev.Peer.Realm == nat.Trunks || a.phones.book.Token(ev.Msg.URI.User) == nil):
		return nil, a.options(ev)
	case ev.Peer.Realm == nat.Trunks && (ev.Msg.Method == "SUBSCRIBE" || ev.Msg.Method == "PUBLISH"):
		return nil, notAllowed // a provider has no business in them, nor the PBX with it
	}
	return a.admit(now, seed, id, ev)
}

// refreshes reports whether a request is a known phone's REGISTER. A drain lets it through: the binding is kept for the
// program that comes after, and the calls that the drain waits for are that phone's.
func refreshes(ev *tu.Arrived) bool {
	return ev.Msg.Method == "REGISTER" && ev.Peer.Kind == tu.KindPhone && !ev.Peer.Stranger
}

// calledByToken reports whether the PBX asks for a phone's token. It may come by a listener that the configuration no
// longer has: that is where the PBX was told to find the phone.
func (a *assembly) calledByToken(ev *tu.Arrived) bool {
	return ev.Peer.Kind == tu.KindNode && a.phones.book.Token(ev.Msg.URI.User) != nil
}

var notAllowed = core.Answer{Code: 405, Headers: []message.Header{{Name: "Allow", Value: header.Methods}}}

// fromPhone judges what comes in at the phones' listeners (docs/policy.md, Strangers).
func (a *assembly) fromPhone(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	m := ev.Msg
	if m.Method == "REGISTER" {
		if !a.world.serves(m.To.URI.Host) {
			return nil, a.unserved(now, ev)
		}
		if len(m.To.URI.User) > userMost {
			return nil, core.Answer{Code: 404, Why: reason.Malformed}
		}
		if answer, ok := a.refreshedHere(now, ev); ok {
			return nil, answer
		}
		if answer, ok := a.takeLimit(now, ev); !ok {
			return nil, answer
		}
		return registrar.NewRegister(a.phones.registrar, seed), core.Answer{}
	}
	b, sure := a.speaker(ev)
	switch {
	case b != nil:
		ev.Peer = a.phones.peer(b)
		if !sure {
			ev.Peer.Token = "" // one of several devices of that name: none is given another's calls
		} else if m.Method == "INVITE" {
			a.lookAtMedia(ev, b)
		}
	case m.Method == "OPTIONS" && !ev.Peer.Stranger:
		// A phone asks whether we live, as nobody in particular.
	default:
		switch unregistered := a.world.snap.Phones.Unregistered; {
		case unregistered == "forward" && m.Method == "REFER":
			// Whom it would have call whom `phones.reachable` does not say; that is no stranger's to ask for.
			return nil, core.Answer{Code: 403, Why: reason.NotRegistered}
		case unregistered == "forward" && !reachable(a.world.snap, m.URI):
			return nil, a.unreachable(now, ev)
		case unregistered == "forward":
		case unregistered == "reject", !ev.Peer.Stranger: // known by address, and so not met with silence
			return nil, core.Answer{Code: 403, Why: reason.NotRegistered}
		default:
			return nil, core.Answer{Why: reason.NotRegistered}
		}
	}
	if m.Method == "OPTIONS" && (m.URI.User == "" || !a.world.serves(m.URI.Host)) {
		return nil, a.options(ev)
	}
	return a.admit(now, seed, id, ev)
}

// userMost is the longest user that may register; every table that knows users by name grows by it.
const userMost = 128

// speaker is the binding of the phone that a request outside dialogs comes from; nil: nobody who is registered. It is not
// sure where several devices of one name are at the address, none of them by this port, and the Contact tells them not
// apart.
func (a *assembly) speaker(ev *tu.Arrived) (b *registrar.Binding, sure bool) {
	m, book := ev.Msg, a.phones.book
	if strings.EqualFold(m.From.URI.Host, "anonymous.invalid") {
		// RFC 3323 §4.1: a caller who hides his name. The PBX knows him by his credentials, we by his flow.
		if on := book.OnFlow(ev.Flow); len(on) > 0 {
			return on[0], true
		}
		return nil, false
	}
	aor := a.world.aor(m.From.URI)
	if b = book.Speaks(aor, ev.Flow); b == nil || b.Flow == ev.Flow {
		return b, true
	}
	contacts, _, _ := m.Contacts()
	near := 0
	for _, x := range book.AoR(aor) {
		if x.Flow.Interface != ev.Flow.Interface || x.Flow.Remote.Addr() != ev.Flow.Remote.Addr() {
			continue
		}
		near++
		if len(contacts) == 1 && x.Contact.URI.Host == contacts[0].URI.Host && x.Contact.URI.Port == contacts[0].URI.Port {
			return x, true
		}
	}
	return b, near == 1
}

// lookAtMedia judges the description of a phone's call: a gateway may edit it and leave the rest alone.
func (a *assembly) lookAtMedia(ev *tu.Arrived, b *registrar.Binding) {
	host, ice := mediaHost(ev.Msg.Body)
	if host == "" {
		return
	}
	via, contact := &ev.Msg.Via[0], &b.Contact.URI
	_, alg := nat.Detect(nat.Evidence{
		Source: ev.Flow.Remote, Transport: ev.Flow.Transport, ViaHost: via.Host, ViaPort: via.Port, ContactHost: contact.Host,
		ContactPort: contact.Port, Media: host, Candidates: ice, Internal: a.world.internal, Told: true,
	})
	if len(alg) > 0 {
		a.phones.book.Found(b.Token, alg)
		a.settleBindings()
	}
}

// mediaHost is the first connection address of a body, and whether it has ICE candidates, whose addresses come from STUN.
func mediaHost(body []byte) (host string, ice bool) {
	for line := range bytes.Lines(body) {
		kind, rest, _ := bytes.Cut(line, []byte("="))
		switch {
		case string(kind) == "c" && host == "":
			if f := bytes.Fields(rest); len(f) == 3 {
				host = string(f[2])
			}
		case string(kind) == "a" && bytes.HasPrefix(rest, []byte("candidate:")):
			ice = true
		}
	}
	return host, ice
}

// unserved is the answer to a REGISTER for a domain that is not ours: that of any stranger.
func (a *assembly) unserved(now time.Time, ev *tu.Arrived) core.Answer {
	answer := core.Answer{Code: 403, Why: reason.Stranger}
	if ev.Peer.Stranger && !a.world.snap.Policy.Answer[nat.Phones] {
		answer.Code = 0
	}
	host := ev.Msg.To.URI.Host
	a.Note(now, tu.Note{
		Source: ev.Flow.Remote, Side: nat.Outside, Realm: nat.Phones, Method: "REGISTER", Code: answer.Code, Why: answer.Why,
		Text: "it registers in " + host + ", which is not served: set the phone's domain to " + a.world.snap.PBX.Domain +
			", or add " + host + " to phones.domains",
	})
	return answer
}

// admit makes the user of a request whose sender may make it.
func (a *assembly) admit(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	method := ev.Msg.Method
	switch {
	case method == "INVITE":
		return a.newCall(now, seed, id, ev)
	case !event.Starts(method) && !exchange.Passes(method):
		return nil, notAllowed
	}
	if answer, ok := a.takeLimit(now, ev); !ok {
		return nil, answer
	}
	if event.Starts(method) {
		return a.newSubscription(seed, id, ev)
	}
	return exchange.New(a.phones.exchanges, seed), core.Answer{}
}

func (a *assembly) newCall(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	m := ev.Msg
	emergency := a.emergency(ev)
	if a.full(emergency) {
		return nil, core.Answer{Code: 503, Why: reason.NoCapacity, RetryAfter: 10}
	}
	if a.twice("INVITE", ev) {
		return nil, core.Answer{Code: 500, RetryAfter: 1} // RFC 3261 §14.2 has it so for a second INVITE before the end of the first
	}
	if answer, ok := a.judgeToll(now, id, ev); !ok {
		return nil, answer
	}
	if answer, ok := a.leaseCaller(now, id, ev, emergency); !ok {
		a.tolls.ledger.Forgive(now, uint64(id))
		return nil, answer
	}
	c := call.New(a.world.calls, seed)
	// Who is challenged and tries again without an answer to it has not been let off: that would go on without end.
	retried := ev.Peer.Kind == tu.KindPhone && tu.Signed(m) && a.phones.held.has(m.CallID, ev.Flow.Remote.Addr())
	if !retried || !a.answersChallenge(m) {
		if answer, ok := a.takeCall(now, ev); !ok {
			a.tolls.ledger.Forgive(now, uint64(id))
			a.leases.leave(id)
			return nil, answer
		}
	}
	if retried {
		r, _ := a.phones.held.take(m.CallID, ev.Flow.Remote.Addr())
		c.Resume(r.Call, r.Start)
	}
	a.calls[id] = c
	if emergency {
		a.urgent.add(id, ev)
	}
	a.countToll(id, c)
	if ev.Peer.Kind == tu.KindPhone {
		a.phones.follow(ev.Peer.Token, id)
	} else if ev.Peer.Realm == nat.Phones {
		a.phones.follow(m.URI.User, id)
	}
	a.high = max(a.high, len(a.calls))
	if in := (invite{m.CallID, m.Via[0].Branch}); a.sbc.guard.Live().AddInvite(in.callID, in.branch, ev.Flow.Remote.Addr()) {
		if a.invites == nil {
			a.invites = map[tu.UserID]invite{}
		}
		a.invites[id] = in
	}
	return a.sbc.open.follow(id, c), core.Answer{}
}

// takeCall counts a new call among those a second, and among those that the PBX takes.
func (a *assembly) takeCall(now time.Time, ev *tu.Arrived) (core.Answer, bool) {
	if !a.rate.take(now, a.world.snap.CallRate) && !a.emergency(ev) {
		return core.Answer{Code: 503, Why: reason.NoCapacity, RetryAfter: 1}, false
	}
	if answer, ok := a.takeLimit(now, ev); !ok {
		return answer, false
	}
	a.total++
	return core.Answer{}, true
}

// twice reports whether a phone's request would take ids on the inside that another user still has: they are a function
// of what the phone sent.
func (a *assembly) twice(class string, ev *tu.Arrived) bool {
	if ev.Peer.Kind != tu.KindPhone {
		return false
	}
	m, set := ev.Msg, a.phones.registrar
	who := m.From.URI.AoR(a.world.snap.PBX.Domain) // as the users do it
	return a.sbc.core.Holds(nat.Inside, set.Names.CallID(class, m.CallID, m.From.Tag, who),
		set.Names.Tag(set.Tags, class, m.CallID, m.From.Tag, who))
}

func (a *assembly) newSubscription(seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	token, who := ev.Peer.Token, ev.Peer.Name
	if ev.Peer.Kind == tu.KindNode {
		token, who = ev.Msg.URI.User, ""
		if b := a.phones.book.Token(token); b != nil {
			who = b.AoR
		}
	}
	// By name, not by token: a token is as new as the Contact that it stands for.
	most := subscriptionsMost * max(1, len(a.phones.book.AoR(who)))
	if a.phones.subscriptions[who] >= most || len(a.phones.watching) >= watchingMost {
		return nil, core.Answer{Code: 503, Why: reason.NoCapacity}
	}
	if a.twice(ev.Msg.Method, ev) {
		return nil, core.Answer{Code: 500, RetryAfter: 1}
	}
	s := event.New(a.phones.events, seed)
	a.phones.subscriptions[who]++
	a.phones.watching[id] = watch{s, who}
	a.phones.follow(token, id)
	return s, core.Answer{}
}

// unwatch forgets a subscription.
func (a *assembly) unwatch(id tu.UserID) {
	w, ok := a.phones.watching[id]
	who := w.aor
	if !ok {
		return
	}
	delete(a.phones.watching, id)
	if a.phones.subscriptions[who]--; a.phones.subscriptions[who] <= 0 {
		delete(a.phones.subscriptions, who)
	}
}

// options answers a peer that asks whether we live: a trunk means the PBX behind us, the PBX the trunks; to phones we
// answer for the PBX, and to the PBX for phones as long as we live.
func (a *assembly) options(ev *tu.Arrived) core.Answer {
	// "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond with 420" (RFC 3261
	// §8.2.2.3); OPTIONS is answered as an INVITE would be (§11.2).
	if tags := header.Unsupported(ev.Msg); len(tags) > 0 {
		return core.Answer{Code: 420, Headers: []message.Header{{Name: "Unsupported", Value: strings.Join(tags, ", ")}}}
	}
	beyond := tu.KindNode
	if ev.Peer.Kind == tu.KindNode {
		beyond = tu.KindTrunk
	}
	if (beyond == tu.KindNode || ev.Peer.Realm == nat.Trunks) && !a.book.Available(beyond) {
		return core.Answer{Code: 503, Why: reason.NoPBX, RetryAfter: 10}
	}
	return core.Answer{Code: 200, Headers: []message.Header{
		{Name: "Allow", Value: header.Methods}, {Name: "Accept", Value: "application/sdp"},
	}}
}

// Route says where a request goes: from a provider or a phone to the PBX; from the PBX to the phone whose token is
// asked for, or to the trunks whose patterns match.
func (a *assembly) Route(now time.Time, r tu.Route) tu.Routed {
	if r.Anew {
		if refused, ok := a.judgeAnew(now, &r); !ok {
			return refused
		}
	}
	switch {
	case r.By != nil:
		return tu.Routed{Hops: []tu.Hop{*r.By}}
	case r.Peer.Kind == tu.KindTrunk:
		return a.toNodes(r.Peer.Name, r.Msg)
	case r.Peer.Kind == tu.KindPhone:
		return a.phoneToPBX(now, r)
	case r.Peer.Realm == nat.Phones:
		return a.toPhone(r.Msg.URI.User)
	}
	return a.toTrunks(r.Msg.URI)
}

func (a *assembly) toPBX(plan []tu.Hop) tu.Routed {
	hops := a.listed(plan)
	if len(hops) == 0 {
		return tu.Routed{Code: 503, Why: reason.NoPBX, Peer: pbxName}
	}
	return tu.Routed{Hops: hops}
}

// toPhone is the way to the phone of a token: "unknown token 404, no flow 480".
func (a *assembly) toPhone(token string) tu.Routed {
	b := a.phones.book.Token(token)
	switch {
	case b == nil:
		return tu.Routed{Code: 404, Why: reason.NoRoute}
	case b.Lost || a.world.interfaces[b.Flow.Interface] == nil:
		return tu.Routed{Code: 480, Why: reason.NotRegistered, Peer: b.AoR}
	}
	return tu.Routed{Hops: []tu.Hop{a.phoneHop(b)}}
}
