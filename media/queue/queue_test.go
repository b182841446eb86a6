//go:build linux

package queue_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/queue"
)

// Commands of one leg are replaced, not queued, while the worker is away.
func TestQueueIsBounded(t *testing.T) {
	fds := [2]int{}
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) }()
	var q queue.Queue
	q.Post(media.Command{}) // before open: nobody is there
	q.Open(fds[1], 8)
	for n := range uint32(1000) {
		for pair := range int32(4) {
			q.Post(media.Command{Leg: 2 * pair, Generation: n})
		}
		q.Post(media.Command{Leg: 1}) // RTCP's is part of the one of RTP
		q.Post(media.Command{Leg: 8})
		q.Post(media.Command{Leg: -1})
	}
	for range 2 {
		list, _, stopped := q.Take()
		if len(list) > 4 || stopped {
			t.Fatalf("%d commands, stopped %v", len(list), stopped)
		}
		for _, c := range list {
			if c.Generation != 999 {
				t.Errorf("leg %d: command %d", c.Leg, c.Generation)
			}
		}
	}
	q.Post(media.Command{Leg: 2, Generation: 7})
	if list, _, _ := q.Take(); len(list) != 1 || list[0].Generation != 7 {
		t.Fatalf("after a take: %v", list)
	}
	q.Stop()
	q.Post(media.Command{})
	if list, _, stopped := q.Take(); len(list) != 0 || !stopped {
		t.Fatal("a stopped queue took a command")
	}
	q.Agree(media.Agreement{Leg: 2})
	q.Open(fds[1], 8)
	if list, settled, stopped := q.Take(); q.Waiting.Load() || len(list) != 0 || settled != nil || stopped || len(q.Agreements()) != 0 {
		t.Fatal("a queue that begins anew remembers")
	}
	q.Post(media.Command{Leg: 6, Generation: 8})
	if list, _, _ := q.Take(); len(list) != 1 || list[0].Generation != 8 {
		t.Fatalf("after it began anew: %v", list)
	}
}

// What a handshake has come to rings; nobody hears of it once the queue is stopped, and stopping answers who waits.
func TestAgreements(t *testing.T) {
	fds := [2]int{}
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) }()
	var q queue.Queue
	q.Agree(media.Agreement{Leg: 2}) // before open: nobody is there
	q.Open(fds[1], 4)
	if len(q.Agreements()) != 0 || q.Waiting.Load() {
		t.Error("something waits that nobody could have posted")
	}
	q.Agree(media.Agreement{Leg: 2, Generation: 7})
	var ring [8]byte
	if n, _ := unix.Read(fds[0], ring[:]); n != len(ring) || !q.Waiting.Load() {
		t.Error("it did not ring")
	}
	q.Take()
	if list := q.Agreements(); len(list) != 1 || list[0].Generation != 7 {
		t.Errorf("%v", list)
	}
	settled := q.Settle()
	q.Stop()
	if _, closing, stopped := q.Take(); !stopped || closing == nil {
		t.Error("who waits is not answered")
	} else {
		close(closing)
	}
	<-settled
	q.Agree(media.Agreement{Leg: 2})
	if <-q.Settle(); len(q.Agreements()) != 0 {
		t.Error("a stopped queue takes agreements")
	}
}
