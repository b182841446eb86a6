package media

import (
	"net/netip"
	"runtime"
	"time"
)

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

// patience is how often a reader looks at a frame that is being written. Frames are a few stores long; one that stays
// open was left by a media process that died within it.
const patience = 1 << 12

// read takes a snapshot. It reports false if the leg shows another generation: no command of the stream has been
// applied yet.
func (b *Board) read(leg int, generation uint32) (s snapshot, ok bool) {
	c := &b.cells[leg]
	for range patience {
		turn := c.turn.Load()
		if turn&1 == 0 {
			s, ok = c.load(), c.generation.Load() == generation
			if c.turn.Load() == turn {
				return s, ok
			}
		}
		runtime.Gosched() // the writer may wait for our processor
	}
	return snapshot{}, false
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

// add joins what an earlier media process counted for the same side; where both know, the later one is right.
func (s *LegStats) add(earlier *LegStats) {
	s.Packets += earlier.Packets
	s.Bytes += earlier.Bytes
	s.Control += earlier.Control
	s.Sent += earlier.Sent
	s.Lost += earlier.Lost
	s.SSRCChanges += earlier.SSRCChanges
	s.Latches += earlier.Latches
	for i, n := range earlier.Rejected {
		s.Rejected[i] += n
	}
	if s.Jitter == 0 {
		s.Jitter = earlier.Jitter
	}
	if s.LastSeen.IsZero() {
		s.LastSeen = earlier.LastSeen
	}
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
