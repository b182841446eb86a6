package transaction

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// client is a client transaction, of either machine.
type client struct {
	timer
	key        string // in clients
	user       uint64
	ref        uint32
	siblings   links[client] // others of the same user
	travellers links[client] // others that wait for the same address: for a first word, or for the last one

	to    nat.Flow
	req   *message.Message // INVITE: until the final response
	raw   []byte           // the request while it may be sent again; then the ACK for a 3xx–6xx
	forks []string         // To tags reported as LateAnswer

	reason string // Reason of a CANCEL that waits for a provisional

	state  state
	invite bool
	within bool // of a dialog
	rings  bool // it has had a provisional response
	cancel bool // given up: a CANCEL has been sent, or goes out with the first provisional
	orphan bool // nobody hears of it: its user has ended or was told that it failed, or it is a CANCEL
}

// forksMost bounds the To tags that a client transaction remembers; a fork beyond is reported as new each time.
const forksMost = 8

func (c *client) resend(t *Table) {
	t.transmit(c.raw, c.to)
	if c.invite {
		t.inviteCalls(c)
	} else {
		t.otherRetries(c)
	}
	t.queue.settle(&c.timer)
}

func (c *client) expire(t *Table) {
	// Timers B and F, and 64·T1 after a CANCEL: no final response. Timers D, K and M end in silence.
	if c.waiting() {
		t.report(c, Effect{Kind: Timeout})
	}
	t.endClient(c)
}

// waiting reports whether the transaction has had no final response yet.
func (c *client) waiting() bool {
	return c.state == calling || c.state == trying || c.state == proceeding
}

// Send opens a client transaction for a request. Its topmost and only Via carries a fresh branch; user and ref name it
// in effects, a ref being unique among a user's live requests. User 0 is nobody: the request is repeated until it is
// answered, and nothing is reported (the BYE behind a LateAnswer). It fails with ErrMessage, ErrFull, or with the
// writer's error.
func (t *Table) Send(now time.Time, user uint64, ref uint32, m *message.Message, to nat.Flow, out []Effect) ([]Effect, error) {
	switch {
	case !m.IsRequest() || m.Method == "ACK" || m.Method == "CANCEL":
		return out, fmt.Errorf("%w: send %q %d otherwise: an ACK by itself, a CANCEL by Cancel", ErrMessage, m.Method, m.Status)
	case len(m.Via) != 1 || m.Via[0].Branch == "":
		return out, fmt.Errorf("%w: a request is sent with one Via and a branch", ErrMessage)
	case user == 0 && m.Method == "INVITE":
		return out, fmt.Errorf("%w: an INVITE needs a user, or nobody would ever end it", ErrMessage)
	case user != 0 && t.byRef(user, ref) != nil:
		return out, fmt.Errorf("%w: ref %d of user %d names a live request", ErrMessage, ref, user)
	case !t.room(m.To.Tag != ""):
		return out, ErrFull
	}
	key := clientKey(t.key[:0], m.Via[0].Branch, m.Method)
	t.key = key
	if t.clients[string(key)] != nil {
		return out, fmt.Errorf("%w: branch %q is in use", ErrMessage, m.Via[0].Branch)
	}
	b, err := t.write(m)
	if err != nil {
		return out, err
	}
	t.enter(now, out)
	c := t.openClient(m, to, b)
	c.user, c.ref, c.orphan = user, ref, user == 0
	if user != 0 {
		t.byUser.add(user, c)
	}
	return t.leave(), nil
}

// openClient starts a machine and sends the request.
func (t *Table) openClient(m *message.Message, to nat.Flow, b []byte) *client {
	c := &client{key: string(clientKey(t.key[:0], m.Via[0].Branch, m.Method)), to: to, invite: m.Method == "INVITE", within: m.To.Tag != ""}
	// Timers B and F: 64·T1 on every transport. Timers A and E: on UDP alone.
	c.timer = timer{retry: never, limit: t.now.after(t.all), owner: c, pos: -1}
	if !to.Transport.Reliable() {
		c.interval = t.cfg.T1
		c.retry = t.now.after(c.interval)
		t.keep(&c.raw, b)
	}
	c.state = trying
	if c.invite {
		c.state, c.req = calling, m
	}
	t.clients[c.key] = c
	t.unanswered.add(c.destination(), c)
	t.queue.settle(&c.timer)
	t.transmit(b, to)
	return c
}

func (c *client) destination() destination { return destinationOf(c.to) }

// byRef finds a live request of a user.
func (t *Table) byRef(user uint64, ref uint32) *client {
	for c := t.byUser.heads[user]; c != nil; c = c.siblings.next {
		if c.ref == ref {
			return c
		}
	}
	return nil
}

// response finds the client transaction of a response.
func (t *Table) response(m *message.Message, from nat.Flow) {
	// "If more than one Via header field value is present in a response, the UAC SHOULD discard the message" (RFC 3261
	// §8.1.3.3).
	if len(m.Via) != 1 {
		t.counters.StrayResponses++
		return
	}
	key := clientKey(t.key[:0], m.Via[0].Branch, m.Method)
	t.key = key
	c := t.clients[string(key)]
	switch {
	case c == nil:
		t.counters.StrayResponses++ // RFC 6026 §7.2: strays are dropped
	case !t.expected(c.to, from):
		t.counters.ForgedResponses++
	case c.invite:
		t.inviteResponse(c, m, from)
	default:
		t.otherResponse(c, m, from)
	}
}

// report tells a user of its request; nobody, if nobody waits.
func (t *Table) report(c *client, e Effect) {
	if !c.orphan {
		e.User, e.Ref = c.user, c.ref
		t.emit(e)
	}
}

// reportLate hands over a 2xx that nobody waits for.
func (t *Table) reportLate(c *client, m *message.Message, from nat.Flow) {
	repeat := slices.Contains(c.forks, m.To.Tag)
	if !repeat && len(c.forks) < forksMost {
		c.forks = append(c.forks, strings.Clone(m.To.Tag))
	}
	t.emit(Effect{Kind: LateAnswer, Msg: m, Flow: from, Repeat: repeat, Within: c.within})
}

// ringing notes a provisional response: the request is no longer on its way, and waits.
func (t *Table) ringing(c *client) {
	if !c.rings {
		t.unanswered.drop(c.destination(), c)
		t.pending.add(c.destination(), c)
		c.rings = true
	}
}

// heard notes that the request waits for nothing any more.
func (t *Table) heard(c *client) {
	if c.rings {
		t.pending.drop(c.destination(), c)
	} else {
		t.unanswered.drop(c.destination(), c)
	}
}

// settled lets go what only an open request needs, and keeps the transaction for so long.
func (t *Table) settled(c *client, next state, wait time.Duration) {
	c.state, c.req = next, nil
	c.retry, c.limit = never, t.linger(wait)
	t.keep(&c.raw, nil)
	t.heard(c)
}

// endClient forgets a client transaction.
func (t *Table) endClient(c *client) {
	c.timer.stop()
	t.queue.settle(&c.timer)
	t.keep(&c.raw, nil)
	t.heard(c)
	t.byUser.drop(c.user, c)
	delete(t.clients, c.key)
	c.req = nil
}
