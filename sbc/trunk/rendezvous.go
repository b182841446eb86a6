package trunk

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// PlanFor is Plan for requests that belong together, of one address-of-record or of one dialog: where health and priority
// leave a choice, the key decides and not whose turn it is. The order of a key is a function of the key, the addresses and
// their weights alone, so that it is the same after a restart and on another gate. Of many keys each address has the share
// that its weight says; when one leaves, or comes, only the keys move that were, or are from now on, its own. What is
// drained is left out as in Plan.
func (b *Book) PlanFor(name string, side nat.Side, key string) []tu.Hop {
	i, known := b.places[place{name, side}]
	if !known {
		return nil
	}
	hops := b.candidates(&b.systems[i])
	order := make([]choice, len(hops))
	for j, h := range hops {
		order[j] = choice{h, score(h.Flow.Remote, h.Weight, key)}
	}
	slices.SortStableFunc(order, func(x, y choice) int {
		return cmp.Or(b.compareLasting(x.hop, y.hop), cmp.Compare(y.score, x.score))
	})
	plan := make([]tu.Hop, len(order))
	for j := range order {
		plan[j] = order[j].hop.Hop
	}
	return plan
}

// choice is a hop and how much a key wants it.
type choice struct {
	hop   *Hop
	score float64
}

// score is how much a key wants an address: weighted rendezvous hashing. Each address draws a number between 0 and 1 that is
// the key's and its own; -w/ln(u) is largest for each as often as its weight has a share in all weights.
func score(at netip.AddrPort, weight int, key string) float64 {
	u := (float64(draw(at, key)>>11) + 0.5) / (1 << 53)
	return float64(max(weight, 1)) / -math.Log(u)
}

// draw is a hash of an address and a key, FNV-1a with the last mix of MurmurHash3: no seed, for two gates shall agree. Who may
// choose keys is registered at the PBX; nobody gains by choosing a node.
func draw(at netip.AddrPort, key string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	a := at.Addr().Unmap().As16()
	for _, c := range a {
		h = (h ^ uint64(c)) * prime
	}
	h = (h ^ uint64(at.Port()>>8)) * prime
	h = (h ^ uint64(at.Port()&0xff)) * prime
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * prime
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// compareLasting is compare for requests that stay with one node: one that is degraded keeps its own. Who is sent to and fro, as
// answers come a little later or sooner, loses more than who waits.
func (b *Book) compareLasting(x, y *Hop) int {
	return cmp.Or(cmp.Compare(b.lost(x.ID), b.lost(y.ID)), cmp.Compare(x.Priority, y.Priority))
}

func (b *Book) lost(id string) int {
	if b.Lives(id) {
		return 0
	}
	return 1
}

// Lives reports whether an address is not down: what belongs to a dialog goes there though it may be drained.
func (b *Book) Lives(id string) bool {
	r := b.hops[id]
	return r != nil && r.state != Down
}
