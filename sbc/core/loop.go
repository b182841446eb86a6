package core

import (
	"context"
	"time"
)

// Run is the loop: it runs what is due and what was posted, and messages that nobody else works off. It ends with the
// context; a core runs once.
func (c *Core) Run(ctx context.Context) {
	defer c.stop()
	a := alarm{timer: time.NewTimer(never)}
	defer a.timer.Stop()
	var got errand
	for ctx.Err() == nil {
		if c.cycle(&a, got) {
			got = errand{}
			continue
		}
		got = c.await(ctx, &a)
	}
}

// errand is what woke the loop, to be done in its turn.
type errand struct {
	f    func(now time.Time)
	hint *hint
}

// cycle is one turn of the loop: timers, functions, ICMP errors, messages. It reports whether more waits.
func (c *Core) cycle(a *alarm, got errand) (more bool) {
	c.wanted.Add(1)
	c.turn.Lock()
	c.wanted.Add(-1)
	defer func() {
		c.turn.Unlock()
		// Looked at after the turn is given back: who delivers meanwhile and finds it taken relies on this look.
		more = c.network.level() > 0 || len(c.control) > 0 || len(c.hints) > 0
	}()
	began := c.cfg.Now()
	c.running = true
	if got.f != nil {
		c.call(began, got.f)
	}
	if got.hint != nil {
		c.unreachable(began, *got.hint)
	}
	c.advance(began)
	c.serve()
	c.drain()
	c.measure()
	now := c.meter.turn(began, c.cfg.Now(), &c.gauges)
	a.set(now, c.wake(now))
	c.alarmAt = a.at
	return false
}

func (c *Core) stop() {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.running = false
	c.measure()
	close(c.stopped)
}

// serveMost is how many functions and hints are served before messages have their turn.
const serveMost = 64

// serve runs what was posted: functions first.
func (c *Core) serve() {
	for range serveMost {
		select {
		case f := <-c.control:
			c.call(c.cfg.Now(), f)
			continue
		default:
		}
		select {
		case h := <-c.hints:
			c.unreachable(c.cfg.Now(), h)
		default:
			return
		}
	}
}

// drainMost is how many messages one turn works off.
const drainMost = 64

// drain works off messages in their order of arrival, until Run wants its turn. The clock is read for each: one may have
// taken long.
func (c *Core) drain() {
	for range drainMost {
		in, ok := c.network.pop()
		if !ok {
			return
		}
		c.receive(c.cfg.Now(), in)
		if c.wanted.Load() > 0 {
			return
		}
	}
}

// pump lets the goroutine that delivers be the core for a turn, if nobody is: it saves handing each message to another
// thread, which costs more than working it off. Messages stay in order, for all leave the inbox in somebody's turn.
func (c *Core) pump() {
	for c.network.level() > 0 && c.wanted.Load() == 0 && c.turn.TryLock() {
		if !c.pumped(nil) {
			return
		}
	}
}

// direct is pump for a message that finds the inbox empty: it goes past it. False: it must wait there.
func (c *Core) direct(in Inbound) bool {
	if c.wanted.Load() > 0 || !c.turn.TryLock() {
		return false
	}
	if !c.running || c.network.level() > 0 {
		c.turn.Unlock()
		return false
	}
	c.pumped(&in)
	return true
}

// pumped is one turn of a goroutine that delivers, which begins with a message of its own if it has one. It reports
// whether it may have another turn.
func (c *Core) pumped(own *Inbound) bool {
	defer c.turn.Unlock()
	if !c.running {
		return false
	}
	began := c.cfg.Now()
	if own != nil {
		c.receive(began, *own)
	}
	c.drain()
	c.measure()
	now := c.meter.turn(began, c.cfg.Now(), &c.gauges)
	more := c.network.level() > 0
	if next := c.wake(now); more || !next.IsZero() && next.Before(c.alarmAt) {
		c.rouse() // its reader has a socket to read, and timers are the loop's
	}
	return !more
}

// rouse makes Run look around.
func (c *Core) rouse() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// await sleeps until there is something to do.
func (c *Core) await(ctx context.Context, a *alarm) (got errand) {
	select {
	case <-ctx.Done():
	case <-a.timer.C:
		a.at = time.Time{}
	case <-c.bell:
	case got.f = <-c.control:
	case h := <-c.hints:
		got.hint = &h
	}
	return got
}

