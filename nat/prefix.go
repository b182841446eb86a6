package nat

import "net/netip"

// LastOf is the highest address of a prefix.
func LastOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		setBits(b[:], p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	setBits(b[:], p.Bits())
	return netip.AddrFrom16(b)
}

// setBits sets all bits from one on.
func setBits(b []byte, from int) {
	for i := range b {
		if keep := from - 8*i; keep <= 0 {
			b[i] = 0xff
		} else if keep < 8 {
			b[i] |= 0xff >> keep
		}
	}
}
