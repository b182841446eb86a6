package cdr

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport/sbc/tu"
)

const (
	maxWaiting = 8192            // records in memory, those being written included
	batch      = 256             // records of one write
	batchBytes = 256 << 10       // and their length, give or take one record
	retryAfter = 5 * time.Second // between tries while the disk refuses
	warnEvery  = time.Minute     // and between warnings about it
	closeWait  = 5 * time.Second // Close does not hold up the program's end longer
	purgeEvery = time.Hour       // age removes files also while no call ends
)

// Counters are the writer's sums.
type Counters struct {
	Written uint64 // records in a file
	Lost    uint64 // records that did not fit the queue, or came after Close
	Waiting int    // records in memory now
	Failing bool   // the last try to write failed
}

// Writer writes records to files. Write, Counters and Close may be called from any goroutine.
type Writer struct {
	now   func() time.Time
	warn  func(error)
	files *files

	wake chan struct{} // one token: there is something to do
	done chan struct{} // closed when run has returned

	mu     sync.Mutex // guards all below; never held while a file is touched
	told   func([]tu.CDR)
	queue  []tu.CDR
	taken  int // records that run has taken from the queue and not written yet
	closed bool
	count  Counters

	// Of run alone:
	failedAt   time.Time // when the disk began to refuse; zero: it does not
	announced  bool      // the administrator knows of it
	warnedAt   time.Time
	purgedAt   time.Time
	lostBefore uint64 // lost when the failure began
}

