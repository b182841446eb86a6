package tu

import (
	"net/netip"
	"strconv"
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
	Clock     uint32        // RTP clock of the dynamic ones in Hz; 0: 8000
	Mux       bool          // RTCP on the RTP port (RFC 5761)
	Opaque    bool          // not RTP (T.38 UDPTL, unknown): no header checks
	Send      bool          // the peer may hear us
	Receive   bool          // the peer may be heard
	Final     bool          // the answer is in: between 2xx and BYE, media timeout runs
	Timeout   time.Duration // silence both ways that ends the call; 0: never
	Hold      time.Duration // the same while held
	Epoch     uint32        // a new one permits a new latch (re-INVITE, UPDATE)

	Numbers    Numbering // the peer's payload types as the other leg knows them
	Continuous bool      // the peer hears one SSRC, one sequence and one clock, whatever happens behind us
	Events     Events    // telephone events of this peer
	Tones      Tones     // telephone events to send to this peer
	Police     Police    // what the peer may send at most
	Crypto     Crypto    // SRTP on this leg
	ICE        ICE       // our credentials, by which the peer shows where it is; zero: it does not
	Peer       Identity  // whose handshake the keys come of (DTLS-SRTP)
	CNAMEs     CNAMEKey  // of the call: RTCP passes without what it says of the peer; zero: as it is
}

// CNAMEKey is the key under which a call's CNAMEs are replaced (RFC 3550 §6.5.1): in all its streams alike, and in no other call.
type CNAMEKey [16]byte

// String tells no key: what prints an action prints no secret.
func (CNAMEKey) String() string { return "CNAME key" }

// GoString does the same for %#v.
func (k CNAMEKey) GoString() string { return k.String() }

// Numbering maps payload types: 0 leaves a number as it is, n+1 stands for n, 255 for none: not relayed. Behind the 128 of
// them stands n+1 for the payload type n of redundant audio, whose payload names others (RFC 2198 §3).
type Numbering [129]uint8

// Set maps a payload type.
func (n *Numbering) Set(from, to uint8) {
	if from < 128 && to < 128 {
		n[from] = to + 1
		if from == to {
			n[from] = 0
		}
	}
}

// Redundant says which payload type is redundant audio; the first one counts.
func (n *Numbering) Redundant(pt uint8) {
	if n[128] == 0 {
		n[128] = pt&127 + 1
	}
}

// Plain reports whether all payload types stay as they are.
func (n *Numbering) Plain() bool { return [128]uint8(n[:128]) == [128]uint8{} }

// Discard has packets of a payload type not relayed.
func (n *Numbering) Discard(pt uint8) { n[pt&127] = 255 }

// Events are the telephone events (RFC 4733) of a peer.
type Events struct {
	Payload uint8  // their payload type; 0: none was negotiated
	Clock   uint32 // RTP clock in Hz
	Report  bool   // digits that the peer sends come as DigitHeard
}

// MaxTones bounds Tones.
const MaxTones = 8

// Tones are digits to be sent to a peer. Of a list that is repeated only the new ones are played: Serial counts all
// digits of the stream so far, the last one of the list included.
type Tones struct {
	Serial uint32
	Count  uint8
	List   [MaxTones]Tone
}

// Tone is one telephone event.
type Tone struct {
	Event    uint8  // RFC 4733 §3.2: 0-9, 10 for *, 11 for #, 12-15 for A-D
	Volume   uint8  // dBm0 without the sign, 0-63
	Duration uint16 // milliseconds
}

// Police bounds what a peer may send.
type Police struct {
	Rate uint32 // packets a second; 0: any
	Size uint16 // bytes of a datagram; 0: any
}

// Suite is an SRTP crypto suite; 0: none. The names are those of RFC 4568 §6.2, RFC 6188 and RFC 7714.
type Suite uint8

// The suites.
const (
	NoCrypto Suite = iota
	AES128CM80
	AES128CM32
	AES256CM80
	AES256CM32
	AEADAES128GCM
	AEADAES256GCM
)

// Crypto is what protects a leg (RFC 3711): master key and master salt, one behind the other.
type Crypto struct {
	Suite   Suite
	Receive [46]byte // of what the peer sends
	Send    [46]byte // of what is sent to the peer
}

// String tells no key: what prints an action prints no secret.
func (c Crypto) String() string { return "suite " + strconv.Itoa(int(c.Suite)) }

// GoString does the same for %#v.
func (c Crypto) GoString() string { return c.String() }

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

// ICE are our own credentials of a leg, of ice-chars (RFC 8839 §5.4).
type ICE struct {
	Fragment [8]byte
	Password [24]byte
}

// Fingerprint is the hash of a certificate (RFC 8122 §5); the bytes behind the hash's length are zero.
type Fingerprint struct {
	Hash  Hash
	Value [64]byte
}

// Hash is the function of a fingerprint; 0: none.
type Hash uint8

// The hash functions.
const (
	NoHash Hash = iota
	SHA256
	SHA384
	SHA512
)

// Role is who begins a DTLS handshake (RFC 8842 §5.2); 0: there is none.
type Role uint8

// The roles.
const (
	NoDTLS  Role = iota
	Passive      // the peer begins
	Active       // we begin
)

// Identity is how a peer shows who it is: by the certificate of a DTLS handshake, whose keys protect the leg (RFC 5763).
type Identity struct {
	Role  Role
	Print Fingerprint
}
