package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// CheckRange tells why a network cannot be one of internal_ranges, with what to write instead; nil if it can. Hosts of
// those reach us without a translation in between and are told the address that we are bound to.
func CheckRange(p netip.Prefix) error {
	switch a := p.Addr(); {
	case !p.IsValid():
		return errors.New("not a range; write ADDRESS/BITS, such as 10.0.0.0/8")
	case a.Is4In6():
		return fmt.Errorf("%v is IPv4 in IPv6 clothes; write the IPv4 range", p)
	case p.Bits() == 0:
		return fmt.Errorf("%v makes the whole Internet internal", p)
	case p.Masked() != p:
		return fmt.Errorf("%v has host bits set; write %v, or %v for the one host", p, p.Masked(),
			netip.PrefixFrom(a, a.BitLen()))
	case a.IsMulticast():
		return fmt.Errorf("%v is multicast; nobody calls from there", p)
	}
	return nil
}

// Ranges is an immutable set of networks. The zero value is empty.
type Ranges struct {
	sorted []netip.Prefix // by first address, none within another
}

// NewRanges makes a set. Host bits are cut, invalid prefixes are left out.
func NewRanges(prefixes ...netip.Prefix) Ranges {
	all := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if p.IsValid() {
			all = append(all, p.Masked())
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits() // the wider one first
	})
	// Of two prefixes one holds the other or they are apart, so that one look back is enough.
	kept := all[:0]
	for _, p := range all {
		if n := len(kept); n == 0 || !kept[n-1].Overlaps(p) {
			kept = append(kept, p)
		}
	}
	return Ranges{sorted: kept}
}

// Contains reports whether an address lies in the set; IPv4 in IPv6 clothes counts as IPv4, a zone is ignored. It does
// not allocate.
func (r Ranges) Contains(a netip.Addr) bool {
	if !a.IsValid() || len(r.sorted) == 0 {
		return false
	}
	a = a.Unmap().WithZone("")
	i, exact := slices.BinarySearchFunc(r.sorted, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return exact || i > 0 && r.sorted[i-1].Contains(a)
}

// Prefixes is the set in order of addresses, without what lies within another. The caller must not change it.
func (r Ranges) Prefixes() []netip.Prefix { return r.sorted }
