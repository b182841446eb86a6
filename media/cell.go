package media

import (
	"math"
	"sync/atomic"
	"unsafe"
)

// The rows of the Board, by pair of ports: RTP and RTCP have one worker, and share what they publish. What every call needs
// is in cells. The other tables are written where there is something to write, and read only where the cell says so: memory
// that nobody has touched takes up no room.

// cell is the published state of a pair, two cache lines, of which a relayed packet touches the first. Writes that belong
// together are framed by turn: odd while they last.
type cell struct {
	turn       atomic.Uint32
	generation atomic.Uint32
	packets    atomic.Uint64
	bytes      atomic.Uint64
	sent       atomic.Uint64 // by the RTP port
	seen       atomic.Int64  // engine clock of the last accepted datagram; on free ports, of the last stray
	jitter     atomic.Int64  // nanoseconds × 16
	lost       atomic.Int32
	control    atomic.Uint32
	changes    atomic.Uint32
	place      atomic.Uint32 // use << useShift | peer, an RTP leg

	remotes [2]remote    // of the RTP and the RTCP port
	since   atomic.Int64 // engine clock of the first command of this generation
	heard   atomic.Uint32
	noted   atomic.Uint32 // which other rows count: a bit for each Rejection, and annexed
}

// remote is where a port sends to.
type remote struct {
	hi, lo  atomic.Uint64
	port    atomic.Uint32 // latchedBit: learned or confirmed
	latches atomic.Uint32
}

// annex is what a pair publishes that has RTCP, SRTP or telephone events.
type annex struct {
	// What the peer reports of what it was sent (RFC 3550 §6.4.1, RFC 3611), and the round trip to it.
	roundTrip atomic.Uint32 // microseconds; 0: not known
	farJitter atomic.Uint32 // microseconds
	farLost   atomic.Int32
	farSent   atomic.Uint32 // what it had been sent when it last reported, modulo 2³²
	farVoice  atomic.Uint32 // voiceReport
	reports   atomic.Uint32
	control   atomic.Uint32 // sent by the RTCP port

	played     atomic.Uint32 // Tones.Serial of the last tone that was begun
	eventStamp atomic.Uint32 // RTP timestamp of the last event in digits

	// What a protected leg needs to go on in another process: SSRC << 32 | index of its foremost packet modulo 2³², which is
	// rollover counter and sequence number (RFC 3711 §3.2.1, §3.3.1).
	secured         atomic.Uint32 // index of the last SRTCP packet sent (RFC 3711 §3.2.1)
	rollIn, rollOut atomic.Uint64
	proved          atomic.Uint32 // … and the highest one received
	marks           atomic.Uint32 // of the keys that rollIn and rollOut count for (marksOf)
}

type (
	refusals [maxRejections]atomic.Uint32
	digits   [digitSlots]atomic.Uint64 // the last ones of cell.heard, each at its number-1 modulo the length
)

const (
	digitSlots = 8

	latchedBit = 1 << 16 // of remote.port
	annexed    = 1 << 31 // of cell.noted: the annex counts
)

// What a pair is used for.
const (
	useFree uint32 = iota
	useOutside
	useInside

	useMissing = 4 // another program holds the RTP port; twice that: the RTCP port; or both
	useShift   = 20
	peerMask   = 1<<useShift - 1 // a table has 2¹⁷ legs at most
)

// use is what a pair is used for.
func (c *cell) use() uint32 { return c.place.Load() >> useShift }

// frame runs a group of writes that a reader sees whole or not at all.
func (c *cell) frame(write func()) {
	c.turn.Add(1)
	write()
	c.turn.Add(1)
}

// serve publishes that a pair is in use.
func (c *cell) serve(peer int32, f flags) {
	use := useOutside
	if f&flagInside != 0 {
		use = useInside
	}
	c.place.Store(use<<useShift | uint32(peer)&peerMask)
}

