package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// Name is a DNS name where an address may stand (RFC 3263): with a port its A and AAAA records are meant, without one its SRV
// records say where to go. The zero value is none.
type Name struct {
	Host string // in lower case, without a dot at the end
	Port uint16 // 0: none was written
	Any  bool   // no transport was written beside it: NAPTR records may say which
}

// IsZero reports whether there is no name.
func (n Name) IsZero() bool { return n.Host == "" }

// String is the name as it is written in the file.
func (n Name) String() string {
	if n.Port == 0 {
		return n.Host
	}
	return n.Host + ":" + strconv.Itoa(int(n.Port))
}

// isHostName tells a name from a slip in an address: a full DNS name, or one label that begins with a letter (of /etc/hosts, or
// of the network of containers).
func isHostName(s string) bool {
	plain := plainDomain(s)
	return isFullName(s) || len(plain) <= 63 && plain != "" && isLetter(rune(plain[0])) && !strings.Contains(plain, ".") && hostNameRE.MatchString(plain)
}

// Public is an address that others are told, or a name that has one: its first one of each family.
type Public struct {
	Addr
	Name string // in lower case; "": the address stands
}

// UnmarshalText reads an address or a name.
func (p *Public) UnmarshalText(text []byte) error {
	if s := string(text); isHostName(s) {
		*p = Public{Name: plainDomain(s)}
		return nil
	}
	p.Name = ""
	return p.Addr.UnmarshalText(text)
}

// MarshalText writes what was read.
func (p Public) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String is the address or the name, or nothing.
func (p Public) String() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Addr.String()
}

// IsZero reports whether there is neither; the YAML writer asks.
func (p Public) IsZero() bool { return p.Name == "" && p.Addr.IsZero() }

// Publics is a list of them; in the file one may stand for a list of one.
type Publics []Public

func (Publics) acceptsOne() {}

// Of returns what stands for the family of like: an address of it, else the name, which may have one.
func (l Publics) Of(like netip.Addr) (a netip.Addr, name string) {
	for _, p := range l {
		if p.Name != "" {
			name = p.Name
		} else if p.IsValid() && p.Is4() == like.Is4() {
			return p.Addr.Addr, ""
		}
	}
	return netip.Addr{}, name
}

// Source is a set of addresses, or a name whose addresses are meant.
type Source struct {
	Range
	Name string // in lower case; "": the range stands
}

// UnmarshalText reads a range or a name.
func (s *Source) UnmarshalText(text []byte) error {
	if t := string(text); t != "any" && isHostName(t) {
		*s = Source{Name: plainDomain(t)}
		return nil
	}
	s.Name = ""
	return s.Range.UnmarshalText(text)
}

// MarshalText writes what was read.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the range or the name.
func (s Source) String() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Range.String()
}

// Sources is a list of them; in the file one may stand for a list of one.
type Sources []Source

func (Sources) acceptsOne() {}

// ranges are the literal ones, those that could not be read included.
func (l Sources) ranges() (out Ranges) {
	for _, s := range l {
		if s.Name == "" {
			out = append(out, s.Range)
		}
	}
	return out
}

func (l Sources) names() (out []string) {
	for _, s := range l {
		if s.Name != "" {
			out = append(out, s.Name)
		}
	}
	return out
}
