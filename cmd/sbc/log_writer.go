package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// The bounds of an asynchronous writer.
const (
	logRing  = 4 << 20         // bytes that wait, half of them in the writer's hands
	logFlush = 2 * time.Second // what a Sync waits for a reader that does not read
)

// errUnread means that lines could not be written within the time of a Sync.
var errUnread = errors.New("log lines are left: nobody reads them")

// asyncWriter takes log lines without ever waiting and hands them, in order, to a writer that may block: whoever holds
// the core's turn logs, and a standard error that nobody reads must not hold it up. Lines that find no room are counted;
// one line tells their number, in their place, as soon as there is room.
type asyncWriter struct {
	to   io.Writer
	half int                   // most bytes that wait for their turn
	tell func(lost int) []byte // the line about lost ones
	done chan struct{}

	mu      sync.Mutex // guards all below
	work    sync.Cond  // something waits, or the end has come
	waiting []byte
	lost    int  // lines that found no room behind those that wait
	owed    int  // lines lost before those that wait: to be told
	broken  bool // the writer failed: no new attempt before there is something new
	closed  bool
	taken   uint64          // bytes accepted since the start
	written uint64          // of these: handed over, or lost to an error
	flushed []chan struct{} // Syncs that wait
	marks   []uint64        // for what
}

// newAsyncWriter starts the goroutine that owns the writer. size bounds the bytes in memory.
func newAsyncWriter(to io.Writer, size int, tell func(lost int) []byte) *asyncWriter {
	w := &asyncWriter{to: to, half: size / 2, tell: tell, done: make(chan struct{})}
	w.work.L = &w.mu
	go w.run()
	return w
}

// Write takes lines, or loses them. It never fails and never waits.
func (w *asyncWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Once one is lost all are, until those that wait have gone to the writer: order is kept.
	if w.closed || w.lost > 0 || len(w.waiting)+len(b) > w.half {
		w.lost += lines(b)
		w.work.Signal()
		return len(b), nil
	}
	w.waiting = append(w.waiting, b...)
	w.taken += uint64(len(b))
	w.work.Signal()
	return len(b), nil
}

func lines(b []byte) int { return max(bytes.Count(b, []byte{'\n'}), 1) }

// Sync waits until everything that was taken before has been written, but not for ever.
func (w *asyncWriter) Sync() error {
	ctx, cancel := context.WithTimeout(context.Background(), logFlush)
	defer cancel()
	return w.flush(ctx)
}

func (w *asyncWriter) flush(ctx context.Context) error {
	w.mu.Lock()
	if w.written >= w.taken {
		w.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	w.flushed, w.marks = append(w.flushed, done), append(w.marks, w.taken)
	w.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errUnread
	}
}

// Close writes what is left and ends the goroutine, unless the writer blocks.
func (w *asyncWriter) Close() error {
	w.mu.Lock()
	w.closed = true
	w.work.Signal()
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), logFlush)
	defer cancel()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return errUnread
	}
}

// run writes what waits, a batch at a time.
func (w *asyncWriter) run() {
	defer close(w.done)
	var batch, empty []byte
	for {
		var note []byte
		var owed int
		batch, note, owed = w.next(empty)
		if len(batch)+len(note) == 0 {
			return
		}
		n, err := 0, error(nil)
		if len(note) > 0 {
			if _, err = w.to.Write(note); err == nil {
				owed = 0
			}
		}
		if len(batch) > 0 && err == nil {
			n, err = w.to.Write(batch)
		}
		w.wrote(batch, n, owed, err)
		if empty = batch[:0]; cap(batch) > w.half/4 { // after a flood the memory goes back
			empty = nil
		}
	}
}

// next waits for a batch and leaves the empty buffer in its place; note tells of the lines that were lost before it.
// Neither: the end.
func (w *asyncWriter) next(empty []byte) (batch, note []byte, owed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if len(w.waiting) == 0 { // a line longer than the ring
			w.owed, w.lost = w.owed+w.lost, 0
		}
		if len(w.waiting) > 0 || w.owed > 0 && !w.broken || w.closed {
			break
		}
		w.work.Wait()
	}
	batch, w.waiting = w.waiting, empty
	if owed = w.owed; owed > 0 && (len(batch) > 0 || !w.broken) {
		note = w.tell(owed)
	}
	w.owed, w.lost = w.lost, 0
	return batch, note, owed
}

// wrote notes that a batch is out. What an error left over is lost, and told before what comes next.
func (w *asyncWriter) wrote(batch []byte, n, owed int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = err != nil
	w.owed += owed // not told
	if err != nil && n < len(batch) {
		w.owed += lines(batch[n:])
	}
	w.written += uint64(len(batch))
	for len(w.marks) > 0 && w.marks[0] <= w.written {
		close(w.flushed[0])
		w.flushed, w.marks = w.flushed[1:], w.marks[1:]
	}
}
