package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"sallyport/nat"
)

// ID names a reserved stream: its number and generation. The zero ID names none. No ID is used twice by one Plane, nor
// while a stream that an earlier run of signalling left has it.
type ID uint64

// Backend is what carries datagrams for an engine: it owns the engine, the sockets and the threads. Plane and back end
// exchange nothing but these messages and the Board, so that a back end may stand in another process.
type Backend interface {
	// Open binds every port of the layout. Ports that other programs hold are no error: the Board tells them, and which
	// legs are in use already, left by an earlier run of signalling.
	Open(Layout, Listener) (*Board, error)
	// Post hands a command over. It does not wait; commands for one leg arrive in order, a later one may replace an
	// earlier one.
	Post(Command)
	// Close ends the threads and gives the ports back. Post does nothing afterwards. What has been published can still be
	// read.
	Close() error
}

// Listener hears of what happens to a back end in another process. Others have nothing to say.
type Listener struct {
	// Renewed says that the engine or the way to it is another one; commands that had not arrived are lost. Its Board takes
	// the place of the one before, which nobody reads any more once Renewed has returned true.
	Renewed func(*Board) bool
	// Hinted says that a Sweep would find something.
	Hinted func()
	// Agreed tells the keys that a handshake has come to, so that an engine that takes the place of this one has them. From
	// any goroutine.
	Agreed func(Agreement)
	// Certificate is what the handshakes of the back end are to show; into an empty one it puts what they do show. nil: its
	// own, which nobody else is told.
	Certificate *Certificate
	// Tapped takes copies of datagrams of tapped legs, and hears how many more were lost since the last time. From any
	// goroutine; nothing of the list is kept.
	Tapped func(list []Tapped, lost int)
}

// Agree tells Agreed, if there is somebody.
func (l Listener) Agree(a Agreement) {
	if l.Agreed != nil {
		l.Agreed(a)
	}
}

// Plane is what signalling holds of the relay: the port pool, the wanted state of every stream and the media timeout.
// Its methods may be called from any goroutine; none blocks on the engine.
type Plane struct {
	layout  Layout
	backend Backend
	hinted  chan struct{}

	mu         sync.Mutex
	board      *Board
	missing    []netip.AddrPort
	gone       map[int]bool // their pairs
	closed     bool
	pools      [2][]*pool // by nat.Side and worker; the same ones twice where the sides share an address
	streams    []stream   // by the outside pair
	byPair     []int32    // pair → stream, or none
	orphans    map[ID]orphan
	orphaned   map[int]int // pair → orphans that hold it
	late       []Hint      // of an engine that is gone, for the next Sweep
	reserved   int
	highWater  int
	renewals   int
	generation uint32
	latest     time.Time // the latest time handed in, for the gauges
	lately     lately    // what they look back to
	taps       tapping
}

// stream is one m= line's ports and wanted state.
type stream struct {
	generation uint32
	live       bool
	pair       [2]int // by nat.Side
	want       [2]Want
	pointed    [2]bool
	watch      watch
	agreed     [2][]agreed
	tap        Tap
	stood      *[2]stood    // where engines before the present one stood; nil: there was none
	earlier    *[2]LegStats // what engines before the present one counted; nil: there was none
}

func (s *stream) id() ID { return idOf(s.pair[nat.Outside], s.generation) }

func idOf(outside int, generation uint32) ID { return ID(generation)<<32 | ID(outside+1) }

