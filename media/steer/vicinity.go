//go:build linux

package steer

import (
	"encoding/binary"
	"net"
	"net/netip"

	"sallyport/media"
)

// vicinity is the network that an address of ours lies in. What lies in it is reached without a gateway, as a rule; where
// the routes say otherwise, packets still go where the routes lead, at the price of the other way. It compares addresses in
// their 16-byte form, without a branch for the family.
type vicinity struct {
	known          bool
	hi, lo         uint64
	maskHi, maskLo uint64
}

// vicinityOf is the widest of the networks that an address is part of: an address may be one of several in its network,
// given with a mask of its own length.
func vicinityOf(a netip.Addr, networks []netip.Prefix) (v vicinity) {
	var widest netip.Prefix
	for _, p := range networks {
		if p.Contains(a) && p.Bits() > 0 && (!widest.IsValid() || p.Bits() < widest.Bits()) {
			widest = p
		}
	}
	if !widest.IsValid() {
		return vicinity{}
	}
	b, bits := widest.Masked().Addr().As16(), widest.Bits()
	if a.Is4() {
		bits += 96 // RFC 4291 §2.5.5.2
	}
	return vicinity{
		known: true,
		hi:    binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:]),
		maskHi: ^(^uint64(0) >> min(bits, 64)), maskLo: ^(^uint64(0) >> max(bits-64, 0)),
	}
}

func (v *vicinity) contains(to media.Endpoint) bool {
	b := to.As16()
	return v.known && binary.BigEndian.Uint64(b[:8])&v.maskHi == v.hi && binary.BigEndian.Uint64(b[8:])&v.maskLo == v.lo
}

// networks are those of all interfaces in the calling thread's namespace. Where the kernel does not say, none are known.
func networks() (list []netip.Prefix) {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}
