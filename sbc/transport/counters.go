package transport

import (
	"sync/atomic"

	"sallyport/nat"
)

// Counters are the sums of one interface since it was opened. Every message received is counted once more under what
// became of it. A message to a stream is sent when it is queued.
type Counters struct {
	Interface nat.Interface

	Received      uint64
	ReceivedBytes uint64

	Ignored   uint64 // keep-alives, STUN, what is no SIP
	Dropped   uint64 // by the guard
	Rejected  uint64 // by the guard, with an answer
	Malformed uint64 // passed the guard, refused by the parser
	Delivered uint64
	Overflow  uint64 // the inbox was full
	Busy      uint64 // too much to do: answered 503
	Panics    uint64 // a fault of ours; the message is lost

	Sent      uint64
	SentBytes uint64
	Replies   uint64 // of Sent, this room's own stateless answers
	Lost      uint64 // the send buffer was full
	Failed    uint64 // refused by the kernel: no route, packet filter; of streams: the queue was full

	Unreachable   uint64 // ICMP errors reported
	ReadErrors    uint64
	KernelDrops   uint64 // the receive buffer was full
	ReceiveBuffer int    // bytes that the kernel gave; 0: unknown

	Streams StreamCounters
}

// StreamCounters are the sums of the connections of one interface.
type StreamCounters struct {
	Accepted          uint64 // connections
	Refused           uint64 // no room, of all or of their source: closed at once
	HandshakeFailures uint64 // of accepted ones; the upgrade to a WebSocket is part of it
	Dialled           uint64
	DialFailures      uint64 // no connection, or no proof of who answered
	Pings             uint64 // RFC 5626, RFC 6455

	// Why connections ended:
	ClosedByPeer   uint64 // or by the network
	ClosedIdle     uint64
	ClosedDeadline uint64 // a message did not come to its end
	ClosedFraming  uint64 // no telling where a message ends
	ClosedSlow     uint64 // the peer does not read
	ClosedCrowded  uint64 // others needed the room
	ClosedOverload uint64 // the inbox stayed full
	ClosedAsked    uint64 // CloseFlow, CloseWhere
	ClosedHere     uint64 // the interface was closed
}

// sums are the live counters of an endpoint.
type sums struct {
	received, receivedBytes                atomic.Uint64
	ignored, dropped, rejected, malformed  atomic.Uint64
	delivered, overflow, busy, panics      atomic.Uint64
	sent, sentBytes, replies, lost, failed atomic.Uint64
	unreachable, readErrors                atomic.Uint64

	accepted, refused, handshakes, dialled, dialFailures, pings atomic.Uint64

	closed [causes]atomic.Uint64 // connections
}

// snapshot reads the counters. Those that count outcomes are read before the total, so that the total is never smaller.
func (d *door) snapshot() Counters {
	n := &d.count
	c := Counters{
		Interface: d.face,
		Ignored:   n.ignored.Load(), Dropped: n.dropped.Load(), Rejected: n.rejected.Load(),
		Malformed: n.malformed.Load(), Delivered: n.delivered.Load(), Overflow: n.overflow.Load(),
		Busy: n.busy.Load(), Panics: n.panics.Load(),
		Replies: n.replies.Load(), SentBytes: n.sentBytes.Load(), Lost: n.lost.Load(), Failed: n.failed.Load(),
		Unreachable: n.unreachable.Load(), ReadErrors: n.readErrors.Load(),
		Streams: StreamCounters{
			Refused: n.refused.Load(), HandshakeFailures: n.handshakes.Load(), DialFailures: n.dialFailures.Load(),
			Pings: n.pings.Load(), ClosedByPeer: n.closed[gone].Load() + n.closed[parted].Load(), ClosedIdle: n.closed[idle].Load(),
			ClosedDeadline: n.closed[deadline].Load(), ClosedFraming: n.closed[framing].Load(),
			ClosedSlow: n.closed[slow].Load(), ClosedCrowded: n.closed[crowded].Load(),
			ClosedOverload: n.closed[overload].Load(), ClosedAsked: n.closed[asked].Load(), ClosedHere: n.closed[closing].Load(),
		},
	}
	c.Received, c.ReceivedBytes, c.Sent = n.received.Load(), n.receivedBytes.Load(), n.sent.Load()
	c.Streams.Accepted, c.Streams.Dialled = n.accepted.Load(), n.dialled.Load()
	return c
}

func (e *endpoint) snapshot() Counters {
	c := e.door.snapshot()
	c.ReceiveBuffer = e.buffer
	if d, ok := e.conn.(interface{ kernelDrops() uint64 }); ok {
		c.KernelDrops = d.kernelDrops()
	}
	return c
}
