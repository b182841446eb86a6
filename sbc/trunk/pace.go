package trunk

import (
	"math"
	"time"
)

// Pace bounds how many requests of a kind a node gets while it comes back: never more than so many in any time that is a unit
// long. It belongs to whoever has the core's turn.
type Pace struct {
	each   time.Duration // one request, where they come evenly
	window time.Duration // in which so many are let pass as there are slots
	slots  []time.Time   // when the last ones were let pass, or will be; a ring
	next   int           // the oldest of them

	line   time.Time // when the last of those who wait is due
	turned int       // who were sent away for longer than the line may be
}

const (
	slotsMost = 1024
	// waitMost is the longest that somebody is told to wait. A phone that is told more may be looked for in vain by its user.
	waitMost = 2 * time.Minute
)

// NewPace makes a pace of so many a unit of time, at least one.
func NewPace(count int, per time.Duration) *Pace {
	count = max(count, 1)
	at := min(count, slotsMost)
	return &Pace{each: per / time.Duration(count), window: per / time.Duration(count/at), slots: make([]time.Time, at)}
}

// Take lets a request pass that will be so many, at least one: the first now, the others as soon as they may. It reports false
// where not even the first may.
func (p *Pace) Take(now time.Time, n int) bool {
	if !p.Free(now) {
		return false
	}
	for range n {
		at := p.slots[p.next].Add(p.window)
		if p.slots[p.next].IsZero() || at.Before(now) {
			at = now
		}
		p.slots[p.next] = at
		p.next = (p.next + 1) % len(p.slots)
	}
	return true
}

// Count counts a request that passes anyway, as long as half of the slots are free: that much is always left to those who must ask.
func (p *Pace) Count(now time.Time) {
	if last := p.slots[(p.next+len(p.slots)/2)%len(p.slots)]; last.IsZero() || !last.Add(p.window).After(now) {
		p.Take(now, 1)
	}
}

// Spare is Take for somebody whom nobody knows: he gets nothing of the half that is kept for those who are known.
func (p *Pace) Spare(now time.Time, n int) bool {
	last := p.slots[(p.next+len(p.slots)/2)%len(p.slots)]
	return (last.IsZero() || !last.Add(p.window).After(now)) && p.Take(now, n)
}

// Free reports whether a request may pass.
func (p *Pace) Free(now time.Time) bool {
	oldest := p.slots[p.next]
	return oldest.IsZero() || !oldest.Add(p.window).After(now)
}

// Wait is what somebody is told who may not pass and would be so many: each another time, so that they come back one after the
// other.
func (p *Pace) Wait(now time.Time, n int) time.Duration {
	if p.line.Before(now) {
		p.line = now
	}
	if due := p.line.Add(p.each * time.Duration(n)); due.Sub(now) <= waitMost {
		p.line = due
		return max(due.Sub(now), time.Second)
	}
	return p.Later() // the line is full
}

// Later is what somebody is told who has no place in the line: those are spread over the second half of it, each as far as may be
// from those before (golden section).
func (p *Pace) Later() time.Duration {
	p.turned++
	_, part := math.Modf(float64(p.turned) * (math.Phi - 1))
	return waitMost/2 + time.Duration(part*float64(waitMost/2))
}
