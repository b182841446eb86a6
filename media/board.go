package media

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"
	"unsafe"

	"sallyport/nat"
)

// Board is what the engine publishes and signalling reads: counters of each leg, totals, which legs are in use, and when
// a free port was last disturbed. Each leg has one thread that writes; any may read.
//
// It lies over a region of memory of a fixed layout without pointers, so that the region may be shared between
// processes: the media process has it for writing, signalling for reading. Numbers are in the machine's own order.
type Board struct {
	// Base is the zero of the engine's clock. It carries a monotonic reading.
	Base  time.Time
	head  *head
	cells []cell
}

// BoardVersion is the version of the region's layout; it changes with any change of head or cell.
const BoardVersion = 3

const boardMagic = 0x53616c6c79426f64

// maxRejections is the room for rejections in the region, so that a new one does not change its layout.
const maxRejections = 16

// Ports that share a line of the processor's cache would slow each other down.
const cacheLine = 64

// head is the region's beginning. All but totals is written before the region is shared.
type head struct {
	magic     uint64
	version   uint32
	cellSize  uint32
	legs      uint32
	pairs     uint32
	first     uint32
	_         uint32
	monotonic int64 // CLOCK_MONOTONIC at the zero of the engine's clock, in nanoseconds
	_         [24]byte
	totals    [maxRejections]atomic.Uint64
	print     [sha256.Size]byte // of our certificate; zero: no handshakes
	hints     atomic.Uint64     // counts what a Sweep should look at soon
	_         [24]byte
	delays    [MaxWorkers][delayBuckets]atomic.Uint64 // datagrams by the time that they spent here
}

// cell is the published state of one leg, three cache lines, of which a relayed packet touches the first. Writes that
// belong together are framed by turn: odd while they last.
type cell struct {
	turn       atomic.Uint32
	generation atomic.Uint32
	packets    atomic.Uint64
	bytes      atomic.Uint64
	sent       atomic.Uint64
	seen       atomic.Int64 // engine clock of the last accepted datagram; on a free port, of the last stray
	lost       atomic.Int64
	jitter     atomic.Int64 // nanoseconds × 16
	control    atomic.Uint64

	remoteHi   atomic.Uint64
	remoteLo   atomic.Uint64
	since      atomic.Int64  // engine clock of the first command of this generation
	remotePort atomic.Uint32 // bit 16: latched
	changes    atomic.Uint32
	latches    atomic.Uint32
	use        atomic.Uint32
	peer       atomic.Int32
	_          uint32
	rejected   [maxRejections]atomic.Uint32
	played     atomic.Uint32 // Tones.Serial of the last tone that was begun
	eventStamp atomic.Uint32 // RTP timestamp of the last event in digits
	_          [8]byte

	// What the peer reports of what it was sent (RFC 3550 §6.4.1, RFC 3611), and the round trip to it.
	roundTrip atomic.Uint32 // microseconds; 0: not known
	farJitter atomic.Uint32 // microseconds
	farLost   atomic.Int64
	farSent   atomic.Uint64 // what it had been sent when it last reported
	farVoice  atomic.Uint64 // voiceReport
	reports   atomic.Uint32
	heard     atomic.Uint32 // digits heard so far; they stand in digits, the last one at heard-1 modulo its length
	digits    [digitSlots]atomic.Uint64
	// What a protected leg needs to go on in another process: SSRC << 32 | index of its foremost packet modulo 2³², which is
	// rollover counter and sequence number (RFC 3711 §3.2.1, §3.3.1).
	rollIn, rollOut atomic.Uint64
	secured         atomic.Uint32 // index of the last SRTCP packet sent (RFC 3711 §3.2.1)
	proved          atomic.Uint32 // … and the highest one received
}

const (
	digitSlots   = 8
	delayBuckets = 1 + 22*delaySteps
)

const latchedBit = 1 << 16

// What a port is used for.
const (
	useFree uint32 = iota
	useOutside
	useInside
	useMissing // another program holds it
)

const headSize = int(unsafe.Sizeof(head{}))

