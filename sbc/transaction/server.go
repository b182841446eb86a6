package transaction

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// state is a state of one of the four machines.
type state uint8

const (
	calling    state = iota // client INVITE
	trying                  // both other machines
	proceeding              // all
	completed               // all
	confirmed               // server INVITE
	accepted                // both INVITE machines (RFC 6026)
	dropped                 // server: nobody answers, repeats are absorbed
)

// server is a server transaction, of either machine.
type server struct {
	timer
	id    ID
	user  uint64        // 0: not owned
	key   string        // without its source in namesake, or whole in crowded
	twin  string        // in merged; "": not there
	await string        // in accepted; "": not there
	next  *server       // in namesake
	peers links[server] // others of the same user

	from, reply nat.Flow
	req         *message.Message // until the final response
	last        []byte           // the response that a repeat of the request gets
	tag         string           // To tag for answers of the table's own

	state     state
	invite    bool
	cancelled bool // Cancelled was reported
	acked     bool // AckFor2xx was reported
}

// answered reports whether the transaction has had its final response, or never gets one.
func (s *server) answered() bool { return s.state != trying && s.state != proceeding }

func (s *server) resend(t *Table) {
	if s.invite {
		t.inviteResend(s)
	} else {
		t.otherTrying(s)
	}
	t.queue.settle(&s.timer)
}

func (s *server) expire(t *Table) {
	if s.invite {
		t.inviteExpired(s)
	}
	t.endServer(s) // every timer that ends a state of a server transaction ends the transaction
}

// request takes a request that is neither ACK nor CANCEL.
func (t *Table) request(m *message.Message, from, reply nat.Flow) {
	key := serverKey(t.key[:0], m, m.Method, from)
	t.key = key
	if s, _ := t.find(key, from); s != nil {
		// Answers follow the latest copy: a NAT may have moved the port since the first one.
		s.reply = reply
		if s.invite {
			t.inviteAgain(s)
		} else {
			t.otherAgain(s)
		}
		return
	}
	if !t.roomFor(m, from) {
		t.counters.Full++
		t.emit(Effect{Kind: Full, Msg: m, Flow: reply})
		return
	}
	s := t.openServer(string(key), from, reply)
	s.req, s.invite = m, m.Method == "INVITE"
	if s.invite {
		t.inviteOpened(s)
	} else {
		t.otherOpened(s)
	}
	t.queue.settle(&s.timer)
	t.emit(Effect{Kind: NewRequest, ID: s.id, Msg: m, Flow: from, Merged: m.To.Tag == "" && t.isMerged(s, m)})
}

// namesakesMost bounds the transactions of different sources that may stand in for each other under one branch. A
// request beyond has its transaction, for its own source alone; so nobody can make a list to search.
const namesakesMost = 8

// find looks a server transaction up: that of the same source, else one of the same system. strange reports that
// transactions stand under the key, but that the request may not touch them.
func (t *Table) find(key []byte, from nat.Flow) (s *server, strange bool) {
	first := t.namesake[string(anySource(key))]
	for s = first; s != nil; s = s.next {
		if s.key == string(key) {
			return s, false
		}
	}
	if len(t.crowded) > 0 {
		if s = t.crowded[string(key)]; s != nil {
			return s, false
		}
	}
	for s = first; s != nil; s = s.next {
		if t.cfg.SameSystem(s.from, from) {
			return s, false
		}
	}
	return nil, first != nil
}

// openServer makes a transaction under a key that no other has.
func (t *Table) openServer(key string, from, reply nat.Flow) *server {
	t.lastID++
	s := &server{id: t.lastID, key: key, from: from, reply: reply}
	s.timer = timer{retry: never, limit: never, owner: s, pos: -1}
	t.servers[s.id] = s
	n := 0
	first := t.namesake[anySource(key)]
	for x := first; x != nil; x = x.next {
		n++
	}
	if n < namesakesMost {
		s.next = first
		t.namesake[anySource(key)] = s
	} else {
		t.crowded[key] = s
	}
	return s
}

// isMerged notes a request outside dialogs and reports whether another copy of it, with another branch, is being
// served (RFC 3261 §8.2.2.2).
func (t *Table) isMerged(s *server, m *message.Message) bool {
	key := mergedKey(t.key[:0], m)
	t.key = key
	if first := t.merged[string(key)]; first != nil {
		return anySource(first.key) != anySource(s.key)
	}
	s.twin = string(key)
	t.merged[s.twin] = s
	return false
}

// endServer forgets a server transaction.
func (t *Table) endServer(s *server) {
	s.timer.stop()
	t.queue.settle(&s.timer)
	t.keep(&s.last, nil)
	t.noTwin(s)
	t.noAwait(s)
	t.noOwner(s)
	delete(t.servers, s.id)
	t.noNamesake(s)
	s.req = nil
}

