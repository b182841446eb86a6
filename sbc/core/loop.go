package core

import (
	"context"
	"time"
)

// Run is the loop. It ends with the context; a core runs once.
func (c *Core) Run(ctx context.Context) {
	c.runner.Store(goroutine())
	defer c.stop()
	a := alarm{timer: time.NewTimer(never)}
	defer a.timer.Stop()
	for ctx.Err() == nil {
		now := c.cfg.Now()
		c.meter.roll(now, &c.gauges)
		c.advance(now)
		if c.serve(now) {
			if c.rounds++; c.rounds%64 == 0 {
				c.measure()
			}
			continue
		}
		c.measure()
		a.set(now, c.wake(now))
		c.meter.sleep(now)
		c.await(ctx, &a)
	}
}

func (c *Core) stop() {
	c.measure()
	c.runner.Store(0)
	close(c.stopped)
}

// serve does one thing that waits, without waiting itself: functions first.
func (c *Core) serve(now time.Time) bool {
	select {
	case f := <-c.control:
		c.call(now, f)
		return true
	default:
	}
	select {
	case h := <-c.hints:
		c.unreachable(now, h)
	case in := <-c.network:
		c.receive(now, in)
	default:
		return false
	}
	return true
}

// await sleeps until there is something to do, and does it.
func (c *Core) await(ctx context.Context, a *alarm) {
	select {
	case <-ctx.Done():
		c.rise()
	case <-a.timer.C:
		a.at = time.Time{}
		c.rise()
	case f := <-c.control:
		c.call(c.rise(), f)
	case h := <-c.hints:
		c.unreachable(c.rise(), h)
	case in := <-c.network:
		c.receive(c.rise(), in)
	}
}

func (c *Core) rise() time.Time {
	now := c.cfg.Now()
	c.meter.rise(now)
	return now
}

// call runs a function that was posted.
func (c *Core) call(now time.Time, f func(now time.Time)) {
	c.contain("a function of the program failed", 0, func() { f(now) })
	c.settle(now)
}

func (c *Core) unreachable(now time.Time, h unreachable) {
	c.contain("an ICMP error could not be handled", 0, func() {
		c.effects = c.table.Unreachable(now, h.iface, h.remote, c.effects)
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
