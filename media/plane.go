package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"sallyport/nat"
)

// ID names a reserved stream: its number and generation. The zero ID names none, and no ID is used twice.
type ID uint64

// Backend is what carries datagrams for an engine: it owns the engine, the sockets and the thread. Plane and back end
// exchange nothing but these messages and the Board, so that a back end may stand in another process.
type Backend interface {
	// Open binds every port of the layout. Ports that other programs hold are no error: they are returned.
	Open(Layout) (board *Board, missing []netip.AddrPort, err error)
	// Post hands a command over. It does not wait; commands for one leg arrive in order, a later one may replace an
	// earlier one.
	Post(Command)
	// Close ends the thread and gives the ports back. Post does nothing afterwards.
	Close() error
}

// Plane is what signalling holds of the relay: the port pool, the wanted state of every stream and the media timeout.
// Its methods may be called from any goroutine; none blocks on the engine.
type Plane struct {
	layout  Layout
	backend Backend
	board   *Board
	missing []netip.AddrPort

	mu         sync.Mutex
	closed     bool
	pools      [2]*pool // by nat.Side; the same one twice where the sides share an address
	streams    []stream // by the outside pair
	byPair     []int32  // pair → stream, or none
	reserved   int
	highWater  int
	generation uint32
	latest     time.Time // the latest time handed in, for the gauges
}

// stream is one m= line's ports and wanted state.
type stream struct {
	generation uint32
	live       bool
	pair       [2]int // by nat.Side
	want       [2]Want
	pointed    [2]bool
	watch      watch
}

// New opens every socket of the range through the back end. seed orders the pool: the same seed gives the same ports.
func New(cfg Config, b Backend, seed int64) (*Plane, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	layout := cfg.layout()
	board, missing, err := b.Open(layout)
	if err != nil {
		return nil, err
	}
	p := &Plane{
		layout: layout, backend: b, board: board, missing: missing,
		streams: make([]stream, layout.Blocks*layout.Pairs),
		byPair:  make([]int32, layout.Blocks*layout.Pairs),
	}
	for i := range p.byPair {
		p.byPair[i] = none
	}
	gone := make(map[int]bool, len(missing))
	for _, at := range missing {
		if leg, ok := layout.Leg(at); ok {
			gone[leg/2] = true
		}
	}
	rnd := rand.New(rand.NewPCG(uint64(seed), 0x6d65646961))
	for block := range layout.Blocks {
		p.pools[block] = newPool(block*layout.Pairs, layout.Pairs, gone, rnd)
	}
	if layout.Blocks == 1 {
		p.pools[nat.Inside] = p.pools[nat.Outside]
	}
	if p.Gauges().Free == 0 { // each side may have kept ports, and yet no call a pair on both
		return nil, errors.Join(fmt.Errorf("media: no call finds ports on both sides, %d of %d-%d are in use by other programs: "+
			"choose another media.ports", len(missing), cfg.First, cfg.Last), b.Close())
	}
	return p, nil
}

// Missing lists the ports that were left out because another program holds them.
func (p *Plane) Missing() []netip.AddrPort { return p.missing }

// Reserve takes a pair of ports on each side and returns the RTP addresses they are bound to, by nat.Side. It fails
// with ErrNoPorts if the pool is empty.
func (p *Plane) Reserve(now time.Time) (id ID, local [2]netip.AddrPort, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = now
	if p.closed {
		return 0, local, ErrClosed
	}
	outside, ok := p.pools[nat.Outside].take(now, p.disturbed)
	if !ok {
		return 0, local, ErrNoPorts
	}
	inside, ok := p.pools[nat.Inside].take(now, p.disturbed)
	if !ok {
		p.pools[nat.Outside].untake(outside)
		return 0, local, ErrNoPorts
	}
	if p.generation++; p.generation == 0 {
		p.generation++
	}
	p.streams[outside] = stream{generation: p.generation, live: true, pair: [2]int{outside, inside}}
	p.byPair[outside], p.byPair[inside] = int32(outside), int32(outside)
	p.reserved++
	p.highWater = max(p.highWater, p.reserved)
	for side, pair := range p.streams[outside].pair {
		local[side] = p.layout.Local(pair * 2)
	}
	return ID(p.generation)<<32 | ID(outside+1), local, nil
}

