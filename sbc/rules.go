package sbc

import (
	"net/netip"

	"sallyport/nat"
	"sallyport/policy"
)

// guardPeers is who the guard knows: trunks at their realm outside, nodes and the PBX's other sources inside.
func (w *world) guardPeers() []policy.Peer {
	var out []policy.Peer
	one := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	for i := range w.snap.Trunks {
		t := &w.snap.Trunks[i]
		add := func(p netip.Prefix) {
			out = append(out, policy.Peer{
				Prefix: p, Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: t.Name,
			})
		}
		for _, p := range t.Peers {
			add(one(p.Address.Addr()))
		}
		for _, p := range t.Sources {
			add(p)
		}
		for _, p := range targets(t) {
			add(p)
		}
	}
	for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
		for _, n := range w.snap.PBX.Nodes {
			out = append(out, policy.Peer{
				Prefix: one(n.Address.Addr()), Kind: policy.Node, Side: nat.Inside, Realm: realm, Name: n.Address.String(),
			})
		}
		for _, p := range w.snap.PBX.Sources {
			out = append(out, policy.Peer{Prefix: p, Kind: policy.Node, Side: nat.Inside, Realm: realm, Name: pbxName})
		}
	}
	return out
}
