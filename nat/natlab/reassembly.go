package natlab

import (
	"slices"
	"syscall"
	"time"
)

// receive takes a segment of this stream.
func (s *Stream) receive(g *segment, data []byte) {
	switch {
	case s.state == synSent:
		s.receiveOpening(g)
		return
	case g.rst:
		// RFC 5961 §3.2: who does not know where we are may not end us.
		if g.seq >= s.expected && g.seq <= s.expected+uint64(s.host.net.window) {
			s.die(syscall.ECONNRESET)
		}
		return
	case g.syn && s.state == synReceived && !g.ack:
		s.sendSYN()
		return
	case g.syn:
		s.acknowledge() // ours was lost; or the peer has begun anew (RFC 5961 §4.2) and will reset this one
		return
	}
	if !s.acknowledged(g) {
		return
	}
	if len(data) > 0 || g.fin {
		if s.closed && len(data) > 0 && g.seq+uint64(len(data)) > s.expected {
			s.reset(syscall.ECONNRESET)
			return
		}
		s.insert(piece{g.seq, data, g.fin})
		s.acknowledge()
	} else if g.probe {
		s.acknowledge()
	}
	s.transmit()
	s.reap()
}

// receiveOpening takes the answer to our SYN.
func (s *Stream) receiveOpening(g *segment) {
	fits := g.ack && g.acked == s.next
	switch {
	case g.rst && fits:
		s.die(syscall.ECONNREFUSED)
	case g.rst, !g.ack:
	case !fits: // an old connection of the peer's
		s.send(segment{rst: true, seq: g.acked}, nil)
	case g.syn:
		s.expected = g.seq + 1
		s.acknowledged(g)
		s.state = established
		s.acknowledge()
		s.writable.Broadcast()
	}
}

// acknowledged takes in what the peer has got. It reports false for a segment that fits nowhere.
func (s *Stream) acknowledged(g *segment) bool {
	if !g.ack || g.acked > s.high {
		return false
	}
	n := s.host.net
	s.since = n.now()
	if g.acked >= s.una {
		s.window = g.window
	}
	if g.acked <= s.una {
		return true
	}
	if s.una == s.first { // the SYN takes a number
		s.una++
	}
	k := min(g.acked-s.una, uint64(len(s.out)))
	s.out = s.out[k:]
	if len(s.out) == 0 {
		s.out = nil
	}
	s.una, s.next = g.acked, max(s.next, g.acked)
	s.measure(n.now())
	if s.waiting = s.una < s.high || len(s.out) > 0; s.waiting {
		s.wait(s.rto)
	}
	if s.state == synReceived {
		s.state = established
		s.listener.queue = append(s.listener.queue, s)
		s.listener.wake.Signal()
	}
	s.writable.Broadcast()
	return true
}

// measure keeps the round trip and sets the timer anew (RFC 6298 §2).
func (s *Stream) measure(now time.Duration) {
	if s.timed != 0 && s.una >= s.timed {
		r := now - s.timedAt
		if s.srtt == 0 {
			s.srtt, s.spread = r, r/2
		} else {
			s.spread = (3*s.spread + (s.srtt - r).Abs()) / 4
			s.srtt = (7*s.srtt + r) / 8
		}
		s.timed = 0
	}
	s.rto = firstRTO
	if s.srtt > 0 {
		s.rto = min(s.srtt+max(leastRTO, 4*s.spread), mostRTO)
	}
}

// insert puts bytes in their place. Those beyond the window are dropped: they come again.
func (s *Stream) insert(p piece) {
	if p.seq > s.expected {
		end := p.seq + uint64(len(p.data))
		if end > s.expected+uint64(max(0, s.host.net.window-len(s.in))) {
			return
		}
		i, found := slices.BinarySearchFunc(s.late, p.seq, func(q piece, seq uint64) int {
			return int(min(max(int64(q.seq-seq), -1), 1))
		})
		if !found {
			s.late = slices.Insert(s.late, i, p)
		} else if len(p.data) > len(s.late[i].data) || p.fin {
			s.late[i] = p
		}
		return
	}
	s.append(p)
	for len(s.late) > 0 && s.late[0].seq <= s.expected {
		s.append(s.late[0])
		s.late = s.late[1:]
	}
	s.readable.Broadcast()
}

// append takes the new part of a piece that begins no later than expected.
func (s *Stream) append(p piece) {
	end := p.seq + uint64(len(p.data))
	if end > s.expected {
		fresh := p.data[s.expected-p.seq:]
		if room := max(0, s.host.net.window-len(s.in)); len(fresh) > room {
			fresh, p.fin = fresh[:room], false
		}
		s.in = append(s.in, fresh...)
		s.expected += uint64(len(fresh))
	}
	if p.fin && !s.finished && end == s.expected {
		s.expected++
		s.finished = true
	}
}

// take moves bytes to a reader and tells the peer once a shut window is open again.
func (s *Stream) take(b []byte) int {
	size := s.host.net.window
	worth := min(segmentSize(s.local.Addr()), size/2) // RFC 9293 §3.8.6.2.2: no silly windows
	shut := size-len(s.in) < worth
	k := copy(b, s.in)
	if s.in = s.in[k:]; len(s.in) == 0 {
		s.in = nil
	}
	if shut && s.state == established && size-len(s.in) >= worth {
		s.acknowledge()
	}
	return k
}
