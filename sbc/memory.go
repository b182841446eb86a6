package sbc

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// recentCalls is how many CDRs are kept in memory for `sbc why CALL-ID`.
const recentCalls = 1000

// recent are the last calls' records.
type recent struct {
	mu   sync.Mutex
	ring [recentCalls]tu.CDR
	next int
}

func (r *recent) add(c tu.CDR) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next] = c
	r.next = (r.next + 1) % recentCalls
}

// find is the latest call of a name: its id or a Call-ID of either leg.
func (r *recent) find(name string) (tu.CDR, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range recentCalls {
		c := &r.ring[(r.next-1-i+2*recentCalls)%recentCalls]
		if c.Call != "" && (c.Call == name || slices.Contains(c.CallIDs[:], name)) {
			return *c, true
		}
	}
	return tu.CDR{}, false
}

// The bounds of notes.
const (
	notedSources = 1024
	notesEach    = 8
)

// note is one thing that a call found out about a source.
type note struct {
	At     time.Time     `json:"at"`
	Method string        `json:"method"`
	Code   int           `json:"code"`
	Reason reason.Reason `json:"reason"`
	Text   string        `json:"text"`
}

// same reports whether two notes say the same.
func (n *note) same(o *note) bool {
	return n.Method == o.Method && n.Code == o.Code && n.Reason == o.Reason && n.Text == o.Text
}

// notes is what calls found out about sources, beside the guard's evidence: bounded, the oldest source gives way.
type notes struct {
	mu    sync.Mutex
	by    map[netip.Addr][]note
	order []netip.Addr
}

// add keeps a note. It reports whether the log should hear of it: of the same thing once a minute, for whoever causes it
// may do so a thousand times.
func (n *notes) add(now time.Time, x tu.Note) (news bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := x.Source.Addr().Unmap()
	list, known := n.by[a]
	if !known {
		if len(n.order) >= notedSources {
			delete(n.by, n.order[0])
			n.order = slices.Delete(n.order, 0, 1)
		}
		n.order = append(n.order, a)
		if n.by == nil {
			n.by = map[netip.Addr][]note{}
		}
	}
	news = !slices.ContainsFunc(list, func(o note) bool {
		return o.Method == x.Method && o.Code == x.Code && o.Reason == x.Why && now.Sub(o.At) < time.Minute
	})
	if len(list) >= notesEach {
		list = slices.Delete(list, 0, 1)
	}
	n.by[a] = append(list, note{At: now, Method: x.Method, Code: x.Code, Reason: x.Why, Text: x.Text})
	return news
}

func (n *notes) of(a netip.Addr) []note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.by[a.Unmap()])
}
