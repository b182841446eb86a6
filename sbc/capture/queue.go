package capture

import (
	"sync"

	"sallyport/sbc/trace"
)

// The bounds of a capture's queue. What finds no room is lost and counted: nobody who carries a call waits for a file.
const (
	queueBytes   = 4 << 20
	queuePackets = 16384
)

// queue carries packets from whoever sees them to the one who writes them. Its memory is used again.
type queue struct {
	filled chan struct{} // readable when there is something

	mu    sync.Mutex
	front batch // being filled
	back  batch // being written
	lost  uint64
}

// batch is a number of packets with their data in one piece of memory.
type batch struct {
	packets []trace.Packet
	ends    []int // of their data
	data    []byte
}

func newQueue() *queue { return &queue{filled: make(chan struct{}, 1)} }

// put copies a packet into the queue. One that finds no room is counted.
func (q *queue) put(p *trace.Packet) {
	q.mu.Lock()
	b := &q.front
	if len(b.packets) < queuePackets && len(b.data)+len(p.Data) <= queueBytes {
		b.data = append(b.data, p.Data...)
		b.packets, b.ends = append(b.packets, *p), append(b.ends, len(b.data))
		b.packets[len(b.packets)-1].Data = nil // that is the caller's
	} else {
		q.lost++
	}
	q.mu.Unlock()
	select {
	case q.filled <- struct{}{}:
	default: // the writer knows
	}
}

// take returns what has been put, valid until the next take. One goroutine takes.
func (q *queue) take() []trace.Packet {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.front, q.back = q.back, q.front
	q.front.packets, q.front.ends, q.front.data = q.front.packets[:0], q.front.ends[:0], q.front.data[:0]
	from := 0
	for i, end := range q.back.ends {
		q.back.packets[i].Data = q.back.data[from:end:end]
		from = end
	}
	return q.back.packets
}

func (q *queue) missing() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}
