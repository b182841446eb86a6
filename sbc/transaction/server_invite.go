package transaction

// The INVITE server machine (RFC 3261 §17.2.1, figure 7, with RFC 6026 §7.1):
//
//	proceeding ─ 2xx ─────▶ accepted ─ Timer L ─▶ end
//	     └─ 3xx–6xx ─▶ completed ─ ACK ─▶ confirmed ─ Timer I ─▶ end
//	                       └─ Timer H ─▶ end

// inviteOpened enters Proceeding. The user sends 100 itself. An INVITE that has no response at all after 64·T1 has no
// client any more (Timer B there); once a provisional has been sent, the user bounds the wait.
func (t *Table) inviteOpened(s *server) {
	s.state = proceeding
	s.limit = t.now.after(t.all)
}

// inviteAgain takes a repeat of the INVITE.
func (t *Table) inviteAgain(s *server) {
	switch s.state {
	case proceeding, completed:
		// "If a request retransmission is received while in the "Proceeding" state, the most recent provisional
		// response … MUST be passed to the transport layer"; the same for the final one in Completed.
		t.transmit(s.last, s.reply)
	case accepted:
		// RFC 6026 §7.1: retransmissions are absorbed; the 2xx has its own timer.
	case confirmed, dropped:
		// Timer I exists to absorb; a dropped INVITE gets silence.
	case calling, trying:
		// States that no INVITE server transaction has.
	}
}

func (t *Table) inviteProvisional(s *server, b []byte) {
	s.limit = never
	t.keep(&s.last, b)
	t.transmit(b, s.reply)
}

// inviteAccepted enters Accepted with a 2xx. "The 2xx response is passed to the transport with an interval that starts
// at T1 seconds and doubles for each retransmission until it reaches T2 seconds", over every transport, until the ACK
// or 64·T1 (RFC 3261 §13.3.1.4). Timer L is 64·T1 too.
func (t *Table) inviteAccepted(s *server, b []byte) {
	s.state = accepted
	t.keep(&s.last, b)
	key := ackKey(t.key[:0], s.req, s.tag)
	t.key = key
	s.await = string(key)
	t.accepted[s.await] = s
	s.interval = t.cfg.T1
	s.retry, s.limit = t.now.after(s.interval), t.now.after(t.all)
	t.transmit(b, s.reply)
}

// inviteRefused enters Completed with a 3xx–6xx: Timer G on UDP, Timer H on all.
func (t *Table) inviteRefused(s *server, b []byte) {
	s.state = completed
	t.keep(&s.last, b)
	s.retry, s.limit = never, t.now.after(t.all)
	if !s.reply.Transport.Reliable() {
		s.interval = t.cfg.T1
		s.retry = t.now.after(s.interval)
	}
	t.transmit(b, s.reply)
}

// inviteResend is Timer G in Completed, and the 2xx timer in Accepted: min(2·G, T2).
func (t *Table) inviteResend(s *server) {
	t.transmit(s.last, s.reply)
	s.backOff(t.now, t.cfg.T2)
}

// inviteConfirmed takes the ACK for a 3xx–6xx: Confirmed for Timer I, T4 on UDP and nothing on others.
func (t *Table) inviteConfirmed(s *server) {
	s.state = confirmed
	t.keep(&s.last, nil)
	s.retry, s.limit = never, t.linger(lasting(s.reply.Transport, t.cfg.T4))
	if s.limit <= t.now {
		t.endServer(s)
		return
	}
	t.queue.settle(&s.timer)
}

// inviteExpired looks at an INVITE transaction that is about to end. Timer H just ends it: a missing ACK for a refusal
// harms nobody. An accepted call without ACK must be ended by its user (RFC 3261 §13.3.1.4: BYE).
func (t *Table) inviteExpired(s *server) {
	if s.state == accepted && !s.acked {
		t.emit(Effect{Kind: NotAcked, ID: s.id, User: s.user})
	}
}
