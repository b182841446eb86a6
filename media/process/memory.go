//go:build linux

package process

import (
	"runtime/debug"
	"runtime/metrics"
)

// leavings is what plain calls do not leave behind, and a few dozen protected ones do: keys and handshakes are on the heap.
const leavings = 256 << 10

// memory is the heap of a process whose collector is off: a collection stops all workers until the last of them has come
// back from its wait, and audio with them. While there is no call nobody hears that, so that is when it is done. What a
// relay that is never without a call leaves behind is bounded by memoryLimit.
type memory struct {
	sample [1]metrics.Sample
	kept   uint64 // bytes, after the last collection
}

// tidy collects what calls have left, if it is worth it.
func (m *memory) tidy() {
	if now := m.objects(); m.kept != 0 && now < m.kept+leavings {
		return
	}
	debug.FreeOSMemory()
	m.kept = m.objects()
}

// objects is how many bytes of the heap are taken, by what is needed and by what is not.
func (m *memory) objects() uint64 {
	m.sample[0].Name = "/memory/classes/heap/objects:bytes"
	metrics.Read(m.sample[:])
	return m.sample[0].Value.Uint64()
}
