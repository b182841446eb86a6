package trace

import (
	"net/netip"
	"sync/atomic"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// strangersMost bounds what is kept of all strangers together, in messages a second.
const strangersMost = 200

// Recorder keeps the last messages. All methods are safe for concurrent use. A nil Recorder is one that is off.
type Recorder struct {
	known, strangers *ring
	second           atomic.Uint64 // of strangers' messages: Unix second << 16 | how many so far
	leftOut          atomic.Uint64
}

// Note is one message that passed an interface. Nothing of it is kept but copies.
type Note struct {
	At        time.Time
	Interface *nat.Interface
	Remote    netip.AddrPort
	Sent      bool          // by the program; else received
	Known     bool          // Remote is a trunk, a node, a registered phone, or a leg of a call in progress
	Refused   bool          // went no further
	Reason    reason.Reason // of the verdict; empty for what was sent
	Data      []byte        // at most 16 KiB of it are kept
}

// New makes a recorder that keeps so many bytes, some more if that is less than 256 KiB; nil for 0 or less. A quarter
// of it belongs to strangers.
func New(bytes int) *Recorder {
	if bytes <= 0 {
		return nil
	}
	return &Recorder{known: newRing(bytes / 4 * 3), strangers: newRing(bytes / 4)}
}

// Note keeps a message.
func (r *Recorder) Note(n *Note) {
	switch {
	case r == nil:
	case n.Known:
		r.known.write(n)
	case r.affords(n.At):
		r.strangers.write(n)
	default:
		r.LeaveOut()
	}
}

// LeaveOut counts a stranger's message that is not kept.
func (r *Recorder) LeaveOut() {
	if r != nil {
		r.leftOut.Add(1)
	}
}

// affords takes one message out of what is kept of strangers in a second.
func (r *Recorder) affords(now time.Time) bool {
	second := uint64(now.Unix()) << 16
	for {
		old := r.second.Load()
		next := second + 1
		if old&^0xffff == second {
			if old&0xffff >= strangersMost {
				return false
			}
			next = old + 1
		}
		if r.second.CompareAndSwap(old, next) {
			return true
		}
	}
}

// Stats are figures of a recorder since its start.
type Stats struct {
	Size    int    // bytes of memory
	Noted   uint64 // messages
	LeftOut uint64 // strangers' that were not kept
}

// Stats tells how much there was to keep; all zero for one that is off.
func (r *Recorder) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	s := Stats{LeftOut: r.leftOut.Load()}
	for _, g := range []*ring{r.known, r.strangers} {
		g.mu.Lock()
		s.Size += len(g.memory)
		s.Noted += g.noted
		g.mu.Unlock()
	}
	return s
}
