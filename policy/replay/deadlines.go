package replay

import (
	"container/heap"
	"net/netip"
	"time"
)

// dialog is one of the program's in the live set.
type dialog struct {
	confirmed bool
	ends      time.Time
}

// talk makes a dialog of the program's live: whoever has the other end of it is heard (RFC 3261 §12).
func (k *knowledge) talk(now time.Time, tag string, with netip.Addr, method string, confirmed bool) {
	if tag == "" || method != "INVITE" && method != "SUBSCRIBE" {
		return
	}
	d, there := k.dialogs[tag]
	switch {
	case there:
		d.confirmed = d.confirmed || confirmed
	case len(k.dialogs) >= dialogsMost || !k.guard.Live().Add(tag, with):
		return
	default:
		d.confirmed = confirmed
	}
	if d.ends.Sub(now) <= afterlife { // it is new, or goes on: refused by one, it is asked of another
		d.ends = now.Add(dialogLife)
		k.falls(deadline{at: d.ends, tag: tag})
	}
	k.dialogs[tag] = d
}

// confirm notes that somebody has accepted a dialog of the program's.
func (k *knowledge) confirm(tag string) {
	if d, there := k.dialogs[tag]; there {
		d.confirmed = true
		k.dialogs[tag] = d
	}
}

// hangUp ends a dialog some time later, and no later than it ends already: what is sent again changes nothing.
func (k *knowledge) hangUp(now time.Time, tag string, later time.Duration) {
	if d, there := k.dialogs[tag]; there && now.Add(later).Before(d.ends) {
		d.ends = now.Add(later)
		k.dialogs[tag] = d
		k.falls(deadline{at: d.ends, tag: tag})
	}
}

// refuse ends a dialog that never was one. What a re-INVITE asks for may be refused, and the call goes on (RFC 3261 §14.1).
func (k *knowledge) refuse(now time.Time, tag string) {
	if d, there := k.dialogs[tag]; there && !d.confirmed {
		k.hangUp(now, tag, 0)
	}
}

// next is when something ends next; some is false if nothing does.
func (k *knowledge) next() (at time.Time, some bool) {
	if len(k.due.list) == 0 {
		return at, false
	}
	return k.due.list[0].at, true
}

// expire does what is due by time alone.
func (k *knowledge) expire(now time.Time) {
	for len(k.due.list) > 0 && !k.due.list[0].at.After(now) {
		d := heap.Pop(&k.due).(deadline)
		if d.tag != "" {
			if x, there := k.dialogs[d.tag]; there && !x.ends.After(now) {
				delete(k.dialogs, d.tag)
				k.guard.Live().Remove(d.tag)
			}
			continue
		}
		if b, there := k.book.all[d.binding]; there && !b.expires.After(now) {
			k.unbind(d.binding)
		}
	}
}

// deadline is when a binding or a dialog ends, unless it has been refreshed since.
type deadline struct {
	at      time.Time
	tag     string
	binding bindingKey
}

// deadlinesMost bounds the heap, in which refreshes, and calls that have ended, leave their old deadlines.
const deadlinesMost = 4 * (bindingsMost + dialogsMost)

// falls notes when something ends. Where there is no room, the deadlines that no longer count go.
func (k *knowledge) falls(d deadline) {
	if len(k.due.list) >= deadlinesMost {
		k.due.list = k.due.list[:0]
		for tag, x := range k.dialogs {
			k.due.list = append(k.due.list, deadline{at: x.ends, tag: tag})
		}
		for key, x := range k.book.all {
			k.due.list = append(k.due.list, deadline{at: x.expires, binding: key})
		}
		heap.Init(&k.due)
	}
	heap.Push(&k.due, d)
}

// deadlines is a heap, the next one first.
type deadlines struct{ list []deadline }

// Len, Less, Swap, Push and Pop make it a heap.
func (h *deadlines) Len() int           { return len(h.list) }
func (h *deadlines) Less(i, j int) bool { return h.list[i].at.Before(h.list[j].at) }
func (h *deadlines) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *deadlines) Push(x any)         { h.list = append(h.list, x.(deadline)) }
func (h *deadlines) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}
