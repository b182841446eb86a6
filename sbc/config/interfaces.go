package config

import (
	"net/netip"
	"slices"

	"sallyport/nat"
)

// listener is one socket that the document asks for.
type listener struct {
	side       nat.Side
	realm      nat.Realm
	transport  nat.Transport
	bind       netip.AddrPort
	advertised netip.AddrPort
	told       string // the name that has the advertised address; "": the address stands
	path       string // the key of its port
}

// clashes reports whether two listeners want the same port: TCP and TLS are one to the kernel.
func (l *listener) clashes(o *listener) bool {
	return l.bind == o.bind && l.transport.Reliable() == o.transport.Reliable()
}

// outsideRealm is what is open for one realm outside, whichever it is.
type outsideRealm struct {
	realm    nat.Realm
	ports    Ports
	address  Addrs
	external Publics
}

func (o *OutsideSection) realms() [2]outsideRealm {
	return [2]outsideRealm{
		nat.Phones: {nat.Phones, o.Phones.ports(), o.Phones.Address, o.Phones.ExternalAddress},
		nat.Trunks: {nat.Trunks, o.Trunks.ports(), o.Trunks.Address, o.Trunks.ExternalAddress},
	}
}

// listeners lists the sockets in a fixed order: side, realm, transport, then family as the addresses stand.
func listeners(d *Document) []listener {
	var out []listener
	add := func(side nat.Side, realm nat.Realm, ports Ports, addrs Addrs, external Publics) {
		for transport, port := range []uint16{nat.UDP: ports.UDP, nat.TCP: ports.TCP, nat.TLS: ports.TLS, nat.WSS: ports.WSS} {
			for _, a := range addrs {
				if port == 0 || !a.IsValid() {
					continue
				}
				l := listener{side: side, realm: realm, transport: nat.Transport(transport), bind: netip.AddrPortFrom(a.Addr, port)}
				l.advertised = l.bind
				e, name := external.Of(a.Addr)
				if l.told = name; e.IsValid() {
					l.advertised = netip.AddrPortFrom(e, port)
				}
				l.path = side.String() + "." + realm.String() + "." + l.transport.String()
				out = append(out, l)
			}
		}
	}
	o, in := &d.Outside, &d.Inside
	for _, l := range o.realms() {
		add(nat.Outside, l.realm, l.ports, either(l.address, o.Address), either(l.external, o.ExternalAddress))
	}
	for realm, l := range []*InsideListeners{nat.Phones: &in.Phones, nat.Trunks: &in.Trunks} {
		add(nat.Inside, nat.Realm(realm), l.ports(), either(l.Address, in.Address), nil)
	}
	return out
}

// addressed reports whether a side has an address at all.
func (d *Document) addressed(side nat.Side) bool {
	if side == nat.Outside {
		return len(d.Outside.Address) > 0
	}
	return len(d.Inside.Address) > 0
}

// interfaces numbers the listeners from 0.
func interfaces(d *Document) []nat.Interface {
	var out []nat.Interface
	for i, l := range listeners(d) {
		out = append(out, nat.Interface{
			ID: uint16(i), Side: l.side, Realm: l.realm, Transport: l.transport, Bind: l.bind, Advertised: l.advertised,
		})
	}
	return out
}

// Renumber gives the wanted interfaces the numbers of the live sockets that they stand for (same side, realm, transport
// and bound address), and the others the lowest numbers that no live socket has. A socket that is no longer wanted keeps
// its number until the last dialog on it has ended, so live holds such sockets too.
func Renumber(live, wanted []nat.Interface) []nat.Interface {
	out := slices.Clone(wanted)
	taken := map[uint16]bool{}
	for _, i := range live {
		taken[i.ID] = true
	}
	next := uint16(0)
	for n := range out {
		w := &out[n]
		same := func(l nat.Interface) bool {
			return l.Side == w.Side && l.Realm == w.Realm && l.Transport == w.Transport && l.Bind == w.Bind
		}
		if at := slices.IndexFunc(live, same); at >= 0 {
			w.ID = live[at].ID
			continue
		}
		for taken[next] {
			next++
		}
		w.ID = next
		taken[next] = true
	}
	return out
}

// toldNames are the names that have the advertised addresses, in the order of interfaces.
func toldNames(d *Document) []string {
	var out []string
	for _, l := range listeners(d) {
		out = append(out, l.told)
	}
	return out
}
