package transaction

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// cancelled takes a CANCEL (RFC 3261 §9.2). It is a transaction of its own, so that its copies get the same answer.
func (t *Table) cancelled(m *message.Message, from, reply nat.Flow) {
	key := serverKey(t.key[:0], m, "CANCEL", from)
	t.key = key
	if s, _ := t.find(key, from); s != nil {
		s.reply = reply
		t.otherAgain(s)
		return
	}
	// The transaction it cancels is that of the same branch, sent-by and source; only INVITE can be cancelled.
	key = serverKey(t.key[:0], m, "INVITE", from)
	t.key = key
	invite, strange := t.find(key, from)
	switch {
	case invite == nil && strange:
		// Whoever learns a branch could end another's call: a CANCEL from elsewhere is not heard.
		t.counters.ForgedRequests++
	case invite == nil:
		t.strayCancel(m, from, reply)
	case invite.state == dropped:
	default:
		t.cancelMatched(invite, m, from, reply)
	}
}

// cancelMatched answers 200 whatever the INVITE's state, with the To tag of the INVITE's responses (RFC 3261 §9.2), and
// tells the user if the INVITE still waits for its answer.
func (t *Table) cancelMatched(invite *server, m *message.Message, from, reply nat.Flow) {
	if invite.tag == "" {
		invite.tag = fallbackTag(m)
	}
	b := t.answerCancel(m, 200, "OK", invite.tag)
	t.transmit(b, reply)
	if wait := lasting(reply.Transport, t.all); wait > 0 && t.room(true) {
		s := t.openServer(string(serverKey(t.key[:0], m, "CANCEL", from)), from, reply)
		s.state, s.limit = completed, t.linger(wait) // Timer J
		t.keep(&s.last, b)
		t.queue.settle(&s.timer)
	}
	if !invite.answered() && !invite.cancelled {
		invite.cancelled = true
		t.emit(Effect{Kind: Cancelled, ID: invite.id, User: invite.user, Msg: m, Flow: from})
	}
}

// strayCancel answers 481 without keeping anything (RFC 3261 §9.2); a source that is not known gets silence.
func (t *Table) strayCancel(m *message.Message, from, reply nat.Flow) {
	t.counters.StrayCancels++
	if t.cfg.Known == nil || t.cfg.Known(from) {
		t.transmit(t.answerCancel(m, 481, "Call/Transaction Does Not Exist", fallbackTag(m)), reply)
	}
}

func (t *Table) answerCancel(m *message.Message, status int, phrase, tag string) []byte {
	r := message.Reply(m, status, phrase)
	if r.To.Tag == "" {
		r.To.Tag = tag
	}
	return t.compose(r)
}

// Cancel gives an INVITE of a user up (RFC 3261 §9.1). The CANCEL goes out at once if a provisional response has come,
// else as soon as one does; until then the INVITE is repeated as ever, or, if quiet, sent no more: its next hop is being
// tried. It does nothing once a final response is there. The final response is reported as ever; without one, Timeout
// 64·T1 after the CANCEL. reason is the CANCEL's Reason (RFC 3326), empty for none; one that cannot be written is left out.
func (t *Table) Cancel(now time.Time, user uint64, ref uint32, quiet bool, reason string, out []Effect) []Effect {
	t.enter(now, out)
	if c := t.byRef(user, ref); c != nil && c.invite {
		t.giveUp(c, quiet, reason)
	}
	return t.leave()
}

// Disown says that a user has ended. Its requests go on: others than INVITE are sent until they are answered, INVITEs
// are cancelled; nothing more is reported of them but LateAnswer. Requests that it should have answered and did not are
// answered here: 487 within a dialog (RFC 3261 §15.1.2), else 500, so that nobody waits for the dead.
func (t *Table) Disown(now time.Time, user uint64, out []Effect) []Effect {
	t.enter(now, out)
	for c := range t.byUser.drain(user) {
		c.user, c.orphan = 0, true
		if c.invite {
			t.giveUp(c, false, "")
		}
	}
	for s := range t.owned.drain(user) {
		s.user = 0
		if !s.answered() {
			t.answerForTheDead(s)
		}
	}
	return t.leave()
}

func (t *Table) answerForTheDead(s *server) {
	status, phrase := 500, "Server Internal Error"
	if s.req.To.Tag != "" {
		status, phrase = 487, "Request Terminated"
	}
	r := message.Reply(s.req, status, phrase)
	if r.To.Tag == "" {
		r.To.Tag = s.tag
	}
	if r.To.Tag == "" {
		r.To.Tag = fallbackTag(s.req)
	}
	t.answer(s, status, r.To.Tag, t.compose(r))
}
