package tu

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// Kind says what a peer is to us.
type Kind uint8

// The kinds of peers.
const (
	KindTrunk Kind = iota
	KindNode       // a PBX node
	KindPhone
)

// String is the kind's name in logs.
func (k Kind) String() string { return [...]string{"trunk", "node", "phone"}[k] }

// Peer is one peer system, or a phone, with the settings that a leg towards it lives by. It never changes: a reload makes new ones,
// and a call keeps those it began with.
type Peer struct {
	Kind  Kind
	Name  string // trunk name, the node's address, or the phone's address-of-record
	Side  nat.Side
	Realm nat.Realm

	// Host is what stands in Request-URI and To towards the peer where no better is known: the trunk's host, the
	// PBX's domain.
	Host string
	// Domain is the host of From towards the peer, if it is not our own address: pbx.domain, for phones and PBX.
	Domain string

	Symmetric bool             // responses always to the source, whatever Via says
	Reach     []netip.Prefix   // next hops of in-dialog requests must lie within these, else the set-up's peer
	Never     []netip.AddrPort // our own listeners: nothing is ever sent there, whatever a Contact or route says

	Media MediaPolicy

	Codecs       []string      // the only ones that pass, by name and in the order of preference; nil: all, as they come
	Transfer     Transfer      // what becomes of a REFER towards this peer
	Referral     Transfer      // what becomes of a REFER of this peer's
	Redirect     Redirect      // what becomes of a 3xx of this peer's
	SessionTimer time.Duration // the session interval that is asked for (RFC 4028); 0: none, what the peer asks for is granted
	MaxCall      time.Duration // from the answer to the end; 0: any
	Rules        *Rules        // of its header fields; nil: none

	Account *Account // what its challenges are answered with; nil: nothing
	Routes  []string // the route set of requests outside dialogs (RFC 3608), values of Route fields in order; none: the hop is the way
	// ContactUser is the user of our Contact towards it; empty: the number.
	ContactUser string
	Group       string // of trunks, or of nodes, that share something; empty: none

	Failover Codes    // final answers after which a call is tried elsewhere, besides 503
	Manners  Manners  // what it does not take
	Class    uint32   // of connections of TLS that are made to it (nat.Flow)
	Also     []string // of who a source is: the names of other trunks that it may speak for; a request tells which of them

	// Of a phone alone:

	AoRs     []string // addresses-of-record, user@domain, with live bindings on exactly this flow
	Token    string   // of its binding: the user of our Contact towards the PBX; empty: it has none
	Trusted  []string // header fields that pass from it besides those of every phone
	Ported   bool     // its NAT is known to give it other ports than it names
	Sealed   bool     // its last call was SRTP
	Profile  string   // of RTP in its last call; empty: it has made none
	Keyed    bool     // its last call was SRTP by DTLS
	Checked  bool     // with ICE
	Stranger bool     // it has no binding; the guard let its request in all the same (REGISTER, `forward`)

	AttemptTimeout time.Duration // no answer at all within: the next hop
	RingTimeout    time.Duration // from the first 18x to the final answer
	TimerC         time.Duration // a provisional answer keeps an INVITE alive so long (RFC 3261 §16.6, over 3 min)
}

// SpeaksFor reports whether a peer may speak in a dialog with another one: it is of the same system, or of one that has the same
// source.
func (p *Peer) SpeaksFor(other *Peer) bool {
	return p.Side == other.Side && p.Kind == other.Kind &&
		(p.Kind == KindNode || p.Name == other.Name || slices.Contains(p.Also, other.Name))
}

// Transfer says what becomes of a REFER (RFC 3515).
type Transfer uint8

// The ways.
const (
	TransferPass   Transfer = iota // it goes to the other leg, whose peer places the call
	TransferLocal                  // the gate places the call and reports
	TransferReject                 // 603
)

// String is the way's name in the configuration.
func (t Transfer) String() string { return [...]string{"pass", "local", "reject"}[t%3] }

// Redirect says what becomes of a 3xx (RFC 3261 §8.1.3.4).
type Redirect uint8

// The ways.
const (
	RedirectPass   Redirect = iota // it goes to who has called, and leads through the gate again
	RedirectFollow                 // the call goes on to where it leads, by the same peer
	RedirectReject                 // the callee is unavailable
)

// String is the way's name in the configuration.
func (r Redirect) String() string { return [...]string{"pass", "follow", "reject"}[r%3] }

