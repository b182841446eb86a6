package transaction

import (
	"sallyport/nat"
	"sallyport/sbc/message"
)

// ack takes an ACK. One for a 3xx–6xx has the branch of its INVITE and belongs to that transaction (RFC 3261
// §17.2.3); one for a 2xx is a request of its own and is found by its dialog and CSeq number (§13.2.2.4). Old clients
// send the latter with the INVITE's branch too.
func (t *Table) ack(m *message.Message, from nat.Flow) {
	key := serverKey(t.key[:0], m, "INVITE", from)
	t.key = key
	s, strange := t.find(key, from)
	if s != nil {
		switch s.state {
		case completed:
			t.inviteConfirmed(s)
			return
		case confirmed, dropped:
			return // a copy; a refusal that was never sent
		case proceeding:
			t.strayAck(m, from) // nothing was sent that it could acknowledge
			return
		case accepted:
			// An old client's ACK for a 2xx, below.
		case calling, trying:
			// States that no INVITE server transaction has.
		}
	} else if strange {
		// Somebody else's transaction: an ACK from elsewhere would silence its final response.
		t.counters.ForgedRequests++
		t.strayAck(m, from)
		return
	}
	t.ackFor2xx(m, from)
}

func (t *Table) ackFor2xx(m *message.Message, from nat.Flow) {
	key := ackKey(t.key[:0], m, m.To.Tag)
	t.key = key
	s := t.accepted[string(key)]
	switch {
	case s == nil:
		t.strayAck(m, from)
	case !t.expected(s.from, from):
		t.counters.ForgedRequests++
		t.strayAck(m, from)
	case s.acked:
		// A copy: the client answers each copy of the 2xx.
	default:
		// "The retransmission of the 2xx stops when an ACK request … is received" (RFC 3261 §13.3.1.4). Accepted lasts
		// until Timer L, to absorb copies of INVITE and ACK.
		s.acked = true
		s.retry = never
		t.keep(&s.last, nil)
		t.queue.settle(&s.timer)
		t.emit(Effect{Kind: AckFor2xx, ID: s.id, User: s.user, Msg: m, Flow: from})
	}
}

func (t *Table) strayAck(m *message.Message, from nat.Flow) {
	t.counters.StrayAcks++
	t.emit(Effect{Kind: StrayAck, Msg: m, Flow: from})
}

// ackOf builds the ACK for a 3xx–6xx (RFC 3261 §17.1.1.3): Call-ID, From and Request-URI of the INVITE, To of the
// response, the INVITE's topmost Via, CSeq number and Route.
func ackOf(invite, resp *message.Message) *message.Message {
	m := follow(invite, "ACK")
	m.To = resp.To
	return m
}

// follow builds a request that goes hop by hop behind an INVITE: its ACK, its CANCEL.
func follow(invite *message.Message, method string) *message.Message {
	m := &message.Message{
		Method: method, URI: invite.URI, Via: invite.Via[:1:1], From: invite.From, To: invite.To,
		CallID: invite.CallID, CSeq: invite.CSeq, MaxForwards: 70,
	}
	for _, h := range invite.Headers {
		if h.Name == "Route" {
			m.Headers = append(m.Headers, h)
		}
	}
	return m
}
