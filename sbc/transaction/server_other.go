package transaction

import "sallyport/sbc/message"

// The other server machine (RFC 3261 §17.2.2, figure 8, with RFC 4320):
//
//	trying ─ 100 ─▶ proceeding ─ final ─▶ completed ─ Timer J ─▶ end

// otherOpened enters Trying. Whoever waits at the far end gives up after 64·T1 (Timer F there), and so does this
// machine: "an element that cannot respond before the transaction expires will not send a final response at all"
// (RFC 4320 §4.2).
func (t *Table) otherOpened(s *server) {
	s.state = trying
	s.retry, s.limit = t.now.after(t.trying), t.now.after(t.all)
}

// otherAgain takes a repeat of the request.
func (t *Table) otherAgain(s *server) {
	switch s.state {
	case trying, dropped:
		// "Once in the "Trying" state, any further request retransmissions are discarded."
	case proceeding, completed:
		// The most recent response is passed to the transport again.
		t.transmit(s.last, s.reply)
	case calling, accepted, confirmed:
		// States of INVITE transactions only.
	}
}

// otherTrying keeps the client of a request alive that its user answers late: "an SIP element MUST respond to a
// non-INVITE request with a Status-Code of 100 if it has not otherwise responded after the amount of time it takes a
// client transaction's Timer E to be reset to T2" (RFC 4320 §4.1). A request that nobody serves gets silence.
func (t *Table) otherTrying(s *server) {
	s.retry = never
	if s.user != 0 && s.state == trying {
		t.otherProceeding(s, t.compose(message.Reply(s.req, 100, "Trying")))
	}
}

func (t *Table) otherProceeding(s *server, b []byte) {
	s.state, s.retry = proceeding, never
	t.keep(&s.last, b)
	t.transmit(b, s.reply)
}

// otherAnswered takes a response of the user.
func (t *Table) otherAnswered(s *server, status int, b []byte) {
	switch {
	case status == 100 && s.reply.Transport.Reliable():
		t.otherProceeding(s, b)
	case status == 100:
		// RFC 4320 §4.1: not over UDP before Timer E has grown to T2; otherTrying sends it then.
	case status == 408:
		// RFC 4320 §4.2: a 408 to a non-INVITE request always arrives too late, and hurts. Silence instead.
		s.state, s.retry = dropped, never
		t.keep(&s.last, nil)
	default:
		// "the response MUST be passed to the server transport … Timer J to fire in 64*T1 seconds for unreliable
		// transports, and zero seconds for reliable transports"
		s.state = completed
		t.keep(&s.last, b)
		s.retry, s.limit = never, t.linger(lasting(s.reply.Transport, t.all))
		t.transmit(b, s.reply)
	}
}
