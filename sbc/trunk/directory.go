package trunk

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// directory finds the systems of one side by source: a thousand trunks cost a request no more than one.
type directory struct {
	peers [2]*bart.Table[*tu.Peer] // by nat.Realm: who a source is
	names *bart.Table[[]int]       // which systems name a prefix
}

func newDirectory(systems []System, side nat.Side) directory {
	d := directory{names: new(bart.Table[[]int])}
	for realm := range d.peers {
		d.peers[realm] = new(bart.Table[*tu.Peer])
	}
	for i := range systems { // hops first: an address that a hop names is that hop, whoever has it among its sources
		if systems[i].Side != side {
			continue
		}
		for j := range systems[i].Hops {
			h := &systems[i].Hops[j]
			at := h.Flow.Remote.Addr().Unmap()
			d.add(i, systems[i].Realm, netip.PrefixFrom(at, at.BitLen()), h.Peer)
		}
	}
	for i := range systems {
		if systems[i].Side != side {
			continue
		}
		for _, p := range systems[i].Sources {
			d.add(i, systems[i].Realm, p.Masked(), systems[i].Any)
		}
	}
	d.share(systems)
	return d
}

// add notes a prefix of a system; the first one that names it is who it is.
func (d *directory) add(system int, realm nat.Realm, p netip.Prefix, peer *tu.Peer) {
	if !p.IsValid() || peer == nil {
		return
	}
	if _, taken := d.peers[realm].Get(p); !taken {
		d.peers[realm].Insert(p, peer)
	}
	list, _ := d.names.Get(p)
	if !slices.Contains(list, system) {
		d.names.Insert(p, append(slices.Clip(list), system))
	}
}

func (d *directory) identify(realm nat.Realm, source netip.Addr) *tu.Peer {
	if p, ok := d.peers[realm].Lookup(source); ok {
		return p
	}
	p, _ := d.peers[1-realm].Lookup(source)
	return p
}

// same reports whether a system names both addresses, in whatever prefixes.
func (d *directory) same(x, y netip.Addr) bool {
	if !x.IsValid() || !y.IsValid() {
		return false
	}
	for _, of := range d.names.Supernets(netip.PrefixFrom(x, x.BitLen())) {
		for _, also := range d.names.Supernets(netip.PrefixFrom(y, y.BitLen())) {
			if slices.ContainsFunc(of, func(i int) bool { return slices.Contains(also, i) }) {
				return true
			}
		}
	}
	return false
}
