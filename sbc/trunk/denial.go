package trunk

import (
	"cmp"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// A trunk that refuses our password refuses the next call as well, and counts each guess towards a lock-out. It is tried last for a
// while, which doubles as long as it goes on refusing; then a call may find out whether it has thought better of it.

// The bounds of that while.
const (
	asideFirst = 30 * time.Second
	asideMost  = 10 * time.Minute
)

// denial is that a trunk refuses user name or password. Its addresses have it together: there is one account.
type denial struct {
	account *tu.Account // that is refused
	wait    time.Duration
	until   time.Time
	aside   bool // the while is not over
}

// why is how `sbc trunks` says it.
func (d *denial) why() string {
	if d.aside {
		return "user name or password is refused: tried last for " + d.wait.String()
	}
	return "user name or password is refused: the next call tries it again"
}

// Deny takes that a trunk has refused user name or password, and puts it aside: for asideFirst, for twice as long each time that it does
// so after its while is over, asideMost at most, and until a moment at least, before which nobody can have thought better of it (zero:
// none). It reports whether that is news: the trunk has taken the account so far.
func (b *Book) Deny(name string, now, least time.Time) (news bool) {
	i, known := b.places[place{name, nat.Outside}]
	if !known || b.systems[i].Kind != tu.KindTrunk {
		return false
	}
	d := b.denials[name]
	if d == nil {
		d = &denial{}
		if any := b.systems[i].Any; any != nil {
			d.account = any.Account
		}
		b.denials[name] = d
		news = true
	}
	if !d.aside { // who tries it meanwhile, as the last one, has learnt nothing new
		d.wait = min(max(2*d.wait, asideFirst), asideMost)
	}
	d.aside = true
	for _, until := range []time.Time{now.Add(d.wait), least} {
		if until.After(d.until) {
			d.until = until
		}
	}
	b.resettle(name, now)
	return news
}

// Admit takes that a trunk has let us in. It reports whether that is news: it had refused user name or password.
func (b *Book) Admit(name string, now time.Time) (news bool) {
	if b.denials[name] == nil {
		return false
	}
	delete(b.denials, name)
	b.resettle(name, now)
	return true
}

// Denied reports whether a trunk has refused user name or password, and not let us in since.
func (b *Book) Denied(name string) bool { return b.denials[name] != nil }

// resettle judges the addresses of a trunk anew.
func (b *Book) resettle(name string, now time.Time) {
	s := &b.systems[b.places[place{name, nat.Outside}]]
	for i := range s.Hops {
		r := b.hops[s.Hops[i].ID]
		r.denial = b.denials[name]
		b.settle(r, now)
	}
}

// readmit ends the whiles that are over.
func (b *Book) readmit(now time.Time) {
	for name, d := range b.denials {
		if d.aside && !now.Before(d.until) {
			d.aside = false
			b.resettle(name, now)
		}
	}
}

// keepDenials takes over from the book before what is refused still: an account that is another one now may be right.
func (b *Book) keepDenials(before *Book) {
	for name, d := range before.denials {
		i, known := b.places[place{name, nat.Outside}]
		if known && b.systems[i].Any != nil && b.systems[i].Any.Account.Same(d.account) {
			b.denials[name] = d
		}
	}
}

// denialOf is what a system refuses; nil: nothing.
func (b *Book) denialOf(s *System) *denial {
	if s.Kind != tu.KindTrunk {
		return nil
	}
	return b.denials[s.Name]
}

// The ranks of a plan: how late an address is tried.
const (
	freshRank = iota // up, or nothing is known of it
	degradedRank
	asideRank // its trunk refuses our password: it may be right again, which is more than is known of one that is down
	downRank
	drainedRank
)

// rank is how late a hop is tried for its health.
func (b *Book) rank(id string) int {
	r := b.hops[id]
	switch {
	case r == nil:
		return freshRank
	case r.drained:
		return drainedRank
	}
	rank := [...]int{Unknown: freshRank, Up: freshRank, Degraded: degradedRank, Down: downRank}[r.own]
	if r.denial != nil && r.denial.aside {
		rank = max(rank, asideRank)
	}
	return rank
}

// Rank is how late a system is tried for the health of its addresses: 0: one is up, or nothing is known of it; the last one is
// for systems that are drained, or have none.
func (b *Book) Rank(name string, side nat.Side) int {
	best := drainedRank
	if i, known := b.places[place{name, side}]; known {
		for j := range b.systems[i].Hops {
			best = min(best, b.rank(b.systems[i].Hops[j].ID))
		}
	}
	return best
}

// ByHealth puts hops of several systems into the order of their health; those of equal health stay in theirs.
func (b *Book) ByHealth(hops []tu.Hop) {
	slices.SortStableFunc(hops, func(x, y tu.Hop) int { return cmp.Compare(b.rank(x.ID), b.rank(y.ID)) })
}
