package capture

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/trace"
)

// TestQueueIsAQueue: whatever is put and taken in whatever order comes once, whole and in its order, or is counted.
func TestQueueIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		var waiting [][]byte
		held, lost := 0, uint64(0)
		check := func() {
			got := q.take()
			if len(got) != len(waiting) {
				t.Fatalf("%d packets, want %d", len(got), len(waiting))
			}
			for i := range got {
				if !bytes.Equal(got[i].Data, waiting[i]) || got[i].Length != len(waiting[i]) {
					t.Fatalf("packet %d is %d bytes of %d, want %d", i, len(got[i].Data), got[i].Length, len(waiting[i]))
				}
			}
			waiting, held = nil, 0
		}
		for step := range rapid.IntRange(0, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 5).Draw(t, "takes") == 0 {
				check()
				continue
			}
			data := bytes.Repeat([]byte{byte(step)}, rapid.SampledFrom([]int{0, 1, 172, 1500, 60_000, 1 << 20}).Draw(t, "size"))
			p := trace.Packet{Length: len(data), Data: bytes.Clone(data)}
			q.put(&p)
			clear(p.Data) // whoever puts keeps its buffer
			if held+len(data) > queueBytes {
				lost++
				continue
			}
			waiting, held = append(waiting, data), held+len(data)
		}
		check()
		if q.missing() != lost {
			t.Fatalf("%d lost, want %d", q.missing(), lost)
		}
	})
}

// TestQueueIsBounded in packets too, and has room again once it has been emptied.
func TestQueueIsBounded(t *testing.T) {
	q := newQueue()
	p := trace.Packet{Data: []byte{1}}
	for range queuePackets + 7 {
		q.put(&p)
	}
	if n := len(q.take()); n != queuePackets || q.missing() != 7 {
		t.Errorf("%d packets, %d lost", n, q.missing())
	}
	q.put(&p)
	if n := len(q.take()); n != 1 || q.missing() != 7 {
		t.Errorf("then %d packets, %d lost", n, q.missing())
	}
	if n := len(q.take()); n != 0 {
		t.Errorf("%d packets twice", n)
	}
}

// TestQueueUsesItsMemoryAgain: a steady flow allocates nothing.
func TestQueueUsesItsMemoryAgain(t *testing.T) {
	q := newQueue()
	p := trace.Packet{Comment: "call 1", Data: make([]byte, 172)}
	round := func() {
		for range 100 {
			q.put(&p)
		}
		q.take()
	}
	round()
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestQueueOfMany: nothing is lost or mixed up between those that put, and the one that takes is told.
func TestQueueOfMany(t *testing.T) {
	const readers, each = 4, 2000
	q := newQueue()
	var running sync.WaitGroup
	for reader := range readers {
		running.Go(func() {
			var data [8]byte
			for n := range each {
				binary.BigEndian.PutUint32(data[:], uint32(reader))
				binary.BigEndian.PutUint32(data[4:], uint32(n))
				q.put(&trace.Packet{Data: data[:]})
			}
		})
	}
	next := [readers]uint32{}
	for got := 0; got < readers*each; {
		<-q.filled
		for _, p := range q.take() {
			reader, n := binary.BigEndian.Uint32(p.Data), binary.BigEndian.Uint32(p.Data[4:])
			if n != next[reader] {
				t.Fatalf("reader %d: %d, want %d", reader, n, next[reader])
			}
			next[reader]++
			got++
		}
	}
	running.Wait()
	if q.missing() != 0 {
		t.Errorf("%d lost", q.missing())
	}
}
