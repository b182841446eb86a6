package tu

import (
	"net/netip"
	"time"

	"sallyport/nat"
)

// Stream is what the relay reserved for one m= line: the bound RTP address of each side; RTCP is the port above.
type Stream struct{ Local [2]netip.AddrPort }

// At is the stream's RTP address on a side.
func (s Stream) At(side nat.Side) netip.AddrPort { return s.Local[side] }

// Aim is the whole wanted state of one leg of a stream: where its peer is said to be, and who may be it.
type Aim struct {
	RTP, RTCP netip.AddrPort // the SDP's addresses; invalid: none usable, wait for the latch
	Fallback  netip.Addr     // the leg's signalling address: with the SDP's port, until the latch
	Sources   []netip.Prefix // accepted besides the SDP's address
	Latch     Latch
	Payloads  Payloads      // negotiated payload types
	Mux       bool          // RTCP on the RTP port (RFC 5761)
	Opaque    bool          // not RTP (T.38 UDPTL, unknown): no header checks
	Send      bool          // the peer may hear us
	Receive   bool          // the peer may be heard
	Final     bool          // the answer is in: between 2xx and BYE, media timeout runs
	Timeout   time.Duration // silence both ways that ends the call; 0: never
	Hold      time.Duration // the same while held
	Epoch     uint32        // a new one permits a new latch (re-INVITE, UPDATE)
}

// Payloads is a set of RTP payload types, 0–127.
type Payloads [2]uint64

// Add puts a payload type in; numbers over 127 are left out.
func (p *Payloads) Add(pt uint8) {
	if pt < 128 {
		p[pt>>6] |= 1 << (pt & 63)
	}
}

// Has reports whether a payload type is in the set.
func (p *Payloads) Has(pt uint8) bool { return pt < 128 && p[pt>>6]&(1<<(pt&63)) != 0 }
