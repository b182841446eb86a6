package media

import (
	"cmp"
	"net/netip"
	"runtime"
	"time"
)

// snapshot is the published state of a leg at one moment; figures are those of both ports.
type snapshot struct {
	packets, control uint64
	bytes, sent      uint64
	seen, jitter     int64
	lost             int64
	changes, latches uint32
	trip, farJitter  uint32
	reports          uint32
	farLost          int64
	farSent          uint64
	farVoice         voiceReport
	remote           Endpoint
	latched          bool
	rejected         [rejections]uint64
}

// patience is how often a reader looks at a frame that is being written. Frames are a few stores long; one that stays
// open was left by a media process that died within it.
const patience = 1 << 12

// read takes a snapshot. It reports false if the leg shows another generation: no command of the stream has been
// applied yet.
func (b *Board) read(leg int, generation uint32) (s snapshot, ok bool) {
	c := b.cell(leg)
	for range patience {
		turn := c.turn.Load()
		if turn&1 == 0 {
			s, ok = b.load(leg), c.generation.Load() == generation
			if c.turn.Load() == turn {
				return s, ok
			}
		}
		runtime.Gosched() // the writer may wait for our processor
	}
	return snapshot{}, false
}

func (b *Board) load(leg int) (s snapshot) {
	c, x, at := b.cell(leg), b.annexOf(leg), &b.cell(leg).remotes[leg&1]
	port, sent := at.port.Load(), c.sent.Load()
	s = snapshot{
		packets: c.packets.Load(), control: uint64(c.control.Load()), bytes: c.bytes.Load(), sent: sent + uint64(x.control.Load()),
		seen: c.seen.Load(), lost: int64(c.lost.Load()), jitter: c.jitter.Load(),
		changes: c.changes.Load(), latches: at.latches.Load(),
		trip: x.roundTrip.Load(), farJitter: x.farJitter.Load(), reports: x.reports.Load(),
		farLost: int64(x.farLost.Load()), farVoice: voiceReport(x.farVoice.Load()),
		remote:  Endpoint{at.hi.Load(), at.lo.Load(), uint16(port)},
		latched: port&latchedBit != 0,
	}
	if s.reports > 0 {
		s.farSent = sent - uint64(max(0, int32(uint32(sent)-x.farSent.Load()))) // what was sent since is less than 2³¹
	}
	noted := c.noted.Load()
	for why := range s.rejected {
		if noted&(1<<why) != 0 {
			s.rejected[why] = uint64(b.refusals[leg>>1][why].Load())
		}
	}
	return s
}

// stray is when a port was last disturbed, and zero if it never was.
func (b *Board) stray(leg int) time.Time {
	if at := b.cell(leg).seen.Load(); at != 0 {
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

	// What the peer says in RTCP of what it was sent (RFC 3550 §6.4.1, RFC 3611 §4).
	Reports      uint64 // how often it said so; 0: nothing below is known but RoundTrip
	FarLost      uint64
	FarSent      uint64        // what had been sent to it when it last said so
	FarJitter    time.Duration // as it measured it
	FarDiscarded float64       // share that its playout buffer could not use
	FarMOS       float64       // its own estimate; 0: none
	RoundTrip    time.Duration // between us and the peer; 0: not known
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
	s.Reports += earlier.Reports
	s.FarLost += earlier.FarLost
	s.FarSent += earlier.FarSent
	if s.Jitter == 0 {
		s.Jitter = earlier.Jitter
	}
	s.FarJitter, s.RoundTrip = cmp.Or(s.FarJitter, earlier.FarJitter), cmp.Or(s.RoundTrip, earlier.RoundTrip)
	s.FarDiscarded, s.FarMOS = cmp.Or(s.FarDiscarded, earlier.FarDiscarded), cmp.Or(s.FarMOS, earlier.FarMOS)
	if s.LastSeen.IsZero() {
		s.LastSeen = earlier.LastSeen
	}
}

// stats are the figures of a side, of its RTP and its RTCP port.
func (b *Board) stats(leg int, generation uint32) (s LegStats) {
	p, ok := b.read(leg&^1, generation)
	if !ok {
		return s
	}
	s = LegStats{
		Packets: p.packets, Control: p.control, Bytes: p.bytes, Sent: p.sent, Lost: uint64(max(0, p.lost)),
		Jitter: time.Duration(p.jitter >> 4), SSRCChanges: p.changes, Latches: p.latches,
		Remote: p.remote.AddrPort(), Latched: p.latched, Rejected: p.rejected,
		Reports: uint64(p.reports), FarLost: uint64(max(0, p.farLost)), FarSent: p.farSent,
		FarJitter: time.Duration(p.farJitter) * time.Microsecond, RoundTrip: time.Duration(p.trip) * time.Microsecond,
		FarDiscarded: p.farVoice.discarded(), FarMOS: p.farVoice.mos(),
	}
	if p.seen != 0 {
		s.LastSeen = b.Base.Add(time.Duration(p.seen))
	}
	return s
}
