package core

import (
	"net/netip"
	"strconv"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// apply does what the transaction table asks for.
func (c *Core) apply(now time.Time, e *transaction.Effect) {
	switch e.Kind {
	case transaction.Transmit:
		c.transmit(e.Flow, e.Bytes)
	case transaction.NewRequest:
		c.dispatch(now, e)
	case transaction.Cancelled:
		c.tell(tu.UserID(e.User), tu.Cancelled{Tx: tu.TxID(e.ID), Msg: e.Msg})
	case transaction.AckFor2xx:
		c.tell(tu.UserID(e.User), tu.Acked{Tx: tu.TxID(e.ID), Msg: e.Msg})
	case transaction.NotAcked:
		c.tell(tu.UserID(e.User), tu.NotAcked{Tx: tu.TxID(e.ID)})
	case transaction.Provisional, transaction.Response:
		if e.Msg.Status == 100 {
			c.tell(tu.UserID(e.User), tu.Trying{Ref: tu.Ref(e.Ref)})
			return
		}
		c.tell(tu.UserID(e.User), tu.Answered{Ref: tu.Ref(e.Ref), Msg: e.Msg, Flow: e.Flow})
	case transaction.Timeout:
		c.tell(tu.UserID(e.User), tu.Failed{Ref: tu.Ref(e.Ref), Code: 408, Why: reason.Timeout})
	case transaction.Failed:
		c.tell(tu.UserID(e.User), tu.Failed{Ref: tu.Ref(e.Ref), Code: 503, Why: reason.Timeout})
	case transaction.LateAnswer:
		c.hangUpLate(now, e)
	case transaction.Full:
		c.overload(e)
	case transaction.StrayAck:
		c.gauges.Strays.Add(1)
	}
}

func (c *Core) tell(id tu.UserID, ev tu.Event) {
	if id != 0 {
		c.events = append(c.events, queued{user: id, ev: ev})
	}
}

// overload answers a request that found no room in the table, without keeping state.
func (c *Core) overload(e *transaction.Effect) {
	c.gauges.Overload.Add(1)
	if e.Msg.Method == "ACK" {
		return
	}
	resp := message.Reply(e.Msg, 503, "")
	resp.To.Tag = c.ids.Tag()
	resp.Add("Retry-After", overloadRetry)
	if b, err := resp.Append(nil); err == nil {
		c.transmit(e.Flow, b)
	}
}

// overloadRetry is what a peer is asked to wait when the gate is full, in seconds.
const overloadRetry = "10"

// dispatch finds the user of a request that opened a server transaction, or makes one.
func (c *Core) dispatch(now time.Time, e *transaction.Effect) {
	m, id := e.Msg, tu.TxID(e.ID)
	peer, here, side := c.cfg.Assembly.Identify(e.Flow)
	ev := tu.Arrived{Tx: id, Msg: m, Flow: e.Flow, Peer: peer, Here: here}
	if m.To.Tag != "" {
		// "If … the request has a tag in the To header field [and] the dialog identifier does not match any existing
		// dialogs … it MUST respond with a 481" (RFC 3261 §12.2.2).
		d := c.dialogs[dialogKey{side: side, callID: m.CallID, local: m.To.Tag}]
		if d == nil {
			c.reply(now, id, m, Answer{Code: 481})
			return
		}
		c.table.Own(e.ID, uint64(d.user), "")
		c.tell(d.user, ev)
		return
	}
	if e.Merged {
		// RFC 3261 §8.2.2.2.
		c.reply(now, id, m, Answer{Code: 482, Why: reason.Loop})
		return
	}
	uid := c.lastID + 1
	u, refusal := c.cfg.Assembly.New(now, c.seed(), uid, ev)
	if u == nil {
		c.reply(now, id, m, refusal)
		return
	}
	c.adopt(uid, u)
	c.table.Own(e.ID, uint64(uid), "")
	c.tell(uid, ev)
}

func (c *Core) adopt(id tu.UserID, t tu.User) {
	c.lastID = id
	c.users[id] = &user{id: id, tu: t, index: -1}
}

// Start makes a user that no message asked for (a probe) and gives it a first Tick. It runs on the core's goroutine.
func (c *Core) Start(make func(id tu.UserID, seed tu.Seed) tu.User) tu.UserID {
	id := c.lastID + 1
	c.adopt(id, make(id, c.seed()))
	c.tell(id, tu.Tick{})
	return id
}

// Tell gives a user an event. It runs on the core's goroutine.
func (c *Core) Tell(id tu.UserID, ev tu.Event) { c.tell(id, ev) }

// MediaHint passes word from the relay to the user that owns the stream. It runs on the core's goroutine.
func (c *Core) MediaHint(id media.ID, silent bool) {
	if o, ok := c.streams[id]; ok {
		c.tell(o.user, tu.MediaHint{Stream: o.index, Silent: silent})
	}
}

func (c *Core) seed() (s tu.Seed) {
	copy(s[:], c.ids.Block())
	return s
}

// replyFlow is where the responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4): streams and symmetric peers to the
// source; others to the source address, and to the source port only where rport asks for it.
func replyFlow(m *message.Message, from nat.Flow, peer *tu.Peer) nat.Flow {
	if from.Transport.Reliable() || len(m.Via) == 0 || m.Via[0].RPort >= 0 {
		return from
	}
	if peer == nil || peer.Symmetric || peer.Kind == tu.KindPhone {
		return from
	}
	port := m.Via[0].Port
	if port == 0 {
		port = 5060
	}
	from.Remote = netip.AddrPortFrom(from.Remote.Addr(), port)
	return from
}

func itoa(n int) string { return strconv.Itoa(n) }
