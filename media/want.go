package media

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"sallyport/media/ice"
	"sallyport/nat"
)

// MaxSources bounds Want.Sources: eight early dialogs and eight configured ranges.
const MaxSources = 16

// Mode is how a leg learns where its peer's media really comes from (RFC 7362).
type Mode uint8

// The modes; the package comment says what they accept.
const (
	Off Mode = iota
	Strict
	Delayed
	Ported // as Strict, of a peer whose NAT gives it other ports than the SDP names: nobody is waited for there
)

// String is the mode's name in the configuration.
func (m Mode) String() string { return [...]string{"off", "strict", "delayed", "ported"}[m%4] }

// Credentials are a leg's own ICE credentials.
type Credentials = ice.Credentials

// Want is the whole wanted state of one leg: where its peer is said to be, and who may be it.
type Want struct {
	// RTP and RTCP are the SDP's addresses. One whose address is invalid or unspecified is no destination, but its port
	// counts: until the latch we send to (Fallback, port). RTCP without a port means the port above RTP (RFC 3550 §11).
	RTP, RTCP netip.AddrPort
	Fallback  netip.Addr     // the leg's signalling address
	Sources   []netip.Prefix // accepted besides the SDP's address; at most MaxSources
	Latch     Mode
	Payloads  [2]uint64 // bit set of the payload types that the peer may send; empty: any
	Clock     uint32    // RTP clock in Hz for the jitter; 0: that of the static payload type, else 8000
	Mux       bool      // RTCP on the RTP port (RFC 5761)
	Opaque    bool      // not RTP (T.38 UDPTL, unknown): no header checks
	Send      bool      // the peer may hear us
	Receive   bool      // the peer may be heard
	Final     bool      // between 2xx and BYE: the media timeout runs once both legs are final
	Epoch     uint32    // a new one permits a new latch (re-INVITE, UPDATE)
	Timeout   time.Duration
	Hold      time.Duration // instead of Timeout while the stream is held; both: 0 never

	Numbers    Numbering   // the peer's payload types as the other leg knows them
	Continuous bool        // the peer hears one SSRC, one sequence and one clock, whatever happens behind us
	Events     Events      // telephone events of this peer
	Tones      Tones       // telephone events to send to this peer
	Police     Police      // what the peer may send at most
	Crypto     Crypto      // SRTP on this leg
	ICE        Credentials // of our own: the peer shows where it is by checks with them; zero: it does not
	Peer       Identity    // SRTP keys come of a handshake with this peer
	CNAMEs     CNAMEKey    // of the call: the other peer gets what this one says of itself in RTCP under another name; zero: as it is
}

// Errors of Reserve and Point. They are told apart with errors.Is.
var (
	// ErrNoPorts says that the pool is empty: answer 503.
	ErrNoPorts = errors.New("media: no free port pair: widen media.ports or wait for calls to end")
	// ErrGone says that the stream is not reserved, or no more.
	ErrGone = errors.New("media: stream is not reserved")
	// ErrForbidden says that the peer named an address where media must not go: answer 488.
	ErrForbidden = errors.New("media: forbidden destination")
	// ErrLoop says that the peer named a port of the same stream: answer 488.
	ErrLoop = errors.New("media: the stream would feed itself")
	// ErrClosed says that the plane has been closed.
	ErrClosed = errors.New("media: closed")
)

// check reports what no relay may do, whatever signalling decided. The side's bind addresses give the families.
func (w *Want) check(layout Layout, side nat.Side) error {
	if len(w.Sources) > MaxSources {
		return fmt.Errorf("media: %d sources for a leg: join them to %d prefixes at most", len(w.Sources), MaxSources)
	}
	for _, p := range w.Sources {
		if !p.IsValid() {
			return fmt.Errorf("media: source %v is no prefix", p)
		}
	}
	for _, ap := range []netip.AddrPort{w.RTP, w.RTCP, netip.AddrPortFrom(w.Fallback, 1)} {
		a := ap.Addr().Unmap()
		switch {
		case !a.IsValid() || a.IsUnspecified(): // no destination yet; not an error
		case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			return fmt.Errorf("%w: %v is multicast or broadcast", ErrForbidden, a)
		case !layout.has(side, a):
			return fmt.Errorf("%w: %v is not of the family of %v", ErrForbidden, a, layout.Addresses[side])
		}
	}
	return nil
}

