package sbc

import (
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// enrol makes the peer of a trunk that registers what the account and the registrar's answers say.
func enrol(t *config.Trunk, peer *tu.Peer) {
	r := t.Registration
	if r == nil {
		return
	}
	peer.Domain, peer.Routes, peer.ContactUser = r.Domain, r.Routes, r.ContactUser
	if r.Account != nil {
		account := *r.Account
		if len(account.Realms) == 0 {
			account.Realms = r.Realms // their challenges were answered, and then it accepted us
		}
		peer.Account = &account
	}
	for _, a := range targets(t) {
		peer.Reach = append(slices.Clip(peer.Reach), a)
	}
}

// targets are the addresses where a trunk registers.
func targets(t *config.Trunk) (out []netip.Prefix) {
	if t.Registration == nil {
		return nil
	}
	for _, p := range t.Registration.Targets {
		if a := p.Address.Addr(); a.IsValid() {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// addRegistration makes a trunk's registration, and puts the hop that has it first: the others may not know us.
func (w *world) addRegistration(t *config.Trunk, sys *trunk.System, peer tu.Peer) {
	r := t.Registration
	if r == nil {
		return
	}
	cfg := trunk.RegistrationConfig{
		Trunk: t.Name, Domain: r.Domain, User: r.Username, Contact: r.ContactUser, Account: r.Account, Expires: r.Expires, GIN: r.GIN,
		Refuse: func(at netip.AddrPort) string { return w.implausible(t, at.Addr()) },
	}
	for _, p := range r.Targets {
		at := peer
		at.Host, at.Class = r.Domain, w.classes.towards(t.Name, p.Name.Host)
		if hop, ok := w.hopTo(sys, &at, p.Address, p.Transport, t); ok {
			cfg.Hops = append(cfg.Hops, trunk.Hop{Hop: hop, Priority: p.Priority, Weight: p.Weight})
		}
	}
	if w.registrations == nil {
		w.registrations = map[string]trunk.RegistrationConfig{}
	}
	w.registrations[t.Name] = cfg
	for i := range sys.Hops {
		h := &sys.Hops[i]
		if h.ID == r.Hop {
			h.Priority = -1
		}
		h.Here = w.seenBy(t, h.Here)
		if p, probed := w.probes[h.ID]; probed {
			p.Hop.Here = h.Here
			w.probes[h.ID] = p
		}
	}
}

// domainOr is the host of requests to a trunk: the account's domain where there is one. The provider knows its numbers by it,
// whichever of its machines we speak to.
func domainOr(t *config.Trunk, host string) string {
	if t.Registration != nil {
		return t.Registration.Domain
	}
	return host
}

// hopTo is a hop to an address of a trunk; false: there is no socket of its kind, or the address is not known.
func (w *world) hopTo(sys *trunk.System, peer *tu.Peer, at netip.AddrPort, tr nat.Transport, t *config.Trunk) (tu.Hop, bool) {
	if !at.IsValid() {
		return tu.Hop{}, false
	}
	face := w.towards(peer.Side, peer.Realm, tr, at.Addr())
	if face == nil {
		return tu.Hop{}, false
	}
	return tu.Hop{
		ID: trunk.HopID(hopName(sys), at, tr), Peer: peer, Here: w.seenBy(t, w.local(face, at.Addr(), t.External)),
		Flow: flowTo(face, peer, at),
	}, true
}

// here is an interface as a peer sees it.
func (w *world) here(f *nat.Interface, remote netip.Addr, p *tu.Peer) tu.Local {
	if p == nil || p.Kind != tu.KindTrunk {
		return w.local(f, remote, netip.Addr{})
	}
	i, known := w.trunks[p.Name]
	if !known {
		return w.local(f, remote, netip.Addr{})
	}
	t := &w.snap.Trunks[i]
	return w.seenBy(t, w.local(f, remote, t.External))
}

// seenBy puts the address in by which a trunk's registrar sees us: through it calls come back, whatever the firewall lets in. Its
// port is that of the transport that we registered by.
func (w *world) seenBy(t *config.Trunk, l tu.Local) tu.Local {
	r := t.Registration
	if r == nil || !r.Seen.IsValid() || r.Seen.Addr().Is4() != l.Signal.Addr().Is4() || len(r.Targets) == 0 {
		return l
	}
	if l.Media == l.Signal.Addr() && !t.External.IsValid() {
		l.Media = r.Seen.Addr()
	}
	port := l.Signal.Port()
	if l.Transport == r.Targets[0].Transport {
		port = r.Seen.Port()
	}
	l.Signal = netip.AddrPortFrom(r.Seen.Addr(), port)
	return l
}
