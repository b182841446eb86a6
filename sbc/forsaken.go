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

// spoke hears that a request outside dialogs came from a node.
func (a *assembly) spoke(now time.Time, ev *tu.Arrived) {
	if realm, ok := a.inside(ev.Flow); ok && ev.Peer != nil && ev.Peer.Kind == tu.KindNode {
		a.watch().Spoke(now, realm, ev.Flow)
	}
}

// forsake ends what waits for nodes that were found dead, once they are quiet. One that is heard of meanwhile keeps it.
func (a *assembly) forsake(now time.Time) {
	for _, id := range a.silence.Gone(now) {
		a.hangUpCallsOf(id)
		a.sbc.core.Forsake(now, func(to nat.Flow) bool { return a.leadsTo(to) == id })
	}
}

// hangUpCallsOf ends the calls that a dead node has placed and nobody has answered: their answers would go to it. Emergency calls stay.
func (a *assembly) hangUpCallsOf(id string) {
	for _, user := range slices.Sorted(maps.Keys(a.calls)) {
		c := a.calls[user]
		if from, waits := c.Awaited(); waits && !a.leases.calls[user].free && a.comesFrom(from) == id {
			a.sbc.core.Tell(user, tu.Hangup{Code: 408, Why: reason.SignallingLost})
		}
	}
}

// divert has another node asked for what belongs to dialogs and has waited for a word of this one since before a moment.
func (a *assembly) divert(now time.Time, id string, since time.Time) {
	for _, f := range a.waysTo(id) {
		a.sbc.core.Divert(now, f, since)
	}
}
