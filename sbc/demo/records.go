package demo

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"sallyport/sbc/tu"
)

// maxRecords bounds what records keeps.
const maxRecords = 1000

// records keeps the last CDRs and shows each to whoever listens.
type records struct {
	mu     sync.Mutex
	kept   []tu.CDR
	listen func(tu.CDR)
}

// Write takes a record.
func (r *records) Write(c tu.CDR) {
	r.mu.Lock()
	if len(r.kept) >= maxRecords {
		r.kept = slices.Delete(r.kept, 0, maxRecords/2)
	}
	r.kept = append(r.kept, c)
	listen := r.listen
	r.mu.Unlock()
	if listen != nil {
		listen(c)
	}
}

func (r *records) hear(f func(tu.CDR)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listen = f
}

func (r *records) all() []tu.CDR {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

// wait waits for the nth record (from 0).
func (r *records) wait(ctx context.Context, n int) (tu.CDR, bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if all := r.all(); len(all) > n {
			return all[n], true
		}
		select {
		case <-ctx.Done():
			return tu.CDR{}, false
		case <-tick.C:
		}
	}
}

// jsonLine is a record as the gate's file has it.
func jsonLine(c tu.CDR) string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