func (t *Table) noNamesake(s *server) {
	name := anySource(s.key)
	switch first := t.namesake[name]; {
	case len(t.crowded) > 0 && t.crowded[s.key] == s:
		delete(t.crowded, s.key)
	case first == s && s.next == nil:
		delete(t.namesake, name)
	case first == s:
		t.namesake[name] = s.next
	default:
		for x := first; x != nil; x = x.next {
			if x.next == s {
				x.next = s.next
				break
			}
		}
	}
	s.next = nil
}

func (t *Table) noTwin(s *server) {
	if s.twin != "" {
		delete(t.merged, s.twin)
		s.twin = ""
	}
}

func (t *Table) noAwait(s *server) {
	if s.await != "" && t.accepted[s.await] == s {
		delete(t.accepted, s.await)
	}
	s.await = ""
}

func (t *Table) noOwner(s *server) {
	if s.user != 0 {
		t.owned.drop(s.user, s)
		s.user = 0
	}
}

// Own says which user serves a transaction, and with what tag it will answer (empty: not known): effects of the
// transaction then name the user, the 200 to a CANCEL bears the tag (RFC 3261 §9.2), a request that waits long is kept
// alive by 100 (RFC 4320), and Disown answers what the user left open. An ID that has ended is ignored.
func (t *Table) Own(id ID, user uint64, tag string) {
	s := t.servers[id]
	if s == nil {
		return
	}
	t.noOwner(s)
	if s.user = user; user != 0 {
		t.owned.add(user, s)
	}
	if tag != "" {
		s.tag = strings.Clone(tag)
	}
}

// Drop gives a transaction no answer at all: repeats of the request are absorbed in silence until the client must have
// given up, its ACK and CANCEL too. An answered transaction is left alone.
func (t *Table) Drop(now time.Time, id ID) {
	s := t.servers[id]
	if s == nil || s.answered() {
		return
	}
	t.enter(now, nil)
	s.state, s.req = dropped, nil
	s.retry, s.limit = never, t.now.after(t.all)
	t.keep(&s.last, nil)
	t.noTwin(s)
	t.noOwner(s)
	t.queue.settle(&s.timer)
	t.leave()
}

// Respond sends a response. Its Via fields are those of the request; a response over 100 has a To tag. The table
// repeats a final response as its machine wants; a 2xx to INVITE until its ACK, over every transport.
// It fails with ErrGone, ErrAnswered, ErrMessage, or with the writer's error.
func (t *Table) Respond(now time.Time, id ID, m *message.Message, out []Effect) ([]Effect, error) {
	s := t.servers[id]
	switch {
	case m.Status < 100 || m.Status > 699:
		return out, fmt.Errorf("%w: status %d in a response", ErrMessage, m.Status)
	case m.Status > 100 && m.To.Tag == "":
		// RFC 3261 §8.2.6.2: every response but 100 has a To tag.
		return out, fmt.Errorf("%w: a %d needs a To tag", ErrMessage, m.Status)
	case s == nil:
		return out, ErrGone
	case s.answered():
		return out, ErrAnswered
	case !s.invite && m.Status < 200 && m.Status != 100:
		// RFC 4320 §4.1: no provisional response but 100 to a non-INVITE request.
		return out, fmt.Errorf("%w: a %d must not answer %s", ErrMessage, m.Status, s.req.Method)
	}
	b, err := t.write(m)
	if err != nil {
		return out, err
	}
	t.enter(now, out)
	t.answer(s, m.Status, m.To.Tag, b)
	return t.leave(), nil
}

// answer runs an open transaction's machine with a response of its user.
func (t *Table) answer(s *server, status int, tag string, b []byte) {
	switch {
	case !s.invite && status >= 200:
		s.tag = "" // the answer has it, and no other is made
	case tag != "" && (s.tag == "" || status >= 200):
		s.tag = strings.Clone(tag)
	}
	switch {
	case s.invite && status < 200:
		t.inviteProvisional(s, b)
	case s.invite && status < 300:
		t.inviteAccepted(s, b)
	case s.invite:
		t.inviteRefused(s, b)
	default:
		t.otherAnswered(s, status, b)
	}
	if status >= 200 {
		s.req = nil
	}
	if status >= 300 {
		t.noTwin(s) // it is no longer being served: a peer that tries us again by another way is heard
	}
	if s.limit <= t.now {
		t.endServer(s) // Timer I or J of zero
		return
	}
	t.queue.settle(&s.timer)
}

// fallbackTag is the To tag of an answer to a request that no user has given one: the same for each copy of the request
// (RFC 3261 §8.2.7), unlike that of any other.
func fallbackTag(m *message.Message) string {
	h := sha256.New()
	for _, part := range [...]string{m.CallID, m.From.Tag, m.Via[0].Branch} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
