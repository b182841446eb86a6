package media

import (
	"fmt"
	"net/netip"

	"sallyport/nat"
)

// A side has an address of either family, or of both. In the latter case a port of the range is bound twice, and both sockets
// are one leg: what arrives on either is judged by its source, and what is sent leaves by that of the destination's family.

// families reports what is wrong with the addresses of the other family.
func (c Config) families() error {
	var by [2][2]netip.Addr // by family and side
	for side := range c.Addresses {
		first, second := c.Addresses[side].Unmap(), c.Others[side].Unmap()
		if !second.IsValid() {
			continue
		}
		if second.IsUnspecified() || second.IsMulticast() || second.Is4() == first.Is4() {
			return fmt.Errorf("media: second %s address %q: name one address of this machine in the family that %v has not", nat.Side(side), second, first)
		}
	}
	for side := range c.Addresses {
		for _, a := range [2]netip.Addr{c.Addresses[side].Unmap(), c.Others[side].Unmap()} {
			if a.IsValid() {
				by[family(a)][side] = a
			}
		}
	}
	for f := range by {
		if a, b := by[f][0], by[f][1]; c.Shared() && a.IsValid() && b.IsValid() && a != b {
			return fmt.Errorf("media: the sides share an address of one family, and have %v and %v in the other: share both or none", a, b)
		}
	}
	return nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Shared reports whether both sides draw from one pool: they have an address in common.
func (c Config) Shared() bool {
	for _, a := range [2]netip.Addr{c.Addresses[0].Unmap(), c.Others[0].Unmap()} {
		for _, b := range [2]netip.Addr{c.Addresses[1].Unmap(), c.Others[1].Unmap()} {
			if a == b && a.IsValid() {
				return true
			}
		}
	}
	return false
}

// bound are the addresses that each block of ports is bound on. One pool has all of both sides.
func (c Config) bound() (addresses, others [2]netip.Addr) {
	for side := range addresses {
		addresses[side], others[side] = c.Addresses[side].Unmap(), c.Others[side].Unmap()
	}
	if !c.Shared() || addresses[0] == addresses[1] && others[0] == others[1] {
		return addresses, others
	}
	addresses[1] = addresses[0]
	for _, a := range [4]netip.Addr{others[0], others[1], c.Addresses[1].Unmap()} {
		if a.IsValid() && a.Is4() != addresses[0].Is4() {
			others = [2]netip.Addr{a, a}
			break
		}
	}
	return addresses, others
}

// Dual reports whether a side has both families.
func (l Layout) Dual() bool { return l.Others[0].IsValid() || l.Others[1].IsValid() }

// has reports whether a block has a socket that reaches an address.
func (l Layout) has(side nat.Side, a netip.Addr) bool {
	return a.Is4() == l.Addresses[side].Is4() || l.Others[side].IsValid() && a.Is4() == l.Others[side].Is4()
}

// block is the side whose addresses a leg is bound on; of a shared pool either has the same.
func (l Layout) block(leg int) int { return leg / (l.Pairs * 2) }

// Local is the address that a leg is bound to.
func (l Layout) Local(leg int) netip.AddrPort {
	return netip.AddrPortFrom(l.Addresses[l.block(leg)], l.port(leg))
}

// Other is the address of the other family that a leg is bound to as well; it reports false where there is none.
func (l Layout) Other(leg int) (at netip.AddrPort, ok bool) {
	a := l.Others[l.block(leg)]
	return netip.AddrPortFrom(a, l.port(leg)), a.IsValid()
}

// From is the address that a leg sends from to a destination, and hears from there at.
func (l Layout) From(leg int, to netip.Addr) netip.AddrPort {
	if at, ok := l.Other(leg); ok && to.IsValid() && to.Unmap().Is4() == at.Addr().Is4() {
		return at
	}
	return l.Local(leg)
}

func (l Layout) port(leg int) uint16 { return uint16(l.First + leg%(l.Pairs*2)) }

// Leg finds the leg that is bound to an address of ours.
func (l Layout) Leg(at netip.AddrPort) (leg int, ok bool) {
	n := int(at.Port()) - l.First
	if n < 0 || n >= l.Pairs*2 {
		return 0, false
	}
	addr := at.Addr().Unmap()
	for block := range l.Blocks {
		if addr.IsValid() && (l.Addresses[block] == addr || l.Others[block] == addr) {
			return block*l.Pairs*2 + n, true
		}
	}
	return 0, false
}
