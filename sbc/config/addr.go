package config

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"sallyport/nat"
)

// The ports of a literal address without one (RFC 3263 §4.2): of SIP, and of SIP over TLS.
const (
	sipPort  = 5060
	sipsPort = 5061
)

// Addr is one IP address, written as a literal. The zero value, written "", is none.
type Addr struct{ netip.Addr }

// UnmarshalText reads an address. IPv4 in IPv6 is stored as IPv4.
func (a *Addr) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" {
		*a = Addr{}
		return nil
	}
	addr, err := parseAddr(s)
	if err != nil {
		return err
	}
	*a = Addr{addr}
	return nil
}

// MarshalText writes the address; nothing for none.
func (a Addr) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String is the address, or nothing.
func (a Addr) String() string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr.String()
}

// IsZero reports whether there is no address; the YAML writer asks.
func (a Addr) IsZero() bool { return !a.IsValid() }

// Addrs is a list of addresses; in the file one address may stand for a list of one.
type Addrs []Addr

func (Addrs) acceptsOne() {}

// Of returns the address of the family of like.
func (l Addrs) Of(like netip.Addr) (netip.Addr, bool) {
	for _, a := range l {
		if a.Is4() == like.Is4() {
			return a.Addr, true
		}
	}
	return netip.Addr{}, false
}

// Endpoint is an IP address and a port: "203.0.113.20:5060", "[2001:db8::20]:5060". Without a port it is that of the
// transport. Or it is a name, with a port or without: then the address is not valid.
type Endpoint struct {
	netip.AddrPort
	Name     Name
	portless bool // written without a port; it is 5060 until the transport is known
}

// settle gives an address that was written without a port that of its transport.
func (e *Endpoint) settle(transport string) {
	if e.portless && transport == nat.TLS.String() {
		e.AddrPort = netip.AddrPortFrom(e.Addr(), sipsPort)
	}
	e.portless = false
}

// choose lets DNS say which transport a name without a port is reached by, unless one was written.
func (e *Endpoint) choose(written bool) {
	e.Name.Any = !e.Name.IsZero() && e.Name.Port == 0 && !written
}

// IsZero reports whether there is neither; the YAML writer asks.
func (e Endpoint) IsZero() bool { return !e.given() }

// given reports whether there is an address or a name.
func (e Endpoint) given() bool { return e.IsValid() || !e.Name.IsZero() }

// same reports whether two endpoints are written alike.
func (e Endpoint) same(o Endpoint) bool {
	return e.AddrPort == o.AddrPort && e.Name.Host == o.Name.Host && e.Name.Port == o.Name.Port
}

// UnmarshalText reads an endpoint.
func (e *Endpoint) UnmarshalText(text []byte) error {
	s := string(text)
	host, port := s, ""
	switch at := strings.LastIndexByte(s, ':'); {
	case strings.HasSuffix(s, "]"): // [2001:db8::20]
	case strings.Contains(s, "]:"), strings.Count(s, ":") == 1:
		host, port = s[:at], s[at+1:]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return badValue("write [2001:db8::20]:5060", "%q has a bracket without its other half", s)
		}
		host = inner
	}
	named := isHostName(host)
	var addr netip.Addr
	var err error
	if !named {
		addr, err = parseAddr(host)
	}
	switch {
	case err != nil:
		return err
	case named && host == s:
		*e = Endpoint{Name: Name{Host: plainDomain(host)}}
		return nil
	case host == s || strings.HasSuffix(s, "]"):
		*e = Endpoint{AddrPort: netip.AddrPortFrom(addr, sipPort), portless: true}
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return badValue("a port is a number from 1 to 65535", "%q is not a port", port)
	}
	if named {
		*e = Endpoint{Name: Name{Host: plainDomain(host), Port: uint16(n)}}
		return nil
	}
	*e = Endpoint{AddrPort: netip.AddrPortFrom(addr, uint16(n))}
	return nil
}

// MarshalText writes the endpoint; nothing for none.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// String is the endpoint with its port, the name as it is written, or nothing.
func (e Endpoint) String() string {
	if !e.Name.IsZero() {
		return e.Name.String()
	}
	if !e.IsValid() {
		return ""
	}
	return e.AddrPort.String()
}

var hostNameRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$`)

// parseAddr reads a literal address and explains why a text is none.
func parseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err == nil && addr.Zone() != "":
		return addr, badValue("use a global or unique-local address", "%q has a zone: link-local addresses are not served", s)
	case err == nil:
		return addr.Unmap(), nil
	case s == "":
		return addr, badValue("write an IP address, such as 192.0.2.10 or 2001:db8::10", "the address is empty")
	case isHostName(s):
		return addr, badValue("write its IP address", "%q is a name, and an address must stand here", s)
	}
	return addr, badValue("write an IP address, such as 192.0.2.10 or 2001:db8::10", "%q is not an IP address", s)
}

func isLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }
