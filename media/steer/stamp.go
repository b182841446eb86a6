//go:build linux

package steer

import (
	"time"

	"sallyport/media"
)

// The time that a datagram spends here is measured on a sample, from the kernel's stamp of its arrival to the return of the
// call that sent its batch. The stamp comes with each datagram, beside its destination, and costs a thirtieth of what relaying
// one does: a worker that carries many has it for one window of time in sixteen, one that carries few has it always. Of what
// is stamped, one of sampleEvery is counted. An odd number takes all places in a batch by turns.
const (
	sampleEvery = 5
	window      = int64(250 * time.Millisecond)
	windowFew   = 1250 // datagrams: those of fifty calls
	windowRest  = 15   // windows without stamps, then one with them
)

// stamping says in which windows of time datagrams are stamped. Sockets are opened so that they are.
type stamping struct {
	off     bool
	next    int64 // end of the window
	carried int   // datagrams of the window
	rest    int   // windows without stamps that are left
}

// count adds datagrams to the window, and reports whether it is over.
func (s *stamping) count(now int64, n int) (over bool) {
	s.carried += n
	return now >= s.next
}

// turn begins the next window, and reports whether it is stamped otherwise than the last one.
func (s *stamping) turn(now int64) (changed bool) {
	off := false
	switch {
	case s.carried <= windowFew, s.rest == 0:
		s.rest = windowRest
	default:
		s.rest--
		off = true
	}
	s.next, s.carried = now+window, 0
	changed, s.off = off != s.off, off
	return changed
}

// stamp has the kernel stamp what arrives in the next window, or not.
func (w *worker) stamp() {
	for i := range w.intakes {
		if fd := w.intakes[i].fd; fd >= 0 {
			o := options{fd: fd}
			o.stamp(!w.stamping.off) // where that fails, it costs, or nothing is measured: nobody loses a packet
		}
	}
}

// sampler holds the stamps of a batch's sample until the batch has been sent.
type sampler struct {
	turn    int
	n       int
	arrived [batch]int64
}

// take notes a datagram that is going to be sent.
func (s *sampler) take(in *intake, i int) {
	if s.turn++; s.turn < sampleEvery {
		return
	}
	s.turn = 0
	if at := in.arrived(i); at != 0 && s.n < len(s.arrived) {
		s.arrived[s.n] = at
		s.n++
	}
}

// sent counts what has been taken.
func (s *sampler) sent(e *media.Engine, worker int) {
	if s.n == 0 {
		return
	}
	now := time.Now().UnixNano()
	for _, at := range s.arrived[:s.n] {
		e.Delayed(worker, at, now)
	}
	s.n = 0
}
