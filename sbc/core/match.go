package core

import (
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// apply does what the transaction table asks for. A request that cannot be handled is refused, so that its sender does
// not wait for the dead.
func (c *Core) apply(now time.Time, e *transaction.Effect) {
	sound := c.contain("a message could not be handled", tu.UserID(e.User), func() { c.handle(now, e) })
	if !sound && e.Kind == transaction.NewRequest {
		c.contain("a request could not be refused", 0, func() {
			peer, _, _ := c.cfg.Assembly.Identify(e.Flow)
			c.refuse(now, e, peer, Answer{Code: 500, Why: reason.Internal})
		})
	}
}

func (c *Core) handle(now time.Time, e *transaction.Effect) {
	user, tx := tu.UserID(e.User), tu.TxID(e.ID)
	switch e.Kind {
	case transaction.Transmit:
		c.transmit(now, e.Flow, e.Bytes)
	case transaction.NewRequest:
		c.dispatch(now, e)
	case transaction.Cancelled:
		c.tell(user, tu.Cancelled{Tx: tx, Msg: e.Msg})
	case transaction.AckFor2xx:
		c.tell(user, tu.Acked{Tx: tx, Msg: e.Msg})
	case transaction.NotAcked:
		c.tell(user, tu.NotAcked{Tx: tx})
	case transaction.Provisional, transaction.Response:
		c.heard(now, e)
		if e.Msg.Method == "INVITE" {
			c.cfg.Assembly.Attempted(now, user, tu.Ref(e.Ref), e.Msg.Status)
		}
		if e.Msg.Status == 100 {
			c.tell(user, tu.Trying{Ref: tu.Ref(e.Ref)})
			return
		}
		if e.Msg.Status == 401 || e.Msg.Status == 407 {
			c.cfg.Assembly.Challenged(now, e.Msg, e.Flow)
		}
		c.tell(user, tu.Answered{Ref: tu.Ref(e.Ref), Msg: e.Msg, Flow: e.Flow})
		if e.Msg.Status >= 300 && e.Msg.Method == "INVITE" {
			c.release(user, tu.Ref(e.Ref))
		}
	case transaction.Timeout:
		if c.askAgain(now, e) {
			return
		}
		c.unanswered(now, user, tu.Failed{Ref: tu.Ref(e.Ref), Code: 408, Why: reason.Timeout})
	case transaction.Failed:
		if c.askAgain(now, e) {
			return
		}
		c.unanswered(now, user, tu.Failed{Ref: tu.Ref(e.Ref), Code: 503, Why: reason.Timeout})
	case transaction.Lost:
		if c.askAgain(now, e) {
			return
		}
		c.unanswered(now, user, tu.Failed{Ref: tu.Ref(e.Ref), Code: 408, Why: reason.Timeout, Lost: true})
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

// unanswered tells a user of a request that gets no answer.
func (c *Core) unanswered(now time.Time, id tu.UserID, f tu.Failed) {
	c.cfg.Assembly.Attempted(now, id, f.Ref, 0)
	c.tell(id, f)
	c.release(id, f.Ref)
}

// release gives the place of an INVITE back once the user has heard the event that was told last: where it asks again, at the same
// hop, the place is its own meanwhile.
func (c *Core) release(id tu.UserID, ref tu.Ref) {
	if id != 0 {
		c.events[len(c.events)-1].over = ref
	}
}

// tellTick is tell with a Tick; nothing about it is worth an allocation.
func (c *Core) tellTick(u *user) { c.tell(u.id, tick) }

var tick tu.Event = tu.Tick{}

// dispatch finds the user of a request that opened a server transaction, or makes one.
func (c *Core) dispatch(now time.Time, e *transaction.Effect) {
	m := e.Msg
	peer, here, side := c.cfg.Assembly.Identify(e.Flow)
	c.arrived = tu.Arrived{Tx: tu.TxID(e.ID), Msg: m, Flow: e.Flow, Peer: peer, Here: here}
	defer func() { c.arrived = tu.Arrived{} }()
	if m.To.Tag != "" && m.Method != "REGISTER" { // which makes no dialog (RFC 3261 §10.2), whatever tag some phones repeat
		// "If … the request has a tag in the To header field [and] the dialog identifier does not match any existing
		// dialogs … it MUST respond with a 481" (RFC 3261 §12.2.2).
		d := c.dialogs[dialogKey{side: side, callID: m.CallID, local: m.To.Tag}]
		if d == nil {
			c.refuse(now, e, peer, Answer{Code: 481})
			return
		}
		c.table.Own(e.ID, uint64(d.user), "")
		c.tell(d.user, c.arrived)
		return
	}
	if e.Merged {
		// RFC 3261 §8.2.2.2.
		c.refuse(now, e, peer, Answer{Code: 482, Why: reason.Loop})
		return
	}
	if id, ok := c.cfg.Assembly.Taker(&c.arrived); ok && c.users[id] != nil {
		c.table.Own(e.ID, uint64(id), "")
		c.tell(id, c.arrived)
		return
	}
	uid := c.lastID + 1
	u, refusal := c.cfg.Assembly.New(now, c.seed(), uid, &c.arrived)
	if u == nil {
		c.refuse(now, e, peer, refusal)
		return
	}
	c.adopt(uid, u)
	c.table.Own(e.ID, uint64(uid), "")
	c.tell(uid, c.arrived)
}

func (c *Core) adopt(id tu.UserID, t tu.User) {
	c.lastID = id
	c.users[id] = &user{id: id, tu: t, index: -1}
}

// Start makes a user that no message asked for (a probe) and gives it a first Tick. It runs in the core's turn.
func (c *Core) Start(make func(id tu.UserID, seed tu.Seed) tu.User) tu.UserID {
	id := c.lastID + 1
	c.adopt(id, make(id, c.seed()))
	c.tell(id, tick)
	return id
}

// Tell gives a user an event. It runs in the core's turn.
func (c *Core) Tell(id tu.UserID, ev tu.Event) { c.tell(id, ev) }

// MediaHint passes word from the relay to the user that owns the stream. It runs in the core's turn.
func (c *Core) MediaHint(id media.ID, silent bool) {
	if o, ok := c.streams[id]; ok {
		c.tell(o.user, tu.MediaHint{Stream: o.index, Silent: silent})
	}
}

// DigitHeard passes a digit that the relay has heard to the user that owns the stream. It runs in the core's turn.
func (c *Core) DigitHeard(id media.ID, side nat.Side, d media.Digit) {
	if o, ok := c.streams[id]; ok {
		c.tell(o.user, tu.DigitHeard{Stream: o.index, Side: side, Event: d.Event, Volume: d.Volume, Duration: d.Duration})
	}
}

func (c *Core) seed() tu.Seed { return c.ids.Block() }
