package nat

import "net/netip"

// Advertise is the address of an interface that a peer is told in Via, Contact and Record-Route: a peer in an internal
// range, or on this machine, reaches the address that the interface is bound to; all others the advertised one.
func Advertise(i *Interface, remote netip.Addr, internal Ranges) netip.AddrPort {
	if near(i.Bind.Addr(), remote, internal) {
		return i.Bind
	}
	return i.Advertised
}

// AdvertiseMedia is the same for the address that stands in SDP: bind is where the relay's sockets of that side are,
// external what the world sees of it (invalid: the same).
func AdvertiseMedia(bind, external, remote netip.Addr, internal Ranges) netip.Addr {
	if !external.IsValid() || near(bind, remote, internal) {
		return bind
	}
	return external
}

// near reports whether no translation stands between us and a peer.
func near(bind, remote netip.Addr, internal Ranges) bool {
	return internal.Contains(remote) || bind.IsLoopback() && remote.Unmap().IsLoopback()
}