// MediaPolicy is how streams of a leg find their far end.
type MediaPolicy struct {
	Latch   Latch
	Sources []netip.Prefix // media is accepted from these too
	Timeout time.Duration  // silence that ends a call; 0 never
	Hold    time.Duration  // the same for a held stream
	SRTP    SRTP
	DTMF    DTMF // how the peer sends and takes digits
}

// DTMF is how a peer sends digits, and how it wants to be sent them.
type DTMF uint8

// The ways.
const (
	DTMFPass   DTMF = iota // as they come
	DTMFEvents             // telephone events in RTP (RFC 4733)
	DTMFInfo               // INFO with application/dtmf-relay or application/dtmf
)

// String is the way's name in the configuration.
func (d DTMF) String() string { return [...]string{"pass", "rfc4733", "info"}[d%3] }

// SRTP says whether media of a leg is protected.
type SRTP uint8

// The settings of SRTP.
const (
	SRTPOff      SRTP = iota // never: an offer of it alone is refused
	SRTPOptional             // answered as offered; offered as the peer had it last, and the other way where it refuses
	SRTPRequired             // always: anything else is refused
)

// String is the setting's name in the configuration.
func (s SRTP) String() string { return [...]string{"off", "optional", "required"}[s%3] }

// Latch is how a leg learns where its peer's media really comes from (RFC 7362).
type Latch uint8

// The latch modes.
const (
	LatchOff     Latch = iota // the SDP's address only
	LatchStrict               // the exact SDP port, else learn the port once and lock
	LatchDelayed              // as strict, but the SDP's port may retake within 3 s
	LatchPorted               // as strict, of a phone whose NAT is known to change ports: the SDP's one is not waited for
)

// Local is one of our interfaces as a peer sees it.
type Local struct {
	Interface uint16
	Transport nat.Transport
	Signal    netip.AddrPort // advertised signalling address: Via and Contact towards that peer
	Media     netip.Addr     // advertised media address: SDP towards that peer
	Other     netip.Addr     // the same in the other family; invalid: the side has one family
}

// Hop is one place where a request can be sent: a peer, how it sees us, and the flow that reaches it.
type Hop struct {
	ID   string // names the peer's address in health: "itsp 203.0.113.20:5060"
	Peer *Peer
	Here Local
	Flow nat.Flow
	// Target is the Request-URI towards a phone: its own Contact. Nil: the user that was asked for at Peer.Host.
	Target *message.URI
}

// Toward is the flow by which a dialog's next hop is reached: the first route, else the remote target (RFC 3261 §12.2.1.1).
// It must lie within the peer's addresses, else the flow of the set-up is used: nobody can send our requests elsewhere by a
// Contact. A phone is reached by its flow alone.
func (h Hop) Toward(uri message.URI) nat.Flow {
	if h.Peer.Kind == KindPhone {
		return h.Flow // its Contact is an address of its own network, or none at all
	}
	addr, err := netip.ParseAddr(uri.Host)
	if err != nil || !h.speaks(uri) {
		return h.Flow
	}
	port := uri.Port
	switch {
	case port != 0:
	case h.Flow.Transport == nat.TLS:
		port = 5061 // RFC 3261 §19.1.2
	default:
		port = 5060
	}
	to := netip.AddrPortFrom(addr.Unmap(), port)
	if slices.Contains(h.Peer.Never, to) {
		return h.Flow // it would come back to us (RFC 3261 §16.3)
	}
	if slices.ContainsFunc(h.Peer.Reach, func(p netip.Prefix) bool { return p.Contains(to.Addr()) }) {
		// Over a stream: by a connection to there, if need be a new one. The one that the set-up came by leads to a port
		// that only its owner could have opened.
		h.Flow.Remote, h.Flow.Conn = to, 0
		if h.Flow.Transport == nat.TLS {
			h.Flow.Class = h.Peer.Class
		}
	}
	return h.Flow
}

// speaks reports whether a URI's port is one of the hop's transport: that of a sips: URI hears TLS (RFC 3261 §26.2.2), and that of
// one with a transport parameter hears what it names. A peer stays on its transport.
func (h Hop) speaks(uri message.URI) bool {
	if uri.Scheme == "sips" {
		return h.Flow.Transport.Secure()
	}
	name, named := uri.Param("transport")
	if !named {
		return true
	}
	if t, known := nat.ParseTransport(name); known {
		return t == h.Flow.Transport
	}
	return name == h.Flow.Transport.Param()
}
