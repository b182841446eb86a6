package policy

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// span is a run of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

// width is the number of addresses of a span less one, as a 128-bit number.
type width struct{ hi, lo uint64 }

func (w width) less(o width) bool { return w.hi < o.hi || w.hi == o.hi && w.lo < o.lo }

// widest is the width of the whole IPv6 space.
var widest = width{^uint64(0), ^uint64(0)}

// addressRange is a parsed `range`: "any", or spans, DNS names and countries in the order they were written. Its methods
// know spans and `any`; resolve turns the names into spans, and holdsCountry is asked apart, because only the source of a
// packet has a country.
type addressRange struct {
	any       bool
	spans     []span
	names     []string // in lower case, without a final dot
	countries []geo.Code
}

// parseRanges reads the value of a `range` key: any, an address, a CIDR prefix, start-end, a DNS name, country:XX, or a
// list of these, as several elements or separated by commas.
func parseRanges(texts []string) (addressRange, error) {
	var r addressRange
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			if err := r.add(strings.TrimSpace(part)); err != nil {
				return addressRange{}, err
			}
		}
	}
	if !r.any && len(r.spans) == 0 && len(r.names) == 0 && len(r.countries) == 0 {
		return addressRange{}, fmt.Errorf("no range given; write any, an address, a CIDR prefix, start-end, a DNS name or country:DE")
	}
	return r, nil
}

// add reads one element of a range.
func (r *addressRange) add(part string) error {
	if strings.EqualFold(part, "any") {
		r.any = true
		return nil
	}
	if code, found := cutFold(part, "country:"); found {
		c, err := geo.ParseCode(code)
		if err != nil {
			return fmt.Errorf("range %q: %w", part, err)
		}
		r.countries = append(r.countries, c)
		return nil
	}
	if name, ok := hostName(part); ok {
		r.names = append(r.names, name)
		return nil
	}
	s, err := parseSpan(part)
	if err != nil {
		return err
	}
	r.any = r.any || s.whole()
	r.spans = append(r.spans, s)
	return nil
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, prefix string) (rest string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// resolve adds the addresses that the names of the range have. A name without an answer covers nothing yet.
func (r addressRange) resolve(d Data) addressRange {
	r.spans = slices.Clip(r.spans)
	for _, name := range r.names {
		for _, a := range d.Names[name] {
			if a = a.Unmap().WithZone(""); a.IsValid() {
				r.spans = append(r.spans, span{a, a})
			}
		}
	}
	return r
}

// holdsCountry reports whether the range names a country. Nothing lies in the unknown one.
func (r addressRange) holdsCountry(c geo.Code) bool {
	return c != geo.Code{} && slices.Contains(r.countries, c)
}

// parseSpan reads one element of a range that is made of addresses.
func parseSpan(text string) (span, error) {
	if first, last, found := strings.Cut(text, "-"); found {
		a, errA := parseAddr(first)
		b, errB := parseAddr(last)
		switch {
		case errA != nil || errB != nil:
			return span{}, fmt.Errorf("range %q is not start-end with two addresses", text)
		case a.Is4() != b.Is4():
			return span{}, fmt.Errorf("range %q mixes IPv4 and IPv6", text)
		case b.Less(a):
			return span{}, fmt.Errorf("range %q ends before it starts; write %s-%s", text, b, a)
		}
		return span{a, b}, nil
	}
	p, err := parsePrefix(text)
	if err != nil {
		return span{}, err
	}
	return span{p.Addr(), nat.LastOf(p)}, nil
}

// parseAddr reads a literal address, unmapped and without a zone.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an address", text)
	}
	return a.Unmap().WithZone(""), nil
}

// parsePrefix reads a CIDR prefix or one address. Host bits must be zero, so that a slip of the pen is seen.
func parsePrefix(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "/") {
		a, err := parseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%w; write an address (192.0.2.1) or a prefix (192.0.2.0/24)", err)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a prefix; write it as 192.0.2.0/24", text)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("prefix %q is IPv4 in IPv6 spelling; write the IPv4 prefix", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("prefix %q has host bits set; write %s, or the single address without /%d",
			text, p.Masked(), p.Bits())
	}
	return p, nil
}

// whole reports whether the span is a whole address family, which is the same as `any` for it.
func (s span) whole() bool {
	return s.first.IsUnspecified() && !s.last.Next().IsValid()
}

// contains reports whether an address lies in the span.
func (s span) contains(a netip.Addr) bool {
	return a.Is4() == s.first.Is4() && !a.Less(s.first) && !s.last.Less(a)
}

// width is how many addresses the span holds, less one.
func (s span) width() width {
	a, b := halves(s.first), halves(s.last)
	lo, borrow := bits.Sub64(b.lo, a.lo, 0)
	hi, _ := bits.Sub64(b.hi, a.hi, borrow)
	return width{hi, lo}
}

// halves is an address as a 128-bit number.
func halves(a netip.Addr) width {
	b := a.As16()
	var w width
	for i := range 8 {
		w.hi = w.hi<<8 | uint64(b[i])
		w.lo = w.lo<<8 | uint64(b[i+8])
	}
	return w
}

// prefixes is the shortest list of prefixes that make up the span.
func (s span) prefixes() []netip.Prefix { return s.appendPrefixes(nil) }

func (s span) appendPrefixes(out []netip.Prefix) []netip.Prefix {
	for a := s.first; a.IsValid() && !s.last.Less(a); {
		length := a.BitLen()
		for length > 0 {
			p := netip.PrefixFrom(a, length-1)
			if p.Masked().Addr() != a || s.last.Less(nat.LastOf(p)) {
				break
			}
			length--
		}
		p := netip.PrefixFrom(a, length)
		out = append(out, p)
		a = nat.LastOf(p).Next()
	}
	return out
}

// meets reports whether the range and a prefix have an address in common.
func (r addressRange) meets(p netip.Prefix) bool {
	for _, s := range r.spans {
		if s.contains(p.Addr()) || p.Contains(s.first) {
			return true
		}
	}
	return r.any
}

// single reports whether the range holds single addresses only.
func (r addressRange) single() bool {
	if len(r.countries) > 0 {
		return false
	}
	for _, s := range r.spans {
		if s.first != s.last {
			return false
		}
	}
	return !r.any
}

// prefixes is the shortest list of prefixes for the whole range; `any` is both families.
func (r addressRange) prefixes() []netip.Prefix {
	var out []netip.Prefix
	if r.any {
		out = append(out, netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	for _, s := range r.spans {
		out = append(out, s.prefixes()...)
	}
	return out
}

// covers reports how narrowly the range holds a prefix: the width of the smallest element that does. Named is true if
// an element other than `any` does, which is what it takes to name a trunk or a node.
func (r addressRange) covers(p netip.Prefix) (w width, named, ok bool) {
	w = widest
	for _, s := range r.spans {
		if !s.contains(p.Addr()) || !s.contains(nat.LastOf(p)) {
			continue
		}
		if sw := s.width(); !ok || sw.less(w) {
			w = sw
		}
		ok = true
		named = named || !s.whole()
	}
	return w, named, ok || r.any
}

// SourceKey is the address that limits, bans and evidence are kept by: an IPv4 address whole, of an IPv6 address the
// /64 that a subscriber is given (RFC 6177), never a port.
func SourceKey(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is4() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.Addr()
}

// SourcePrefix is the prefix that SourceKey stands for: /32 or /64.
func SourcePrefix(a netip.Addr) netip.Prefix {
	k := SourceKey(a)
	return netip.PrefixFrom(k, min(k.BitLen(), 64))
}
