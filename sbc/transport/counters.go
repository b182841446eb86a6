package transport

import (
	"sync/atomic"

	"sallyport/nat"
)

// Counters are the sums of one interface since it was opened. Every datagram received is counted once more under what
// became of it.
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
	Failed    uint64 // refused by the kernel: no route, packet filter

	Unreachable   uint64 // ICMP errors reported
	ReadErrors    uint64
	KernelDrops   uint64 // the receive buffer was full
	ReceiveBuffer int    // bytes that the kernel gave; 0: unknown
}

// sums are the live counters of an endpoint.
type sums struct {
	received, receivedBytes                atomic.Uint64
	ignored, dropped, rejected, malformed  atomic.Uint64
	delivered, overflow, busy, panics      atomic.Uint64
	sent, sentBytes, replies, lost, failed atomic.Uint64
	unreachable, readErrors                atomic.Uint64
}

// snapshot reads the counters. Those that count outcomes are read before the total, so that the total is never smaller.
func (e *endpoint) snapshot() Counters {
	n := &e.count
	c := Counters{
		Interface: e.face, ReceiveBuffer: e.buffer,
		Ignored: n.ignored.Load(), Dropped: n.dropped.Load(), Rejected: n.rejected.Load(),
		Malformed: n.malformed.Load(), Delivered: n.delivered.Load(), Overflow: n.overflow.Load(),
		Busy: n.busy.Load(), Panics: n.panics.Load(),
		Replies: n.replies.Load(), SentBytes: n.sentBytes.Load(), Lost: n.lost.Load(), Failed: n.failed.Load(),
		Unreachable: n.unreachable.Load(), ReadErrors: n.readErrors.Load(),
	}
	c.Received, c.ReceivedBytes, c.Sent = n.received.Load(), n.receivedBytes.Load(), n.sent.Load()
	if d, ok := e.conn.(interface{ kernelDrops() uint64 }); ok {
		c.KernelDrops = d.kernelDrops()
	}
	return c
}
