package sbc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// journal puts values into a State behind everybody's back: it notes the last value of each key, and a goroutine puts them
// down once a second.
type journal struct {
	state State
	most  int             // forgotten keys that may wait for a State that fails
	told  func(err error) // hears when it begins to fail, and nil when it works again

	mu      sync.Mutex
	pending map[string][]byte // bounded by the values there are, and those that went within a second
	urgent  bool              // something among them should not wait

	failing atomic.Bool // the last try failed
}

// newJournal makes one whose first batch is pending.
func newJournal(state State, pending map[string][]byte, most int, told func(error)) *journal {
	return &journal{state: state, most: most, told: told, pending: pending, urgent: len(pending) > 0}
}

// fails reports whether the last try to put something down failed. Of a nil journal nothing does.
func (j *journal) fails() bool { return j != nil && j.failing.Load() }

// put notes a value; nil forgets the key.
func (j *journal) put(key string, value []byte, urgent bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending == nil {
		j.pending = map[string][]byte{}
	}
	j.pending[key] = value
	j.urgent = j.urgent || urgent
}

// patientEvery is how many of those intervals what is not urgent waits, to be put down together.
const patientEvery = 5

// keepEvery is how often changes are put down: so much a crash may forget, and a phone's next REGISTER brings it back.
const keepEvery = time.Second

// run puts changes down until the context ends, and then once more.
func (j *journal) run(ctx context.Context) {
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			j.flush()
			return
		case <-t.C:
			if j.hurries() || n%patientEvery == 0 {
				j.flush()
			}
		}
	}
}

// hurries reports whether something waits that a crash must not lose: a phone that came, moved or went, a ban.
func (j *journal) hurries() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.urgent
}

func (j *journal) flush() {
	j.mu.Lock()
	batch := j.pending
	j.pending, j.urgent = nil, false
	j.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := j.state.Put(batch)
	if err != nil {
		j.giveBack(batch)
	}
	if j.failing.Swap(err != nil) != (err != nil) {
		j.told(err)
	}
}

// giveBack lets a batch wait for the next try, where nothing newer has come.
func (j *journal) giveBack(batch map[string][]byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.urgent = true // tried again soon
	if j.pending == nil {
		j.pending = batch
		return
	}
	for key, value := range batch {
		// What is to be forgotten waits only while there is room: a restart forgets it anyway, once its time is over.
		if _, newer := j.pending[key]; !newer && (value != nil || len(j.pending) < j.most) {
			j.pending[key] = value
		}
	}
}