// BoardSize is the length of a layout's region in bytes.
func BoardSize(layout Layout) int { return headSize + layout.Legs()*int(unsafe.Sizeof(cell{})) }

// NewBoard makes the board of a table in memory of this process alone.
func NewBoard(layout Layout, base time.Time) *Board {
	room := make([]byte, BoardSize(layout)+cacheLine)
	skip := -int(uintptr(unsafe.Pointer(&room[0]))) & (cacheLine - 1)
	return LayBoard(room[skip:][:BoardSize(layout)], layout, base, 0)
}

// LayBoard lays a board over a zeroed region of BoardSize bytes, aligned to a cache line. monotonic is CLOCK_MONOTONIC
// at base, in nanoseconds.
func LayBoard(region []byte, layout Layout, base time.Time, monotonic int64) *Board {
	b := over(region, layout.Legs())
	b.Base = base
	h := b.head
	h.magic, h.version, h.cellSize = boardMagic, BoardVersion, uint32(unsafe.Sizeof(cell{}))
	h.legs, h.pairs, h.first, h.monotonic = uint32(layout.Legs()), uint32(layout.Pairs), uint32(layout.First), monotonic
	return b
}

// ViewBoard looks at a region that another process writes; the region may be mapped for reading only. now is this
// moment, monotonic the same one by CLOCK_MONOTONIC.
func ViewBoard(region []byte, layout Layout, now time.Time, monotonic int64) (*Board, error) {
	if len(region) < BoardSize(layout) {
		return nil, fmt.Errorf("media: the shared table has %d bytes, %d are needed: both processes must be of one build", len(region), BoardSize(layout))
	}
	b := over(region, layout.Legs())
	h := b.head
	switch {
	case h.magic != boardMagic:
		return nil, errors.New("media: the shared memory is no table of legs")
	case h.version != BoardVersion, h.cellSize != uint32(unsafe.Sizeof(cell{})):
		return nil, fmt.Errorf("media: the shared table has layout %d, this program knows %d: both processes must be of one build", h.version, BoardVersion)
	case h.legs != uint32(layout.Legs()), h.pairs != uint32(layout.Pairs), h.first != uint32(layout.First):
		return nil, fmt.Errorf("media: the shared table is of %d legs from port %d, not of %d from %d", h.legs, h.first, layout.Legs(), layout.First)
	}
	b.Base = now.Add(-time.Duration(monotonic - h.monotonic))
	return b, nil
}

// over has no opinion on what the region holds. Its alignment is the caller's affair: memory that was mapped is aligned
// to a page.
func over(region []byte, legs int) *Board {
	start := unsafe.Pointer(&region[0])
	return &Board{
		head:  (*head)(start),
		cells: unsafe.Slice((*cell)(unsafe.Add(start, headSize)), legs),
	}
}

// SetMissing marks a port that another program holds.
func (b *Board) SetMissing(leg int) { b.cells[leg].use.Store(useMissing) }

// SetFingerprint publishes the fingerprint of our certificate, which is one of SHA-256. It is to be called before the region
// is shared.
func (b *Board) SetFingerprint(f Fingerprint) { copy(b.head.print[:], f.Value[:]) }

// Fingerprint is that of our certificate, for the SDP. It reports false where no handshakes are possible.
func (b *Board) Fingerprint() (f Fingerprint, ok bool) {
	f.Hash = SHA256
	copy(f.Value[:], b.head.print[:])
	return f, b.head.print != [sha256.Size]byte{}
}

// Estranged counts a handshake that came to nothing. Any goroutine may call it.
func (b *Board) Estranged(leg int, generation uint32) {
	if c := &b.cells[leg]; c.generation.Load() == generation {
		c.rejected[RejectedDTLS].Add(1)
		b.head.totals[RejectedDTLS].Add(1)
	}
}

// Missing lists the legs whose ports other programs hold.
func (b *Board) Missing() (legs []int) {
	for i := range b.cells {
		if b.cells[i].use.Load() == useMissing {
			legs = append(legs, i)
		}
	}
	return legs
}

