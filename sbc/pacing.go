package sbc

import (
	"time"

	"sallyport/sbc/config"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// pacing keeps the REGISTERs from nodes that come back, by name in health.
type pacing struct {
	nodes map[string]*comeback // nil: nobody has looked yet
	rate  config.Rate          // that their paces are of
	paid  map[tu.UserID]string // REGISTERs that were counted when they got their way, and the node that it leads to
	look  int                  // how often somebody has looked
	asked time.Time            // when the PBX asked for a password last: who moves comes twice
}

// comeback is what is known of a node.
type comeback struct {
	usable  bool
	drained bool
	look    int         // when it was seen last
	pace    *trunk.Pace // nil: whoever wants may come
	busy    time.Time   // when somebody had to wait last, or it came back
}

// quiet is how long nobody must have had to wait at a node before all may come: longer than anybody is told to wait.
const quiet = 5 * time.Minute

// watchNodes sees which nodes of the PBX went and came back: down or drained, and neither any more, or new in the configuration.
// It is called each second and before each REGISTER.
func (a *assembly) watchNodes(now time.Time) {
	p, rate := &a.pacing, a.world.snap.PBX.Pace
	if p.rate != rate {
		for _, c := range p.nodes {
			if c.pace != nil {
				c.pace = trunk.NewPace(rate.Count, rate.Per)
			}
		}
		p.rate = rate
	}
	p.look++
	began := p.nodes == nil
	if began {
		p.nodes = map[string]*comeback{}
	}
	for s := range a.book.Nodes {
		for i := range s.Hops {
			a.watchNode(now, s.Hops[i].ID, began)
		}
	}
	for id, c := range p.nodes {
		if c.look != p.look { // the configuration no longer has it, and what it says is nobody's word any more
			delete(p.nodes, id)
			a.lostNode(id)
		}
	}
}

func (a *assembly) watchNode(now time.Time, id string, began bool) {
	p := &a.pacing
	usable, drained := a.book.Usable(id), a.book.State(id) == trunk.Drained
	c := p.nodes[id]
	if c == nil {
		c = &comeback{usable: usable || began}
		p.nodes[id] = c
		if !began {
			c.pace, c.busy = trunk.NewPace(p.rate.Count, p.rate.Per), now
		}
	}
	c.look = p.look
	switch {
	case usable && !c.usable:
		c.busy = now
	case c.usable && !usable:
		c.pace = trunk.NewPace(p.rate.Count, p.rate.Per) // it may come back before anybody knows
	case usable && c.pace != nil && now.Sub(c.busy) > quiet:
		c.pace = nil
	}
	if drained && !c.drained {
		a.lostNode(id) // its lamps go before it does
	}
	c.usable, c.drained = usable, drained
}

// asksLong is how long a PBX that asked for a password is taken to ask again.
const asksLong = 24 * time.Hour

// each is how many REGISTERs a phone that moves will be.
func (p *pacing) each(now time.Time) int {
	if !p.asked.IsZero() && now.Sub(p.asked) < asksLong {
		return 2
	}
	return 1
}

// move counts a phone that moves to a node. Where it may not, it says when it might. Anybody can send a stranger's REGISTER: they
// take neither the half that is kept for phones that are known, nor a place in their line.
func (a *assembly) move(now time.Time, id string, stranger bool) (ok bool, wait time.Duration) {
	c, n := a.pacing.nodes[id], a.pacing.each(now)
	switch {
	case c == nil || c.pace == nil:
		return true, 0
	case stranger && c.pace.Spare(now, n), !stranger && c.pace.Take(now, n):
		return true, 0
	}
	if c.busy = now; stranger {
		return false, c.pace.Later()
	}
	return false, c.pace.Wait(now, n)
}

// stay counts a phone that is at a node already. It is never kept away; those who move get what it leaves, half at least.
func (a *assembly) stay(now time.Time, id string) {
	if c := a.pacing.nodes[id]; c != nil && c.pace != nil {
		c.pace.Count(now)
	}
}

// pay notes that a REGISTER was counted, or need not be.
func (a *assembly) pay(user tu.UserID, id string) {
	if user == 0 {
		return
	}
	if a.pacing.paid == nil {
		a.pacing.paid = map[tu.UserID]string{}
	}
	a.pacing.paid[user] = id
}

// mayRegister reports whether a REGISTER may leave for a node. One that its first node has left without an answer is counted here.
func (a *assembly) mayRegister(now time.Time, user tu.UserID, id string) bool {
	if a.pacing.paid[user] == id {
		delete(a.pacing.paid, user)
		return true
	}
	ok, _ := a.move(now, id, false)
	return ok
}