// New starts a writer. It tries the directory at once; what is wrong with it is told to warn, and tried again, like
// any later failure. warn is called from the writer's goroutine, at most about once a minute. Of now only wall time is
// used.
func New(c Config, now func() time.Time, warn func(error)) *Writer {
	w := &Writer{
		now: now, warn: warn, files: newFiles(c),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// Written has told called with the records that have just been put into a file, in order, before the next ones are. It is
// called from the writer's goroutine. A crash of the program does not take such a record away; one of the machine may.
func (w *Writer) Written(told func([]tu.CDR)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = told
}

// Write hands a record over. It never blocks: if 8192 wait already, the record is lost and counted.
func (w *Writer) Write(r tu.CDR) {
	w.mu.Lock()
	if w.closed || len(w.queue)+w.taken >= maxWaiting {
		w.count.Lost++
	} else {
		w.queue = append(w.queue, r)
	}
	news := len(w.queue) == 1 || len(w.queue) >= gatherMost
	w.mu.Unlock()
	if news {
		w.signal()
	}
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Counters returns the sums so far.
func (w *Writer) Counters() Counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.count
	c.Waiting = len(w.queue) + w.taken
	return c
}

// Close writes what waits, if the disk takes it, and ends the writer. The error says how many records were lost since
// New, or that the disk did not answer within 5 s.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	patience := time.NewTimer(closeWait)
	defer patience.Stop()
	select {
	case <-w.done:
	case <-patience.C:
		return fmt.Errorf("%d call records are not written: the disk does not answer", w.Counters().Waiting)
	}
	if lost := w.Counters().Lost; lost > 0 {
		return fmt.Errorf("%d call records lost", lost)
	}
	return nil
}

func (w *Writer) run() {
	defer close(w.done)
	if err := w.files.prepare(); err != nil {
		w.failed(err)
	}
	w.purge()
	timer := time.NewTimer(purgeEvery)
	defer timer.Stop()
	for {
		ok := w.flush()
		if w.ended(ok) {
			w.files.close()
			return
		}
		if w.now().Sub(w.purgedAt) >= purgeEvery {
			w.purge()
		}
		if ok {
			timer.Reset(purgeEvery - w.now().Sub(w.purgedAt))
			select {
			case <-w.wake:
				w.gather(timer)
			case <-timer.C:
			}
			continue
		}
		w.pause(timer)
	}
}

// gatherFor is how long the first record of a batch waits for others: a write for each call would cost more than the call.
const gatherFor = 50 * time.Millisecond

// gather lets records come together. Close does not wait for it.
func (w *Writer) gather(timer *time.Timer) {
	w.wait(timer, gatherFor, func() bool { return w.closed || len(w.queue) >= gatherMost })
}

// gatherMost is how many records wait for no others.
const gatherMost = 1024

// pause waits for the next try. New records do not shorten it, Close does.
func (w *Writer) pause(timer *time.Timer) {
	w.wait(timer, retryAfter, func() bool { return w.closed })
}

// wait lets a time go by, unless there is reason to hurry, which is asked under the lock.
func (w *Writer) wait(timer *time.Timer, d time.Duration, hurry func() bool) {
	timer.Reset(d)
	for {
		select {
		case <-timer.C:
			return
		case <-w.wake:
			w.mu.Lock()
			now := hurry()
			w.mu.Unlock()
			if now {
				return
			}
		}
	}
}

// ended reports whether the writer was closed and has nothing left to write, or no hope to.
func (w *Writer) ended(written bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed || written && len(w.queue) > 0 {
		return false
	}
	w.count.Lost += uint64(len(w.queue))
	w.queue = nil
	return true
}

// flush writes all that waits. It reports false if the disk refuses; the rest waits on.
func (w *Writer) flush() bool {
	for {
		records := w.take()
		if len(records) == 0 {
			return w.failedAt.IsZero() || w.recheck()
		}
		var lines []byte
		n := 0
		for ; n < len(records) && len(lines) < batchBytes; n++ {
			var err error
			if lines, err = w.files.append(lines, &records[n]); err != nil { // cannot happen: Clean leaves nothing that JSON refuses
				w.warn(fmt.Errorf("call record %q: %w", records[n].Call, err))
			}
		}
		before := w.files.path
		err := w.files.write(w.now(), lines)
		if err != nil {
			n = 0
		}
		w.settle(records, n)
		if err != nil {
			w.failed(err)
			return false
		}
		w.recovered()
		if w.files.path != before {
			w.purge()
		}
	}
}

// recheck ends a failure that was found at start-up, before any record.
func (w *Writer) recheck() bool {
	if err := w.files.prepare(); err != nil {
		w.failed(err)
		return false
	}
	w.recovered()
	return true
}

func (w *Writer) take() []tu.CDR {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = min(batch, len(w.queue))
	records := w.queue[:w.taken:w.taken]
	if w.queue = w.queue[w.taken:]; len(w.queue) == 0 {
		w.queue = nil // the array goes once the batch is written
	}
	return records
}

// settle counts the records that are written and puts the others back where they were.
func (w *Writer) settle(records []tu.CDR, written int) {
	w.mu.Lock()
	w.taken = 0
	w.count.Written += uint64(written)
	if rest := records[written:]; len(rest) > 0 {
		w.queue = append(rest, w.queue...)
	}
	told := w.told
	w.mu.Unlock()
	if told != nil && written > 0 {
		told(records[:written])
	}
}

func (w *Writer) failed(err error) {
	now := w.now()
	c := w.Counters()
	if w.failedAt.IsZero() {
		w.failedAt, w.lostBefore, w.announced = now, c.Lost, false
		w.setFailing(true)
	}
	if !w.warnedAt.IsZero() && now.Sub(w.warnedAt) < warnEvery {
		return
	}
	w.warnedAt, w.announced = now, true
	w.warn(fmt.Errorf("call records cannot be written: %w (%d wait in memory, %d lost, room for %d; calls go on)",
		err, c.Waiting, c.Lost, maxWaiting))
}

// recovered ends a failure and says what it cost.
func (w *Writer) recovered() {
	if w.failedAt.IsZero() {
		return
	}
	if w.announced {
		w.warn(fmt.Errorf("call records are written again after %v, %d were lost",
			w.now().Sub(w.failedAt).Round(time.Second), w.Counters().Lost-w.lostBefore))
	}
	w.failedAt = time.Time{}
	w.setFailing(false)
}

func (w *Writer) setFailing(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count.Failing = yes
}

func (w *Writer) purge() {
	w.purgedAt = w.now()
	if err := w.files.purge(w.purgedAt); err != nil && w.failedAt.IsZero() {
		w.warn(errors.Join(errors.New("old call records cannot be removed"), err))
	}
}
