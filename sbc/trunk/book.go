package trunk

import (
	"cmp"
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// State is what is known of a peer's address.
type State uint8

// The states: a peer that never answered is unknown, and used.
const (
	Unknown State = iota
	Up
	Down
)

// String is the state's name in `sbc trunks` and `sbc pbx`.
func (s State) String() string { return [...]string{"unknown", "up", "down"}[s] }

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
}

// Hop is one address of a system. Its ID names it in the whole book.
type Hop struct {
	tu.Hop
	Priority, Weight int
}

// Book is all systems. It belongs to whoever has the core's turn.
type Book struct {
	systems []System
	places  map[place]int // of a system in systems
	hops    map[string]*record
	working [tu.KindPhone + 1]int // addresses of a kind that are not down
	sources [2]directory          // by nat.Side
}

type place struct {
	name string
	side nat.Side
}

// record is what is known of a hop.
type record struct {
	kind   tu.Kind
	state  State
	credit int // of spread
}

// NewBook makes a book; what is known of an address, and whose turn it is, is taken over from the book before it.
func NewBook(systems []System, before *Book) *Book {
	b := &Book{systems: systems, places: map[place]int{}, hops: map[string]*record{}}
	for i := range systems {
		s := &systems[i]
		if _, twice := b.places[place{s.Name, s.Side}]; !twice {
			b.places[place{s.Name, s.Side}] = i
		}
		for _, h := range s.Hops {
			if b.hops[h.ID] != nil {
				continue
			}
			r := &record{kind: s.Kind}
			if before != nil && before.hops[h.ID] != nil {
				r.state, r.credit = before.hops[h.ID].state, before.hops[h.ID].credit
			}
			b.hops[h.ID] = r
			if r.state != Down {
				b.working[r.kind]++
			}
		}
	}
	for side := range b.sources {
		b.sources[side] = newDirectory(systems, nat.Side(side))
	}
	return b
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

// Plan is the hops of a system in the order to try: by priority, within it by weight in turn, what is down last but
// never left out.
func (b *Book) Plan(name string, side nat.Side) []tu.Hop {
	i, known := b.places[place{name, side}]
	if !known {
		return nil
	}
	order := make([]*Hop, len(b.systems[i].Hops))
	for j := range order {
		order[j] = &b.systems[i].Hops[j]
	}
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

// compare puts what is down last, then goes by priority.
func (b *Book) compare(x, y *Hop) int {
	return cmp.Or(cmp.Compare(b.down(x), b.down(y)), cmp.Compare(x.Priority, y.Priority))
}

func (b *Book) down(h *Hop) int {
	if b.hops[h.ID].state == Down {
		return 1
	}
	return 0
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

// Report takes what a probe, or a call, found of an address. It reports whether that is news.
func (b *Book) Report(id string, s State) (changed bool) {
	r := b.hops[id]
	if r == nil || r.state == s {
		return false
	}
	switch {
	case s == Down:
		b.working[r.kind]--
	case r.state == Down:
		b.working[r.kind]++
	}
	r.state, r.credit = s, 0 // a node that comes back has no debts to collect
	return true
}

// State is the health of an address.
func (b *Book) State(id string) State {
	if r := b.hops[id]; r != nil {
		return r.state
	}
	return Unknown
}

// Available reports whether some address of a kind is not down: what an OPTIONS asks.
func (b *Book) Available(kind tu.Kind) bool { return b.working[kind] > 0 }

// Systems yields the systems in file order.
func (b *Book) Systems(yield func(*System) bool) {
	for i := range b.systems {
		if !yield(&b.systems[i]) {
			return
		}
	}
}
