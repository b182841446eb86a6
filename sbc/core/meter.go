package core

import (
	"sync/atomic"
	"time"
)

// busyLimit is the busy ratio, in thousandths, from which new INVITEs are refused.
const busyLimit = 800

// second is over which the busy ratio is measured.
const second = time.Second

// meter measures which part of each second somebody was the core.
type meter struct {
	since  time.Time
	worked time.Duration
}

// turn adds a turn that ends now, and publishes the ratio once a second.
func (m *meter) turn(began, now time.Time, g *Gauges) time.Time {
	if m.since.IsZero() {
		m.since = began
	}
	m.worked += now.Sub(began)
	if span := now.Sub(m.since); span >= second {
		g.Busy.Store(min(max(0, int64(m.worked*1000/span)), 1000))
		m.since, m.worked = now, 0
	}
	return now
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
