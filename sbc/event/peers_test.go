package event

import (
	"fmt"
	"net/netip"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// first is the SUBSCRIBE that makes a subscription.
func (s *stage) first(method string) *message.Message {
	h := s.hop[subscriber]
	at := own(h)
	id, tag := "inside-id", "pbxtag"
	user, to := "210", "204"
	if h.Peer.Kind != tu.KindNode {
		id, tag, user, to = "outside-id", "phonetag", "204", "210"
	}
	m := &message.Message{
		Method: method, MaxForwards: 70, CallID: id + "@" + at.Addr().String(),
		Via:  []message.Via{{Transport: "UDP", Host: at.Addr().String(), Branch: "z9hG4bK" + id, RPort: -1}},
		From: message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: "example.com"}, Tag: tag},
		To:   message.NameAddr{URI: message.URI{Scheme: "sip", User: to, Host: "example.com"}},
		URI:  message.URI{Scheme: "sip", User: to, Host: h.Here.Signal.Addr().String(), Port: h.Here.Signal.Port()},
	}
	if h.Peer.Kind == tu.KindNode {
		m.URI.User = token
	}
	m.Add("User-Agent", "FreeSWITCH")
	m.Add("Contact", fmt.Sprintf("<sip:%s@%s>", user, at))
	switch {
	case method == "REFER":
		m.Add("Refer-To", "<sip:300@example.com>")
	case len(s.servers) > 0 && s.servers[0].msg.Method == "REFER":
		m.Add("Event", "refer")
	default:
		m.Add("Event", "message-summary")
	}
	return m
}

// request is a peer's: the first of all, or one within its dialog; tag tells of the notifier which of its dialogs.
func (s *stage) request(l int, method, tag string) *message.Message {
	var m *message.Message
	switch {
	case l == subscriber:
		m = s.first(method)
		m.To.Tag = s.tag
	default:
		at := own(s.hop[notifier])
		m = &message.Message{
			Method: method, MaxForwards: 70,
			Via: []message.Via{{Transport: "UDP", Host: at.Addr().String(), Branch: fmt.Sprint("z9hG4bK", len(s.servers)), RPort: -1}},
			URI: message.URI{Scheme: "sip", User: "x", Host: s.hop[notifier].Here.Signal.Addr().String(), Port: 5060},
		}
		for _, ref := range s.refs {
			if x := s.clients[ref]; x.leg == notifier {
				m.CallID, m.From, m.To = x.msg.CallID, x.msg.To, x.msg.From
			}
		}
		m.From.Tag = tag
		m.Add("Contact", fmt.Sprintf("<sip:notifier@%s>", at))
		m.Add("Event", map[bool]string{false: "message-summary", true: "refer"}[s.servers[0].msg.Method == "REFER"])
		m.Add("Subscription-State", "active;expires=600")
	}
	s.next[l]++
	m.CSeq = s.next[l]
	return m
}

// arrive makes an Arrived event of a request.
func (s *stage) arrive(l int, m *message.Message) tu.Arrived {
	s.servers = append(s.servers, &server{leg: l, msg: m})
	h := s.hop[l]
	return tu.Arrived{Tx: tu.TxID(len(s.servers)), Msg: m, Flow: h.Flow, Peer: h.Peer, Here: h.Here}
}

// comesBy lets a request come by another flow. bound: the phone has registered there.
func (s *stage) comesBy(ev *tu.Arrived, at netip.AddrPort, iface uint16, bound bool) {
	before := ev.Flow.Remote.Addr()
	ev.Flow.Remote, ev.Flow.Interface, ev.Here.Interface = at, iface, iface
	if ev.Peer == nil || ev.Peer.Kind != tu.KindPhone {
		ev.Peer = nil
		return
	}
	there := *ev.Peer
	there.Name, there.AoRs, there.Token, there.Stranger = "", nil, "", true
	if bound = bound && ev.Peer.Name != ""; bound {
		there.AoRs = []string{"299@example.com", ev.Peer.Name}
	}
	ev.Peer = &there
	s.servers[ev.Tx-1].foreign = !bound // if the phone is not at that address any more
	if bound || before == at.Addr() {
		s.flows[ev.Flow] = true
	}
}

// response is a peer's, to a request of ours.
func (s *stage) response(x *client, status int, tag string) tu.Answered {
	if status >= 200 {
		x.final = status
	}
	m := message.Reply(x.msg, status, "")
	if m.To.Tag == "" {
		m.To.Tag = tag
	}
	m.Add("Server", "FreeSWITCH")
	if Starts(x.msg.Method) && status < 300 {
		m.Add("Contact", fmt.Sprintf("<sip:notifier@%s>", own(x.hop)))
	}
	if x.msg.Method == "SUBSCRIBE" && status < 300 {
		expires, ok := x.msg.Get("Expires")
		if !ok {
			expires = "600"
		}
		m.Add("Expires", expires)
	}
	return tu.Answered{Ref: x.ref, Msg: m, Flow: x.hop.Flow}
}