// Command is a message to the engine: the whole wanted state of one leg, or its end. It holds no pointers and is
// harmless to repeat; a later one for the same leg replaces an earlier one.
type Command struct {
	Leg        int32  // the RTP leg; its RTCP leg is the next one
	Peer       int32  // the RTP leg of the other side
	Generation uint32 // of the stream; a new one starts the leg afresh
	Free       bool   // the leg is a free port again; nothing below counts

	rtp, rtcp Endpoint    // exact destinations, fallback applied
	learned   [2]Endpoint // what an earlier engine had locked, RTP and RTCP; counts on a fresh leg only
	fallback  Endpoint    // address only
	sources   [MaxSources]network
	nsources  uint8
	mode      Mode
	payloads  [2]uint64
	clock     uint32
	epoch     uint32
	flags     flags
	extras
}

// Follow takes over what an earlier command says of the engine of before, if this one takes its place before it has been
// carried out: it is said once, and who protects under old keys must know where the last engine stood.
func (c *Command) Follow(earlier *Command) {
	if earlier.resumed && !c.resumed && !c.Free && !earlier.Free && c.Generation == earlier.Generation {
		c.learned, c.resume, c.keyed, c.resumed = earlier.learned, earlier.resume, earlier.keyed, true
	}
}

// Urgent reports whether a command is for now, even where nothing arrives on its legs: it has tones to be played.
func (c *Command) Urgent() bool { return !c.Free && c.tones.Count > 0 }

type flags uint16

const (
	flagMux flags = 1 << iota
	flagOpaque
	flagSend
	flagReceive
	flagControl // an RTCP leg
	flagFinal
	flagInside     // the peer is inside
	flagNumbered   // payload types differ on the other leg
	flagContinuous // the peer hears one stream
	flagEvents     // telephone events of the peer are told apart
	flagPoliced    // rate or size is bounded
	flagSecure     // SRTP
	flagChecked    // ICE
	flagDTLS       // keys come of a handshake

	flagsEnd
)

// The engine's own.
const (
	flagTapped  flags = 1 << 14 // its datagrams are copied
	flagPlaying flags = 1 << 15 // the leg's peer hears a tone at the moment, and nothing else
)

const _ = flagTapped - flagsEnd // does not compile once a flag of the wire takes its place

// command renders a checked Want.
func (w *Want) command(side nat.Side, leg, peer int, generation uint32) Command {
	c := Command{
		Leg: int32(leg), Peer: int32(peer), Generation: generation,
		mode: w.Latch, payloads: w.Payloads, clock: w.Clock, epoch: w.Epoch,
		fallback: EndpointOf(netip.AddrPortFrom(w.Fallback, 0)),
		extras:   extras{w.Numbers, w.Events, w.Tones, w.Police, w.Crypto, resume{}, keyed{}, w.ICE, w.Peer, w.CNAMEs, 0, false},
	}
	c.rtp = EndpointOf(w.RTP)
	if c.rtp.noAddr() {
		c.rtp = c.fallback.at(c.rtp.port)
	}
	c.rtcp = EndpointOf(w.RTCP)
	if c.rtcp.noAddr() {
		c.rtcp = c.rtp.at(c.rtcp.port)
	}
	if c.rtcp.port == 0 && c.rtp.port != 0 && c.rtp.port != 65535 {
		c.rtcp.port = c.rtp.port + 1
	}
	for _, p := range w.Sources {
		c.sources[c.nsources] = networkOf(p)
		c.nsources++
	}
	for _, f := range []struct {
		on  bool
		bit flags
	}{{w.Mux, flagMux}, {w.Opaque, flagOpaque}, {w.Send, flagSend}, {w.Receive, flagReceive}, {w.Final, flagFinal}, {side == nat.Inside, flagInside}, {w.Numbers != Numbering{}, flagNumbered}, {w.Continuous, flagContinuous}, {w.Events.Payload != 0, flagEvents},
		{w.Police != Police{}, flagPoliced}, {w.Crypto.Suite != NoCrypto, flagSecure},
		{w.ICE != Credentials{}, flagChecked}, {w.Peer.Role != NoDTLS, flagDTLS}} {
		if f.on {
			c.flags |= f.bit
		}
	}
	return c
}
