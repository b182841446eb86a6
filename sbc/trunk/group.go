package trunk

import (
	"cmp"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// Turns knows whose turn it is among trunks that stand for each other. The zero value is ready; it outlives a reload.
type Turns struct{ credit map[string]int }

// Order is the trunks of a step in the order in which they are tried: those of the best health first, by priority, within it by
// weight in turn, as Book.Plan has it for addresses. Unless it is kept, the turn stays whose it was.
func (t *Turns) Order(step route.Step, rank func(name string) int, keep bool) []string {
	type member struct {
		route.Member
		rank int
	}
	order := make([]member, len(step))
	for i, m := range step {
		order[i] = member{m, rank(m.Trunk)}
	}
	by := func(x, y member) int { return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.Priority, y.Priority)) }
	slices.SortStableFunc(order, by)
	names := make([]string, 0, len(order))
	for from := 0; from < len(order); {
		to, total, first := from, 0, from
		for ; to < len(order) && by(order[from], order[to]) == 0; to++ {
			total += max(order[to].Weight, 1)
			if t.with(order[to].Member) > t.with(order[first].Member) {
				first = to
			}
		}
		if to-from > 1 && keep {
			t.pay(step, func(name string) bool {
				return slices.ContainsFunc(order[from:to], func(m member) bool { return m.Trunk == name })
			}, order[first].Trunk, total)
		}
		for i := range to - from {
			names = append(names, order[from+(first-from+i)%(to-from)].Trunk)
		}
		from = to
	}
	return names
}

// with is what a trunk has once it has gained its weight.
func (t *Turns) with(m route.Member) int { return t.credit[m.Trunk] + max(m.Weight, 1) }

// pay gives each of some trunks its weight, and takes all of it from the one whose turn it was.
func (t *Turns) pay(step route.Step, of func(name string) bool, first string, total int) {
	if t.credit == nil {
		t.credit = map[string]int{}
	}
	for _, m := range step {
		if of(m.Trunk) {
			t.credit[m.Trunk] = t.with(m)
		}
	}
	t.credit[first] -= total
}

// Retain forgets the turns of trunks that are no longer there.
func (t *Turns) Retain(b *Book) {
	for name := range t.credit {
		if _, there := b.places[place{name, nat.Outside}]; !there {
			delete(t.credit, name)
		}
	}
}

// PlanIn is Plan for the hops of one group alone; the empty group is all of them.
func (b *Book) PlanIn(name string, side nat.Side, group string) []tu.Hop {
	i, known := b.places[place{name, side}]
	if !known {
		return nil
	}
	s := b.systems[i]
	if group != "" {
		s.Hops = slices.DeleteFunc(slices.Clone(s.Hops), func(h Hop) bool { return h.Peer.Group != group })
	}
	return b.inTurn(b.candidates(&s))
}

// PlanAll is Plan with what is drained, as the last: for calls that no drain stops.
func (b *Book) PlanAll(name string, side nat.Side) []tu.Hop {
	i, known := b.places[place{name, side}]
	if !known {
		return nil
	}
	var all []*Hop
	for j := range b.systems[i].Hops {
		all = append(all, &b.systems[i].Hops[j])
	}
	return b.inTurn(all)
}

// Preview lets f make plans, after which the turns are whose they were.
func (b *Book) Preview(f func()) {
	was := make(map[string]int, len(b.hops))
	for id, r := range b.hops {
		was[id] = r.credit
	}
	f()
	for id, r := range b.hops {
		r.credit = was[id]
	}
}
