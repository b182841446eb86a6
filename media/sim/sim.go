// Package sim is the relay's back end for tests: the real engine without sockets, threads and real time. The test's glue
// injects datagrams and is handed those that are relayed; between the two no time passes. It works inside a
// testing/synctest bubble: no system call, and no goroutine but that of a timer, which rings where the engine has something
// to do of itself, such as playing a tone. Close stops the timer. With a clock of its own a test rings itself: Play.
//
// What a leg sends to a port of the relay itself (a hairpin) arrives there as from the leg's own address, as through the
// kernel's loopback; the glue never sees it. Packets that go round and round end after some hops.
//
// It refuses nothing that a socket would take: datagrams to ports that are not bound vanish, and so do those that
// follow a Close.
package sim

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"sync"
	"time"

	"sallyport/media"
)

// maxHops bounds a hairpin. A call that crosses the gate once more for each hop is no longer one that anybody set up.
const maxHops = 8

// Deliver is handed each datagram that leaves the relay: the local address it leaves from, where it goes, and its
// payload, which is valid during the call only. It may call Inject.
type Deliver func(local, dest netip.AddrPort, payload []byte)

// Backend implements media.Backend.
type Backend struct {
	clock   func() time.Time
	deliver Deliver
	held    map[netip.AddrPort]bool
	own     bool // the clock is the test's own

	looking sync.Mutex // one at a time takes copies; nobody who has it waits for anything but mu's holder

	mu     sync.Mutex
	layout media.Layout
	engine *media.Engine // nil while not open
	hinted func()        // nil: nobody asks
	tapped func(list []media.Tapped, lost int)
	alarm  *time.Timer // nil: none was needed yet
}

// String is what the start-up line calls it.
func (b *Backend) String() string { return "sim" }

// New makes a back end. clock nil means time.Now, which is virtual inside a bubble; held are ports that "another
// program" holds.
func New(clock func() time.Time, deliver Deliver, held ...netip.AddrPort) *Backend {
	own := clock != nil
	if !own {
		clock = time.Now
	}
	b := &Backend{clock: clock, own: own, deliver: deliver, held: make(map[netip.AddrPort]bool)}
	for _, at := range held {
		b.held[at] = true
	}
	return b
}

// Open implements media.Backend.
func (b *Backend) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.engine != nil {
		return nil, errors.New("media/sim: already open: use one back end for each plane")
	}
	// Time zero of the engine means "never", so its clock starts a second ahead.
	b.hinted, b.tapped = hears.Hinted, hears.Tapped
	b.layout, b.engine = layout, media.NewEngine(layout, b.clock().Add(-time.Second))
	for leg := range layout.Legs() {
		if b.held[layout.Local(leg)] {
			b.engine.Board().SetMissing(leg)
		}
	}
	return b.engine.Board(), nil
}

func (b *Backend) now() int64 { return int64(b.clock().Sub(b.engine.Board().Base)) }

// Post implements media.Backend: the command takes effect at once.
func (b *Backend) Post(c media.Command) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.engine != nil {
		b.engine.Apply(b.now(), &c)
		b.wind()
	}
}

// Inject is a datagram from source that arrives at a local address. It reports what became of it there. What becomes of
// it behind a hairpin, the figures of the other stream tell.
func (b *Backend) Inject(local, source netip.AddrPort, payload []byte) (why media.Rejection) {
	payload = append(make([]byte, 0, len(payload)+media.Tailroom), payload...) // the engine may change it
	for hop := range maxHops {
		v, from, within := b.decide(local, source, payload)
		b.look()
		if hop == 0 {
			why = v.Why
		}
		if v.Why != media.Accepted {
			break
		}
		dest := v.To.AddrPort()
		if !within {
			b.hand(from, dest, v.Data)
			break
		}
		local, source, payload = dest, from, v.Data
	}
	return why
}

// decide asks the engine. within reports that the destination is a port that the relay has bound.
func (b *Backend) decide(local, source netip.AddrPort, payload []byte) (v media.Verdict, from netip.AddrPort, within bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	leg, bound := b.bound(local)
	if !bound {
		return media.Verdict{Why: media.RejectedStray}, from, false
	}
	v = b.engine.Packet(b.now(), leg, media.EndpointOf(source), payload)
	b.wind()
	if v.Why == media.Accepted {
		_, within = b.bound(v.To.AddrPort())
	}
	return v, b.layout.From(int(v.Out), v.To.AddrPort().Addr()), within
}

func (b *Backend) bound(at netip.AddrPort) (leg int, ok bool) {
	leg, ok = b.layout.Leg(at)
	return leg, ok && b.engine != nil && !b.held[at]
}

// hand delivers a datagram, unlocked: who takes it may inject again.
func (b *Backend) hand(local, dest netip.AddrPort, payload []byte) {
	if b.deliver != nil {
		b.deliver(local, dest, payload)
	}
}

// wind sets the timer for what the engine has to do next, and passes its hints on. The lock is held.
func (b *Backend) wind() {
	news, due := false, int64(math.MaxInt64)
	for worker := range max(1, b.layout.Workers) {
		news = b.engine.News(worker) || news
		due = min(due, b.engine.Due(worker))
	}
	if due != math.MaxInt64 && !b.own {
		b.ring(time.Duration(due - b.now()))
	}
	if news && b.hinted != nil {
		b.hinted()
	}
}

func (b *Backend) ring(in time.Duration) {
	if b.alarm == nil {
		b.alarm = time.AfterFunc(in, b.Play)
		return
	}
	b.alarm.Reset(in)
}

// Play does what the engine has to do of itself by now. With a clock of its own a test calls it whenever that has moved.
func (b *Backend) Play() {
	type packet struct {
		local, dest netip.AddrPort
		payload     []byte
		within      bool
	}
	var out []packet
	b.mu.Lock()
	if b.engine != nil {
		for worker := range max(1, b.layout.Workers) {
			b.engine.Play(b.now(), worker, func(v media.Verdict) bool {
				p := packet{local: b.layout.From(int(v.Out), v.To.AddrPort().Addr()), dest: v.To.AddrPort(), payload: bytes.Clone(v.Data)}
				_, p.within = b.bound(p.dest)
				out = append(out, p)
				return true
			})
		}
		b.wind()
	}
	b.mu.Unlock()
	b.look()
	for _, p := range out {
		if p.within {
			b.Inject(p.dest, p.local, p.payload)
		} else {
			b.hand(p.local, p.dest, p.payload)
		}
	}
}

// look hands copies of tapped legs on. Whoever takes them may ask for nothing.
func (b *Backend) look() {
	b.mu.Lock()
	engine, tapped := b.engine, b.tapped
	b.mu.Unlock()
	if engine == nil || tapped == nil {
		return
	}
	b.looking.Lock()
	defer b.looking.Unlock()
	for worker := range max(1, b.layout.Workers) {
		for engine.Look(worker, tapped) {
		}
	}
}

// Close implements media.Backend.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.engine = nil
	if b.alarm != nil {
		b.alarm.Stop()
	}
	return nil
}
