package event

import (
	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// name chooses the ids of the notifier's leg. What a phone asks has ids that are a function of its own, so that the retry
// after a challenge, which the PBX's nonce may be bound to, has the same; elsewhere they are random.
func (s *Subscription) name() {
	m, b := s.req, &s.legs[notifier]
	if !s.legs[subscriber].phone() || s.set.Names == nil || m.CSeq > maxFirst {
		b.callID, b.tag, b.dlg.LocalSeq = s.ids.CallID(), s.ids.Tag(), 1
		return
	}
	aor := m.From.URI.AoR(s.set.Domain)
	b.callID = s.set.Names.CallID(m.Method, m.CallID, m.From.Tag, aor)
	b.tag = s.set.Names.Tag(s.set.Tags, m.Method, m.CallID, m.From.Tag, aor)
	b.dlg.LocalSeq = m.CSeq
}

// maxFirst leaves a dialog room for numbers "less than 2**31" (RFC 3261 §8.1.1.5). A phone that begins above it could not
// answer a challenge anyway.
const maxFirst = 1<<31 - 1<<16

// relayed makes of the far leg's answer the near leg's, without body: status, phrase, and the fields that may pass.
func (s *Subscription) relayed(far, req *message.Message, from int) *message.Message {
	near := &s.legs[1-from]
	m := message.Reply(req, far.Status, far.Reason)
	m.To.Tag = near.toTag(req)
	if far.Status < 300 && Starts(req.Method) {
		m.Headers = append(m.Headers, header.Contact(near.hop, near.user, near.secure)) // RFC 6665 §8.2.1, table 2: it makes and refreshes the dialog
	}
	dir, hosts := s.hosts(from)
	header.Copy(dir, far, m, hosts)
	if far.Status == 503 {
		m.Remove("Retry-After") // it would speak for the whole gate
	}
	s.lastHand(1-from, far, m)
	return m
}

// lastHand is the last hand on a message to a leg. in is what it was made of; nil: it is our own. What is added to it afterwards,
// body, Contact and tag, no rule can name.
func (s *Subscription) lastHand(to int, in, out *message.Message) {
	header.Finish(s.legs[1-to].hop.Peer, s.legs[to].hop.Peer, in, out)
}

func (s *Subscription) reply(to int, req *message.Message, code int) *message.Message {
	m := message.Reply(req, code, "")
	m.To.Tag = s.legs[to].toTag(req)
	return m
}

// ours is a final answer of our own in the place of the far leg's.
func (s *Subscription) ours(to int, req *message.Message, code int) *message.Message {
	m := s.reply(to, req, code)
	s.lastHand(to, nil, m)
	return m
}

// toTag is the tag of an answer: what the request names, else ours.
func (l *leg) toTag(req *message.Message) string {
	if req.To.Tag != "" {
		return req.To.Tag
	}
	return l.tag
}

// answer sends a response of our own within a dialog.
func (s *Subscription) answer(to int, tx tu.TxID, req *message.Message, code int, do []tu.Action, extra ...message.Header) []tu.Action {
	m := s.reply(to, req, code)
	m.Headers = append(m.Headers, extra...)
	s.lastHand(to, nil, m)
	return s.respond(to, tx, m, do)
}

// respond sends a response to a leg.
func (s *Subscription) respond(to int, tx tu.TxID, m *message.Message, do []tu.Action) []tu.Action {
	return append(do, tu.Respond{Tx: tx, Side: s.legs[to].side(), Msg: m, Hide: &s.legs[1-to].brought})
}

// stray answers a request that is not the subscription's.
func (s *Subscription) stray(ev tu.Arrived, code int, do []tu.Action) []tu.Action {
	m := message.Reply(ev.Msg, code, "")
	if m.To.Tag == "" {
		m.To.Tag = s.ids.Tag()
	}
	side := nat.Outside
	for i := range s.legs {
		if l := &s.legs[i]; l.hop.Peer != nil && l.hop.Flow.Interface == ev.Flow.Interface {
			side = l.side()
		}
	}
	return append(do, tu.Respond{Tx: ev.Tx, Side: side, Msg: m})
}

// hosts are the way of a message of a leg, and the hosts that it bears towards the other one.
func (s *Subscription) hosts(from int) (header.Direction, header.Hosts) {
	dir := header.DirectionOf(s.legs[from].hop.Peer, s.legs[1-from].hop.Peer)
	hosts := header.HostsFor(dir, s.legs[from].hop.Peer, s.legs[1-from].hop)
	if s.legs[from].side() == nat.Inside {
		hosts.User = s.set.Behind
	}
	return dir, hosts
}