// Owner finds the stream that holds a port of ours. It reports true for every address of the range; the ID is zero if
// nobody holds it.
func (p *Plane) Owner(at netip.AddrPort) (id ID, ours bool) {
	leg, ours := p.layout.Leg(at)
	if !ours {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.byPair[leg/2]
	if n == none || !p.streams[n].live {
		return 0, true
	}
	return ID(p.streams[n].generation)<<32 | ID(n+1), true
}

// disturbed is when a datagram last arrived on either port of a pair.
func (p *Plane) disturbed(pair int) time.Time {
	a, b := p.board.stray(pair*2), p.board.stray(pair*2+1)
	if a.After(b) {
		return a
	}
	return b
}

// find returns the live stream of an id, or nil.
func (p *Plane) find(id ID) *stream {
	n := int(uint32(id)) - 1
	if n < 0 || n >= len(p.streams) {
		return nil
	}
	if s := &p.streams[n]; s.live && s.generation == uint32(id>>32) {
		return s
	}
	return nil
}

// Point tells the engine the whole wanted state of one leg. Equal states are harmless to repeat.
//
// Errors: ErrGone; ErrForbidden and ErrLoop, on which the offer or answer that named the address is to be refused with
// 488. After an error the leg keeps the state it had.
func (p *Plane) Point(id ID, side nat.Side, w Want) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	s := p.find(id)
	if s == nil {
		return ErrGone
	}
	if err := w.check(p.layout.Addresses[side]); err != nil {
		return err
	}
	if err := p.checkOwn(s, side, w); err != nil {
		return err
	}
	s.watch.change(s.pointed[side], &s.want[side], &w)
	w.Sources = append([]netip.Prefix(nil), w.Sources...)
	s.want[side], s.pointed[side] = w, true
	p.backend.Post(w.command(s.pair[side]*2, s.pair[side.Other()]*2, s.generation))
	return nil
}

// checkOwn judges a destination that is a port of our own pool. An inside peer may name an inside port that another
// stream reserved: a proxy PBX hands our own SDP from one call to the other, and the two are joined through the
// kernel. Anything else would be a loop or a way in.
func (p *Plane) checkOwn(s *stream, side nat.Side, w Want) error {
	for n, to := range []netip.AddrPort{w.RTP, w.RTCP} {
		leg, ok := p.layout.Leg(to)
		if !ok {
			continue
		}
		if side != nat.Inside {
			return fmt.Errorf("%w: %v is our own port", ErrForbidden, to)
		}
		owner := p.byPair[leg/2]
		switch {
		case owner == none:
			return fmt.Errorf("%w: %v is our own port and no call holds it", ErrForbidden, to)
		case &p.streams[owner] == s:
			return fmt.Errorf("%w: %v belongs to this stream", ErrLoop, to)
		case p.streams[owner].pair[nat.Inside] != leg/2:
			return fmt.Errorf("%w: %v is our own outside port", ErrForbidden, to)
		case n == 0 && leg&1 == 1:
			return fmt.Errorf("%w: %v is our own RTCP port", ErrForbidden, to)
		}
	}
	return nil
}

// Release gives the ports back. An id that is not reserved is ignored: a release may be repeated.
func (p *Plane) Release(now time.Time, id ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = now
	s := p.find(id)
	if s == nil {
		return
	}
	for side, pair := range s.pair {
		p.byPair[pair] = none
		p.backend.Post(Command{Leg: int32(pair * 2), Peer: int32(s.pair[1-side] * 2), Generation: s.generation, Free: true})
		p.pools[side].put(now, pair)
	}
	*s = stream{}
	p.reserved--
}

// Stats returns the figures of a stream, by nat.Side. It reports false once the stream has been released.
func (p *Plane) Stats(id ID) (legs [2]LegStats, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.find(id)
	if s == nil {
		return legs, false
	}
	for side, pair := range s.pair {
		l := &legs[side]
		*l = p.board.stats(pair*2, s.generation)
		l.Ported = l.Latched && s.pointed[side] && s.want[side].RTP.Port() != l.Remote.Port()
	}
	return legs, true
}

// Refill sends the wanted state of every leg again: a back end that lost its table has it back.
func (p *Plane) Refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.streams {
		s := &p.streams[i]
		for side := range s.want {
			if s.live && s.pointed[side] && !p.closed {
				p.backend.Post(s.want[side].command(s.pair[side]*2, s.pair[1-side]*2, s.generation))
			}
		}
	}
}

// Gauges are the relay's figures as a whole.
type Gauges struct {
	Reserved, Free int // streams that hold ports; streams that could still get some
	Resting        int // free pairs that were given back less than two seconds ago
	HighWater      int // most streams at once since the start
	Missing        int // ports held by other programs
	Strays         uint64
	Rejected       [NumRejections]uint64
}

// Gauges returns the present figures.
func (p *Plane) Gauges() (g Gauges) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g.Reserved, g.HighWater, g.Missing = p.reserved, p.highWater, len(p.missing)
	outside, inside := p.pools[nat.Outside], p.pools[nat.Inside]
	g.Free, g.Resting = min(outside.free, inside.free), outside.resting(p.latest)
	if outside == inside {
		g.Free = outside.free / 2
	} else {
		g.Resting += inside.resting(p.latest)
	}
	for i := range g.Rejected {
		g.Rejected[i] = p.board.totals[i].Load()
	}
	g.Strays = g.Rejected[RejectedStray]
	return g
}

// Close gives all ports back to the machine. Figures can still be read.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.backend.Close()
}
