package registrar

import "time"

// alarm is a thing that is due at a time and knows its place in the heap.
type alarm interface {
	comparable
	due() time.Time
	place() *int // -1: not in the heap
}

// alarms is a binary heap by time: the first is due first. Equal times keep no order. The times stand in the heap itself,
// so that finding a place in it touches none of the thousands of things that are due.
type alarms[T alarm] struct{ heap []slot[T] }

type slot[T alarm] struct {
	due time.Time
	x   T
}

// first is what is due first.
func (a *alarms[T]) first() (first T, ok bool) {
	if len(a.heap) == 0 {
		return first, false
	}
	return a.heap[0].x, true
}

// set puts x where its time belongs, whether it is in the heap or not.
func (a *alarms[T]) set(x T) {
	at := x.place()
	if *at < 0 {
		*at = len(a.heap)
		a.heap = append(a.heap, slot[T]{x: x})
	}
	a.heap[*at].due = x.due()
	if !a.up(*at) {
		a.down(*at)
	}
}

// drop takes x out, if it is in.
func (a *alarms[T]) drop(x T) {
	at := *x.place()
	if at < 0 {
		return
	}
	last := len(a.heap) - 1
	a.swap(at, last)
	a.heap[last] = slot[T]{}
	a.heap = a.heap[:last]
	*x.place() = -1
	if at < last && !a.up(at) {
		a.down(at)
	}
}

func (a *alarms[T]) before(i, j int) bool { return a.heap[i].due.Before(a.heap[j].due) }

func (a *alarms[T]) swap(i, j int) {
	a.heap[i], a.heap[j] = a.heap[j], a.heap[i]
	*a.heap[i].x.place(), *a.heap[j].x.place() = i, j
}

func (a *alarms[T]) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !a.before(i, parent) {
			break
		}
		a.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (a *alarms[T]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(a.heap); child++ {
			if a.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		a.swap(i, least)
		i = least
	}
}
