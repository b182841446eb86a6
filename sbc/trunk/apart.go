package trunk

import (
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// A provider may serve several trunks from one address. The address proves that it is the provider; which of its trunks a
// request is of, it may say itself: whoever could lie there could do so only about what is his own.

// Telling is what tells the trunks of one source apart.
type Telling struct {
	Proven    []string      // the trunks that the connection that it came by has been proven to be of; none: its source says whose it is
	Transport nat.Transport // it came by
	User      string        // of the Request-URI
	Called    route.Dialled // what it dials
}

// By says by what a trunk was told from others of the same source.
type By uint8

// The ways, in the order in which they count.
const (
	ByFile       By = iota // by nothing: the first in the file that takes any number, or the first of all
	BySource               // no other trunk has that source
	ByConnection           // the connection has been proven to be of it, and of no other
	ByContact              // it was sent to the Contact of the trunk's registration (RFC 3261 §10.2)
	ByNumber               // by inbound.match
	ByTransport            // no other trunk has a peer of that transport
)

// String says so, for people.
func (b By) String() string {
	return [...]string{
		"by its place in the file", "by its source", "by its connection, which was made for it or has shown its certificate", "by the user of its registration's Contact",
		"by inbound.match", "by its transport",
	}[b%6]
}

// Choose is the trunk that a request from a source is of, nil for a stranger's: Identify for a source that several share. Who
// names the source most closely goes first, then the order of the file.
func (b *Book) Choose(side nat.Side, realm nat.Realm, source netip.Addr, t Telling) (*tu.Peer, By) {
	source = source.Unmap().WithZone("")
	d := &b.sources[side]
	if !source.IsValid() {
		return nil, BySource
	}
	list := d.trunks(b.systems, realm, netip.PrefixFrom(source, source.BitLen()))
	if proven := b.named(side, list, t.Proven); len(proven) == 1 {
		return b.speaker(proven[0], source), ByConnection
	} else if len(proven) > 1 {
		list = proven
	}
	if len(list) < 2 {
		return d.identify(realm, source), BySource
	}
	i, by := b.tell(list, t)
	return b.speaker(i, source), by
}

// named are those of some systems that have one of the names; where none of them has, all systems that have.
func (b *Book) named(side nat.Side, list []int, names []string) (out []int) {
	if len(names) == 0 {
		return nil
	}
	is := make([]bool, len(b.systems))
	var all []int
	for _, name := range names {
		if i, known := b.places[place{name, side}]; known {
			is[i], all = true, append(all, i)
		}
	}
	for _, i := range list {
		if is[i] {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}

// Behind is who is at the other end of a connection that has been proven to be of some trunks: the first of them that has its address,
// or of all where none does; nil: there is none of them. In dialogs it may speak for the others, and for those that have its address, as
// whoever comes from there may.
func (b *Book) Behind(side nat.Side, realm nat.Realm, source netip.Addr, names []string) *tu.Peer {
	source = source.Unmap().WithZone("")
	if !source.IsValid() {
		return nil
	}
	list := b.sources[side].trunks(b.systems, realm, netip.PrefixFrom(source, source.BitLen()))
	proven := b.named(side, list, names)
	if len(proven) == 0 {
		return nil
	}
	one := *b.speaker(proven[0], source)
	one.Also = nil
	told := make([]bool, len(b.systems))
	told[proven[0]] = true
	for _, i := range slices.Concat(proven, list) {
		if !told[i] {
			told[i], one.Also = true, append(one.Also, b.systems[i].Name)
		}
	}
	return &one
}

func (b *Book) tell(list []int, t Telling) (int, By) {
	for _, i := range list {
		if c := b.systems[i].Contact; c != "" && userpart.Same(c, t.User) {
			return i, ByContact
		}
	}
	by := ByFile
	same := slices.DeleteFunc(slices.Clone(list), func(i int) bool {
		return !slices.ContainsFunc(b.systems[i].Hops, func(h Hop) bool { return h.Flow.Transport == t.Transport })
	})
	switch {
	case len(same) == 1:
		return same[0], ByTransport
	case len(same) > 0:
		list = same
	}
	for _, i := range list {
		if n, _ := b.systems[i].Numbers.Match(t.Called); n >= 0 {
			return i, ByNumber
		}
	}
	// Who takes certain numbers alone has been asked, and who registers is called by his Contact.
	for _, plain := range []func(s *System) bool{
		func(s *System) bool { return s.Numbers.Len() == 0 && s.Contact == "" },
		func(s *System) bool { return s.Numbers.Len() == 0 },
	} {
		for _, i := range list {
			if plain(&b.systems[i]) {
				return i, by
			}
		}
	}
	return list[0], by
}

// Takes reports whether a trunk may be called by a number: it is one of those that it takes (inbound.match), or it takes any.
func (b *Book) Takes(name string, d route.Dialled) bool {
	i, known := b.places[place{name, nat.Outside}]
	if !known || b.systems[i].Numbers.Len() == 0 {
		return true
	}
	n, _ := b.systems[i].Numbers.Match(d)
	return n >= 0
}

// speaker is who a source of a system is: the hop that has that address, else the system itself.
func (b *Book) speaker(i int, source netip.Addr) *tu.Peer {
	s := &b.systems[i]
	for j := range s.Hops {
		if s.Hops[j].Flow.Remote.Addr().Unmap() == source {
			return s.Hops[j].Peer
		}
	}
	if s.Any != nil {
		return s.Any
	}
	return s.Hops[0].Peer // a system that names an address has one of the two
}

// trunks are the trunks of a realm that name a prefix: those first that name it most closely, then in the order of the file.
func (d *directory) trunks(systems []System, realm nat.Realm, p netip.Prefix) (list []int) {
	seen := make([]bool, len(systems))
	for _, of := range d.names.Supernets(p) {
		for _, i := range of {
			if s := &systems[i]; s.Kind == tu.KindTrunk && s.Realm == realm && !seen[i] {
				list = append(list, i)
			}
			seen[i] = true
		}
	}
	return list
}

// share notes of each prefix that several trunks have who else it may speak for.
func (d *directory) share(systems []System) {
	for realm, table := range d.peers {
		shared := map[netip.Prefix]*tu.Peer{}
		for p, peer := range table.All() {
			list := d.trunks(systems, nat.Realm(realm), p)
			if peer.Kind != tu.KindTrunk || len(list) < 2 {
				continue
			}
			one := *peer
			for _, i := range list {
				if systems[i].Name != one.Name {
					one.Also = append(one.Also, systems[i].Name)
				}
			}
			shared[p] = &one
		}
		for p, peer := range shared {
			table.Insert(p, peer)
		}
	}
}
