package sbc

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/call"
	"sallyport/sbc/event"
	"sallyport/sbc/exchange"
	"sallyport/sbc/message"
	"sallyport/sbc/registrar"
	"sallyport/sbc/tu"
)

// rehearsal plays one message through the user that it would meet, with nobody at either end: the user's requests are answered
// here. Two rehearsals of one crossing have the same ids, so that what differs is what was changed between them.
type rehearsal struct {
	w     *world
	now   time.Time
	of    *crossing
	user  tu.User
	sent  []tu.Send
	said  []tu.Respond
	acks  []tu.SendAck
	tx    tu.TxID
	media int
}

// crossing is who speaks to whom.
type crossing struct {
	from, to tu.Hop // as hops: where each is, and what it sees of us
	plan     tu.Routed
	rules    [2]*tu.Rules // in the place of those of from and to
}

// leg is a hop with other rules.
func (s *crossing) leg(h tu.Hop, rules *tu.Rules) tu.Hop {
	peer := *h.Peer
	peer.Rules = rules
	h.Peer = &peer
	return h
}

// rehearsed are the keys of a rehearsal: nothing that it makes goes anywhere.
func rehearsed() (*tu.TagKey, *tu.NameKey) {
	return tu.NewTagKey([16]byte{1}), tu.NewNameKey([16]byte{2})
}

// rehearsalTime is when all rehearsals take place.
var rehearsalTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// playRequest is what becomes of a request: what was sent on, or what was answered.
func (s *crossing) playRequest(w *world, m *message.Message) *rehearsal {
	r := &rehearsal{w: w, now: rehearsalTime, of: s}
	from := s.leg(s.from, s.rules[0])
	switch {
	case m.To.Tag == "" || m.Method == "REGISTER":
	case m.Method == "NOTIFY":
		return s.playNotify(w, m)
	default:
		return r.within(from, m)
	}
	r.user = r.userOf(m)
	r.step(r.arrive(from, m))
	return r
}

// userOf is the user of a request outside of dialogs.
func (r *rehearsal) userOf(m *message.Message) tu.User {
	tags, names := rehearsed()
	domain := r.w.snap.PBX.Domain
	switch m.Method {
	case "INVITE":
		set := *r.w.calls
		set.Tags, set.Names = tags, names
		return call.New(&set, tu.Seed{1})
	case "SUBSCRIBE":
		return event.New(&event.Settings{Tags: tags, Names: names, Domain: domain}, tu.Seed{1})
	case "REGISTER":
		return registrar.NewRegister(&registrar.Settings{
			Book: registrar.NewBook(), Tags: tags, Names: names, Domain: domain, Outside: r.w.snap.Phones.Outside, Internal: r.w.internal,
		}, tu.Seed{1})
	default:
		return exchange.New(&exchange.Settings{Tags: tags, Names: names, Domain: domain}, tu.Seed{1})
	}
}

func (r *rehearsal) arrive(from tu.Hop, m *message.Message) tu.Arrived {
	r.tx++
	return tu.Arrived{Tx: r.tx, Msg: m, Flow: from.Flow, Peer: from.Peer, Here: from.Here}
}

// step hands the user an event, and answers what it asks of the program.
func (r *rehearsal) step(ev tu.Event) {
	for _, a := range r.user.Step(r.now, ev, nil) {
		switch a := a.(type) {
		case tu.Send:
			r.sent = append(r.sent, a)
		case tu.SendAck:
			r.acks = append(r.acks, a)
		case tu.Respond:
			if a.Msg.Status > 100 {
				r.said = append(r.said, a)
			}
		case tu.Route:
			plan := r.of.plan
			plan.Hops = slices.Clone(plan.Hops)
			for i := range plan.Hops {
				plan.Hops[i] = r.of.leg(plan.Hops[i], r.of.rules[1])
			}
			r.step(plan)
		case tu.Reserve:
			r.step(tu.Reserved{Streams: r.ports(a.Streams)})
		}
	}
}

// ports are the first ones of the pool.
func (r *rehearsal) ports(n int) (out []tu.Stream) {
	for range n {
		var s tu.Stream
		for side, list := range r.w.snap.Media.Addresses {
			if len(list) > 0 {
				s.Local[side] = netip.AddrPortFrom(list[0], r.w.snap.Media.FirstPort+uint16(2*r.media))
			}
		}
		r.media++
		out = append(out, s)
	}
	return out
}

// within plays a request of a dialog: one is made first, as the request names it.
func (r *rehearsal) within(from tu.Hop, m *message.Message) *rehearsal {
	first := opening(m, from)
	if first.Method == "INVITE" {
		first.Body, first.Headers = plainOffer(from), append(first.Headers, message.Header{Name: "Content-Type", Value: "application/sdp"})
	}
	r.user = r.userOf(first)
	r.step(r.arrive(from, first))
	if len(r.sent) == 0 {
		return r
	}
	r.step(r.answer(200, nil))
	if len(r.said) == 0 {
		return r
	}
	tag := r.said[len(r.said)-1].Msg.To.Tag
	if first.Method == "INVITE" {
		ack := opening(m, from)
		ack.Method, ack.To.Tag = "ACK", tag
		r.step(tu.Acked{Tx: r.tx, Msg: ack})
		if m.Method == "ACK" {
			return r
		}
	}
	again := *m
	again.CallID, again.To.Tag, again.CSeq = first.CallID, tag, first.CSeq+1
	r.sent, r.said = nil, nil
	r.step(r.arrive(from, &again))
	return r
}

