package core

import (
	"sync"
	"sync/atomic"
)

// inbox is the bounded queue of messages that wait for the core. Any goroutine pushes; whoever is the core pops.
type inbox struct {
	mu    sync.Mutex
	ring  []Inbound
	first int
	n     atomic.Int64 // changed under mu
}

func newInbox(size int) inbox { return inbox{ring: make([]Inbound, size)} }

func (q *inbox) size() int { return len(q.ring) }

func (q *inbox) level() int { return int(q.n.Load()) }

// push reports false if the queue is full.
func (q *inbox) push(in Inbound) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := int(q.n.Load())
	if n == len(q.ring) {
		return false
	}
	q.ring[(q.first+n)%len(q.ring)] = in
	q.n.Add(1)
	return true
}

// pop takes the oldest message.
func (q *inbox) pop() (in Inbound, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n.Load() == 0 {
		return in, false
	}
	in, q.ring[q.first] = q.ring[q.first], Inbound{}
	q.first = (q.first + 1) % len(q.ring)
	q.n.Add(-1)
	return in, true
}
