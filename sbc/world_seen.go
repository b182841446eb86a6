package sbc

import (
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/config"
)

// Where a registrar says that it sees us is its word alone, and over UDP the word of whoever stands on the way. It is believed
// where it may be true, and it counts for that trunk only: for its Contact, its SDP and what it may send us back to.

// claims are the addresses that are somebody's already: no NAT of ours can stand there.
type claims struct {
	by  map[netip.Addr]string
	own [2]map[netip.Addr]bool
}

func newClaims(w *world) claims {
	c := claims{by: map[netip.Addr]string{}}
	for side, list := range w.own() {
		c.own[side] = map[netip.Addr]bool{}
		for _, a := range list {
			c.own[side][a.Unmap()] = true
		}
	}
	add := func(a netip.Addr, who string) {
		if a = a.Unmap(); a.IsValid() && c.by[a] == "" {
			c.by[a] = who
		}
	}
	for i := range w.snap.PBX.Nodes {
		add(w.snap.PBX.Nodes[i].Address.Addr(), "a node of the PBX")
	}
	for i := range w.snap.Trunks {
		t := &w.snap.Trunks[i]
		for _, p := range t.Peers {
			add(p.Address.Addr(), "trunk "+t.Name)
		}
		for _, p := range slices.Concat(t.Sources, targets(t)) { // a wider range may well be that of our own access, too
			if p.IsSingleIP() {
				add(p.Addr(), "trunk "+t.Name)
			}
		}
	}
	return c
}

// implausible says why a trunk's registrar cannot see us at an address; "": it may.
func (w *world) implausible(t *config.Trunk, a netip.Addr) string {
	a = a.Unmap()
	c := &w.claims
	if c.own[nat.Outside][a] {
		return "" // as the configuration has it
	}
	faces := w.trunkFaces(a.Is4())
	for _, f := range faces {
		if why, bad := nat.ForbiddenDestination(a, nat.DestinationRules{Bind: f.Bind.Addr()}); bad {
			return "is " + why
		}
	}
	switch who := c.by[a]; {
	case len(faces) == 0:
		return "is of a family that we do not have there"
	case c.own[nat.Inside][a]:
		return "is our own address inside"
	case who != "":
		return "is the address of " + who
	case a.IsLoopback():
		return ""
	}
	inner := func(x netip.Addr) string {
		switch {
		case w.internal.Contains(x):
			return "lies in internal_ranges"
		case slices.ContainsFunc(w.snap.PBX.Sources, func(p netip.Prefix) bool { return p.Contains(x) }):
			return "lies in pbx.sources"
		}
		return ""
	}
	why := inner(a)
	for _, f := range faces {
		us := f.Advertised.Addr()
		if t.External.IsValid() && t.External.Is4() == a.Is4() {
			us = t.External
		}
		if inner(us) != "" {
			return "" // we stand in such a network ourselves: its NAT may have others
		}
	}
	return why
}

// trunkFaces are the sockets of a family that trunks reach.
func (w *world) trunkFaces(v4 bool) (out []*nat.Interface) {
	for i := range w.snap.Interfaces {
		if f := &w.snap.Interfaces[i]; f.Side == nat.Outside && f.Realm == nat.Trunks && f.Bind.Addr().Is4() == v4 {
			out = append(out, f)
		}
	}
	return out
}

// doubt leaves out what registrars have said and is no longer believed: the configuration may be another since.
func (w *world) doubt() {
	var trunks []config.Trunk
	for i := range w.snap.Trunks {
		r := w.snap.Trunks[i].Registration
		if r == nil || !r.Seen.IsValid() || w.implausible(&w.snap.Trunks[i], r.Seen.Addr()) == "" {
			continue
		}
		if trunks == nil {
			trunks = slices.Clone(w.snap.Trunks)
		}
		without := *r
		without.Seen = netip.AddrPort{}
		trunks[i].Registration = &without
	}
	if trunks != nil {
		out := *w.snap
		out.Trunks = trunks
		w.snap = &out
	}
}

// never are the sockets where nothing of a trunk is sent: our own, and where its registrar sees us.
func (w *world) never(t *config.Trunk) []netip.AddrPort {
	if r := t.Registration; r != nil && r.Seen.IsValid() {
		return append(w.sockets, r.Seen) // clipped: it is copied
	}
	return w.sockets
}
