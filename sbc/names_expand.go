package sbc

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

// Roles of names: the same name may have to lead elsewhere for another use.
const (
	rolePublic = "public" // an address of ours that others are told
	rolePeer   = "peer"   // of outside
	roleNode   = "node"   // of inside
)

// expander replaces the names of a configuration.
type expander struct {
	out   *config.Snapshot
	see   func(resolve.Want) []resolve.Endpoint
	place string // of the key that is being replaced
	rules [2]nat.DestinationRules
	inner nat.Ranges
}

// expanded is a configuration whose names are replaced by what see says of them.
func expanded(snap *config.Snapshot, see func(resolve.Want) []resolve.Endpoint) *config.Snapshot {
	x := newExpander(snap)
	x.see = see
	x.run()
	return x.out
}

// wantsOf are the names of a configuration, and by their keys the paths where they were written first.
func wantsOf(snap *config.Snapshot) (list []resolve.Want, paths map[string]string) {
	x := newExpander(snap)
	paths = map[string]string{}
	x.see = func(w resolve.Want) []resolve.Endpoint {
		if key := w.Key(); paths[key] == "" {
			paths[key] = x.place
			list = append(list, w)
		}
		return nil
	}
	x.run()
	return list, paths
}

// lookedUp is a configuration as the network says of it now, for a trial without a running program.
func lookedUp(ctx context.Context, snap *config.Snapshot) *config.Snapshot {
	wants, _ := wantsOf(snap)
	if len(wants) == 0 {
		return snap
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	w := resolve.NewWatcher(resolve.New(&resolve.System{}, time.Now), time.Now, func(resolve.Want, resolve.State, resolve.State) {})
	w.Ask(ctx, wants)
	return expanded(snap, func(want resolve.Want) []resolve.Endpoint { return w.State(want).Endpoints })
}

// standIns is a configuration whose names lead to addresses that are nobody's (RFC 5737), so that a message can be played through it
// without asking anybody.
func standIns(snap *config.Snapshot) *config.Snapshot {
	n := byte(0)
	return expanded(snap, func(w resolve.Want) []resolve.Endpoint {
		if w.Plain {
			return nil // our own address or a further source: the message does without
		}
		n++
		port := cmp.Or(w.Port, 5060)
		return []resolve.Endpoint{{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), port), Transport: w.Transport, Host: w.Host}}
	})
}

func newExpander(snap *config.Snapshot) *expander {
	out := *snap
	out.Interfaces, out.Trunks, out.PBX.Nodes = slices.Clone(snap.Interfaces), slices.Clone(snap.Trunks), slices.Clone(snap.PBX.Nodes)
	return &expander{out: &out, inner: nat.NewRanges(snap.Internal...)}
}

// ours puts our own names in.
func (x *expander) ours() {
	x.interfaces()
	x.media()
	for i := range x.out.Trunks {
		x.place = "trunks[" + itoa(i) + "].external_address"
		x.external(&x.out.Trunks[i])
	}
	x.rules = (&world{snap: x.out}).destinations() // what is our own is known by now
}

// answers are the places of a name that may be used. Whoever looks it up has judged them; but he may not have known yet what is our
// own, where that is a name, too, or what the configuration calls inside now.
func (x *expander) answers(w resolve.Want) []resolve.Endpoint {
	return slices.DeleteFunc(slices.Clone(x.see(w)), func(e resolve.Endpoint) bool { return w.Refuse(e.Address) != "" })
}

func (x *expander) run() {
	x.ours()
	x.nodes()
	for i := range x.out.Trunks {
		x.trunk(i)
	}
}

// public is the first address of a family that a name of ours has; invalid: none.
func (x *expander) public(name string, like netip.Addr) netip.Addr {
	bind := like
	w := resolve.Want{
		Target: resolve.Target{Host: name, Plain: true, V4: like.Is4(), V6: like.Is6()}, Role: rolePublic,
		Refuse: func(at netip.AddrPort) string {
			return clause(nat.ForbiddenDestination(at.Addr(), nat.DestinationRules{Bind: bind}))
		},
	}
	for _, e := range x.see(w) {
		return e.Address.Addr()
	}
	return netip.Addr{}
}

func clause(why string, bad bool) string {
	if !bad {
		return ""
	}
	return "is " + why
}

// interfaces gives each listener the address that its name has. One that has none is told as it is bound.
func (x *expander) interfaces() {
	for i := range x.out.Interfaces {
		f := &x.out.Interfaces[i]
		if i >= len(x.out.Told) || x.out.Told[i] == "" {
			continue
		}
		x.place = f.Side.String() + "." + f.Realm.String() + ".external_address"
		if a := x.public(x.out.Told[i], f.Bind.Addr()); a.IsValid() {
			f.Advertised = netip.AddrPortFrom(a, f.Advertised.Port())
			if d := a.String(); f.Side == nat.Outside && f.Realm == nat.Phones && !slices.Contains(x.out.Phones.Domains, d) {
				x.out.Phones.Domains = append(slices.Clip(x.out.Phones.Domains), d)
			}
		}
	}
}

func (x *expander) media() {
	m := &x.out.Media
	for side, names := range m.Names {
		own := false
		for i, name := range names {
			if name == "" {
				continue
			}
			x.place = nat.Side(side).String() + ".external_address"
			if a := x.public(name, m.Addresses[side][i]); a.IsValid() {
				if !own {
					m.Advertised[side], own = slices.Clone(m.Advertised[side]), true
				}
				m.Advertised[side][i] = a
			}
		}
	}
}

func (x *expander) external(t *config.Trunk) {
	if t.ExternalName == "" {
		return
	}
	for i := range x.out.Interfaces {
		if f := &x.out.Interfaces[i]; f.Side == nat.Outside && f.Realm == nat.Trunks {
			if a := x.public(t.ExternalName, f.Bind.Addr()); a.IsValid() {
				t.External = a
				return
			}
		}
	}
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

func (x *expander) nodes() {
	p := &x.out.PBX
	if slices.ContainsFunc(p.Nodes, func(n config.Node) bool { return !n.Name.IsZero() }) {
		var spots []spot
		for i := range p.Nodes {
			n := &p.Nodes[i]
			x.place = "pbx.nodes[" + itoa(n.Entry) + "].address"
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
	t, key := &x.out.Trunks[i], "trunks["+itoa(i)+"]"
	t.Peers = x.peers(func(p *config.Peer) string { return key + ".peers[" + itoa(p.Entry) + "].address" }, t.Peers)
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