// New opens every socket of the range through the back end. seed orders the pool: the same seed gives the same ports.
func New(cfg Config, b Backend, seed int64) (*Plane, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	layout := cfg.layout()
	p := &Plane{
		layout: layout, backend: b, hinted: make(chan struct{}, 1), orphans: make(map[ID]orphan), orphaned: make(map[int]int),
		streams: make([]stream, layout.Blocks*layout.Pairs),
		byPair:  make([]int32, layout.Blocks*layout.Pairs),
	}
	for i := range p.byPair {
		p.byPair[i] = none
	}
	p.mu.Lock() // the back end may lose its process before it has been looked at
	defer p.mu.Unlock()
	board, err := b.Open(layout, Listener{Renewed: p.renewed, Hinted: p.hint, Agreed: p.agreed, Tapped: p.tapped})
	if err != nil {
		return nil, err
	}
	p.board = board
	p.lookForMissing()
	rnd := rand.New(rand.NewPCG(uint64(seed), 0x6d65646961))
	for block := range layout.Blocks {
		for worker := range layout.Workers {
			count := (layout.Pairs - worker + layout.Workers - 1) / layout.Workers
			p.pools[block] = append(p.pools[block], newPool(block*layout.Pairs+worker, layout.Workers, count, p.gone, rnd))
		}
	}
	if layout.Blocks == 1 {
		p.pools[nat.Inside] = p.pools[nat.Outside]
	}
	if p.free() == 0 { // each side may have kept ports, and yet no call a pair on both
		p.closed = true
		return nil, errors.Join(fmt.Errorf("media: no call finds ports on both sides, %d of %d-%d are in use by other programs: "+
			"choose another media.ports (%w)", len(p.missing), cfg.First, cfg.Last, syscall.EADDRINUSE), p.shut())
	}
	p.adopt()
	return p, nil
}

// shut closes the back end without the lock, which the back end may be waiting for in another goroutine.
func (p *Plane) shut() error {
	p.mu.Unlock()
	defer p.mu.Lock()
	return p.backend.Close()
}

// lookForMissing reads which ports are held by other programs.
func (p *Plane) lookForMissing() {
	legs := p.board.Missing()
	p.missing, p.gone = make([]netip.AddrPort, 0, len(legs)), make(map[int]bool, len(legs))
	for _, leg := range legs {
		p.missing = append(p.missing, p.layout.Local(leg))
		p.gone[leg/2] = true
	}
}

// hint wakes whoever waits for Hinted.
func (p *Plane) hint() {
	select {
	case p.hinted <- struct{}{}:
	default: // he has not looked since the last one
	}
}

// Hinted is readable when a Sweep would find something, as far as the back end tells. It saves waiting for the second to
// end; whoever never looks loses nothing.
func (p *Plane) Hinted() <-chan struct{} { return p.hinted }

// Missing lists the ports that were left out because another program holds them.
func (p *Plane) Missing() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missing
}

// Reserve takes a pair of ports on each side and returns the RTP addresses they are bound to, by nat.Side. It fails
// with ErrNoPorts if the pool is empty.
func (p *Plane) Reserve(now time.Time) (id ID, local [2]netip.AddrPort, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = now
	if p.closed {
		return 0, local, ErrClosed
	}
	outside, inside, ok := p.take(now)
	if !ok {
		return 0, local, ErrNoPorts
	}
	if p.generation++; p.generation == 0 {
		p.generation++
	}
	s := &p.streams[outside]
	*s = stream{generation: p.generation, live: true, pair: [2]int{outside, inside}}
	p.byPair[outside], p.byPair[inside] = int32(outside), int32(outside)
	p.reserved++
	p.highWater = max(p.highWater, p.reserved)
	return s.id(), p.local(s.pair), nil
}

// take takes a pair on each side from the worker that has the most left.
func (p *Plane) take(now time.Time) (outside, inside int, ok bool) {
	worker := 0
	for w := range p.pools[nat.Outside] {
		if p.room(w) > p.room(worker) {
			worker = w
		}
	}
	if p.room(worker) == 0 {
		return 0, 0, false
	}
	outside, ok = p.pools[nat.Outside][worker].take(now, p.disturbed)
	if !ok {
		return 0, 0, false
	}
	if inside, ok = p.pools[nat.Inside][worker].take(now, p.disturbed); !ok {
		p.pools[nat.Outside][worker].untake(outside)
	}
	return outside, inside, ok
}

