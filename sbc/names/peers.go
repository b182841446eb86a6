package names

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

// answers are the places of a name that may be used. Whoever has looked it up has judged them; but what is our own may not have been
// known then, where that is a name, too, nor what the configuration calls inside now.
func (x *expander) answers(w resolve.Want) []resolve.Endpoint {
	return slices.DeleteFunc(slices.Clone(x.see(w)), func(e resolve.Endpoint) bool { return w.Refuse(e.Address) != "" })
}

// reach is what a side's listeners of some realms can reach: by which transports, in which families.
func (x *expander) reach(side nat.Side, realms [2]bool) (speaks resolve.Transports, v4, v6 bool) {
	for i := range x.out.Interfaces {
		f := &x.out.Interfaces[i]
		if f.Side != side || !realms[f.Realm] || f.Transport == nat.WSS {
			continue
		}
		speaks, v4, v6 = speaks.With(f.Transport), v4 || f.Bind.Addr().Is4(), v6 || f.Bind.Addr().Is6()
	}
	return speaks, v4, v6
}

// acceptable judges an answer for a peer of a side: whoever owns a name of a provider must not lead us into our own networks.
func (x *expander) acceptable(side nat.Side) func(netip.AddrPort) string {
	rules, inner := x.rules[side], x.inner
	return func(at netip.AddrPort) string {
		a := at.Addr()
		why := clause(nat.ForbiddenDestination(a, rules))
		if why == "" && side == nat.Outside && inner.Contains(a) && !a.IsLoopback() {
			why = "lies in internal_ranges"
		}
		return why
	}
}

// plainly are the addresses of a name that is no peer to send to.
func (x *expander) plainly(side nat.Side, names []string) (out []netip.Prefix) {
	_, v4, v6 := x.reach(side, [2]bool{true, true})
	for _, name := range names {
		w := resolve.Want{
			Target: resolve.Target{Host: name, Plain: true, V4: v4, V6: v6}, Role: roleOf(side), Refuse: x.acceptable(side),
		}
		for _, e := range x.answers(w) {
			out = append(out, netip.PrefixFrom(e.Address.Addr(), e.Address.Addr().BitLen()))
		}
	}
	return out
}

func roleOf(side nat.Side) string {
	if side == nat.Outside {
		return rolePeer
	}
	return roleNode
}

// rank orders the places that entries lead to: by the entry's own priority, then by that of its records.
type rank struct{ entry, tier int }

// spot is one place that an entry leads to.
type spot struct {
	entry     int // index into the list
	at        netip.AddrPort
	transport nat.Transport
	rank      rank
	weight    int
}

// weightUnit lets an entry's weight be divided among the places that its name leads to.
const weightUnit = 1000

// leads are the places that an entry leads to; the entry's weight is shared by those of one tier as their records say.
func (x *expander) leads(side nat.Side, realms [2]bool, i int, at netip.AddrPort, name config.Name, tr nat.Transport, priority, weight int) (out []spot) {
	weight = max(weight, 1) * weightUnit
	if name.IsZero() {
		return []spot{{i, at, tr, rank{entry: priority}, weight}}
	}
	list := x.answers(x.want(side, realms, name, tr))
	tier, from := 0, 0
	for j := range list {
		if list[j].Priority != list[from].Priority {
			tier, from = tier+1, j
		}
		same := slices.DeleteFunc(slices.Clone(list), func(e resolve.Endpoint) bool { return e.Priority != list[j].Priority })
		all := 0
		for _, e := range same {
			all += e.Weight
		}
		share := weight / len(same)
		if all > 0 {
			share = weight * list[j].Weight / all
		}
		out = append(out, spot{i, list[j].Address, list[j].Transport, rank{priority, tier}, max(share, 1)})
	}
	return out
}

// want is a name of a peer system, as it is looked up.
func (x *expander) want(side nat.Side, realms [2]bool, name config.Name, tr nat.Transport) resolve.Want {
	speaks, v4, v6 := x.reach(side, realms)
	return resolve.Want{
		Target: resolve.Target{Host: name.Host, Port: name.Port, Transport: tr, Any: name.Any, Speaks: usable(name, speaks), V4: v4, V6: v6},
		Role:   roleOf(side), Refuse: x.acceptable(side),
	}
}

