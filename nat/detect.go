package nat

import (
	"net/netip"
	"strconv"
	"strings"
)

// Kind says what stands between a phone and us, as far as its signalling shows.
type Kind uint8

// The kinds.
const (
	KindUnknown  Kind = iota // the message names no address of its sender: browsers write .invalid, some phones a host name
	KindNone                 // it names the packet's own source: no translation, or a phone that knows its public address
	KindInternal             // the packet comes from an internal range: not translated, whatever it names
	KindPort                 // the same address with another port (datagrams; over streams the port is the connection's own)
	KindAddress              // another address: a translator, or several
)

var kindNames = [...]string{"unknown", "none", "internal", "port", "address"}

// String is the kind's name in `sbc registrations` and the API.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Evidence is what one request of a phone shows of the way between it and us. Hosts are as they were written, without
// brackets; empty: absent.
type Evidence struct {
	Source      netip.AddrPort // of the packet
	Transport   Transport
	ViaHost     string // sent-by of the topmost Via (RFC 3261 §18.1.1: the sender's own address)
	ViaPort     uint16 // 0: absent
	ContactHost string
	ContactPort uint16 // 0: absent
	CallIDHost  string // what follows the '@' of the Call-ID
	Media       string // c= of its session description, if it has one
	Candidates  bool   // that has ICE candidates: then its addresses come from STUN (RFC 8445)
	Internal    Ranges // internal_ranges
	Told        bool   // the phone may have learnt its address from received and rport of an answer (RFC 3581 §4)
}

// Detect names what stands between a phone and us, and whether something on the way edits SIP (an application layer
// gateway in a router): one clause for each contradiction that no phone makes by itself.
//
// What is no contradiction. Phones behind a translator show their own address everywhere (most), or the public one
// everywhere (STUN, a configured NAT address), or, once answers have told it, the public one in Contact alone (linphone)
// or in Via and Contact (pjsip), SDP then staying private. A private Call-ID proves nothing: phones with STUN and PBXes
// with a configured address make theirs of their own address all the same. A gateway that edits everything consistently
// looks like STUN; it does no harm either. Internal sources are believed: no gateway stands before them.
func Detect(e Evidence) (Kind, []string) {
	src := e.Source.Addr().Unmap().WithZone("")
	via, haveVia := literal(e.ViaHost)
	contact, haveContact := literal(e.ContactHost)
	kind := e.kind(src, via, haveVia, contact, haveContact)
	if kind == KindInternal || !haveVia || !src.IsValid() || e.private(src) {
		return kind, nil
	}
	var alg []string
	if !e.Told && haveContact {
		switch {
		case via == src && e.private(contact):
			alg = append(alg, "Via shows "+src.String()+", the address of the packet, and Contact still "+contact.String()+
				": something on the way edits Via")
		case e.private(via) && contact == src && e.samePort(e.ContactPort):
			alg = append(alg, "Contact shows "+e.Source.String()+", which nobody had told the phone yet, and Via still "+via.String()+
				": something on the way edits Contact")
		}
	}
	// Media by STUN alone does the same, so that the clause says so.
	if media, ok := literal(e.Media); ok && !e.Candidates && media == src && e.private(via) && haveContact && contact == via {
		alg = append(alg, "SDP shows "+src.String()+", and Via and Contact "+via.String()+
			": something on the way edits SDP, unless the phone uses STUN for media alone")
	}
	return kind, alg
}

func (e *Evidence) kind(src, via netip.Addr, haveVia bool, contact netip.Addr, haveContact bool) Kind {
	shown, port := via, e.ViaPort
	if !haveVia {
		shown, port = contact, e.ContactPort
	}
	switch {
	case e.Internal.Contains(src):
		return KindInternal
	case !haveVia && !haveContact || !src.IsValid():
		return KindUnknown
	case shown != src, haveContact && contact != src && e.private(contact):
		return KindAddress // the second: Via was made public by what was told, or by a gateway
	case !e.samePort(port):
		return KindPort
	}
	return KindNone
}

// samePort reports whether a port that a phone names is the packet's; the source port of a stream is none that anybody
// could name (RFC 3261 §18.1.1: sent-by is where the sender listens).
func (e *Evidence) samePort(port uint16) bool {
	if port == 0 {
		port = 5060
	}
	return e.Transport.Reliable() || port == e.Source.Port()
}

// private reports an address that means something within the phone's own network only.
func (e *Evidence) private(a netip.Addr) bool { return Private(a) || e.Internal.Contains(a) }

// literal reads a host that is an address. Unspecified and loopback ones name nobody: phones write them before they know
// their own.
func literal(host string) (netip.Addr, bool) {
	if host == "" || strings.IndexByte(host, '.') < 0 && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsUnspecified() || a.IsLoopback() {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// Echo is what a response must give back as the request had it (RFC 3261 §8.2.6.2): the sent-by of our Via, and the hosts of
// From and To. Hosts are without brackets; ports 0: absent.
type Echo struct {
	ViaHost, FromHost, ToHost string
	ViaPort, FromPort, ToPort uint16
}

// Compare tells what was edited between a request of ours and its answer, one clause each. There is nothing to guess:
// no user agent changes these, so whatever differs was changed on the way, there or back.
func (sent Echo) Compare(back Echo) (alg []string) {
	for _, f := range [...]struct {
		name       string
		was, is    string
		port, came uint16
	}{
		{"Via", sent.ViaHost, back.ViaHost, sent.ViaPort, back.ViaPort},
		{"From", sent.FromHost, back.FromHost, sent.FromPort, back.FromPort},
		{"To", sent.ToHost, back.ToHost, sent.ToPort, back.ToPort},
	} {
		if sameHost(f.was, f.is) && (f.port == f.came || usual(f.port) && usual(f.came)) {
			continue
		}
		alg = append(alg, f.name+" of our request came back with "+hostPort(f.is, f.came)+" instead of "+hostPort(f.was, f.port)+
			": something on the way edits it")
	}
	return alg
}

// usual reports a port that stacks leave out or put in at will when they write what they read.
func usual(port uint16) bool { return port == 0 || port == 5060 || port == 5061 }

// sameHost compares hosts as RFC 3261 §19.1.4 does: names in any case, addresses by value.
func sameHost(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	x, err := netip.ParseAddr(a)
	if err != nil {
		return false
	}
	y, err := netip.ParseAddr(b)
	return err == nil && x == y
}

// hostMost bounds how much of a foreign host stands in a clause, in bytes.
const hostMost = 64

func hostPort(host string, port uint16) string {
	if len(host) > hostMost {
		host = host[:hostMost] + "…"
	}
	if port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}
