//go:build linux

package process

import (
	"testing"
	"time"

	"sallyport/media"
)

// While another process is being greeted, the writer is neither handed anything nor still at it.
func TestHeldQueue(t *testing.T) {
	var q queue
	q.open()
	q.post(media.Command{Leg: 2, Generation: 1})
	if list, _, _ := q.take(nil); len(list) != 1 {
		t.Fatal("nothing to write")
	}
	held, taken := make(chan struct{}), make(chan []media.Command)
	go func() {
		q.hold() // not before what was taken has been written
		close(held)
	}()
	for waiting := false; !waiting; {
		q.mu.Lock()
		waiting = q.held
		q.mu.Unlock()
	}
	select {
	case <-held:
		t.Fatal("the writer was still writing")
	default:
	}
	go func() {
		list, _, _ := q.take(nil) // the writer is back
		taken <- list
	}()
	select {
	case <-held:
	case <-time.After(10 * time.Second):
		t.Fatal("the hold never came")
	}
	q.post(media.Command{Leg: 4, Generation: 1})
	select {
	case list := <-taken:
		t.Fatalf("%d commands were handed out meanwhile", len(list))
	default:
	}
	q.release()
	if list := <-taken; len(list) != 1 || list[0].Leg != 4 {
		t.Errorf("after the release: %v", list)
	}
	go q.stop()
	q.hold() // a queue that has ended holds nobody up
}
