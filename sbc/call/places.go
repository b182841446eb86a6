package call

import "sallyport/sbc/tu"

// A leg holds a place at its peer: how many calls a trunk or a node takes is counted by them. An INVITE of ours has one from the
// moment it leaves, and loses it where it comes to nothing; the record of the call gives back what is left. Between the two a
// transfer ends legs and brings others in, and says so here.

// takerPlace tells the place of a leg that an INVITE of its own has brought in from those of our INVITEs.
const takerPlace tu.Ref = 1 << 31

// takerPlaceAnew names the place of another such leg.
func (c *Call) takerPlaceAnew() tu.Ref {
	mv := c.moving()
	mv.takers++
	return takerPlace | mv.takers
}

// occupy takes a place for a leg that has come in by an INVITE of its own.
func (l *leg) occupy() tu.Action { return tu.Occupy{Ref: l.place, Leg: l.callID, Hop: l.hop} }

// exchangePlaces gives the place of a leg back for that of the leg which follows it.
func (c *Call) exchangePlaces(old tu.Ref, l *leg, do []tu.Action) []tu.Action {
	if l.place&takerPlace != 0 {
		do = append(do, l.occupy())
	}
	return append(do, tu.Vacate{Ref: old})
}

// Places yields the places that the call should hold as it stands: 0 for the caller's, the Ref of an INVITE for each that is
// unanswered or has brought a leg in.
func (c *Call) Places(yield func(ref tu.Ref) bool) {
	if c.phase == unborn || c.phase == ending {
		return
	}
	seen := map[tu.Ref]bool{}
	tell := func(hop *tu.Hop, ref tu.Ref) bool {
		loop := c.set.Loop != nil && hop.Flow.Interface == c.set.Loop.Flow.Interface
		if loop || seen[ref] {
			return true
		}
		seen[ref] = true
		return yield(ref)
	}
	for l := range c.legs {
		if c.left() != l && (l == caller || c.won >= 0) && !tell(&c.legs[l].hop, c.legs[l].place) {
			return
		}
	}
	open := func(list []attempt) bool {
		for i := range list {
			if !list[i].done && !tell(&list[i].hop, list[i].ref) {
				return false
			}
		}
		return true
	}
	// One that was answered, by forks that the caller has left or that he has to acknowledge first, may yet bring the leg in.
	if at := c.current(); at != nil && c.won < 0 && (c.redirection == nil || !c.redirection.asks) && !tell(&at.hop, at.ref) {
		return
	}
	if !open(c.attempts) || c.moves == nil {
		return
	}
	for _, t := range append(c.moves.past[:len(c.moves.past):len(c.moves.past)], c.moves.third) {
		if t != nil && (!open(t.attempts) || t.phase == joining && !tell(&t.hop, t.place)) {
			return
		}
	}
}
