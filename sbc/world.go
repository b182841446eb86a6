package sbc

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"sallyport/nat"
	"sallyport/policy/toll"
	"sallyport/sbc/call"
	"sallyport/sbc/config"
	"sallyport/sbc/header"
	"sallyport/sbc/names"
	"sallyport/sbc/route"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// world is one configuration in the terms of the rooms. It never changes but for the book's health; a reload makes
// another, and calls keep the one they began with for what is their own.
type world struct {
	snap          *config.Snapshot
	trunks        map[string]int   // a trunk's place in snap.Trunks, by name
	sockets       []netip.AddrPort // our own, see listeners
	interfaces    map[uint16]*nat.Interface
	internal      nat.Ranges
	systems       []trunk.System
	table         *route.Table
	renumbered    []map[*tu.Peer]*tu.Peer // by rule on calls that come in: the nodes, told its numbers
	tolls         *toll.Rules
	calls         *call.Settings
	leaks         *header.Guard
	probes        map[string]trunk.ProbeConfig        // by hop id
	registrations map[string]trunk.RegistrationConfig // by trunk
	claims        claims                              // whose addresses are known
	phone         tu.Peer                             // what all phones have in common
	loop          tu.Hop                              // leads from one call into another
	classes       *classes                            // of connections to trunks; nil: nothing is sent
}

// pbxName is the name of the system inside as trunk calls reach it, pbxPhones as phones do. Both have the same
// addresses, and one health.
const (
	pbxName   = "pbx"
	pbxPhones = "pbx for phones"
)

// timerC is over three minutes (RFC 3261 §16.6).
const timerC = 185 * time.Second

// newWorld is a world in which nothing is sent.
func newWorld(snap *config.Snapshot, tags *tu.TagKey, names *tu.NameKey) *world {
	return newWorldOf(snap, tags, names, nil)
}

func newWorldOf(snap *config.Snapshot, tags *tu.TagKey, names *tu.NameKey, c *classes) *world {
	w := &world{
		snap: snap, classes: c, interfaces: map[uint16]*nat.Interface{}, internal: nat.NewRanges(snap.Internal...),
		probes: map[string]trunk.ProbeConfig{},
	}
	for i := range snap.Interfaces {
		w.interfaces[snap.Interfaces[i].ID] = &snap.Interfaces[i]
	}
	w.trunks = make(map[string]int, len(snap.Trunks))
	for i := range snap.Trunks {
		if _, twice := w.trunks[snap.Trunks[i].Name]; !twice {
			w.trunks[snap.Trunks[i].Name] = i
		}
	}
	w.sockets = w.listeners()
	w.claims = newClaims(w)
	w.doubt()
	w.addPBX(pbxName, nat.Trunks)
	w.addPBX(pbxPhones, nat.Phones)
	w.addPhones()
	for i := range w.snap.Trunks {
		w.addTrunk(&w.snap.Trunks[i])
	}
	w.addRoutes()
	w.calls = &call.Settings{Tags: tags, Names: names, Internal: w.internal, Destinations: w.destinations()}
	w.leaks = w.leakGuard()
	w.addLoop()
	return w
}

// addPBX makes the system inside of a realm from its nodes. Trunk calls reach it from the inside trunks socket, by which
// it tells them from calls of phones.
func (w *world) addPBX(name string, realm nat.Realm) {
	p := &w.snap.PBX
	sys := trunk.System{Name: name, Kind: tu.KindNode, Side: nat.Inside, Realm: realm, Sources: p.Sources}
	reach := slices.Concat(p.Sources, w.snap.Internal)
	for _, n := range p.Nodes {
		reach = append(reach, netip.PrefixFrom(n.Address.Addr(), n.Address.Addr().BitLen()))
	}
	peer := tu.Peer{
		Kind: tu.KindNode, Side: nat.Inside, Realm: realm, Host: p.Domain, Reach: reach,
		Media:          tu.MediaPolicy{Latch: tu.LatchOff, Timeout: w.snap.Media.Timeout, Hold: w.snap.Media.Hold, SRTP: p.SRTP},
		AttemptTimeout: p.AttemptTimeout, TimerC: timerC, Never: w.sockets, SessionTimer: p.SessionTimer,
	}
	if realm == nat.Phones {
		peer.Domain = p.Domain
	} else {
		peer.Account = p.Account // what it asks of phones, phones answer
	}
	for _, n := range p.Nodes {
		if !n.Realms[realm] {
			continue
		}
		node := peer
		node.Name, node.Group = n.Address.String(), n.Group
		w.addHop(&sys, &node, n.Address, n.Transport, n.Priority, n.Weight, p.Probe, netip.Addr{})
	}
	other := peer
	other.Name = pbxName
	sys.Any = &other
	w.systems = append(w.systems, sys)
}

