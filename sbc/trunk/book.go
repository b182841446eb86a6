// Package trunk knows the peer systems on both sides: trunk providers and PBX nodes, with their addresses, their health
// and their order. It tells who a source is, and which hops of a system to try first.
//
// It identifies by transport source only, never by what a message says of itself. It is pure: the probe is a user of the
// core like any other, and the book is a value that the core's goroutine owns.
//
// RFC 3261 §11 (OPTIONS), RFC 2782 (priority and weight).
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

// Hop is one address of a system.
type Hop struct {
	tu.Hop
	Priority, Weight int
}

// Book is all systems. The core's goroutine owns it.
type Book struct {
	systems []System
	health  map[string]State
	turn    uint32
}

// NewBook makes a book; health is taken over from the book before it, by address.
func NewBook(systems []System, before *Book) *Book {
	b := &Book{systems: systems, health: map[string]State{}}
	for i := range systems {
		for _, h := range systems[i].Hops {
			if before != nil {
				b.health[h.ID] = before.health[h.ID]
			} else {
				b.health[h.ID] = Unknown
			}
		}
	}
	return b
}

// Identify is the peer behind a source on a side, nil for a stranger. Of several the realm's own counts.
func (b *Book) Identify(side nat.Side, realm nat.Realm, source netip.Addr) *tu.Peer {
	source = source.Unmap()
	var found *tu.Peer
	for i := range b.systems {
		s := &b.systems[i]
		if s.Side != side {
			continue
		}
		p := s.peer(source)
		if p != nil && (found == nil || s.Realm == realm) {
			found = p
			if s.Realm == realm {
				return p
			}
		}
	}
	return found
}

// peer is who an address is within the system.
func (s *System) peer(source netip.Addr) *tu.Peer {
	for i := range s.Hops {
		if s.Hops[i].Flow.Remote.Addr() == source {
			return s.Hops[i].Peer
		}
	}
	for _, p := range s.Sources {
		if p.Contains(source) {
			return s.Any
		}
	}
	return nil
}

// Same reports whether two addresses on a side belong to one system.
func (b *Book) Same(side nat.Side, x, y netip.Addr) bool {
	x, y = x.Unmap(), y.Unmap()
	for i := range b.systems {
		s := &b.systems[i]
		if s.Side == side && s.peer(x) != nil && s.peer(y) != nil {
			return true
		}
	}
	return false
}

// Plan is the hops of a system in the order to try: by priority, within it by weight in turn, what is down last but
// never left out.
func (b *Book) Plan(name string, side nat.Side) []tu.Hop {
	i := slices.IndexFunc(b.systems, func(s System) bool { return s.Name == name && s.Side == side })
	if i < 0 {
		return nil
	}
	hops := slices.Clone(b.systems[i].Hops)
	slices.SortStableFunc(hops, func(x, y Hop) int { return cmp.Compare(x.Priority, y.Priority) })
	for from := 0; from < len(hops); {
		to := from + 1
		for to < len(hops) && hops[to].Priority == hops[from].Priority {
			to++
		}
		b.spread(hops[from:to])
		from = to
	}
	slices.SortStableFunc(hops, func(x, y Hop) int { return cmp.Compare(b.down(x), b.down(y)) })
	plan := make([]tu.Hop, len(hops))
	for i := range hops {
		plan[i] = hops[i].Hop
	}
	return plan
}

func (b *Book) down(h Hop) int {
	if b.health[h.ID] == Down {
		return 1
	}
	return 0
}

// spread rotates hops of equal priority so that each comes first as often as its weight says (RFC 2782, in turn
// instead of by chance: a plan can be replayed).
func (b *Book) spread(hops []Hop) {
	total := 0
	for _, h := range hops {
		total += max(h.Weight, 1)
	}
	if len(hops) < 2 {
		return
	}
	n := int(b.turn % uint32(total))
	b.turn++
	for i := range hops {
		if n -= max(hops[i].Weight, 1); n < 0 {
			rotate(hops, i)
			return
		}
	}
}

func rotate(hops []Hop, i int) {
	turned := append(slices.Clone(hops[i:]), hops[:i]...)
	copy(hops, turned)
}

// Report takes what a probe, or a call, found of an address. It reports whether that is news.
func (b *Book) Report(id string, s State) (changed bool) {
	old, known := b.health[id]
	if !known || old == s {
		return false
	}
	b.health[id] = s
	return true
}

// State is the health of an address.
func (b *Book) State(id string) State { return b.health[id] }

// Available reports whether some address of a kind on a side and realm is not down: what an OPTIONS asks.
func (b *Book) Available(kind tu.Kind) bool {
	for i := range b.systems {
		if b.systems[i].Kind != kind {
			continue
		}
		for _, h := range b.systems[i].Hops {
			if b.health[h.ID] != Down {
				return true
			}
		}
	}
	return false
}

// Systems yields the systems in file order.
func (b *Book) Systems(yield func(*System) bool) {
	for i := range b.systems {
		if !yield(&b.systems[i]) {
			return
		}
	}
}
