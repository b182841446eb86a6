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

// Roles of names: the same name may have to lead elsewhere for another use. They are part of the keys in the state file.
const (
	rolePublic = "public" // an address of ours that others are told
	rolePeer   = "peer"   // of outside
	roleNode   = "node"   // of inside
)

// Answers tells what a name leads to; nothing: nowhere. It must not wait, and nobody changes what it returns.
type Answers func(resolve.Want) []resolve.Endpoint

// Expand is a configuration whose names are replaced by what answers says of them. A name that leads nowhere is left out, and so is
// an endpoint of a peer or source that Want.Refuse refuses; a listener whose own name leads nowhere is told as it is bound.
// snap stays as it is: the slices Interfaces, Trunks and PBX.Nodes of the result are its own, and whatever else differs.
func Expand(snap *config.Snapshot, answers Answers) *config.Snapshot {
	x := newExpander(snap, answers)
	x.run()
	return x.out
}

// StandIns is a configuration whose peers' names lead to addresses that are nobody's (RFC 5737), so that a message can be played
// through it without asking anybody.
func StandIns(snap *config.Snapshot) *config.Snapshot {
	n := byte(0)
	return Expand(snap, func(w resolve.Want) []resolve.Endpoint {
		if w.Plain {
			return nil // our own address or a further source: the message does without
		}
		n++
		port := cmp.Or(w.Port, 5060)
		return []resolve.Endpoint{{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), port), Transport: w.Transport, Host: w.Host}}
	})
}

// written is a name of a configuration with the key where it was written first.
type written struct {
	want resolve.Want
	path string
}

// writtenIn are the names of a configuration, in the order in which they are replaced, each once.
func writtenIn(snap *config.Snapshot) (list []written) {
	known := map[string]bool{}
	x := newExpander(snap, nil)
	x.see = func(w resolve.Want) []resolve.Endpoint {
		if key := w.Key(); !known[key] {
			known[key] = true
			list = append(list, written{w, x.place})
		}
		return nil
	}
	x.run()
	return list
}

// wants are names as they are looked up.
func wants(list []written) []resolve.Want {
	var out []resolve.Want
	for i := range list {
		out = append(out, list[i].want)
	}
	return out
}

// expander replaces the names of a configuration.
type expander struct {
	out   *config.Snapshot
	see   Answers
	place string // of the key that is being replaced
	rules [2]nat.DestinationRules
	inner nat.Ranges
}

func newExpander(snap *config.Snapshot, see Answers) *expander {
	out := *snap
	out.Interfaces, out.Trunks, out.PBX.Nodes = slices.Clone(snap.Interfaces), slices.Clone(snap.Trunks), slices.Clone(snap.PBX.Nodes)
	return &expander{out: &out, see: see, inner: nat.NewRanges(snap.Internal...)}
}

func (x *expander) run() {
	x.ours()
	x.nodes()
	for i := range x.out.Trunks {
		x.trunk(i)
	}
}

// ours puts our own names in.
func (x *expander) ours() {
	x.interfaces()
	x.media()
	for i := range x.out.Trunks {
		x.place = "trunks[" + strconv.Itoa(i) + "].external_address"
		x.external(&x.out.Trunks[i])
	}
	x.rules = Destinations(x.out) // what is our own is known by now
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
