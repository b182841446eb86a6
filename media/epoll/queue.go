//go:build linux

package epoll

import (
	"sync"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// queue carries commands to the worker. It holds at most one for each leg, the latest, so it is bounded by the table.
type queue struct {
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
	if len(q.pending) == 1 {
		q.ring()
	}
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
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
	return commands, q.stopped
}
