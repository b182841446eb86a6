package natlab

import (
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// segment is the header of what a stream sends: that of TCP without what a test cannot see. Sequence numbers have 64
// bits and start at another place for each stream, so that nothing of an old connection fits into a new one.
type segment struct {
	syn, ack, fin, rst, probe bool
	seq, acked                uint64
	window                    int
}

// answerReset is what a port answers that knows no such connection (RFC 9293 §3.10.7.1); nil: nothing.
func (g *segment) answerReset() *segment {
	switch {
	case g.rst:
		return nil
	case g.ack:
		return &segment{rst: true, seq: g.acked}
	default:
		return &segment{rst: true, ack: true, acked: g.seq + 1}
	}
}

// opens reports the first segment of a connection.
func (g *segment) opens() bool { return g.syn && !g.ack }

// streamState is how far a stream is. Half-closed ones are open: sender and receiver know the rest.
type streamState uint8

const (
	synSent streamState = iota
	synReceived
	established
	ended
)

// The times of a stream, those of Linux.
const (
	firstRTO  = time.Second            // RFC 6298 §2.1
	leastRTO  = 200 * time.Millisecond // besides the round trip
	mostRTO   = time.Minute
	dialFor   = 127 * time.Second // six repeats of a SYN
	giveUp    = 15 * time.Minute  // a peer that acknowledges nothing (RFC 1122 §4.2.3.5: at least 100 s)
	orphanFor = time.Minute       // a closed end waits for its peer's end
)

// receiver is the half of a stream that hears.
type receiver struct {
	in       []byte // in order, not read yet
	late     []piece
	expected uint64 // next sequence number
	finished bool   // the peer's end has come, all before it as well
}

// piece is what came before its time.
type piece struct {
	seq  uint64
	data []byte
	fin  bool
}

// sender is the half of a stream that speaks.
type sender struct {
	out               []byte // from una on: not acknowledged, then not sent
	first             uint64 // the SYN's number
	una, next, high   uint64 // oldest not acknowledged; next to send; beyond the highest ever sent
	window            int    // the peer's
	shut              bool   // nothing more will be written; finSeq is the end's number
	finSeq            uint64
	rto, srtt, spread time.Duration
	timed             uint64 // acknowledging this ends a measurement of the round trip; 0: none
	timedAt           time.Duration
	due               time.Duration // when to repeat
	waiting           bool          // for an acknowledgement, or for the window to open
	since             time.Duration // it began, or the peer last said anything
	ticking           bool          // a tick is under way
}

// open begins the handshake.
func (s *Stream) open(st streamState) {
	n := s.host.net
	n.seq++
	s.first = n.seq << 32
	s.state, s.una, s.next, s.high = st, s.first, s.first+1, s.first+1
	s.rto, s.waiting, s.since = firstRTO, true, n.now()
	s.sendSYN()
	s.wait(s.rto)
}

func (s *Stream) sendSYN() {
	s.send(segment{syn: true, ack: s.state == synReceived, seq: s.first}, nil)
}

// send sends one segment; acknowledgement and window are filled in.
func (s *Stream) send(g segment, data []byte) {
	g.acked, g.window = s.expected, max(0, s.host.net.window-len(s.in))
	s.host.forward(&packet{src: s.local, dst: s.remote, segment: &g, data: data})
}

func (s *Stream) acknowledge() { s.send(segment{ack: true, seq: s.next}, nil) }

// reset ends the stream and tells the peer.
func (s *Stream) reset(why error) {
	s.send(segment{rst: true, ack: true, seq: s.high}, nil)
	s.die(why)
}

// wait calls tick after a while, unless something is acknowledged before.
func (s *Stream) wait(d time.Duration) {
	n := s.host.net
	s.due = n.now() + d
	if !s.ticking {
		s.ticking = true
		n.enqueue(&packet{tick: s, at: s.due})
	}
}

// tick is the stream's timer.
func (s *Stream) tick() {
	n := s.host.net
	s.ticking = false
	switch {
	case s.state == ended || !s.waiting && !s.orphan():
		return
	case s.due > n.now():
		s.ticking = true
		n.enqueue(&packet{tick: s, at: s.due})
		return
	}
	patience := giveUp
	if s.state != established {
		patience = dialFor
	}
	switch {
	case s.orphan():
		s.die(syscall.ETIMEDOUT)
		return
	case n.now()-s.since >= patience:
		s.die(syscall.ETIMEDOUT)
		return
	case s.state != established:
		s.sendSYN()
	default:
		s.next, s.timed = s.una, 0 // RFC 6298 §3: a repeat measures nothing
		if !s.transmit() {
			s.send(segment{ack: true, probe: true, seq: s.next}, nil) // RFC 9293 §3.8.6.1: the window is shut
		}
	}
	s.rto = min(2*s.rto, mostRTO)
	s.wait(s.rto)
}

// orphan reports a closed end, all of whose bytes have arrived, that waits for its peer to end as well.
func (s *Stream) orphan() bool { return s.closed && s.done() && !s.finished }

// done reports that our end has been acknowledged.
func (s *Stream) done() bool { return s.shut && s.una > s.finSeq }

// finish queues our end behind what was written.
func (s *Stream) finish() {
	if s.shut {
		return
	}
	s.shut = true
	s.finSeq = s.una + uint64(len(s.out))
	s.transmit()
	s.writable.Broadcast()
}

// reap ends a stream that is closed on both sides.
func (s *Stream) reap() {
	switch {
	case s.state == ended || !s.closed || !s.done():
	case s.finished:
		s.die(nil)
	default:
		s.wait(orphanFor)
	}
}

// segmentSize is the longest payload of a segment on a path of 1500 bytes.
func segmentSize(a netip.Addr) int {
	if a.Is4() {
		return 1500 - 20 - 20
	}
	return 1500 - 40 - 20
}

// transmit sends what the peer's window takes. It reports whether anything was sent.
func (s *Stream) transmit() (sent bool) {
	if s.state != established {
		return false
	}
	end := s.una + uint64(len(s.out))
	for limit := min(end, s.una+uint64(s.window)); s.next < limit; sent = true {
		k := min(limit-s.next, uint64(segmentSize(s.local.Addr())))
		from := s.next - s.una
		s.send(segment{ack: true, seq: s.next}, slices.Clone(s.out[from:from+k]))
		s.next += k
		if s.timed == 0 && s.next > s.high {
			s.timed, s.timedAt = s.next, s.host.net.now()
		}
		s.high = max(s.high, s.next)
	}
	if s.shut && s.next == s.finSeq {
		s.send(segment{ack: true, fin: true, seq: s.next}, nil)
		s.next++
		s.high, sent = max(s.high, s.next), true
	}
	if !s.waiting && (sent || len(s.out) > 0) {
		s.waiting, s.since = true, s.host.net.now()
		s.wait(s.rto)
	}
	return sent
}