// trunkRealm is the realm of all that stands outside and is no phone.
var trunkRealm = [2]bool{nat.Trunks: true}

// usable is what matters of the transports: with one that was written the others are nobody's business.
func usable(name config.Name, speaks resolve.Transports) resolve.Transports {
	if !name.Any {
		return 0
	}
	return speaks
}

// ranked gives spots the priorities of their ranks, and leaves out those that stand there twice.
func ranked(list []spot) (out []spot, priority func(spot) int) {
	var ranks []rank
	for _, s := range list {
		if !slices.Contains(ranks, s.rank) {
			ranks = append(ranks, s.rank)
		}
		if !slices.ContainsFunc(out, func(o spot) bool { return o.at == s.at && o.transport == s.transport }) {
			out = append(out, s)
		}
	}
	slices.SortFunc(ranks, func(a, b rank) int { return cmp.Or(cmp.Compare(a.entry, b.entry), cmp.Compare(a.tier, b.tier)) })
	return out, func(s spot) int { return 1 + slices.Index(ranks, s.rank) }
}

// nodePath is the key of a node's address.
func nodePath(n *config.Node) string { return "pbx.nodes[" + strconv.Itoa(n.Entry) + "].address" }

// peerPath is the key of the address of a peer of the trunk with an index.
func peerPath(trunk int, p *config.Peer) string {
	return "trunks[" + strconv.Itoa(trunk) + "].peers[" + strconv.Itoa(p.Entry) + "].address"
}

func (x *expander) nodes() {
	p := &x.out.PBX
	if slices.ContainsFunc(p.Nodes, func(n config.Node) bool { return !n.Name.IsZero() }) {
		var spots []spot
		for i := range p.Nodes {
			n := &p.Nodes[i]
			x.place = nodePath(n)
			spots = append(spots, x.leads(nat.Inside, n.Realms, i, n.Address, n.Name, n.Transport, n.Priority, n.Weight)...)
		}
		spots, priority := ranked(spots)
		var nodes []config.Node
		for _, s := range spots {
			n := p.Nodes[s.entry]
			n.Address, n.Transport, n.Priority, n.Weight = s.at, s.transport, priority(s), s.weight
			nodes = append(nodes, n)
		}
		p.Nodes = nodes
	}
	x.place = "pbx.sources"
	p.Sources = slices.Concat(p.Sources, x.plainly(nat.Inside, p.SourceNames))
}

func (x *expander) trunk(i int) {
	t, key := &x.out.Trunks[i], "trunks["+strconv.Itoa(i)+"]"
	t.Peers = x.peers(func(p *config.Peer) string { return peerPath(i, p) }, t.Peers)
	speakers := t.Peers
	if r := t.Registration; r != nil {
		own := *r
		own.Targets = x.peers(func(*config.Peer) string { return key + ".registration.registrar" }, r.Targets)
		t.Registration, speakers = &own, slices.Concat(speakers, own.Targets)
	}
	if t.SourcesByPeers {
		t.Sources = nil
		for _, p := range speakers {
			if one := netip.PrefixFrom(p.Address.Addr(), p.Address.Addr().BitLen()); !slices.Contains(t.Sources, one) {
				t.Sources = append(t.Sources, one)
			}
		}
	}
	x.place = key + ".sources"
	t.Sources = slices.Concat(t.Sources, x.plainly(nat.Outside, t.SourceNames))
	x.place = key + ".media_sources"
	t.MediaSources = slices.Concat(t.MediaSources, x.plainly(nat.Outside, t.MediaNames))
}

// peers are places outside with their names replaced; place is where one of them was written.
func (x *expander) peers(place func(*config.Peer) string, list []config.Peer) []config.Peer {
	if !slices.ContainsFunc(list, func(p config.Peer) bool { return !p.Name.IsZero() }) {
		return list
	}
	var spots []spot
	for i := range list {
		p := &list[i]
		x.place = place(p)
		spots = append(spots, x.leads(nat.Outside, trunkRealm, i, p.Address, p.Name, p.Transport, p.Priority, p.Weight)...)
	}
	spots, priority := ranked(spots)
	var out []config.Peer
	for _, s := range spots {
		p := list[s.entry]
		p.Address, p.Transport, p.Priority, p.Weight = s.at, s.transport, priority(s), s.weight
		out = append(out, p)
	}
	return out
}
