//go:build linux

// Package queue carries commands, and what handshakes have come to, from whoever posts them to the thread of a back end.
//
// It holds at most one command for each leg, the latest, so it is bounded by the table. It never waits for the thread, and
// the thread never waits for it longer than a copy takes.
package queue

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// Queue is what one thread takes its commands from.
//
// A command does not wake the worker, which would cost more than the command: the worker takes the commands before the
// datagrams of each wait, so a datagram that comes after a Point meets the leg that was pointed, and silence is the
// same whenever it is pointed. Many commands ring, and urgent ones, and the wait ends by itself a few times a second.
type Queue struct {
	// Waiting is set while something is pending, or the queue is stopped.
	Waiting atomic.Bool

	mu      sync.Mutex
	pending []media.Command
	spare   []media.Command
	agreed  []media.Agreement // bounded by the handshakes under way: one a leg
	place   []int32           // by pair of ports: index in pending + 1
	wake    int               // eventfd
	opened  bool
	stopped bool
	settled chan struct{} // closed when what is pending now has been carried out; nil: nobody asks
}

// Open says how the thread is woken, an eventfd, and how many legs there are. A queue that was stopped begins anew.
func (q *Queue) Open(wake, legs int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake, q.place, q.opened, q.stopped, q.agreed = wake, make([]int32, legs/2), true, false, nil
	q.Waiting.Store(false)
	// Room for what comes before the worker has heard the ring. Growing leaves memory behind where nobody collects it.
	q.pending, q.spare = touched(2*ringAt), touched(2*ringAt)
}

// touched is room for commands in memory that has been written to: the first calls meet no page faults, and what they take is theirs.
func touched(room int) []media.Command {
	list := make([]media.Command, room)
	for i := range list {
		list[i].Leg = 0
	}
	return list[:0]
}

// Post hands a command over; one for the same leg that has not been taken is replaced. Commands are for RTP legs.
func (q *Queue) Post(c media.Command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || q.stopped || c.Leg < 0 || c.Leg&1 != 0 || int(c.Leg/2) >= len(q.place) {
		return
	}
	if at := q.place[c.Leg/2]; at != 0 {
		c.Follow(&q.pending[at-1])
		q.pending[at-1] = c
		if c.Urgent() {
			q.ring()
		}
		return
	}
	q.pending = append(q.pending, c)
	q.place[c.Leg/2] = int32(len(q.pending))
	q.Waiting.Store(true)
	if len(q.pending) == ringAt || c.Urgent() {
		q.ring()
	}
}

// ringAt is how many commands wake the worker.
const ringAt = 64

// Agree hands over what a handshake has come to, and rings: the peer waits.
func (q *Queue) Agree(a media.Agreement) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || q.stopped {
		return
	}
	q.agreed = append(q.agreed, a)
	q.Waiting.Store(true)
	q.ring()
}

// Agreements are those since the last time.
func (q *Queue) Agreements() (list []media.Agreement) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, q.agreed = q.agreed, nil
	return list
}

// Stop has the thread end.
func (q *Queue) Stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.Waiting.Store(true)
	q.ring()
}

// ring wakes the worker. The counter of an eventfd cannot overflow here: the worker reads it before each take.
func (q *Queue) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(q.wake, one[:])
}

// Settle rings; the channel is closed when every command so far has been carried out, or nobody will.
func (q *Queue) Settle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.settled == nil {
		q.settled = make(chan struct{})
	}
	settled := q.settled
	if !q.opened || q.stopped {
		close(settled)
		q.settled = nil
		return settled
	}
	q.Waiting.Store(true)
	q.ring()
	return settled
}

// Take returns the commands so far, valid until the next take, and what is to be closed when they have been carried out.
func (q *Queue) Take() (commands []media.Command, settled chan struct{}, stopped bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	commands = q.pending
	for i := range commands {
		q.place[commands[i].Leg/2] = 0
	}
	q.pending, q.spare = q.spare[:0], commands
	q.Waiting.Store(q.stopped)
	settled, q.settled = q.settled, nil
	return commands, settled, q.stopped
}
