package sbc

import (
	"maps"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// What a node that dies has said it works on, nobody answers any more: nothing repeats an INVITE that has had a provisional response,
// and it would wait for Timer C, three minutes and more. So when a node is found dead whatever still waits for its final word comes to
// its end: in dialogs of proxies it is asked of another node (Detour), a call that rings there goes to the next one, and all else has
// failed as if its time were over. Who was called through the node and rings still is let go: whoever answers would speak to nobody.

// quietLong is how long a node that its probes call dead must have said nothing at all before what waits there is given up: one that
// leaves OPTIONS without an answer may be well otherwise.
const quietLong = 2 * time.Second

// lose notes that a node is found dead.
func (a *assembly) lose(id string) {
	if a.silence.lost == nil {
		a.silence.lost = map[string]bool{}
	}
	a.silence.lost[id] = true
}

// spoke hears that a request outside dialogs came from a node.
func (a *assembly) spoke(now time.Time, ev *tu.Arrived) {
	if ev.Peer == nil || ev.Peer.Kind != tu.KindNode {
		return
	}
	if id := a.nodeBehind(ev.Flow); id != "" {
		if a.silence.spoke == nil {
			a.silence.spoke = map[string]time.Time{}
		}
		a.silence.spoke[id] = now
	}
}

// nodeBehind is the node that a flow leads to, or comes from. Of one that asks from another port than it listens on, as on connections
// of its own making, the address tells, if no other node has it.
func (a *assembly) nodeBehind(f nat.Flow) string {
	if i := a.world.interfaces[f.Interface]; i == nil || i.Side != nat.Inside {
		return ""
	}
	if id := a.behind(doorOf(f)); id != "" {
		return id
	}
	id := ""
	for at, x := range a.silence.any {
		switch {
		case at.Addr() != f.Remote.Addr().Unmap():
		case id != "":
			return ""
		default:
			id = x
		}
	}
	return id
}

// quiet reports whether nothing has been heard from a node of late.
func (a *assembly) quiet(now time.Time, id string) bool {
	if t, ok := a.silence.spoke[id]; ok && now.Sub(t) < quietLong {
		return false
	}
	for d, n := range a.silence.nodes {
		if !n.heard.IsZero() && now.Sub(n.heard) < quietLong && a.behind(d) == id {
			return false
		}
	}
	return true
}

// forsake ends what waits for nodes that were found dead, once they are quiet. One that is heard of meanwhile keeps it.
func (a *assembly) forsake(now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(a.silence.lost)) {
		switch {
		case a.book.Lives(id):
			delete(a.silence.lost, id)
		case a.quiet(now, id):
			delete(a.silence.lost, id)
			a.hangUpCallsOf(id)
			a.sbc.core.Forsake(now, func(to nat.Flow) bool { return a.nodeBehind(to) == id })
		}
	}
}

// hangUpCallsOf ends the calls that a dead node has placed and nobody has answered: their answers would go to it. Emergency calls stay.
func (a *assembly) hangUpCallsOf(id string) {
	for _, user := range slices.Sorted(maps.Keys(a.calls)) {
		c := a.calls[user]
		if from, waits := c.Awaited(); waits && !a.leases.calls[user].free && a.nodeBehind(from) == id {
			a.sbc.core.Tell(user, tu.Hangup{Code: 408, Why: reason.SignallingLost})
		}
	}
}

// divert has another node asked for what belongs to dialogs and has waited for a word of this one.
func (a *assembly) divert(now time.Time, id string) {
	for s := range a.book.Nodes {
		for i := range s.Hops {
			if s.Hops[i].ID == id {
				a.sbc.core.Divert(now, s.Hops[i].Flow, now.Add(-askedLong))
			}
		}
	}
}
