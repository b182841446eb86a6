package media

import (
	"net/netip"
	"sync"
	"time"
)

// Drain empties the rings of an engine into a Listener, on a goroutine that lives as long as a leg is tapped. A back end
// has one, and shows it each command. It does not touch the packet path: threads do not wait for it, nor wake it.
type Drain struct {
	engine  *Engine
	take    func(list []Tapped, lost int) // nil: nobody asks
	working sync.WaitGroup

	mu      sync.Mutex
	legs    map[int32]watchedLeg // RTP legs that are tapped
	running bool
	closed  bool
	ended   chan struct{}
}

// watchedLeg is what is known of a tapped leg besides what its packets tell.
type watchedLeg struct {
	generation uint32
	form       Tap
}

// NewDrain makes the drain of an engine.
func NewDrain(e *Engine, hears Listener) *Drain {
	return &Drain{engine: e, take: hears.Tapped, legs: make(map[int32]watchedLeg), ended: make(chan struct{})}
}

const (
	drainEvery  = 10 * time.Millisecond
	drainLinger = 2 * time.Second // a command may take a moment to be carried out, and the last copies to be taken
)

// Post takes note of a command that is on its way to the engine.
func (d *Drain) Post(c *Command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.Tapped() {
		delete(d.legs, c.Leg)
		return
	}
	d.legs[c.Leg] = watchedLeg{c.Generation, c.tap}
	if !d.running && !d.closed && d.take != nil {
		d.running = true
		d.working.Go(d.run)
	}
}

// Sent notes a record of a handshake that has left by a leg. From any goroutine but a worker's.
func (d *Drain) Sent(leg int32, to netip.AddrPort, record []byte) {
	d.mu.Lock()
	w, ok := d.legs[leg&^1]
	d.mu.Unlock()
	if !ok || d.take == nil {
		return
	}
	now := int64(time.Since(d.engine.board.Base))
	d.take([]Tapped{{At: now, Leg: leg, Generation: w.generation, Remote: EndpointOf(to), Sent: true, Form: w.form, Data: record}}, 0)
}

// run empties the rings until nothing has been tapped for a while.
func (d *Drain) run() {
	t := time.NewTicker(drainEvery)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case <-t.C:
		case <-d.ended:
		}
		for worker := range d.engine.onlookers {
			for d.engine.Look(worker, d.take) {
			}
		}
		if now := time.Now(); d.needed() {
			last = now
		} else if d.over(now.Sub(last) >= drainLinger) {
			return
		}
	}
}

func (d *Drain) needed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.legs) > 0 && !d.closed
}

// over ends the goroutine, unless a leg has been tapped meanwhile.
func (d *Drain) over(late bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || late && len(d.legs) == 0 {
		d.running = false
		return true
	}
	return false
}

// Close takes out what is left and ends the goroutine. The workers have ended.
func (d *Drain) Close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.ended)
	}
	d.mu.Unlock()
	d.working.Wait()
}
