package trunk

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// System is one peer system: a trunk, or the PBX.
type System struct {
	Name  string
	Kind  tu.Kind
	Side  nat.Side
	Realm nat.Realm
	Hops  []Hop
	// Sources may speak for the system besides its hops.
	Sources []netip.Prefix
	// Any is who a source is that no hop names: the system itself.
	Any *tu.Peer
	// Numbers and Contact tell it from other trunks that have the same sources: numbers that are called by it, and the user
	// of our Contact at its registrar.
	Numbers route.Patterns
	Contact string
}

// Hop is one address of a system. Its ID names it in the whole book.
type Hop struct {
	tu.Hop
	Priority, Weight int
	// Failures in a row make it down, Successes in a row bring it back; 0: the default.
	Failures, Successes int
}

// HopID names an address of a system in health. Each transport there has a health of its own: providers' names lead to one address
// and port by several, and a firewall may shut one of them.
func HopID(system string, at netip.AddrPort, t nat.Transport) string {
	id := system + " " + at.String()
	if t != nat.UDP { // without one it is UDP's: so bindings that were kept have it
		id += "/" + t.Param()
	}
	return id
}

// Book is all systems. It belongs to whoever has the core's turn.
type Book struct {
	systems []System
	nodes   []int         // in systems: those of the PBX
	places  map[place]int // of a system in systems
	hops    map[string]*record
	drains  map[drain]bool
	denials map[string]*denial    // by trunk
	working [tu.KindPhone + 1]int // addresses of a kind that are neither down nor drained
	sources [2]directory          // by nat.Side
}

type place struct {
	name string
	side nat.Side
}

// NewBook makes a book; what is known of an address, and whose turn it is, is taken over from the book before it.
func NewBook(systems []System, before *Book) *Book {
	b := &Book{systems: systems, places: map[place]int{}, hops: map[string]*record{}, drains: map[drain]bool{}, denials: map[string]*denial{}}
	if before != nil {
		b.drains = before.drains
	}
	for i := range systems {
		s := &systems[i]
		if s.Kind == tu.KindNode {
			b.nodes = append(b.nodes, i)
		}
		if _, twice := b.places[place{s.Name, s.Side}]; !twice {
			b.places[place{s.Name, s.Side}] = i
		}
	}
	if before != nil {
		b.keepDenials(before)
	}
	for i := range systems {
		s := &systems[i]
		for _, h := range s.Hops {
			if b.hops[h.ID] == nil {
				b.addHop(s, &h, before)
			}
		}
	}
	for side := range b.sources {
		b.sources[side] = newDirectory(systems, nat.Side(side))
	}
	return b
}

// addHop takes up an address, with what was known of it.
func (b *Book) addHop(s *System, h *Hop, before *Book) {
	r := &record{kind: s.Kind, name: s.Name}
	if before != nil && before.hops[h.ID] != nil {
		was := *before.hops[h.ID]
		r = &was
	}
	if r.kind == tu.KindNode {
		r.name = h.Flow.Remote.String()
	}
	r.failures, r.successes = cmp.Or(h.Failures, byDefault), cmp.Or(h.Successes, healDefault)
	r.drained = b.drains[drain{r.kind, r.name}]
	if d := b.denialOf(s); d != r.denial {
		r.denial = d
		b.settle(r, time.Time{})
	}
	b.hops[h.ID] = r
	if r.usable() {
		b.working[r.kind]++
	}
}

// Identify is the peer behind a source on a side, nil for a stranger. Of several the realm's own counts, then the one
// that names the source most closely, then the first in the file. It does not allocate.
func (b *Book) Identify(side nat.Side, realm nat.Realm, source netip.Addr) *tu.Peer {
	return b.sources[side].identify(realm, source.Unmap().WithZone(""))
}

// Same reports whether two addresses on a side belong to one system.
func (b *Book) Same(side nat.Side, x, y netip.Addr) bool {
	return b.sources[side].same(x.Unmap().WithZone(""), y.Unmap().WithZone(""))
}

// Plan is the hops of a system in the order to try: what is up or unknown, what is degraded, what refuses our password, what is
// down; each by priority, within it by weight in turn. What is drained is left out, but for the nodes of a PBX of which nothing else is left.
func (b *Book) Plan(name string, side nat.Side) []tu.Hop {
	i, known := b.places[place{name, side}]
	if !known {
		return nil
	}
	return b.inTurn(b.candidates(&b.systems[i]))
}

// inTurn puts hops into the order in which they are tried.
func (b *Book) inTurn(order []*Hop) []tu.Hop {
	slices.SortStableFunc(order, b.compare)
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && b.compare(order[from], order[to]) == 0 {
			to++
		}
		b.spread(order[from:to])
		from = to
	}
	plan := make([]tu.Hop, len(order))
	for j := range order {
		plan[j] = order[j].Hop
	}
	return plan
}

// candidates are the hops that may be tried: those that are drained where no other one is usable, and never those of a trunk.
func (b *Book) candidates(s *System) []*Hop {
	order := make([]*Hop, 0, len(s.Hops))
	usable := false
	for j := range s.Hops {
		usable = usable || b.hops[s.Hops[j].ID].usable()
	}
	for j := range s.Hops {
		if r := b.hops[s.Hops[j].ID]; !r.drained || !usable && s.Kind == tu.KindNode {
			order = append(order, &s.Hops[j])
		}
	}
	return order
}

// compare goes by health, then by priority.
func (b *Book) compare(x, y *Hop) int {
	return cmp.Or(cmp.Compare(b.rank(x.ID), b.rank(y.ID)), cmp.Compare(x.Priority, y.Priority))
}

// spread rotates hops of equal rank so that each comes first as often as its weight says (RFC 2782, in turn instead of
// by chance, so that a plan can be replayed): each gains its weight, the richest goes first and pays for all. Thus
// turns of a heavy hop do not come in a row, and groups do not disturb each other.
func (b *Book) spread(hops []*Hop) {
	if len(hops) < 2 {
		return
	}
	total, first := 0, 0
	for i, h := range hops {
		w := max(h.Weight, 1)
		total += w
		b.hops[h.ID].credit += w
		if b.hops[h.ID].credit > b.hops[hops[first].ID].credit {
			first = i
		}
	}
	b.hops[hops[first].ID].credit -= total
	rotate(hops, first)
}

func rotate(hops []*Hop, i int) {
	turned := append(slices.Clone(hops[i:]), hops[:i]...)
	copy(hops, turned)
}

// Any is who speaks for a system from wherever; nil: there is no system of that name.
func (b *Book) Any(name string, side nat.Side) *tu.Peer {
	i, known := b.places[place{name, side}]
	if !known {
		return nil
	}
	return b.systems[i].Any
}

// Nodes yields the systems of the PBX, however many trunks there are.
func (b *Book) Nodes(yield func(*System) bool) {
	for _, i := range b.nodes {
		if !yield(&b.systems[i]) {
			return
		}
	}
}

// Systems yields the systems in file order.
func (b *Book) Systems(yield func(*System) bool) {
	for i := range b.systems {
		if !yield(&b.systems[i]) {
			return
		}
	}
}
