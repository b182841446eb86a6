package media

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
)

// orphan is a stream of an earlier run of signalling that the engine still serves.
type orphan struct {
	pair       [2]int // by nat.Side
	generation uint32
	since      time.Time
}

// Orphan is a stream that an earlier run of signalling left: its audio goes on, and its ports are nobody else's, until it
// has been silent for Config.Silence or is released.
type Orphan struct {
	ID    ID                // the one it had
	Local [2]netip.AddrPort // its RTP ports, by nat.Side
	Since time.Time         // when the engine first heard of it
	Legs  [2]LegStats
}

// Orphans lists the streams that an earlier run of signalling left, the oldest first.
func (p *Plane) Orphans() (list []Orphan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, o := range p.orphans {
		list = append(list, Orphan{ID: id, Local: p.local(o.pair), Since: o.since, Legs: p.figuresOf(o.pair, o.generation)})
	}
	slices.SortFunc(list, func(a, b Orphan) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return list
}

// id is the one that its stream had.
func (o *orphan) id() ID { return idOf(o.pair[nat.Outside], o.generation) }

// adopt keeps the ports of what an earlier run of signalling left out of the pool. A stream of which one leg is in use
// has both pairs: the other one's port has been told to its peer.
func (p *Plane) adopt() {
	// No ID of before may come again, nor a generation that the board still shows.
	p.generation = p.board.newest()
	for h := range p.board.Holdings() {
		o := p.orphanOf(h)
		if _, known := p.orphans[o.id()]; known {
			continue // its other leg
		}
		for _, pair := range o.pair {
			p.poolOf(pair).withdraw(pair)
			p.orphaned[pair]++
		}
		p.orphans[o.id()] = o
	}
}

func (p *Plane) orphanOf(h Holding) orphan {
	o := orphan{generation: h.Generation, since: h.Since}
	o.pair[h.Side], o.pair[h.Side.Other()] = h.Leg/2, h.Peer/2
	return o
}

// reclaim gives the ports of orphans that the engine has freed back to the pool.
func (p *Plane) reclaim(now time.Time, hints []Hint) []Hint {
	for id, o := range p.orphans {
		if p.board.held(o.pair[0]*2, o.generation) || p.board.held(o.pair[1]*2, o.generation) {
			continue
		}
		delete(p.orphans, id)
		for _, pair := range o.pair {
			if p.orphaned[pair]--; p.orphaned[pair] == 0 {
				delete(p.orphaned, pair)
			}
			p.give(now, pair)
		}
		last := p.figuresOf(o.pair, o.generation)
		hints = append(hints, Hint{ID: id, Kind: Freed, Last: &last})
	}
	return hints
}

// renewed takes up a new engine, or the old one again after the way to it was lost.
func (p *Plane) renewed(board *Board) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	before := p.board
	p.renewals++
	p.keepFigures(board)
	p.board, p.lately = board, lately{}
	p.followMissing()
	p.freeForgotten()
	p.refill(func(s *stream, side int, c *Command) {
		// Where the table before had proven a peer, the new one goes on; what signalling no longer vouches for it ignores.
		if s.stood == nil {
			s.stood = new([2]stood)
		}
		at := &s.stood[side]
		at.read(before, s.pair[side]*2, s.generation)
		c.resumed, c.learned, c.resume, c.keyed = true, at.learned, at.resume, at.keyed
	})
	if len(p.late) > 0 {
		p.hint()
	}
	return true
}

// stood is where an engine that is gone stood with a leg.
type stood struct {
	learned [2]Endpoint
	resume  resume
	keyed   keyed
}

// read takes it off the engine's board. One that was lost before it had heard of the leg knows nothing: what the one before
// that knew still holds.
func (at *stood) read(b *Board, leg int, generation uint32) {
	if b.cell(leg).generation.Load() != generation {
		return
	}
	*at = stood{resume: b.carried(leg, generation), keyed: b.keyed(leg, generation)}
	for i := range at.learned {
		if was, ok := b.read(leg+i, generation); ok && was.latched {
			at.learned[i] = was.remote
		}
	}
}

// keepFigures saves what the table before counted, where the new one does not go on with it.
func (p *Plane) keepFigures(board *Board) {
	for i := range p.streams {
		s := &p.streams[i]
		if !s.live {
			continue
		}
		s.watch.since = time.Time{} // nobody could be heard meanwhile
		p.late = p.digits(s, p.late)
		for side, pair := range s.pair {
			if board.cell(pair*2).generation.Load() == s.generation {
				continue // the same engine
			}
			if s.earlier == nil {
				s.earlier = new([2]LegStats)
			}
			was := p.board.stats(pair*2, s.generation)
			was.add(&s.earlier[side])
			s.earlier[side] = was
			s.watch.latches[side], s.watch.heard[side] = 0, 0
		}
	}
}

// followMissing takes ports that another program has meanwhile out of the pool, and those that came back in.
func (p *Plane) followMissing() {
	before := p.gone
	p.lookForMissing()
	for pair := range p.gone {
		p.poolOf(pair).withdraw(pair)
	}
	for pair := range before {
		p.give(p.latest, pair)
	}
}

// freeForgotten ends legs that were released while nobody could be told.
func (p *Plane) freeForgotten() {
	for h := range p.board.Holdings() {
		o := p.orphanOf(h)
		s := &p.streams[o.pair[nat.Outside]]
		if s.live && s.generation == h.Generation {
			continue
		}
		if _, known := p.orphans[o.id()]; known {
			continue
		}
		p.postFree(o.pair, h.Generation)
	}
}
