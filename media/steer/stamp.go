//go:build linux

package steer

import (
	"time"

	"sallyport/media"
)

// The time that a datagram spends here is measured on a sample, from the kernel's stamp of its arrival to the return of the
// call that sent its batch. The stamp comes with each datagram, beside its destination; only the sample is counted. An odd
// number takes all places in a batch by turns.
const sampleEvery = 5

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