func (w *world) addTrunk(t *config.Trunk) {
	sys := trunk.System{Name: t.Name, Kind: tu.KindTrunk, Side: nat.Outside, Realm: nat.Trunks, Sources: t.Sources}
	reach := slices.Clone(t.Sources)
	for _, p := range t.Peers {
		reach = append(reach, netip.PrefixFrom(p.Address.Addr(), p.Address.Addr().BitLen()))
	}
	peer := tu.Peer{
		Kind: tu.KindTrunk, Name: t.Name, Side: nat.Outside, Realm: nat.Trunks, Symmetric: t.Symmetric, Reach: reach, Never: w.never(t),
		Media: tu.MediaPolicy{
			Latch: tu.LatchOff, Sources: t.MediaSources, Timeout: w.snap.Media.Timeout, Hold: w.snap.Media.Hold,
			SRTP: t.SRTP, DTMF: t.DTMF,
		},
		AttemptTimeout: w.snap.PBX.AttemptTimeout, RingTimeout: t.RingTimeout, TimerC: timerC, Rules: t.Rules,
		Codecs: t.Codecs, SessionTimer: t.SessionTimer, MaxCall: t.MaxCall,
		Transfer: t.Transfer, Referral: t.Referral, Redirect: t.Redirect, Account: t.Account,
		Group: t.Group, Failover: t.Failover, Manners: t.Manners,
	}
	sys.Numbers = route.NewPatterns(t.Numbers)
	if t.Registration != nil {
		sys.Contact = t.Registration.ContactUser
	}
	enrol(t, &peer)
	sys.Sources = append(slices.Clip(sys.Sources), targets(t)...)
	for _, p := range t.Peers {
		at := peer
		at.Host, at.Class = domainOr(t, hostOf(p.Name, p.Address)), w.classes.towards(t.Name, p.Name.Host)
		w.addHop(&sys, &at, p.Address, p.Transport, p.Priority, p.Weight, t.Probe, t.External)
	}
	other := peer
	other.Host, other.Class = domainOr(t, t.Host), w.classes.towards(t.Name, "")
	if len(sys.Hops) > 0 {
		other.Host, other.Class = sys.Hops[0].Peer.Host, sys.Hops[0].Peer.Class
	}
	sys.Any = &other
	w.addRegistration(t, &sys, peer)
	w.systems = append(w.systems, sys)
}

// key is where the configuration names a hop.
func (w *world) key(h *tu.Hop) string {
	if h.Peer.Kind == tu.KindNode {
		for _, n := range w.snap.PBX.Nodes {
			if n.Address == h.Flow.Remote {
				return "pbx.nodes[" + itoa(n.Entry) + "].address"
			}
		}
		return "pbx.nodes"
	}
	i, known := w.trunks[h.Peer.Name]
	if !known {
		return "trunks"
	}
	for _, p := range w.snap.Trunks[i].Peers {
		if p.Address == h.Flow.Remote {
			return "trunks[" + itoa(i) + "].peers[" + itoa(p.Entry) + "].address"
		}
	}
	return "trunks[" + itoa(i) + "].peers"
}

// hostOf is what a peer is called in Request-URI and To: as it is written, for many providers know themselves by name alone.
func hostOf(name config.Name, at netip.AddrPort) string {
	switch {
	case name.IsZero():
		return hostPort(at)
	case name.Port == 5060:
		return name.Host
	}
	return name.String()
}

// hostPort leaves the standard port out, as peers write their own address.
func hostPort(a netip.AddrPort) string {
	if a.Port() != 5060 {
		return a.String()
	}
	if a.Addr().Is6() {
		return "[" + a.Addr().String() + "]"
	}
	return a.Addr().String()
}

