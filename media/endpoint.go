package media

import (
	"encoding/binary"
	"net/netip"
)

// Endpoint is a UDP address without pointers, so that the leg table is opaque to the collector and two endpoints
// compare with ==. An IPv4 address is kept in its mapped form. The zero value is no endpoint. Zones are not kept:
// link-local peers have no place in a relay.
type Endpoint struct {
	hi, lo uint64
	port   uint16
}

// address is an Endpoint without its port.
type address struct{ hi, lo uint64 }

func (a address) at(port uint16) Endpoint { return Endpoint{a.hi, a.lo, port} }

func (p Endpoint) address() address { return address{p.hi, p.lo} }

const mapped = 0xffff << 32 // ::ffff:0:0/96 in the lower half (RFC 4291 §2.5.5.2)

// Endpoint4 makes an endpoint of an IPv4 address in network byte order.
func Endpoint4(a [4]byte, port uint16) Endpoint {
	return Endpoint{lo: mapped | uint64(binary.BigEndian.Uint32(a[:])), port: port}
}

// Endpoint16 makes an endpoint of an IPv6 address; mapped IPv4 ones equal those of Endpoint4.
func Endpoint16(a [16]byte, port uint16) Endpoint {
	return Endpoint{hi: binary.BigEndian.Uint64(a[:8]), lo: binary.BigEndian.Uint64(a[8:]), port: port}
}

// EndpointOf converts an address. An invalid or unspecified one becomes the zero address, its port is kept: an SDP
// that names an unusable address still names a port.
func EndpointOf(ap netip.AddrPort) Endpoint {
	a := ap.Addr()
	if !a.IsValid() || a.Unmap().IsUnspecified() {
		return Endpoint{port: ap.Port()}
	}
	return Endpoint16(a.As16(), ap.Port())
}

// AddrPort converts back. The zero address gives an invalid one.
func (p Endpoint) AddrPort() netip.AddrPort {
	if p.noAddr() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(p.As16()).Unmap(), p.port)
}

// Is4 reports whether the address is IPv4.
func (p Endpoint) Is4() bool { return p.hi == 0 && p.lo&^0xffffffff == mapped }

// As4 is the IPv4 address in network byte order.
func (p Endpoint) As4() (a [4]byte) {
	binary.BigEndian.PutUint32(a[:], uint32(p.lo))
	return a
}

// As16 is the address in its 16-byte form.
func (p Endpoint) As16() (a [16]byte) {
	binary.BigEndian.PutUint64(a[:8], p.hi)
	binary.BigEndian.PutUint64(a[8:], p.lo)
	return a
}

// Port is the port.
func (p Endpoint) Port() uint16 { return p.port }

// usable reports whether a datagram can be sent there.
func (p Endpoint) usable() bool { return !p.noAddr() && p.port != 0 }

func (p Endpoint) noAddr() bool { return p.hi|p.lo == 0 }

func (p Endpoint) sameAddr(q Endpoint) bool { return p.hi == q.hi && p.lo == q.lo }

func (p Endpoint) at(port uint16) Endpoint { return Endpoint{p.hi, p.lo, port} }

// network is a prefix without pointers, in the mapped form.
type network struct {
	hi, lo uint64
	bits   uint8
}

func networkOf(p netip.Prefix) network {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	e := Endpoint16(p.Masked().Addr().As16(), 0)
	return network{e.hi, e.lo, uint8(bits)}
}

func (n network) contains(p Endpoint) bool {
	if n.bits < 96 && p.Is4() {
		return false // an IPv4 address lies in no IPv6 prefix, not even ::/0
	}
	if n.bits <= 64 {
		return (p.hi^n.hi)>>(64-n.bits) == 0
	}
	return p.hi == n.hi && (p.lo^n.lo)>>(128-n.bits) == 0
}
