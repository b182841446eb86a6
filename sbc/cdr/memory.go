package cdr

import (
	"slices"
	"sync"

	"sallyport/sbc/tu"
)

// maxMemory bounds a Memory: the demonstration stays up for days.
const maxMemory = 1 << 16

// Memory keeps records instead of writing them: for tests and the demonstration. The zero value is ready.
type Memory struct {
	mu      sync.Mutex
	records []tu.CDR
	total   uint64
}

// Write keeps a record; above 65,536 the older half is forgotten.
func (m *Memory) Write(r tu.CDR) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.records) >= maxMemory {
		m.records = slices.Delete(m.records, 0, maxMemory/2)
	}
	m.records = append(m.records, r)
	m.total++
}

// Records returns what is kept, oldest first.
func (m *Memory) Records() []tu.CDR {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.records)
}

// Total is how many were ever written.
func (m *Memory) Total() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

// Close does nothing; a Memory can be read after it.
func (m *Memory) Close() error { return nil }
