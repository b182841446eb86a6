package transaction

import (
	"math"
	"time"
)

// instant is a moment in nanoseconds after the table's first one. It is a third of the size of a time.Time, and a
// table has two of them a transaction.
type instant int64

// never is the instant of a timer that does not run.
const never = instant(math.MaxInt64)

func (i instant) after(d time.Duration) instant { return i + instant(d) }

// linger is when a state ends that only absorbs what comes late: d from now, rounded up to half of T1. Nobody waits for
// that end, and a table of thousands would wake its core for each of them alone.
func (t *Table) linger(d time.Duration) instant {
	if d <= 0 {
		return t.now
	}
	step := instant(max(t.cfg.T1/2, 1))
	return (t.now.after(d) + step - 1) / step * step
}

// timer is the clock of one transaction. A state has at most two timers: one that sends again and one that ends the
// state; only the nearer of them stands in the queue.
type timer struct {
	retry    instant       // Timers A, E, G, and the 2xx of an INVITE
	limit    instant       // Timers B, D, F, H, I, J, K, L, M
	interval time.Duration // between the last transmission and retry
	owner    timed
	pos      int32 // in the queue; -1: not in it
}

// timed is a transaction as its timer sees it.
type timed interface {
	// resend runs the timer that sends again.
	resend(t *Table)
	// expire runs the timer that ends the state.
	expire(t *Table)
}

func (tm *timer) due() instant { return min(tm.retry, tm.limit) }

// stop forgets both timers. The place in the queue is given up by the next settle.
func (tm *timer) stop() { tm.retry, tm.limit, tm.interval = never, never, 0 }

// backOff starts the next interval: twice the last one, at most the cap (0: no cap). It counts from now, not from
// when the timer was due: a core that fell behind must not send a burst.
func (tm *timer) backOff(now instant, most time.Duration) {
	tm.interval *= 2
	if most > 0 {
		tm.interval = min(tm.interval, most)
	}
	tm.retry = now.after(tm.interval)
}

// queue is a binary heap of timers, the nearest first; equal ones run in the order in which they were set.
type queue struct {
	slots []slot
	last  uint64
}

type slot struct {
	due instant
	seq uint64
	tm  *timer
}

func (a *slot) before(b *slot) bool { return a.due < b.due || a.due == b.due && a.seq < b.seq }

// settle puts a timer where its due time wants it.
func (q *queue) settle(tm *timer) {
	due := tm.due()
	switch {
	case due == never:
		q.remove(tm)
		return
	case tm.pos < 0:
		q.last++
		tm.pos = int32(len(q.slots))
		q.slots = append(q.slots, slot{due: due, seq: q.last, tm: tm})
	case q.slots[tm.pos].due == due:
		return
	default:
		q.last++
		q.slots[tm.pos].due, q.slots[tm.pos].seq = due, q.last
	}
	q.up(int(tm.pos))
	q.down(int(tm.pos))
}

func (q *queue) remove(tm *timer) {
	if tm.pos < 0 {
		return
	}
	i, end := int(tm.pos), len(q.slots)-1
	tm.pos = -1
	if i != end {
		q.put(i, q.slots[end])
	}
	q.slots[end] = slot{}
	q.slots = q.slots[:end]
	if i != end {
		q.up(i)
		q.down(i)
	}
}

// next is when the nearest timer is due, or never.
func (q *queue) next() instant {
	if len(q.slots) == 0 {
		return never
	}
	return q.slots[0].due
}

func (q *queue) put(i int, s slot) {
	q.slots[i] = s
	s.tm.pos = int32(i)
}

func (q *queue) up(i int) {
	s := q.slots[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !s.before(&q.slots[parent]) {
			break
		}
		q.put(i, q.slots[parent])
		i = parent
	}
	q.put(i, s)
}

func (q *queue) down(i int) {
	s := q.slots[i]
	for {
		child := 2*i + 1
		if child >= len(q.slots) {
			break
		}
		if r := child + 1; r < len(q.slots) && q.slots[r].before(&q.slots[child]) {
			child = r
		}
		if !q.slots[child].before(&s) {
			break
		}
		q.put(i, q.slots[child])
		i = child
	}
	q.put(i, s)
}
