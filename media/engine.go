package media

import "time"

// Engine is the leg table and what happens to it. Each leg belongs to one thread, its worker; only the Board may be read by
// others. It opens no socket and reads no clock: a back end hands in datagrams, commands and the time.
//
// Times are nanoseconds since the Base of the Board.
type Engine struct {
	legs       []leg
	receptions []reception // by pair
	rules      []rule      // by pair
	hopefuls   []hopefuls
	listings   []listing // by pair
	// Beside the legs, a row for each leg or pair that its feature alone touches.
	meters  []meter
	surveys []survey
	secured []*secure  // by pair
	checks  []*checks  // by leg
	peers   []Identity // by pair
	keying  Keying     // nil: no handshakes
	early   []early    // by worker
	keypads []keypad   // by pair
	agendas []agenda   // by worker
	rewrites
	tapped
	board *Board
	own   [2]Endpoint
	// Of the other family; the zero Endpoint where a side has one alone.
	others [2]Endpoint
	first  uint16
	ports  uint16
	share  Layout // which worker a leg belongs to
}

// NewEngine makes the table of a layout; base is the zero of its clock.
func NewEngine(layout Layout, base time.Time) *Engine {
	return NewEngineOn(layout, NewBoard(layout, base))
}

// NewEngineOn makes the table of a layout that publishes on a board.
func NewEngineOn(layout Layout, board *Board) *Engine {
	e := &Engine{
		legs:       make([]leg, layout.Legs()),
		receptions: make([]reception, layout.Legs()/2),
		rules:      make([]rule, layout.Legs()/2),
		hopefuls:   make([]hopefuls, layout.Legs()), listings: make([]listing, layout.Legs()/2),
		meters: make([]meter, layout.Legs()), surveys: make([]survey, layout.Legs()/2),
		secured: make([]*secure, layout.Legs()/2),
		board:   board, share: layout, rewrites: newRewrites(layout.Legs() / 2),
		first: uint16(layout.First), ports: uint16(layout.Pairs * 2),
	}
	e.checks, e.peers = make([]*checks, layout.Legs()), make([]Identity, layout.Legs()/2)
	e.keypads, e.agendas = make([]keypad, layout.Legs()/2), newAgendas(layout)
	e.tapped, e.early = newTapped(layout), make([]early, max(1, layout.Workers))
	for side, a := range layout.Addresses {
		e.own[side] = Endpoint16(a.As16(), 0)
		if other := layout.Others[side]; other.IsValid() {
			e.others[side] = Endpoint16(other.As16(), 0)
		}
	}
	return e
}

// Board is what the engine publishes.
func (e *Engine) Board() *Board { return e.board }

// Apply carries out a command. It is idempotent. One for legs that the layout does not have, or that belong to two
// workers, is ignored.
func (e *Engine) Apply(now int64, c *Command) {
	if !e.share.serves(c) {
		return
	}
	if c.Free {
		// A late Free of an earlier stream does not touch the present one; one that overtook others ends them as well.
		for i := c.Leg; i <= c.Leg+1; i++ {
			if int32(c.Generation-e.legs[i].generation) >= 0 && e.legs[i].state != stateFree {
				e.legs[i].state = stateFree
				e.legs[i].flags &^= flagTapped
				e.board.cell(int(i)).free()
				renew(&e.secured[i/2], nil)
				renew(&e.checks[i], nil)
				e.leave(i)
			}
		}
		return
	}
	kept := e.keeps(c)
	f := c.flags | kept | e.tap(c)
	e.set(now, int(c.Leg), c, c.rtp, f)
	e.set(now, int(c.Leg)+1, c, c.rtcp, f&^flagOpaque|flagControl)
	if kept == 0 { // else the command has no newer keys than the leg, whose own handshake has agreed on them
		e.arm(now, c)
	}
	e.handshake(now, c)
}

// renew sets a row of a table that most legs do not use: memory that nothing was written into takes up no room, and it
// stays so.
func renew[T comparable](row *T, v T) {
	if *row != v {
		*row = v
	}
}

// ApplyAll carries out commands. One that the engine fails on is counted, and the others are carried out.
func (e *Engine) ApplyAll(now int64, list []Command) {
	for i := range list {
		e.attempt(now, &list[i])
	}
}

func (e *Engine) attempt(now int64, c *Command) {
	defer func() {
		if recover() != nil {
			e.Failed()
		}
	}()
	e.Apply(now, c)
}

