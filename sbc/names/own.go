package names

import (
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/config"
)

// Own are our addresses on each side, bound and advertised, for signalling and media: as the configuration has them, each once, and
// first the one that a side's first listener advertises. Where a registrar says that it sees us counts for that trunk alone
// and is not among them. Names of ours are, where they have been replaced (Expand).
func Own(snap *config.Snapshot) (own [2][]netip.Addr) {
	var known [2]map[netip.Addr]bool
	add := func(side nat.Side, a netip.Addr) {
		if known[side] == nil {
			known[side] = map[netip.Addr]bool{}
		}
		if a.IsValid() && !known[side][a] {
			known[side][a] = true
			own[side] = append(own[side], a)
		}
	}
	for i := range snap.Interfaces {
		f := &snap.Interfaces[i]
		add(f.Side, f.Advertised.Addr()) // first: it stands in for what leaked
		add(f.Side, f.Bind.Addr())
	}
	for side := range own {
		for _, a := range slices.Concat(snap.Media.Advertised[side], snap.Media.Addresses[side]) {
			add(nat.Side(side), a)
		}
	}
	for i := range snap.Trunks {
		add(nat.Outside, snap.Trunks[i].External)
	}
	return own
}

// Destinations is where a configuration lets nothing be sent, by side: signalling or media, whoever names the address.
func Destinations(snap *config.Snapshot) (rules [2]nat.DestinationRules) {
	own := Own(snap)
	for side := range rules {
		rules[side] = nat.DestinationRules{Side: nat.Side(side), Own: own}
		if a := snap.Media.Addresses[side]; len(a) > 0 {
			rules[side].Bind = a[0]
		}
	}
	return rules
}