// reversed is the crossing as the receiver opens it.
func (s *crossing) reversed() *crossing {
	return &crossing{from: s.to, to: s.from, plan: tu.Routed{Hops: []tu.Hop{s.from}}, rules: [2]*tu.Rules{s.rules[1], s.rules[0]}}
}

// playNotify plays the NOTIFY of a subscription, which the receiver has made first.
func (s *crossing) playNotify(w *world, m *message.Message) *rehearsal {
	r := &rehearsal{w: w, now: rehearsalTime, of: s.reversed()}
	asker := r.of.leg(r.of.from, r.of.rules[0])
	first := opening(m, asker)
	first.URI = m.From.URI
	first.From, first.To = m.To, m.From
	first.To.Tag = ""
	r.user = r.userOf(first)
	r.step(r.arrive(asker, first))
	if len(r.sent) == 0 {
		return r
	}
	r.step(r.answer(200, nil))
	ours := r.sent[len(r.sent)-1].Msg
	again := *m
	again.CallID, again.To, again.CSeq = ours.CallID, ours.From, 1
	again.From.Tag = "rehearsed"
	r.sent, r.said = nil, nil
	r.step(r.arrive(s.leg(s.from, s.rules[0]), &again))
	return r
}

// answer is a response to the last request that was sent, with the fields and body of like, if there is one.
func (r *rehearsal) answer(status int, like *message.Message) tu.Answered {
	s := r.sent[len(r.sent)-1]
	m := message.Reply(s.Msg, status, "")
	if m.To.Tag == "" {
		m.To.Tag = "rehearsed"
	}
	m.Via = []message.Via{{Transport: "UDP", Host: s.Hop.Here.Signal.Addr().String(), Branch: "z9hG4bKrehearsed", RPort: -1}}
	if like != nil {
		m.Reason, m.Body = like.Reason, like.Body
		m.Headers = append(m.Headers, like.Headers...)
	}
	if s.Msg.Method == "INVITE" && status/100 == 2 && len(m.Body) == 0 {
		m.Body = plainOffer(s.Hop)
		m.Add("Content-Type", "application/sdp")
	}
	if _, has := m.Get("Contact"); !has && status < 300 {
		m.Add("Contact", "<sip:"+s.Hop.Flow.Remote.String()+">")
	}
	return tu.Answered{Ref: s.Ref, Msg: m, Flow: s.Hop.Flow}
}

// playResponse is what becomes of a response: the request that it answers is made first, as the response names it.
func (s *crossing) playResponse(w *world, m *message.Message) *rehearsal {
	back := &crossing{from: s.to, to: s.from, plan: tu.Routed{Hops: []tu.Hop{s.from}}, rules: [2]*tu.Rules{s.rules[1], s.rules[0]}}
	r := &rehearsal{w: w, now: rehearsalTime, of: back}
	asker := back.leg(back.from, back.rules[0])
	first := opening(m, asker)
	first.Method, first.URI = m.Method, m.To.URI
	if m.Method == "INVITE" {
		first.Body = plainOffer(asker)
		first.Add("Content-Type", "application/sdp")
	}
	r.user = r.userOf(first)
	r.step(r.arrive(asker, first))
	if len(r.sent) == 0 {
		return r
	}
	r.said = nil
	r.step(r.answer(m.Status, m))
	return r
}

// opening is the request that a dialog or a transaction was opened with, as another message of it tells.
func opening(m *message.Message, from tu.Hop) *message.Message {
	first := &message.Message{
		Method: "INVITE", URI: m.URI, CallID: m.CallID, CSeq: max(m.CSeq, 1), From: m.From, To: m.To, MaxForwards: 70, Via: m.Via,
		Headers: []message.Header{{Name: "Contact", Value: "<sip:" + from.Flow.Remote.String() + ">"}},
	}
	if first.To.Tag = ""; first.URI.Scheme == "" {
		first.URI = m.To.URI
	}
	switch m.Method {
	case "SUBSCRIBE", "NOTIFY":
		name, _ := m.Get("Event")
		if name == "" {
			name = "dialog"
		}
		first.Method = "SUBSCRIBE"
		first.Add("Event", name)
		first.Add("Expires", "3600")
	}
	return first
}

// plainOffer is a description of one audio stream at a peer.
func plainOffer(h tu.Hop) []byte {
	kind, at := "IP4", h.Flow.Remote.Addr().Unmap()
	if at.Is6() {
		kind = "IP6"
	}
	return []byte("v=0\r\no=- 1 1 IN " + kind + " " + at.String() + "\r\ns=-\r\nc=IN " + kind + " " + at.String() +
		"\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n")
}

// outcome is the last message that came of it, the side that it leaves by, and what is hidden in it; nil: none.
func (r *rehearsal) outcome(response bool) (m *message.Message, side nat.Side, hide *tu.Secrets, hop *tu.Hop) {
	switch n := len(r.sent); {
	case !response && n > 0:
		s := &r.sent[n-1]
		return s.Msg, s.Hop.Peer.Side, s.Hide, &s.Hop
	case len(r.said) > 0:
		s := &r.said[len(r.said)-1]
		return s.Msg, s.Side, s.Hide, nil
	case len(r.acks) > 0:
		s := &r.acks[len(r.acks)-1]
		return s.Msg, s.Hop.Peer.Side, s.Hide, &s.Hop
	}
	return nil, nat.Outside, nil, nil
}
