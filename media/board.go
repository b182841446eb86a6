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
	Base     time.Time
	head     *head
	cells    []cell // by pair, as the others
	annexes  []annex
	refusals []refusals
	digits   []digits
}

// BoardVersion is the version of the region's layout; it changes with any change of head or rows.
const BoardVersion = 5

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

const delayBuckets = 1 + 22*delaySteps

const headSize = int(unsafe.Sizeof(head{}))

// BoardSize is the length of a layout's region in bytes.
func BoardSize(layout Layout) int { return BoardCore(layout) + layout.Legs()/2*besideSize }

// BoardCore is how much of it, from its beginning, calls use whatever they do. The rest need not be there before it is
// written.
func BoardCore(layout Layout) int { return headSize + layout.Legs()/2*cellSize }

// NewBoard makes the board of a table in memory of this process alone.
func NewBoard(layout Layout, base time.Time) *Board {
	room := make([]byte, BoardSize(layout)+cacheLine)
	skip := -int(uintptr(unsafe.Pointer(&room[0]))) & (cacheLine - 1)
	return LayBoard(room[skip:][:BoardSize(layout)], layout, base, 0)
}

// LayBoard lays a board over a zeroed region of BoardSize bytes, aligned to a cache line. monotonic is CLOCK_MONOTONIC
// at base, in nanoseconds.
func LayBoard(region []byte, layout Layout, base time.Time, monotonic int64) *Board {
	b := over(region, layout.Legs()/2)
	b.Base = base
	h := b.head
	h.magic, h.version, h.cellSize = boardMagic, BoardVersion, uint32(cellSize+besideSize)
	h.legs, h.pairs, h.first, h.monotonic = uint32(layout.Legs()), uint32(layout.Pairs), uint32(layout.First), monotonic
	return b
}

// ViewBoard looks at a region that another process writes; the region may be mapped for reading only. now is this
// moment, monotonic the same one by CLOCK_MONOTONIC.
func ViewBoard(region []byte, layout Layout, now time.Time, monotonic int64) (*Board, error) {
	if len(region) < BoardSize(layout) {
		return nil, fmt.Errorf("media: the shared table has %d bytes, %d are needed: both processes must be of one build", len(region), BoardSize(layout))
	}
	b := over(region, layout.Legs()/2)
	h := b.head
	switch {
	case h.magic != boardMagic:
		return nil, errors.New("media: the shared memory is no table of legs")
	case h.version != BoardVersion, h.cellSize != uint32(cellSize+besideSize):
		return nil, fmt.Errorf("media: the shared table has layout %d, this program knows %d: both processes must be of one build", h.version, BoardVersion)
	case h.legs != uint32(layout.Legs()), h.pairs != uint32(layout.Pairs), h.first != uint32(layout.First):
		return nil, fmt.Errorf("media: the shared table is of %d legs from port %d, not of %d from %d", h.legs, h.first, layout.Legs(), layout.First)
	}
	b.Base = now.Add(-time.Duration(monotonic - h.monotonic))
	return b, nil
}

// over has no opinion on what the region holds. Its alignment is the caller's affair: memory that was mapped is aligned
// to a page.
func over(region []byte, pairs int) *Board {
	b, next := &Board{}, unsafe.Pointer(&region[0])
	b.head = (*head)(next)
	next = unsafe.Add(next, headSize)
	b.cells = unsafe.Slice((*cell)(next), pairs)
	next = unsafe.Add(next, pairs*cellSize)
	b.annexes = unsafe.Slice((*annex)(next), pairs)
	next = unsafe.Add(next, pairs*int(unsafe.Sizeof(annex{})))
	b.refusals = unsafe.Slice((*refusals)(next), pairs)
	next = unsafe.Add(next, pairs*int(unsafe.Sizeof(refusals{})))
	b.digits = unsafe.Slice((*digits)(next), pairs)
	return b
}

// SetMissing marks a port that another program holds.
func (b *Board) SetMissing(leg int) {
	c := b.cell(leg)
	use := c.use()
	if use < useMissing {
		use = 0
	}
	c.place.Store((use | missing(leg)) << useShift)
}

// missing is the use of a pair of which another program holds a port.
func missing(leg int) uint32 { return useMissing << (leg & 1) }

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
	if b.cell(leg).generation.Load() == generation {
		b.refuse(leg, RejectedDTLS)
	}
}

// Missing lists the legs whose ports other programs hold.
func (b *Board) Missing() (legs []int) {
	for leg := range 2 * len(b.cells) {
		if use := b.cell(leg).use(); use&missing(leg) != 0 {
			legs = append(legs, leg)
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
		for pair := range b.cells {
			if h, ok := b.holding(pair * 2); ok && !yield(h) {
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
	c := b.cell(leg)
	was := c.place.Load()
	use, peer := was>>useShift, int(was&peerMask)
	if use != useOutside && use != useInside {
		return h, false
	}
	h = Holding{
		Leg: leg, Peer: peer, Side: nat.Outside, Generation: c.generation.Load(),
		Since: b.Base.Add(time.Duration(c.since.Load())), Latches: c.remotes[0].latches.Load(), Heard: c.heard.Load(),
	}
	if use == useInside {
		h.Side = nat.Inside
	}
	if at := c.seen.Load(); at != 0 {
		h.Seen = b.Base.Add(time.Duration(at))
	}
	// What was read of a leg that changed meanwhile belongs together by chance only.
	return h, c.place.Load() == was && c.generation.Load() == h.Generation && h.Peer+1 < 2*len(b.cells) && h.Peer&1 == 0
}

// held reports whether a leg is in use by a generation.
func (b *Board) held(leg int, generation uint32) bool {
	use := b.cell(leg).use()
	return (use == useOutside || use == useInside) && b.cell(leg).generation.Load() == generation
}

// newest is the highest generation on the board.
func (b *Board) newest() (generation uint32) {
	for i := range b.cells {
		generation = max(generation, b.cells[i].generation.Load())
	}
	return generation
}
