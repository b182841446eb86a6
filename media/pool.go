package media

import (
	"math/rand/v2"
	"time"
)

// The pool's figures. Rest gives way before a call is refused.
const (
	restFor     = 2 * time.Second        // after a release
	silentFor   = 250 * time.Millisecond // since the last stray packet
	lookAt      = 8                      // noisy pairs passed over in one take
	none        = int32(-1)
	takenMarker = int32(-2)
)

// pool is the free port pairs of one bind address, the longest rested one first: a list through two arrays, so that
// every operation takes constant time. It is pure: the caller says when a pair was last disturbed.
type pool struct {
	first      int // number of the pool's first pair in the table
	step       int // from one pair of the pool to the next: workers share a range in turns
	next, prev []int32
	freed      []time.Time
	head, tail int32
	free       int
}

// newPool makes a pool of count pairs, each step'th from first, those of missing left out, in random order: the next port
// is not to be guessed.
func newPool(first, step, count int, missing map[int]bool, rnd *rand.Rand) *pool {
	p := &pool{
		first: first, step: step, head: none, tail: none,
		next: make([]int32, count), prev: make([]int32, count), freed: make([]time.Time, count),
	}
	for i := range count {
		p.next[i] = takenMarker
	}
	for _, i := range rnd.Perm(count) {
		if !missing[p.pair(int32(i))] {
			p.push(int32(i))
		}
	}
	return p
}

// take removes the pair that has rested longest among those that are rested and silent. If there is none, rest gives
// way first, silence last.
func (p *pool) take(now time.Time, disturbed func(pair int) time.Time) (pair int, ok bool) {
	silent := func(i int32) bool { return now.Sub(disturbed(p.pair(i))) >= silentFor }
	for range min(lookAt, p.free) {
		i := p.head
		if now.Sub(p.freed[i]) < restFor {
			break // and so have all behind it
		}
		p.remove(i)
		if silent(i) {
			return p.pair(i), true
		}
		// Somebody still sends there: its rest begins anew.
		p.freed[i] = now
		p.push(i)
	}
	best, i := p.head, p.head
	for range min(lookAt, p.free) {
		if silent(i) {
			best = i
			break
		}
		i = p.next[i]
	}
	if best == none {
		return 0, false
	}
	p.remove(best)
	return p.pair(best), true
}

// put gives a pair back. It reports false for one that is not out.
func (p *pool) put(now time.Time, pair int) bool {
	i, ok := p.index(pair)
	if !ok || p.next[i] != takenMarker {
		return false
	}
	p.freed[i] = now
	p.push(i)
	return true
}

// withdraw takes a pair out of turn. One that is out already stays out.
func (p *pool) withdraw(pair int) {
	if i, ok := p.index(pair); ok && p.next[i] != takenMarker {
		p.remove(i)
	}
}

// pair is the number in the table of a place in the pool, index the reverse.
func (p *pool) pair(i int32) int { return p.first + int(i)*p.step }

func (p *pool) index(pair int) (i int32, ok bool) {
	n := pair - p.first
	if n < 0 || n%p.step != 0 || n/p.step >= len(p.next) {
		return 0, false
	}
	return int32(n / p.step), true
}

// untake gives a pair back as if it had never been out.
func (p *pool) untake(pair int) {
	i, _ := p.index(pair)
	p.next[i], p.prev[i] = p.head, none
	if p.head == none {
		p.tail = i
	} else {
		p.prev[p.head] = i
	}
	p.head = i
	p.free++
}

// resting counts the free pairs that have not rested long enough.
func (p *pool) resting(now time.Time) (n int) {
	for i := p.tail; i != none && !p.freed[i].IsZero() && now.Sub(p.freed[i]) < restFor; i = p.prev[i] {
		n++
	}
	return n
}

func (p *pool) push(i int32) {
	p.next[i], p.prev[i] = none, p.tail
	if p.tail == none {
		p.head = i
	} else {
		p.next[p.tail] = i
	}
	p.tail = i
	p.free++
}

func (p *pool) remove(i int32) {
	if p.prev[i] == none {
		p.head = p.next[i]
	} else {
		p.next[p.prev[i]] = p.next[i]
	}
	if p.next[i] == none {
		p.tail = p.prev[i]
	} else {
		p.prev[p.next[i]] = p.prev[i]
	}
	p.next[i] = takenMarker
	p.free--
}
