//go:build linux

package process

import (
	"sync"

	"sallyport/media"
)

// queue carries commands to the writer. It holds at most one for each leg, the latest, so it is bounded by the table,
// however long the socket is full.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	latest  map[int32]media.Command // by leg
	order   []int32                 // legs of latest, the longest waiting first
	asked   uint64                  // token of the last sync asked for
	sent    uint64                  // … and of the last one taken
	held    bool                    // nothing is handed out
	writing bool                    // what was handed out last is on its way
	opened  bool
	stopped bool
}

func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.filled.L, q.latest, q.opened = &q.mu, make(map[int32]media.Command), true
}

func (q *queue) post(c media.Command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.opened || q.stopped {
		return
	}
	if earlier, waits := q.latest[c.Leg]; waits {
		c.Follow(&earlier)
	} else {
		q.order = append(q.order, c.Leg)
	}
	q.latest[c.Leg] = c
	q.filled.Signal()
}

// sync asks for a token behind everything that waits.
func (q *queue) sync() (token uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked++
	if q.opened {
		q.filled.Signal()
	}
	return q.asked
}

// take waits for commands and appends those of one datagram. token is not zero if a sync was asked for and nothing else
// waits; ok is false at the end.
func (q *queue) take(list []media.Command) (_ []media.Command, token uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing = false; q.held {
		q.filled.Signal()
	}
	for (q.held || len(q.order) == 0 && q.sent == q.asked) && !q.stopped {
		q.filled.Wait()
	}
	if q.stopped {
		return list, 0, false
	}
	q.writing = true
	n := min(len(q.order), perPacket)
	for _, leg := range q.order[:n] {
		list = append(list, q.latest[leg])
		delete(q.latest, leg)
	}
	if q.order = q.order[n:]; len(q.order) == 0 {
		q.order = nil // its room goes with it
		if q.sent != q.asked {
			q.sent, token = q.asked, q.asked
		}
	}
	return list, token, true
}

// hold forgets what waits, and hands nothing out until release: everything is about to be posted again, and a new engine is
// to hear of no leg before it hears where the last one stood. The writer is not writing any more then: the way that it
// knew is gone, so it does not take long.
func (q *queue) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = true
	for q.writing && !q.stopped {
		q.filled.Wait()
	}
	clear(q.latest)
	q.order = nil
}

func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = false
	q.filled.Signal()
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	if q.opened {
		q.filled.Broadcast()
	}
}
