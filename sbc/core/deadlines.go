package core

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// deadlines orders users by when they want a Tick.
type deadlines struct{ h userHeap }

func (d *deadlines) set(u *user, t time.Time) {
	switch {
	case t.IsZero():
		d.drop(u)
		return
	case u.index < 0:
		u.deadline = t
		heap.Push(&d.h, u)
		return
	case !u.deadline.Equal(t):
		u.deadline = t
		heap.Fix(&d.h, u.index)
	}
}

func (d *deadlines) drop(u *user) {
	if u.index >= 0 {
		heap.Remove(&d.h, u.index)
	}
	u.deadline = time.Time{}
}

func (d *deadlines) first() *user {
	if len(d.h) == 0 {
		return nil
	}
	return d.h[0]
}

// due takes out the first user whose deadline has come. Its next Step sets a new one.
func (d *deadlines) due(now time.Time) *user {
	u := d.first()
	if u == nil || u.deadline.After(now) {
		return nil
	}
	d.drop(u)
	return u
}

type userHeap []*user

func (h userHeap) Len() int           { return len(h) }
func (h userHeap) Less(i, j int) bool { return h[i].deadline.Before(h[j].deadline) }
func (h userHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *userHeap) Push(x any) {
	u := x.(*user)
	u.index = len(*h)
	*h = append(*h, u)
}
func (h *userHeap) Pop() any {
	old := *h
	u := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	u.index = -1
	return u
}

// busyLimit is the busy ratio, in thousandths, from which new INVITEs are refused.
const busyLimit = 800

// busyMeter measures which part of each second the loop worked.
type busyMeter struct {
	since, began time.Time
	worked       time.Duration
	working      bool
}

func (b *busyMeter) work(now time.Time) {
	b.began, b.working = now, true
	if b.since.IsZero() {
		b.since = now
	}
}

func (b *busyMeter) idle(now time.Time, g *Gauges) {
	if b.working {
		b.worked += now.Sub(b.began)
		b.working = false
	}
	if span := now.Sub(b.since); span >= time.Second {
		g.Busy.Store(int64(b.worked * 1000 / span))
		b.since, b.worked = now, 0
	}
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
	raise(&g.TransactionsHigh, int64(server+client))
}

func raise(high *atomic.Int64, v int64) {
	if v > high.Load() {
		high.Store(v)
	}
}
