package config

import (
	"net/netip"
	"strings"

	"sallyport/nat"
)

// Range is a set of neighbouring addresses: a CIDR prefix, one address, "start-end" (both included), or "any", which is
// every address of both families.
type Range struct {
	first, last netip.Addr
	any         bool
}

const rangeHint = "write an address, a prefix such as 192.0.2.0/24, or start-end such as 192.0.2.10-192.0.2.20"

// UnmarshalText reads a range.
func (r *Range) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "any" {
		*r = Range{any: true}
		return nil
	}
	if strings.HasPrefix(s, "country:") {
		return badValue("write the addresses; countries may stand in policy.white_list, black_list, message_rules and rate_limits",
			"%q: no country can be named here", s)
	}
	if start, end, ok := strings.Cut(s, "-"); ok && !strings.ContainsFunc(s, isNameLetter) {
		return r.between(s, strings.TrimSpace(start), strings.TrimSpace(end))
	}
	if strings.Contains(s, "/") {
		return r.prefix(s)
	}
	addr, err := parseAddr(s)
	if err != nil {
		return err
	}
	*r = Range{first: addr, last: addr}
	return nil
}

// isNameLetter tells letters that no IPv6 literal has.
func isNameLetter(r rune) bool { return isLetter(r) && r|0x20 > 'f' }

func (r *Range) prefix(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return badValue(rangeHint, "%q is not a prefix", s)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return badValue(rangeHint, "%q is not a prefix", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		return badValue("write "+p.Masked().String()+" for the network or "+p.Addr().String()+" for the one address",
			"%q has bits set beyond its length", s)
	}
	*r = Range{first: p.Addr(), last: nat.LastOf(p)}
	return nil
}

func (r *Range) between(s, start, end string) error {
	first, err := parseAddr(start)
	if err != nil {
		return err
	}
	last, err := parseAddr(end)
	if err != nil {
		return err
	}
	if first.Is4() != last.Is4() {
		return badValue(rangeHint, "%q begins in one address family and ends in the other", s)
	}
	if last.Less(first) {
		return badValue("write "+end+"-"+start, "%q ends before it begins", s)
	}
	*r = Range{first: first, last: last}
	return nil
}

// RangeOf is the range of one address.
func RangeOf(a netip.Addr) Range { return Range{first: a, last: a} }

// IsAny reports whether the range is every address.
func (r Range) IsAny() bool { return r.any }

// IsValid reports whether the range holds anything.
func (r Range) IsValid() bool { return r.any || r.first.IsValid() }

// Contains reports whether an address lies in the range.
func (r Range) Contains(a netip.Addr) bool {
	a = a.Unmap()
	if r.any {
		return a.IsValid()
	}
	return r.first.IsValid() && a.Is4() == r.first.Is4() && !a.Less(r.first) && !r.last.Less(a)
}

// Overlaps reports whether two ranges share an address.
func (r Range) Overlaps(o Range) bool {
	if r.any || o.any {
		return r.IsValid() && o.IsValid()
	}
	return r.first.IsValid() && o.first.IsValid() && r.first.Is4() == o.first.Is4() &&
		!r.last.Less(o.first) && !o.last.Less(r.first)
}

// Prefixes is the fewest prefixes that make up the range, in order: at most 2·bits−2 of them.
func (r Range) Prefixes() []netip.Prefix {
	if r.any {
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	if !r.first.IsValid() {
		return nil
	}
	var out []netip.Prefix
	for at := r.first; ; {
		p := widest(at, r.last)
		out = append(out, p)
		end := nat.LastOf(p)
		if end == r.last {
			return out
		}
		at = end.Next()
	}
}

// widest is the shortest prefix that begins at first and does not go beyond last.
func widest(first, last netip.Addr) netip.Prefix {
	best := netip.PrefixFrom(first, first.BitLen())
	for bits := first.BitLen() - 1; bits >= 0; bits-- {
		p := netip.PrefixFrom(first, bits)
		if p.Masked().Addr() != first || last.Less(nat.LastOf(p)) {
			break
		}
		best = p
	}
	return best
}

// MarshalText writes the range as String does.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the shortest form: any, an address, a prefix, or start-end.
func (r Range) String() string {
	switch {
	case r.any:
		return "any"
	case !r.first.IsValid():
		return ""
	case r.first == r.last:
		return r.first.String()
	}
	if p := widest(r.first, r.last); nat.LastOf(p) == r.last {
		return p.String()
	}
	return r.first.String() + "-" + r.last.String()
}

// Ranges is a list of ranges; in the file one range may stand for a list of one.
type Ranges []Range

func (Ranges) acceptsOne() {}

// Contains reports whether an address lies in one of the ranges.
func (l Ranges) Contains(a netip.Addr) bool {
	for _, r := range l {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// Prefixes is all ranges as prefixes.
func (l Ranges) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, r := range l {
		out = append(out, r.Prefixes()...)
	}
	return out
}
