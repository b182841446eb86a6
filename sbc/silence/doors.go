package silence

import (
	"iter"
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/trunk"
)

// Doors find the node of the PBX at the other end of a flow. Whoever asks gets it by one rule:
//
//  1. the node that listens at that address and port by that transport;
//  2. else the first one that listens there by another: what goes by a transport that the configuration does not have for a node
//     counts by one that it has;
//  3. else, where the other end has chosen the port, the only node at its address. A connection comes from whatever port was free (RFC 3261
//     §18.1.1), and of a datagram nothing says that its source is where its sender listens (§18.2.1, RFC 3581 §2). Where *we* choose the
//     port another one is another server (RFC 3263 §4): it may live when the node is dead.
//
// In each step a node that the flow's own realm has goes before one that only the other realm has, as with sources
// (trunk.Book.Identify): a node has one health, by whichever of our listeners it is reached.
type Doors struct {
	systems [2]*trunk.System              // by nat.Realm
	exact   map[entrance]*trunk.Hop       // step 1
	shared  map[entrance]*trunk.Hop       // step 2; the transport does not count, and is UDP
	near    map[vicinity][]netip.AddrPort // step 3: where the nodes at an address listen
	names   map[string][]netip.AddrPort   // where a node listens, by its name in health
}

// entrance is where a node listens, as a realm has it; each transport there has a health of its own.
type entrance struct {
	realm     nat.Realm
	transport nat.Transport
	at        netip.AddrPort
}

// vicinity is an address, as a realm has it.
type vicinity struct {
	realm nat.Realm
	addr  netip.Addr
}

// newDoors makes the doors of a book's nodes.
func newDoors(b *trunk.Book) Doors {
	d := Doors{
		exact: map[entrance]*trunk.Hop{}, shared: map[entrance]*trunk.Hop{},
		near: map[vicinity][]netip.AddrPort{}, names: map[string][]netip.AddrPort{},
	}
	var systems [2][]*trunk.System
	for s := range b.Nodes {
		systems[s.Realm] = append(systems[s.Realm], s)
		if d.systems[s.Realm] == nil {
			d.systems[s.Realm] = s
		}
	}
	for realm := range systems {
		d.add(nat.Realm(realm), systems[realm])
		d.add(nat.Realm(realm), systems[1-realm])
	}
	return d
}

// add takes up nodes for a realm, behind those that it has.
func (d *Doors) add(realm nat.Realm, systems []*trunk.System) {
	here := map[netip.Addr][]netip.AddrPort{}
	for _, s := range systems {
		for i := range s.Hops {
			h := &s.Hops[i]
			at := plain(h.Flow.Remote)
			if key := (entrance{realm, h.Flow.Transport, at}); d.exact[key] == nil {
				d.exact[key] = h
			}
			if key := (entrance{realm, nat.UDP, at}); d.shared[key] == nil {
				d.shared[key] = h
			}
			here[at.Addr()] = noted(here[at.Addr()], at)
			d.names[h.ID] = noted(d.names[h.ID], at)
		}
	}
	for addr, ports := range here {
		if key := (vicinity{realm, addr}); d.near[key] == nil {
			d.near[key] = ports
		}
	}
}

func noted(list []netip.AddrPort, at netip.AddrPort) []netip.AddrPort {
	if slices.Contains(list, at) {
		return list
	}
	return append(list, at)
}

// plain is an address as the index has it.
func plain(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// System is the nodes of a realm; nil: it has none.
func (d *Doors) System(realm nat.Realm) *trunk.System { return d.systems[realm] }

// To is the node that a flow leads to; nil: none. A connection that the node has made leads back to it.
func (d *Doors) To(realm nat.Realm, f nat.Flow) *trunk.Hop {
	if f.Conn != 0 {
		return d.From(realm, f)
	}
	return d.at(realm, f.Transport, plain(f.Remote))
}

// From is the node that something has come from by a flow; nil: none, or one of several.
func (d *Doors) From(realm nat.Realm, f nat.Flow) *trunk.Hop {
	at := plain(f.Remote)
	if h := d.at(realm, f.Transport, at); h != nil {
		return h
	}
	if ports := d.near[vicinity{realm, at.Addr()}]; len(ports) == 1 {
		return d.at(realm, f.Transport, ports[0])
	}
	return nil
}

// each is From where that is known, else all nodes at the address: it may be any of them.
func (d *Doors) each(realm nat.Realm, f nat.Flow, do func(*trunk.Hop)) {
	if h := d.From(realm, f); h != nil {
		do(h)
		return
	}
	for _, at := range d.near[vicinity{realm, plain(f.Remote).Addr()}] {
		do(d.at(realm, f.Transport, at))
	}
}

// at is the node that listens somewhere.
func (d *Doors) at(realm nat.Realm, t nat.Transport, at netip.AddrPort) *trunk.Hop {
	if h := d.exact[entrance{realm, t, at}]; h != nil {
		return h
	}
	return d.shared[entrance{realm, nat.UDP, at}]
}

// Ways yields the flows by which an interface leads to a node, by its name in health: what was sent there is that node's.
func (d *Doors) Ways(i *nat.Interface, id string) iter.Seq[nat.Flow] {
	return func(yield func(nat.Flow) bool) {
		for _, at := range d.names[id] {
			f := nat.Flow{Interface: i.ID, Transport: i.Transport, Remote: at}
			if h := d.To(i.Realm, f); h != nil && h.ID == id && !yield(f) {
				return
			}
		}
	}
}
