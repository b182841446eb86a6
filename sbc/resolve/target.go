package resolve

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport/nat"
)

// Target is what is looked up. It is comparable.
type Target struct {
	Host string // a DNS name, in lower case, without a dot at the end
	// Port is the one that was named: addresses are looked up alone. 0: SRV records say (RFC 3263 §4.2).
	Port      uint16
	Transport nat.Transport // of the endpoints, unless Any
	// Any: no transport was named, NAPTR records say (RFC 3263 §4.1). Speaks is then what we can use.
	Any    bool
	Speaks Transports
	// Plain: addresses alone are wanted, such as those of a source; the endpoints have port 0.
	Plain  bool
	V4, V6 bool // the families that are of use
}

// Transports is a set of transports.
type Transports uint8

// With is the set with one more.
func (s Transports) With(t nat.Transport) Transports { return s | 1<<t }

// Has reports whether a transport is in the set.
func (s Transports) Has(t nat.Transport) bool { return s&(1<<t) != 0 }

// preferred are transports in the order in which we try them where nobody says: UDP is what every peer speaks (RFC 3263 §4.1).
var preferred = [...]nat.Transport{nat.UDP, nat.TCP, nat.TLS}

func (s Transports) first() nat.Transport {
	for _, t := range preferred {
		if s.Has(t) {
			return t
		}
	}
	return nat.UDP
}

// String is the target as one word that tells it from all others.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString(t.Host)
	switch {
	case t.Plain:
	case t.Port != 0:
		b.WriteString(":" + strconv.Itoa(int(t.Port)) + ";" + t.Transport.String())
	case t.Any:
		b.WriteString(";any" + strconv.Itoa(int(t.Speaks)))
	default:
		b.WriteString(";" + t.Transport.String())
	}
	if t.V4 {
		b.WriteString(";4")
	}
	if t.V6 {
		b.WriteString(";6")
	}
	return b.String()
}

// Endpoint is one place that a name leads to.
type Endpoint struct {
	Address   netip.AddrPort // of a plain target with port 0
	Transport nat.Transport
	Host      string // whose address it is: the target of the SRV record, or the name itself
	Priority  int    // lower first: of NAPTR and SRV together; 0 where there is none
	Weight    int    // RFC 2782, shared by the addresses of one host
}

// Answer is what a name leads to at the moment.
type Answer struct {
	Endpoints []Endpoint // sorted, the same for the same records; never empty without an error
	By        Source
	TTL       time.Duration // for how long, within the bounds
	// Trouble is what went wrong although there is an answer: some of it is older than it should be. nil: nothing.
	Trouble error
	Refused []string // addresses that are not acceptable, each with its reason

	lowered bool // records of a higher source are missing
}

// defaultPort is that of a host without SRV records (RFC 3263 §4.2).
func defaultPort(t nat.Transport) uint16 {
	if t == nat.TLS {
		return 5061
	}
	return 5060
}

// service is the name under which a host's SRV records of a transport stand (RFC 3263 §4.1: _sip._udp, _sip._tcp, _sips._tcp).
func service(t nat.Transport, host string) string {
	switch t {
	case nat.TLS:
		return "_sips._tcp." + host
	case nat.TCP:
		return "_sip._tcp." + host
	case nat.UDP, nat.WSS: // of which nothing is looked up
	}
	return "_sip._udp." + host
}