// call runs a function that was posted.
func (c *Core) call(now time.Time, f func(now time.Time)) {
	c.contain("a function of the program failed", 0, func() { f(now) })
	c.settle(now)
}

func (c *Core) unreachable(now time.Time, h hint) {
	c.contain("an error of the network could not be handled", 0, func() {
		c.unreached(now, h.to)
		if h.dialled { // one end, though it is known by two flows: it is told once
			other := h.to
			other.Conn = 0
			c.effects = c.table.Unreachable(now, other, c.effects)
		}
	})
	c.settle(now)
}

// receive turns a message into the table's effects.
func (c *Core) receive(now time.Time, in Inbound) {
	c.contain("a message could not be handled", 0, func() {
		if in.Msg.IsRequest() {
			c.effects = c.table.Request(now, in.Msg, in.Flow, c.replyFlow(in.Msg, in.Flow), c.effects)
		} else {
			c.effects = c.table.Response(now, in.Msg, in.Flow, c.effects)
		}
	})
	c.settle(now)
}

// advance runs what is due at now: users first, so that one that cancels at the moment of a retransmission is in time.
func (c *Core) advance(now time.Time) {
	for u := c.clock.due(now); u != nil; u = c.clock.due(now) {
		c.tellTick(u)
	}
	c.settle(now)
	if next := c.table.Next(); !next.IsZero() && !next.After(now) {
		c.tick(now)
		c.settle(now)
	}
}

// ticksMost is how many ticks of the table may fail in a row.
const ticksMost = 3

// tick runs the table's timers. A timer that fails every time it is tried leaves no way on: nothing would be repeated
// or end any more. Then the process ends with the panic, and its supervisor starts a sound one.
func (c *Core) tick(now time.Time) {
	run := func() { c.effects = c.table.Tick(now, c.effects) }
	switch {
	case c.faults >= ticksMost:
		run()
		c.faults = 0
	case c.contain("a transaction's timer failed", 0, run):
		c.faults = 0
	default:
		c.faults++
	}
}

// settle works until nothing is left to do: effects first, since they came first.
func (c *Core) settle(now time.Time) {
	if len(c.effects)+len(c.events) == 0 {
		return
	}
	c.round++
	for len(c.effects)+len(c.events) > 0 {
		effects := c.effects
		c.effects = c.spareEffects[:0]
		for i := range effects {
			c.apply(now, &effects[i])
		}
		clear(effects)
		c.spareEffects = effects
		events := c.events
		c.events = c.spareEvents[:0]
		for i := range events {
			if u := c.users[events[i].user]; u != nil {
				c.step(now, u, events[i].ev)
			}
			if ref := events[i].over; ref != 0 {
				c.contain("a place could not be given back", events[i].user, func() { c.cfg.Assembly.Unlease(events[i].user, ref) })
			}
		}
		clear(events)
		c.spareEvents = events
	}
	c.raiseTransactions()
}

// wake is when the loop has to do something of itself; the zero time means never.
func (c *Core) wake(now time.Time) time.Time {
	t := c.table.Next()
	if u := c.clock.first(); u != nil && (t.IsZero() || u.deadline.Before(t)) {
		t = u.deadline
	}
	// A core that refuses calls because it was busy must notice that it is so no longer.
	if c.gauges.Busy.Load() > 0 {
		if roll := now.Add(second); t.IsZero() || roll.Before(t) {
			t = roll
		}
	}
	return t
}

// never is how long an alarm sleeps that has nothing to wait for.
const never = time.Hour

// alarm is a timer that is set seldom: one that rings too early is harmless and costs less than moving it each time.
type alarm struct {
	timer *time.Timer
	at    time.Time // when it rings; zero: it has rung
}

func (a *alarm) set(now, next time.Time) {
	if next.IsZero() {
		next = now.Add(never)
	}
	if a.at.After(now) && !a.at.After(next) {
		return
	}
	a.timer.Reset(max(0, next.Sub(now)))
	a.at = next
}
