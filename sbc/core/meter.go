package core

import (
	"sync/atomic"
	"time"
)

// busyLimit is the busy ratio, in thousandths, from which new INVITEs are refused.
const busyLimit = 800

// second is over which the busy ratio is measured.
const second = time.Second

// meter measures which part of each second the loop did not sleep: messages, timers and functions alike.
type meter struct {
	since, asleep time.Time // asleep is zero while awake
	slept         time.Duration
}

func (m *meter) sleep(now time.Time) { m.asleep = now }

func (m *meter) rise(now time.Time) {
	m.slept += now.Sub(m.asleep)
	m.asleep = time.Time{}
}

// roll publishes the ratio once a second.
func (m *meter) roll(now time.Time, g *Gauges) {
	if m.since.IsZero() {
		m.since = now
	}
	span := now.Sub(m.since)
	if span < second {
		return
	}
	g.Busy.Store(min(max(0, int64((span-m.slept)*1000/span)), 1000))
	m.since, m.slept = now, 0
}

// measure copies what the core holds to its gauges.
func (c *Core) measure() {
	server, client := c.table.Len()
	g := &c.gauges
	g.Users.Store(int64(len(c.users)))
	g.Dialogs.Store(int64(len(c.dialogs)))
	g.Streams.Store(int64(len(c.streams)))
	g.ServerTransactions.Store(int64(server))
	g.ClientTransact.Store(int64(client))
	g.RetainedBytes.Store(int64(c.table.Retained()))
}

func (c *Core) raiseTransactions() {
	server, client := c.table.Len()
	raise(&c.gauges.TransactionsHigh, int64(server+client))
}

// raise lifts a high-water mark; several goroutines may do so.
func raise(high *atomic.Int64, v int64) {
	for old := high.Load(); v > old; old = high.Load() {
		if high.CompareAndSwap(old, v) {
			return
		}
	}
}