func (w *world) addHop(
	sys *trunk.System, peer *tu.Peer, at netip.AddrPort, tr nat.Transport, priority, weight int, probe config.Probe,
	external netip.Addr,
) {
	iface := w.towards(peer.Side, peer.Realm, tr, at.Addr())
	if iface == nil {
		return // the configuration has been checked: no socket of that family, no hop
	}
	hop := tu.Hop{
		ID: trunk.HopID(hopName(sys), at, tr), Peer: peer, Here: w.local(iface, at.Addr(), external),
		Flow: flowTo(iface, peer, at),
	}
	sys.Hops = append(sys.Hops, trunk.Hop{
		Hop: hop, Priority: priority, Weight: weight, Failures: probe.Failures, Successes: probe.Successes,
	})
	if _, probed := w.probes[hop.ID]; probe.Interval > 0 && !probed {
		w.probes[hop.ID] = trunk.ProbeConfig{
			Hop: hop, Interval: probe.Interval, Failures: probe.Failures, Successes: probe.Successes, CRLF: probe.CRLF,
		}
	}
}

// flowTo is the flow to an address of a peer.
func flowTo(f *nat.Interface, peer *tu.Peer, at netip.AddrPort) nat.Flow {
	out := nat.Flow{Interface: f.ID, Transport: f.Transport, Remote: at}
	if f.Transport == nat.TLS {
		out.Class = peer.Class
	}
	return out
}

// hopName is the name of a system in the ids of its hops: a node has one health, whoever is sent there.
func hopName(s *trunk.System) string {
	if s.Kind == tu.KindNode {
		return pbxName
	}
	return s.Name
}

// faces are the interfaces of the configuration.
func (w *world) faces() []*nat.Interface {
	var out []*nat.Interface
	for i := range w.snap.Interfaces {
		out = append(out, &w.snap.Interfaces[i])
	}
	return out
}

// towards is the interface by which a peer is reached.
func (w *world) towards(side nat.Side, realm nat.Realm, tr nat.Transport, to netip.Addr) *nat.Interface {
	for i := range w.snap.Interfaces {
		f := &w.snap.Interfaces[i]
		if f.Side == side && f.Realm == realm && f.Transport == tr && f.Bind.Addr().Is4() == to.Is4() {
			return f
		}
	}
	return nil
}

// local is an interface as a remote address sees it; a trunk may have an external address of its own.
func (w *world) local(f *nat.Interface, remote, external netip.Addr) tu.Local {
	signal := nat.Advertise(f, remote, w.internal)
	if external.IsValid() && external.Is4() != f.Bind.Addr().Is4() {
		external = netip.Addr{} // one of a trunk's peers has the other family
	}
	if external.IsValid() && signal == f.Advertised {
		signal = netip.AddrPortFrom(external, signal.Port())
	}
	bind, told := w.mediaAddress(f.Side, f.Bind.Addr())
	if external.IsValid() {
		told = external
	}
	return tu.Local{
		Interface: f.ID, Transport: f.Transport, Signal: signal, Media: nat.AdvertiseMedia(bind, told, remote, w.internal),
		Other: w.otherMedia(f.Side, f.Bind.Addr(), remote),
	}
}

// otherMedia is the relay's address on a side in the other family, as a peer sees it; invalid: there is none.
func (w *world) otherMedia(side nat.Side, than, remote netip.Addr) netip.Addr {
	for i, a := range w.snap.Media.Addresses[side] {
		if a.Is4() != than.Is4() {
			return nat.AdvertiseMedia(a, w.snap.Media.Advertised[side][i], remote, w.internal)
		}
	}
	return netip.Addr{}
}

// mediaAddress is the relay's address on a side in the family of an interface, and what the world sees of it.
func (w *world) mediaAddress(side nat.Side, like netip.Addr) (bind, told netip.Addr) {
	for i, a := range w.snap.Media.Addresses[side] {
		if a.Is4() == like.Is4() {
			return a, w.snap.Media.Advertised[side][i]
		}
	}
	return like, like
}

// own are our addresses on each side, bound and advertised, for signalling and media: as the configuration has them. Where a
// registrar says that it sees us counts for that trunk alone.
func (w *world) own() [2][]netip.Addr { return names.Own(w.snap) }

// destinations is where nothing is sent.
func (w *world) destinations() [2]nat.DestinationRules { return names.Destinations(w.snap) }

// listeners are our own sockets, as bound and as advertised: a request is never sent there.
func (w *world) listeners() []netip.AddrPort {
	var out []netip.AddrPort
	for i := range w.snap.Interfaces {
		f := &w.snap.Interfaces[i]
		out = append(out, f.Bind, f.Advertised)
	}
	return slices.Clip(out)
}

func itoa(n int) string { return strconv.Itoa(n) }