// free publishes that it is no more. The figures stay for who has not read the last ones.
func (c *cell) free() { c.place.Store(useFree<<useShift | c.place.Load()&peerMask) }

// setRemote publishes where a leg sends to.
func (b *Board) setRemote(leg int, p Endpoint, latched bool) {
	c := b.cell(leg)
	r := &c.remotes[leg&1]
	c.frame(func() {
		port := uint32(p.port)
		if latched {
			port |= latchedBit
			r.latches.Add(1)
		}
		r.hi.Store(p.hi)
		r.lo.Store(p.lo)
		r.port.Store(port)
	})
}

// reset starts the figures of a pair's new stream.
func (b *Board) reset(leg int, now int64, generation uint32) {
	c := b.cell(leg)
	c.frame(func() {
		c.generation.Store(generation)
		c.since.Store(now)
		for _, v := range [...]*atomic.Uint64{&c.packets, &c.bytes, &c.sent, &c.remotes[0].hi, &c.remotes[0].lo, &c.remotes[1].hi, &c.remotes[1].lo} {
			v.Store(0)
		}
		c.seen.Store(0)
		c.jitter.Store(0)
		c.lost.Store(0)
		for _, v := range [...]*atomic.Uint32{&c.control, &c.changes, &c.heard, &c.remotes[0].port, &c.remotes[1].port, &c.remotes[0].latches, &c.remotes[1].latches} {
			v.Store(0)
		}
		noted := c.noted.Swap(0)
		if noted&annexed != 0 {
			b.annexes[leg>>1].reset()
		}
		for why := range b.refusals[leg>>1] {
			if noted&(1<<why) != 0 {
				b.refusals[leg>>1][why].Store(0)
			}
		}
	})
}

func (x *annex) reset() {
	for _, v := range [...]*atomic.Uint32{&x.roundTrip, &x.farJitter, &x.farSent, &x.farVoice, &x.reports, &x.control, &x.played, &x.eventStamp, &x.secured, &x.proved, &x.marks} {
		v.Store(0)
	}
	x.farLost.Store(0)
	x.rollIn.Store(0)
	x.rollOut.Store(0)
}

// note says that a row besides the cell counts. Others than the worker may call it.
func (c *cell) note(bit uint32) {
	if c.noted.Load()&bit == 0 {
		c.noted.Or(bit)
	}
}

// cell is the row of a leg's pair.
func (b *Board) cell(leg int) *cell { return &b.cells[leg>>1] }

// annex is the row that a leg's pair has besides, for writing.
func (b *Board) annex(leg int) *annex {
	b.cell(leg).note(annexed)
	return &b.annexes[leg>>1]
}

var noAnnex annex

// annexOf is the same for reading: all zero where nothing was written.
func (b *Board) annexOf(leg int) *annex {
	if b.cell(leg).noted.Load()&annexed == 0 {
		return &noAnnex
	}
	return &b.annexes[leg>>1]
}

// refuse counts a datagram of a leg that is not relayed. Any goroutine may call it.
func (b *Board) refuse(leg int, why Rejection) {
	b.refusals[leg>>1][why].Add(1)
	b.cell(leg).note(1 << why)
	b.head.totals[why].Add(1)
}

// sent counts datagrams that have left by a leg; -1 takes one back.
func (b *Board) sent(leg int32, n int) {
	if leg&1 != 0 {
		b.annex(int(leg)).control.Add(uint32(n))
		return
	}
	b.cells[leg>>1].sent.Add(uint64(n))
}

// saturate is a figure in the room that the board has for it.
func saturate(n int64) int32 { return int32(min(max(n, math.MinInt32), math.MaxInt32)) }

// The sizes of the rows, and how much of them is the cells'.
const (
	cellSize   = int(unsafe.Sizeof(cell{}))
	besideSize = int(unsafe.Sizeof(annex{}) + unsafe.Sizeof(refusals{}) + unsafe.Sizeof(digits{}))
)
