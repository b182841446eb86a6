package core

import (
	"container/heap"
	"time"
)

// deadlines orders users by when they want a Tick.
type deadlines struct{ h userHeap }

func (d *deadlines) set(u *user, t time.Time) {
	switch {
	case t.IsZero():
		d.drop(u)
		return
	case u.index < 0:
		u.deadline = t
		heap.Push(&d.h, u)
		return
	case !u.deadline.Equal(t):
		u.deadline = t
		heap.Fix(&d.h, u.index)
	}
}

func (d *deadlines) drop(u *user) {
	if u.index >= 0 {
		heap.Remove(&d.h, u.index)
	}
	u.deadline = time.Time{}
}

func (d *deadlines) first() *user {
	if len(d.h) == 0 {
		return nil
	}
	return d.h[0]
}

// due takes out the first user whose deadline has come. Its next Step sets a new one.
func (d *deadlines) due(now time.Time) *user {
	u := d.first()
	if u == nil || u.deadline.After(now) {
		return nil
	}
	d.drop(u)
	return u
}

type userHeap []*user

func (h userHeap) Len() int           { return len(h) }
func (h userHeap) Less(i, j int) bool { return h[i].deadline.Before(h[j].deadline) }
func (h userHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *userHeap) Push(x any) {
	u := x.(*user)
	u.index = len(*h)
	*h = append(*h, u)
}
func (h *userHeap) Pop() any {
	old := *h
	u := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	u.index = -1
	return u
}