// set gives one leg its wanted state.
func (e *Engine) set(now int64, i int, c *Command, exact Endpoint, f flags) {
	l, r, heard := &e.legs[i], e.ruling(i), &e.receptions[i>>1]
	fresh := l.state == stateFree || l.generation != c.Generation
	if fresh {
		r.forget()
		*l = leg{generation: c.Generation}
		r.permit(false)
		renew(&e.meters[i], meter{})
		if i&1 == 0 {
			renew(&e.surveys[i>>1], survey{resumed: c.resumed})
			renew(&e.secured[i>>1], nil) // of a call whose end this command has overtaken
			*heard = reception{}
			e.board.reset(i, now, c.Generation)
		}
	}
	e.rewrites.set(i, c, fresh)
	e.board.cell(i).serve(c.Peer, f)
	if !exact.usable() && !fresh {
		// An old hold (RFC 3264 §8.4: 0.0.0.0) or a stream switched off. The directions say what is relayed; where the peer
		// is remains known, so that a resume is heard from its first packet.
		exact = r.exact
	}
	moved := fresh || r.exact != exact || l.mode != c.mode
	renewed := !fresh && l.epoch != c.epoch
	answered := f&flagFinal != 0 && !l.is(flagFinal)
	was := l.flags
	l.peer, l.epoch, l.mode, l.flags = c.Peer, c.epoch, c.mode, f
	heard.payloads, heard.clock = c.payloads, c.clock
	e.setKeys(now, i, l, was, c)
	renew(&e.meters[i], e.meters[i].under(c.police, f))
	r.point(exact)
	r.list(c)
	switch {
	case f&flagChecked != 0 && !fresh && l.state == stateLocked: // the nominated pair stays until the peer nominates another
	case c.mode == Off && f&flagChecked == 0:
		if l.state = stateFixed; l.remote != exact || fresh {
			e.direct(i, l, exact, false)
		}
	case moved, l.state == stateLocked && !r.candidate(l.remote):
		e.open(now, i, l, r)
	case renewed && l.state == stateLocked:
		// Same SDP address in a new offer: the proven source goes on without a gap, but another may follow it.
		r.permit(true)
	}
	if known := c.learned[i&1]; fresh && known.usable() && (f&flagChecked != 0 || c.mode != Off && r.candidate(known)) && !e.isOwn(known) {
		// The engine that proved it is gone; signalling still vouches for its address, so nobody waits for a proof again.
		e.lock(now, i, l, r, known)
	}
	if answered && l.state == stateLocked {
		// While it rang, a neighbour behind the same NAT had all the time in the world. Now the phone speaks: where the
		// NAT kept its port, that one has its window.
		l.limit = max(l.limit, now+l.mode.exactWindow())
	}
	e.expect(now, i, l)
}

// open lets a leg wait for a latch; until then it sends to the exact address.
func (e *Engine) open(now int64, i int, l *leg, r ruling) {
	l.state = stateOpen
	r.forget()
	r.permit(false)
	l.valid, l.limit = 0, never
	if e.addressed(e.opposite(i, l), l.generation) {
		l.limit = now + l.mode.learnAfter()
	}
	e.direct(i, l, r.exact, false)
}

// expect begins the window of the other side's leg, once this one has an address. Nobody sends media before he has been
// told where to (RFC 3264 §5.1, §7): what comes earlier is no media of the peer, and no port is learned from it.
func (e *Engine) expect(now int64, i int, l *leg) {
	p := &e.legs[e.opposite(i, l)]
	if p.state == stateOpen && p.generation == l.generation && p.limit == never && e.addressed(i, l.generation) {
		p.limit = now + p.mode.learnAfter()
	}
}

// opposite is the leg that a leg feeds.
func (e *Engine) opposite(i int, l *leg) int { return int(l.peer) + i&1 }

// addressed reports whether signalling has named an address for a leg of this stream, or that its peer shows it by checks.
func (e *Engine) addressed(i int, generation uint32) bool {
	l := &e.legs[i]
	return l.state != stateFree && l.generation == generation && (l.is(flagChecked) || e.ruling(i).exact.usable())
}

// direct sets where a leg sends to.
func (e *Engine) direct(i int, l *leg, to Endpoint, latched bool) {
	if !to.usable() {
		to = Endpoint{}
	}
	l.remote = to
	e.board.setRemote(i, to, latched)
}

// isOwn reports whether an address is a port of our own pool.
func (e *Engine) isOwn(p Endpoint) bool {
	return p.port-e.first < e.ports && !p.noAddr() &&
		(p.sameAddr(e.own[0]) || p.sameAddr(e.own[1]) || p.sameAddr(e.others[0]) || p.sameAddr(e.others[1]))
}
