package media

import (
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
)

// Rejection is why a datagram was not relayed.
type Rejection uint8

// The rejections, a closed list: they index LegStats.Rejected and Gauges.Rejected.
const (
	Accepted          Rejection = iota // not rejected
	RejectedStray                      // on a free port
	RejectedSource                     // from outside the candidates, or another port of one once the leg is locked
	RejectedOwn                        // from a port of our own pool that the SDP did not name
	RejectedLearn                      // from a candidate that is not proven yet
	RejectedJunk                       // no RTP, RTCP or whole header
	RejectedSTUN                       // STUN: no ICE was negotiated
	RejectedDTLS                       // DTLS: no DTLS-SRTP was negotiated
	RejectedPort                       // RTCP on an RTP port without rtcp-mux, or on the RTCP port with it
	RejectedDirection                  // the leg may not be heard, or the other may not hear (hold)
	RejectedNowhere                    // the other leg has no destination yet
	RejectedUnsent                     // the kernel refused to send it
	RejectedInternal                   // the engine failed on it: a bug, to be reported

	rejections
)

// NumRejections is the length of the closed list.
const NumRejections = int(rejections)

var rejectionNames = [...]string{"accepted", "stray", "source", "own-port", "unproven", "junk", "stun", "dtls",
	"wrong-port", "direction", "no-destination", "unsent", "internal"}

// String is the rejection's name in metrics and CDRs.
func (r Rejection) String() string { return rejectionNames[r%rejections] }

// Board is what the engine publishes and signalling reads: counters of each leg, totals, and when a free port was last
// disturbed. One thread writes; any may read.
type Board struct {
	// Base is the zero of the engine's clock. It carries a monotonic reading.
	Base   time.Time
	cells  []cell
	totals [rejections]atomic.Uint64
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
	remotePort atomic.Uint32 // bit 16: latched
	changes    atomic.Uint32
	latches    atomic.Uint32
	rejected   [rejections]atomic.Uint32
	_          [48]byte
}

const latchedBit = 1 << 16

// NewBoard makes the board of a table.
func NewBoard(layout Layout, base time.Time) *Board {
	return &Board{Base: base, cells: make([]cell, layout.Legs())}
}

// frame runs a group of writes that a reader sees whole or not at all.
func (c *cell) frame(write func()) {
	c.turn.Add(1)
	write()
	c.turn.Add(1)
}

// reset starts the figures of a new stream.
func (c *cell) reset(generation uint32) {
	c.frame(func() {
		c.generation.Store(generation)
		for _, v := range [...]*atomic.Uint64{&c.packets, &c.control, &c.bytes, &c.sent, &c.remoteHi, &c.remoteLo} {
			v.Store(0)
		}
		for _, v := range [...]*atomic.Int64{&c.seen, &c.lost, &c.jitter} {
			v.Store(0)
		}
		for _, v := range [...]*atomic.Uint32{&c.changes, &c.latches, &c.remotePort} {
			v.Store(0)
		}
		for i := range c.rejected {
			c.rejected[i].Store(0)
		}
	})
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

// snapshot is a leg's published state at one moment.
type snapshot struct {
	packets, control   uint64
	bytes, sent        uint64
	seen, lost, jitter int64
	changes, latches   uint32
	remote             Endpoint
	latched            bool
	rejected           [rejections]uint64
}

// read takes a snapshot. It reports false if the leg shows another generation: no command of the stream has been
// applied yet. The writer's frames are a few stores long, so the loop ends.
func (b *Board) read(leg int, generation uint32) (s snapshot, ok bool) {
	c := &b.cells[leg]
	for {
		turn := c.turn.Load()
		if turn&1 == 0 {
			s, ok = c.load(), c.generation.Load() == generation
			if c.turn.Load() == turn {
				return s, ok
			}
		}
		runtime.Gosched() // the writer may wait for our processor
	}
}

func (c *cell) load() (s snapshot) {
	port := c.remotePort.Load()
	s = snapshot{
		packets: c.packets.Load(), control: c.control.Load(), bytes: c.bytes.Load(), sent: c.sent.Load(),
		seen: c.seen.Load(), lost: c.lost.Load(), jitter: c.jitter.Load(),
		changes: c.changes.Load(), latches: c.latches.Load(),
		remote:  Endpoint{c.remoteHi.Load(), c.remoteLo.Load(), uint16(port)},
		latched: port&latchedBit != 0,
	}
	for i := range s.rejected {
		s.rejected[i] = uint64(c.rejected[i].Load())
	}
	return s
}

// stray is when a port was last disturbed, and zero if it never was.
func (b *Board) stray(leg int) time.Time {
	if at := b.cells[leg].seen.Load(); at != 0 {
		return b.Base.Add(time.Duration(at))
	}
	return time.Time{}
}

// LegStats are the relay's figures of one side of a stream: what its peer sent, and what was sent to it.
type LegStats struct {
	Packets     uint64                // RTP accepted from the peer (other datagrams on a leg without header checks)
	Bytes       uint64                // of those, UDP payload
	Control     uint64                // RTCP accepted from the peer
	Sent        uint64                // relayed to the peer, RTP and RTCP
	Lost        uint64                // RFC 3550 §A.3, all SSRCs together
	Jitter      time.Duration         // RFC 3550 §A.8
	Rejected    [NumRejections]uint64 // RTP and RTCP port together, by Rejection
	SSRCChanges uint32
	Latches     uint32         // how often a source was locked
	Remote      netip.AddrPort // where RTP is sent to; invalid: nowhere yet
	Latched     bool           // Remote was learned or confirmed by packets
	Ported      bool           // … and has another port than the SDP named
	LastSeen    time.Time      // last accepted datagram; zero: none
}

// RejectedTotal is the sum over all rejections.
func (s *LegStats) RejectedTotal() (n uint64) {
	for _, v := range s.Rejected {
		n += v
	}
	return n
}

// stats joins the RTP and the RTCP leg of a side.
func (b *Board) stats(leg int, generation uint32) (s LegStats) {
	rtp, ok := b.read(leg, generation)
	if !ok {
		return s
	}
	s = LegStats{
		Packets: rtp.packets, Control: rtp.control, Bytes: rtp.bytes, Sent: rtp.sent, Lost: uint64(max(0, rtp.lost)),
		Jitter: time.Duration(rtp.jitter >> 4), SSRCChanges: rtp.changes, Latches: rtp.latches,
		Remote: rtp.remote.AddrPort(), Latched: rtp.latched, Rejected: rtp.rejected,
	}
	seen := rtp.seen
	if rtcp, ok := b.read(leg+1, generation); ok {
		s.Control += rtcp.control
		s.Sent += rtcp.sent
		seen = max(seen, rtcp.seen)
		for i, n := range rtcp.rejected {
			s.Rejected[i] += n
		}
	}
	if seen != 0 {
		s.LastSeen = b.Base.Add(time.Duration(seen))
	}
	return s
}