// Holding is an RTP leg that is in use.
type Holding struct {
	Leg, Peer  int
	Side       nat.Side
	Generation uint32
	Since      time.Time // of its first command
	Seen       time.Time // the last accepted datagram on it or its RTCP leg; zero: none
	Latches    uint32
	Heard      uint32 // telephone events of its peer so far
}

// Holdings are the legs in use, in the order of the table.
func (b *Board) Holdings() iter.Seq[Holding] {
	return func(yield func(Holding) bool) {
		for leg := 0; leg < len(b.cells); leg += 2 {
			if h, ok := b.holding(leg); ok && !yield(h) {
				return
			}
		}
	}
}

// HoldingsOf are those of some RTP legs that are in use.
func (b *Board) HoldingsOf(legs ...int) iter.Seq[Holding] {
	return func(yield func(Holding) bool) {
		for _, leg := range legs {
			if h, ok := b.holding(leg); ok && !yield(h) {
				return
			}
		}
	}
}

func (b *Board) holding(leg int) (h Holding, ok bool) {
	c := &b.cells[leg]
	use := c.use.Load()
	if use != useOutside && use != useInside {
		return h, false
	}
	h = Holding{
		Leg: leg, Peer: int(c.peer.Load()), Side: nat.Outside, Generation: c.generation.Load(),
		Since: b.Base.Add(time.Duration(c.since.Load())), Latches: c.latches.Load(), Heard: c.heard.Load(),
	}
	if use == useInside {
		h.Side = nat.Inside
	}
	if at := max(c.seen.Load(), b.cells[leg+1].seen.Load()); at != 0 {
		h.Seen = b.Base.Add(time.Duration(at))
	}
	// What was read of a leg that changed meanwhile belongs together by chance only.
	return h, c.use.Load() == use && c.generation.Load() == h.Generation && h.Peer >= 0 && h.Peer+1 < len(b.cells) && h.Peer&1 == 0
}

// held reports whether a leg is in use by a generation.
func (b *Board) held(leg int, generation uint32) bool {
	use := b.cells[leg].use.Load()
	return (use == useOutside || use == useInside) && b.cells[leg].generation.Load() == generation
}

// newest is the highest generation on the board.
func (b *Board) newest() (generation uint32) {
	for i := range b.cells {
		generation = max(generation, b.cells[i].generation.Load())
	}
	return generation
}

// frame runs a group of writes that a reader sees whole or not at all.
func (c *cell) frame(write func()) {
	c.turn.Add(1)
	write()
	c.turn.Add(1)
}

// reset starts the figures of a new stream.
func (c *cell) reset(now int64, generation uint32) {
	c.frame(func() {
		c.generation.Store(generation)
		c.since.Store(now)
		for _, v := range [...]*atomic.Uint64{&c.packets, &c.control, &c.bytes, &c.sent, &c.remoteHi, &c.remoteLo, &c.farSent, &c.farVoice, &c.rollIn, &c.rollOut} {
			v.Store(0)
		}
		for _, v := range [...]*atomic.Int64{&c.seen, &c.lost, &c.jitter, &c.farLost} {
			v.Store(0)
		}
		for _, v := range [...]*atomic.Uint32{&c.changes, &c.latches, &c.remotePort, &c.roundTrip, &c.farJitter, &c.reports, &c.heard, &c.played, &c.eventStamp, &c.secured, &c.proved} {
			v.Store(0)
		}
		for i := range c.rejected {
			c.rejected[i].Store(0)
		}
	})
}

// serve publishes that a leg is in use.
func (c *cell) serve(peer int32, f flags) {
	use := useOutside
	if f&flagInside != 0 {
		use = useInside
	}
	c.peer.Store(peer)
	c.use.Store(use)
}

// setRemote publishes where the leg sends to.
func (c *cell) setRemote(p Endpoint, latched bool) {
	c.frame(func() {
		port := uint32(p.port)
		if latched {
			port |= latchedBit
			c.latches.Add(1)
		}
		c.remoteHi.Store(p.hi)
		c.remoteLo.Store(p.lo)
		c.remotePort.Store(port)
	})
}
