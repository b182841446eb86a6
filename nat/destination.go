package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// DestinationRules are what makes an address forbidden as a destination of media (or of a request) on one side.
type DestinationRules struct {
	Side Side
	// Bind is the address that the side is bound to. Where it is a loopback address, loopback peers are legitimate on
	// that side, and nowhere else.
	Bind netip.Addr
	// Own are all our addresses of each side, bound and advertised, for signalling and media.
	Own [2][]netip.Addr
}

// special are ranges that are never a peer's address, whatever the side (RFC 6890 and the registries it made).
var special = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},                             // RFC 1122 §3.2.1.3
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},                          // RFC 3927
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},                              // RFC 5771
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},                       // RFC 919
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},                               // RFC 1112
	{netip.MustParsePrefix("100.100.100.200/32"), "cloud metadata"},                  // Alibaba
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata"},                    // Azure
	{netip.MustParsePrefix("fd00:ec2::/32"), "cloud metadata"},                       // Amazon
	{netip.MustParsePrefix("fe80::/10"), "link-local"},                               // RFC 4291 §2.5.6
	{netip.MustParsePrefix("fec0::/10"), "site-local"},                               // RFC 3879
	{netip.MustParsePrefix("ff00::/8"), "multicast"},                                 // RFC 4291 §2.7
	{netip.MustParsePrefix("100::/64"), "discard-only"},                              // RFC 6666
	{netip.MustParsePrefix("::/96"), "an IPv4 address in the deprecated IPv6 form"},  // RFC 4291 §2.5.5.1
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4 address in translated form"}, // RFC 2765
}

var metadata4 = netip.AddrFrom4([4]byte{169, 254, 169, 254})

// ForbiddenDestination reports whether nothing may ever be sent to an address on a side, and why, as one clause for
// `sbc why`. The IPv4 address within an IPv6 one (mapped, 6to4, NAT64) is judged, so that no spelling gets around.
// An unspecified address is forbidden: as hold it must be recognised before.
func ForbiddenDestination(a netip.Addr, r DestinationRules) (why string, bad bool) {
	if !a.IsValid() {
		return "no address", true
	}
	if a = a.Unmap(); a.Zone() != "" {
		return "an address of one link", true
	}
	if a.IsUnspecified() {
		return "unspecified", true
	}
	if a.IsLoopback() {
		if r.Bind.IsLoopback() {
			return "", false // our own one too: everybody here shares the machine
		}
		return "loopback", true
	}
	if a == metadata4 {
		return "cloud metadata", true
	}
	for i := range special {
		if special[i].prefix.Contains(a) {
			return special[i].why, true
		}
	}
	if v4, ok := embedded(a); ok {
		if why, bad = ForbiddenDestination(v4, r); bad {
			return why, true
		}
	}
	return r.own(a)
}

// own judges our own addresses. From outside none of them is a destination. From inside our inside addresses are (a
// hairpin, which the relay judges by port), the others are not.
func (r DestinationRules) own(a netip.Addr) (why string, bad bool) {
	if r.Side == Inside && has(r.Own[Inside], a) {
		return "", false
	}
	if has(r.Own[Outside], a) || has(r.Own[Inside], a) {
		return "our own address", true
	}
	return "", false
}

func has(list []netip.Addr, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(x netip.Addr) bool { return x.Unmap() == a })
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1
	sixto4 = netip.MustParsePrefix("2002::/16")    // RFC 3056 §2
)

// embedded is the IPv4 address that a translator or relay on the way would make of an IPv6 one.
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return v4(binary.BigEndian.Uint32(b[12:])), true
	case sixto4.Contains(a):
		return v4(binary.BigEndian.Uint32(b[2:])), true
	}
	return netip.Addr{}, false
}

func v4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// Private reports whether an address has a meaning only within some network: RFC 1918, RFC 6598 (the inside of a
// carrier's NAT), RFC 4193.
func Private(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || carrierNAT.Contains(a)
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// Alien reports whether the SDP address of an outside leg with latching is private, internal or unlike the signalling
// source. That is the everyday case of a phone behind a NAT, no error; but it is no destination: the leg waits for the
// latch and meanwhile sends to the source with the SDP's port.
func Alien(addr, source netip.Addr, internal Ranges) bool {
	return addr.Unmap() != source.Unmap() || Unroutable(addr, source, internal)
}

// Unroutable reports whether the SDP address of an outside leg cannot be meant for us: private or internal, told by a
// peer that is neither. It is what counts for peers that send and receive where their SDP says (trunks).
func Unroutable(addr, source netip.Addr, internal Ranges) bool {
	local := func(a netip.Addr) bool { return Private(a) || internal.Contains(a) }
	return local(addr) && !local(source)
}
