package nat

import (
	"net/netip"
	"strings"
)

// Side is one of the two doors of the gate.
type Side uint8

// The sides. Their numbers index two-element arrays everywhere in the program.
const (
	Outside Side = iota // towards the Internet: trunk providers, roaming phones
	Inside              // towards the PBX
)

// Other is the opposite side.
func (s Side) Other() Side { return 1 - s }

// String is the side's name in logs, metrics and `sbc why`.
func (s Side) String() string {
	if s == Outside {
		return "outside"
	}
	return "inside"
}

// Realm is the role of a listener; the listener that a message arrives on decides it.
type Realm uint8

// The realms.
const (
	Phones Realm = iota // 5060: roaming phones
	Trunks              // 5080: trunk providers
)

// String is the realm's name in the configuration, logs and metrics.
func (r Realm) String() string {
	if r == Phones {
		return "phones"
	}
	return "trunks"
}

// Transport is a SIP transport protocol.
type Transport uint8

// The transports (RFC 3261 §7.1, RFC 7118).
const (
	UDP Transport = iota
	TCP
	TLS
	WSS
)

var transportNames = [...]string{"udp", "tcp", "tls", "wss"}

// String is the transport's name in the configuration and in logs.
func (t Transport) String() string { return transportNames[t] }

// Param is the transport's value in a transport= parameter. There WebSocket is "ws", over TLS too (RFC 7118 §5.2.2).
func (t Transport) Param() string {
	if t == WSS {
		return "ws"
	}
	return t.String()
}

// Via is the transport's token in a Via header field (RFC 3261 §20.42).
func (t Transport) Via() string { return strings.ToUpper(t.String()) }

// Secure reports whether the transport runs over TLS.
func (t Transport) Secure() bool { return t == TLS || t == WSS }

// Reliable reports whether the transport retransmits by itself; transaction timers depend on it (RFC 3261 §17).
func (t Transport) Reliable() bool { return t != UDP }

// ParseTransport reads a transport's name, in any case. It reports false for an unknown one.
func ParseTransport(name string) (Transport, bool) {
	for i, n := range transportNames {
		if strings.EqualFold(n, name) {
			return Transport(i), true
		}
	}
	return UDP, false
}

// Interface is one listening socket of a realm. It never changes while it lives.
type Interface struct {
	ID         uint16 // index into the program's interfaces, stable while the socket lives
	Side       Side
	Realm      Realm
	Transport  Transport
	Bind       netip.AddrPort // where it is bound; always a concrete address
	Advertised netip.AddrPort // what peers beyond a NAT are told; Bind where no external address is set
}

// String names the interface as the start-up lines and `sbc why` do: side/realm transport address.
func (i *Interface) String() string {
	return i.Side.String() + "/" + i.Realm.String() + " " + i.Transport.String() + " " + i.Bind.String()
}

// Flow is a remote address and transport as seen by an interface (RFC 5626 §2).
// A stream's flow names its live connection: a message for it never reaches another one.
//
// Class keeps connections of TLS that we make to one address apart: what was proven on a connection, and who we were there, counts for
// those alone that want the same (RFC 5922 §7, RFC 5923 §5).
type Flow struct {
	Interface uint16
	Transport Transport
	Class     uint32 // of a connection of TLS that we make: what its two ends prove to each other; 0: of all others
	Remote    netip.AddrPort
	Conn      uint64 // 0 for datagrams
}
