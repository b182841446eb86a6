package media

import (
	"encoding/binary"
	"sync/atomic"
)

// tapRingSize is the memory of a worker's ring: a fifth of a second of a thousand tapped calls.
const tapRingSize = 8 << 20

// tapRing carries records of copies from one thread to one other, in order, without a lock. A record lies in one piece;
// where the rest of the memory is too short for one, a mark sends the reader to the beginning. Positions count bytes since
// ever.
type tapRing struct {
	memory []byte
	next   uint64 // where the writer writes
	free   uint64 // the reader's place when the writer last looked
	_      [cacheLine]byte
	shown  atomic.Uint64 // the reader may read up to here
	lost   atomic.Uint64 // copies that found no room
	_      [cacheLine]byte
	taken  atomic.Uint64 // the writer may write up to here, once around
	told   uint64        // of lost: what the reader knows
	list   []Tapped      // the reader's
}

const tapSkip = 1<<32 - 1 // in the place of a record's size

// newTapRing makes a ring of a size that is a multiple of eight.
func newTapRing(size int) *tapRing {
	return &tapRing{memory: make([]byte, size), list: make([]Tapped, 0, maxTapped)}
}

// put writes a copy's record, which nobody reads before publish. It returns the record's place, below 0 if there was no room.
func (r *tapRing) put(t *Tapped) (at int) {
	size, whole := uint64(tapRecord(len(t.Data))), uint64(len(r.memory))
	pos, skip := r.next%whole, uint64(0)
	if whole-pos < size {
		skip = whole - pos
	}
	if end := r.next + skip + size; end-r.free > whole {
		if r.free = r.taken.Load(); end-r.free > whole {
			r.lost.Add(1)
			return -1
		}
	}
	if skip > 0 {
		binary.LittleEndian.PutUint32(r.memory[pos:], tapSkip)
		pos = 0
	}
	t.encode(r.memory[pos : pos+size])
	r.next += skip + size
	return int(pos)
}

// judged says of a record that is not published yet what became of the datagram.
func (r *tapRing) judged(at int, why Rejection) {
	if at >= 0 {
		binary.LittleEndian.PutUint32(r.memory[at+tapWhy:], uint32(why))
	}
}

// reform says of a record that is not published yet what form it has.
func (r *tapRing) reform(at int, form Tap) {
	if at >= 0 {
		r.memory[at+tapForm] = byte(form)
	}
}

// amend puts other data, which is not longer, into a record that is not published yet.
func (r *tapRing) amend(at int, data []byte) {
	if at >= 0 && len(data) <= int(binary.LittleEndian.Uint32(r.memory[at+tapLength:])) {
		binary.LittleEndian.PutUint32(r.memory[at+tapLength:], uint32(len(data)))
		copy(r.memory[at+tapHeadLen:], data)
		r.reform(at, TapClear)
	}
}

// publish shows the reader what has been put.
func (r *tapRing) publish() { r.shown.Store(r.next) }

// look reads the oldest records, valid until release of the end that it returns.
func (r *tapRing) look() (list []Tapped, lost int, end uint64) {
	all := r.lost.Load()
	lost, r.told = int(all-r.told), all
	list, end = r.list[:0], r.taken.Load()
	for shown, whole := r.shown.Load(), uint64(len(r.memory)); end < shown && len(list) < maxTapped; {
		pos := end % whole
		size := binary.LittleEndian.Uint32(r.memory[pos:])
		if size == tapSkip {
			end += whole - pos
			continue
		}
		list = append(list, tappedAt(r.memory[pos:pos+uint64(size)]))
		end += uint64(size)
	}
	return list, lost, end
}

// release gives the memory of what has been read back.
func (r *tapRing) release(end uint64) { r.taken.Store(end) }

// tappedAt reads a record of our own.
func tappedAt(b []byte) Tapped {
	le := binary.LittleEndian
	n := int(le.Uint32(b[tapLength:]))
	return Tapped{
		At: int64(le.Uint64(b[tapAt:])), Leg: int32(le.Uint32(b[tapLeg:])), Generation: le.Uint32(b[tapStream:]),
		Remote: Endpoint{le.Uint64(b[tapRemote:]), le.Uint64(b[tapRemote+8:]), le.Uint16(b[tapRemote+16:])},
		Sent:   b[tapSent] == 1, Form: Tap(b[tapForm]), Why: Rejection(le.Uint32(b[tapWhy:])), Data: b[tapHeadLen : tapHeadLen+n],
	}
}
