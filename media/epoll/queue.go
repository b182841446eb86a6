//go:build linux

package epoll

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// queue carries commands to the worker. It holds at most one for each leg, the latest, so it is bounded by the table.
//
// A command does not wake the worker, which would cost more than the command: the worker takes the commands before the
// datagrams of each wait, so a datagram that comes after a Point meets the leg that was pointed, and silence is the
// same whenever it is pointed. Many commands ring, and the wait ends by itself a few times a second.
type queue struct {
	waiting atomic.Bool // something is pending, or the queue is stopped

	mu      sync.Mutex
	pending []media.Command
	spare   []media.Command
	place   []int32 // by leg: index in pending + 1
	wake    int     // eventfd
	opened  bool
	stopped bool
}

func (q *queue) open(wake, legs int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake, q.place, q.opened = wake, make([]int32, legs), true
}

func (q *queue) post(c media.Command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || q.stopped || c.Leg < 0 || int(c.Leg) >= len(q.place) {
		return
	}
	if at := q.place[c.Leg]; at != 0 {
		q.pending[at-1] = c
		return
	}
	q.pending = append(q.pending, c)
	q.place[c.Leg] = int32(len(q.pending))
	q.waiting.Store(true)
	if len(q.pending) == ringAt {
		q.ring()
	}
}

// ringAt is how many commands wake the worker.
const ringAt = 64

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.waiting.Store(true)
	q.ring()
}

// ring wakes the worker. The counter of an eventfd cannot overflow here: the worker reads it before each take.
func (q *queue) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(q.wake, one[:])
}

// take returns the commands so far, valid until the next take.
func (q *queue) take() (commands []media.Command, stopped bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	commands = q.pending
	for i := range commands {
		q.place[commands[i].Leg] = 0
	}
	q.pending, q.spare = q.spare[:0], commands
	q.waiting.Store(q.stopped)
	return commands, q.stopped
}
