package core

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/message"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// Delivery says what became of an inbound message.
type Delivery uint8

// What Deliver answers.
const (
	Accepted Delivery = iota
	Busy              // three quarters full: a new INVITE should get a stateless 503
	Dropped           // full, or no room for requests outside dialogs
)

// Deliver hands a message to the core from any goroutine. It never blocks: from three quarters of the inbox on new
// INVITEs are refused, in the last eighth every request outside a dialog is dropped, so that dialogs go on.
func (c *Core) Deliver(in Inbound) Delivery {
	level, size := len(c.network), cap(c.network)
	fresh := in.Msg.IsRequest() && in.Msg.To.Tag == "" && in.Msg.Method != "CANCEL" && in.Msg.Method != "ACK"
	switch {
	case fresh && level >= size*7/8:
		c.gauges.InboxDropped.Add(1)
		return Dropped
	case fresh && in.Msg.Method == "INVITE" && (level >= size*3/4 || c.gauges.Busy.Load() > busyLimit):
		c.gauges.Overload.Add(1)
		return Busy
	}
	select {
	case c.network <- in:
		raise(&c.gauges.InboxHigh, int64(level+1))
		return Accepted
	default:
		c.gauges.InboxDropped.Add(1)
		return Dropped
	}
}

// ErrFull means that the core's control inbox is full; what was posted did not happen.
var ErrFull = errors.New("core: control inbox is full")

// Post runs f on the core's goroutine, soon. It never blocks.
func (c *Core) Post(f func(now time.Time)) error {
	select {
	case c.control <- f:
		return nil
	default:
		return ErrFull
	}
}

// Do runs f on the core's goroutine and waits for it.
func (c *Core) Do(ctx context.Context, f func(now time.Time)) error {
	done := make(chan struct{})
	if err := c.Post(func(now time.Time) { defer close(done); f(now) }); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unreachable tells the core that what an interface sent to an address did not arrive (an ICMP error).
func (c *Core) Unreachable(iface uint16, remote netip.AddrPort) {
	_ = c.Post(func(now time.Time) {
		c.effects = c.table.Unreachable(now, iface, remote, c.effects)
	}) // a lost hint costs a timer, not a call
}

// Run is the loop. It ends with the context.
func (c *Core) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := c.cfg.Now()
		c.advance(now)
		c.busy.idle(now, &c.gauges)
		if next := c.next(); next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(0, next.Sub(c.cfg.Now())))
		}
		select { // control first
		case f := <-c.control:
			c.work(func(now time.Time) { f(now) })
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return
		case f := <-c.control:
			c.work(func(now time.Time) { f(now) })
		case in := <-c.network:
			c.work(func(now time.Time) { c.receive(now, in) })
		case <-timer.C:
		}
	}
}

func (c *Core) work(f func(now time.Time)) {
	now := c.cfg.Now()
	c.busy.work(now)
	f(now)
	c.settle(now)
}

// receive turns a message into the table's effects.
func (c *Core) receive(now time.Time, in Inbound) {
	if in.Msg.IsRequest() {
		peer, _, _ := c.cfg.Assembly.Identify(in.Flow)
		c.effects = c.table.Request(now, in.Msg, in.Flow, replyFlow(in.Msg, in.Flow, peer), c.effects)
		return
	}
	c.effects = c.table.Response(now, in.Msg, in.Flow, c.effects)
}

// advance runs what is due at now.
func (c *Core) advance(now time.Time) {
	for {
		u := c.clock.due(now)
		if u == nil {
			break
		}
		c.events = append(c.events, queued{user: u.id, ev: tu.Tick{}})
	}
	c.effects = c.table.Tick(now, c.effects)
	c.settle(now)
}

// settle works until nothing is left to do: effects first, since they came first.
func (c *Core) settle(now time.Time) {
	for len(c.effects) > 0 || len(c.events) > 0 {
		effects := c.effects
		c.effects = nil
		for i := range effects {
			c.apply(now, &effects[i])
		}
		clear(effects)
		if c.effects == nil {
			c.effects = effects[:0]
		}
		events := c.events
		c.events = nil
		for i := range events {
			if u := c.users[events[i].user]; u != nil {
				c.step(now, u, events[i].ev)
			}
		}
		clear(events)
		if c.events == nil {
			c.events = events[:0]
		}
	}
	c.measure()
}

func (c *Core) next() time.Time {
	t := c.table.Next()
	if u := c.clock.first(); u != nil && (t.IsZero() || u.deadline.Before(t)) {
		t = u.deadline
	}
	return t
}

// step lets a user handle an event and runs its actions. A panic in Step has sent nothing: the user is aborted.
func (c *Core) step(now time.Time, u *user, ev tu.Event) {
	if u.ended {
		return
	}
	do, ok := c.guarded(u, func() []tu.Action { return u.tu.Step(now, ev, c.actions[:0]) })
	if !ok {
		do, ok = c.guarded(u, func() []tu.Action { return u.tu.Abort(now, c.actions[:0]) })
		if !ok {
			do = append(c.actions[:0], tu.Release{})
		}
		do = append(do, tu.End{})
	}
	for _, a := range do {
		c.execute(now, u, a)
	}
	clear(do)
	c.actions = do[:0]
	if !u.ended {
		c.clock.set(u, u.tu.Deadline())
	}
}

func (c *Core) guarded(u *user, f func() []tu.Action) (do []tu.Action, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			c.gauges.Panics.Add(1)
			c.cfg.Log.Error("a call ended by an internal error; it was aborted, the others live",
				zap.Uint64("call", uint64(u.id)), zap.Any("panic", r), zap.Stack("stack"))
			do, ok = nil, false
		}
	}()
	return f(), true
}

// reply answers a server transaction that has no user.
func (c *Core) reply(now time.Time, id tu.TxID, m *message.Message, r Answer) {
	if r.Code == 0 {
		c.table.Drop(now, transaction.ID(id))
		return
	}
	resp := message.Reply(m, r.Code, "")
	if resp.To.Tag == "" {
		resp.To.Tag = c.ids.Tag()
	}
	resp.Headers = append(resp.Headers, r.Headers...)
	if r.RetryAfter > 0 {
		resp.Add("Retry-After", itoa(r.RetryAfter))
	}
	c.respond(now, nil, tu.Respond{Tx: id, Msg: resp})
}