// room is how many streams a worker's ports are enough for.
func (p *Plane) room(worker int) int {
	if p.layout.Blocks == 1 {
		return p.pools[nat.Outside][worker].free / 2
	}
	return min(p.pools[nat.Outside][worker].free, p.pools[nat.Inside][worker].free)
}

func (p *Plane) free() (n int) {
	for worker := range p.pools[nat.Outside] {
		n += p.room(worker)
	}
	return n
}

// poolOf is the pool that a pair belongs to.
func (p *Plane) poolOf(pair int) *pool {
	return p.pools[pair/p.layout.Pairs][p.layout.Worker(pair*2)]
}

// give gives a pair back, unless somebody else has it.
func (p *Plane) give(now time.Time, pair int) {
	if !p.gone[pair] && p.byPair[pair] == none && p.orphaned[pair] == 0 {
		p.poolOf(pair).put(now, pair)
	}
}

// local are the RTP addresses of a stream's pairs.
func (p *Plane) local(pair [2]int) (at [2]netip.AddrPort) {
	for side, n := range pair {
		at[side] = p.layout.Local(n * 2)
	}
	return at
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
	return p.streams[n].id(), true
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
	if err := w.check(p.layout, side); err != nil {
		return err
	}
	if err := p.checkOwn(s, side, w); err != nil {
		return err
	}
	s.watch.change(s.pointed[side], &s.want[side], &w)
	w.Sources = append([]netip.Prefix(nil), w.Sources...)
	s.want[side], s.pointed[side] = w, true
	p.backend.Post(p.commandOf(s, int(side)))
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

// Release gives the ports back. An id that is not reserved is ignored: a release may be repeated. The ports of a call that
// an earlier run of signalling left come back once the engine has freed them.
func (p *Plane) Release(now time.Time, id ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = now
	s := p.find(id)
	if s == nil {
		if o, ok := p.orphans[id]; ok && !p.closed {
			p.postFree(o.pair, o.generation)
		}
		return
	}
	p.postFree(s.pair, s.generation)
	for _, pair := range s.pair {
		p.byPair[pair] = none
		p.give(now, pair)
	}
	*s = stream{}
	p.reserved--
}

func (p *Plane) postFree(pair [2]int, generation uint32) {
	for side := range pair {
		p.backend.Post(Command{Leg: int32(pair[side] * 2), Peer: int32(pair[1-side] * 2), Generation: generation, Free: true})
	}
}

// Stats returns the figures of a stream, by nat.Side. It reports false once the stream has been released.
func (p *Plane) Stats(id ID) (legs [2]LegStats, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.find(id); s != nil {
		return p.figures(s), true
	}
	if o, ok := p.orphans[id]; ok {
		return p.figuresOf(o.pair, o.generation), true
	}
	return legs, false
}

// figures joins what the board shows with what was counted before.
func (p *Plane) figures(s *stream) [2]LegStats {
	legs := p.figuresOf(s.pair, s.generation)
	for side := range legs {
		l := &legs[side]
		if s.earlier != nil {
			l.add(&s.earlier[side])
		}
		l.Ported = l.Latched && s.pointed[side] && s.want[side].RTP.Port() != l.Remote.Port()
	}
	return legs
}

func (p *Plane) figuresOf(pair [2]int, generation uint32) (legs [2]LegStats) {
	for side, n := range pair {
		legs[side] = p.board.stats(n*2, generation)
	}
	return legs
}

// Refill sends the wanted state of every leg again: a back end that lost its table has it back.
func (p *Plane) Refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refill(func(*stream, int, *Command) {})
}

func (p *Plane) refill(more func(s *stream, side int, c *Command)) {
	for i := range p.streams {
		s := &p.streams[i]
		for side := range s.want {
			if s.live && s.pointed[side] && !p.closed {
				c := p.commandOf(s, side)
				more(s, side, &c)
				p.backend.Post(c)
			}
		}
	}
}

// Close gives all ports back to the machine. Figures can still be read.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.shut()
}
