package sbc

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/silence"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// What the core tells of requests to nodes and of their answers is counted by a silence.Watch; here is what follows from it. All that is
// overdue is counted first, of all nodes; then each finding is followed. Who looks for a way meanwhile (Detour) counts, and follows nothing.

// watch is the nodes that there are by now.
func (a *assembly) watch() *silence.Watch {
	a.silence.Learn(a.book)
	return &a.silence
}

// listen counts what is overdue and does what follows. It is called whenever a request leaves for the PBX, and each second.
func (a *assembly) listen(now time.Time) {
	a.count(now)
	a.follow(now)
}

// count counts what is overdue.
func (a *assembly) count(now time.Time) {
	a.watch().Count(now, func(id string) bool { _, probed := a.probes[id]; return probed })
}

// follow does what follows from what was found.
func (a *assembly) follow(now time.Time) {
	for f, some := a.silence.Next(); some; f, some = a.silence.Next() {
		switch f.What {
		case silence.Changed:
			a.followState(now, f.ID)
		case silence.Doubted:
			a.sbc.core.Tell(a.probes[f.ID].user, tu.Doubted{})
		case silence.AskedInVain:
			a.divert(now, f.ID, f.Since)
		}
	}
	a.forsake(now)
}

// nodeChanged hears that a node has another state.
func (a *assembly) nodeChanged(now time.Time, id string) {
	a.watch().Note(id)
	a.follow(now)
}

// followState does what follows from a node's having another state. What waits for one that is down asks elsewhere at once,
// and has lost whatever word it had there (forsaken.go).
func (a *assembly) followState(now time.Time, id string) {
	a.since[id] = now
	a.tellState(id)
	if a.book.Lives(id) {
		return
	}
	a.lostNode(id)
	for realm, f := range a.waysTo(id) {
		s := a.silence.System(realm)
		if s != nil && slices.ContainsFunc(s.Hops, func(h trunk.Hop) bool { return a.book.Lives(h.ID) }) {
			a.sbc.core.Abandon(now, f)
		}
	}
}

// waysTo yields the flows that lead to a node, by all listeners inside, those included that are there for their last calls alone.
func (a *assembly) waysTo(id string) iter.Seq2[nat.Realm, nat.Flow] {
	return func(yield func(nat.Realm, nat.Flow) bool) {
		for _, n := range slices.Sorted(maps.Keys(a.world.interfaces)) {
			i := a.world.interfaces[n]
			if i.Side != nat.Inside {
				continue
			}
			for f := range a.silence.Ways(i, id) {
				if !yield(i.Realm, f) {
					return
				}
			}
		}
	}
}

// inside is the realm of a flow inside; ok is false for all others.
func (a *assembly) inside(f nat.Flow) (realm nat.Realm, ok bool) {
	i := a.world.interfaces[f.Interface]
	if i == nil || i.Side != nat.Inside {
		return 0, false
	}
	return i.Realm, true
}

// leadsTo is the name in health of the node that a flow leads to; "": none is there.
func (a *assembly) leadsTo(f nat.Flow) string {
	if realm, ok := a.inside(f); ok {
		if h := a.watch().To(realm, f); h != nil {
			return h.ID
		}
	}
	return ""
}

// comesFrom is that of the node that something has come from by a flow.
func (a *assembly) comesFrom(f nat.Flow) string {
	if realm, ok := a.inside(f); ok {
		if h := a.watch().From(realm, f); h != nil {
			return h.ID
		}
	}
	return ""
}

// MayLeave reports whether a request may leave. A REGISTER may have to stay.
func (a *assembly) MayLeave(now time.Time, id tu.UserID, s *tu.Send) bool {
	if s.Hop.Peer.Kind != tu.KindNode {
		return true
	}
	a.listen(now)
	if s.Msg.Method != "REGISTER" {
		return true
	}
	node := a.leadsTo(s.Hop.Flow)
	return node == "" || a.mayRegister(now, id, node)
}

// Left hears that a request has left: what finds no place or no room does not, and nobody owes it a word.
func (a *assembly) Left(now time.Time, id tu.UserID, s *tu.Send) {
	if realm, ok := a.inside(s.Hop.Flow); ok && s.Hop.Peer.Kind == tu.KindNode {
		a.watch().Left(now, realm, s.Hop.Flow, silence.Request{
			Method: s.Msg.Method, Attempt: s.Hop.Peer.AttemptTimeout, Known: !a.forStranger(id),
		})
	}
}

// vouched reports whether a peer is known by the flow that it speaks by: a peer system by its address or its certificate, a phone by
// a binding on this very flow. The name in a request anybody may write, and the address of a NAT is that of whoever is behind it.
func vouched(p *tu.Peer) bool {
	return p != nil && (p.Kind != tu.KindPhone || len(p.AoRs) > 0)
}

// madeFor notes who has made the request that a user was born of. All that the user sends is on his behalf: within a dialog nobody
// else speaks but those whom it was made with.
func (a *assembly) madeFor(id tu.UserID, p *tu.Peer) {
	if vouched(p) {
		return
	}
	if a.strangers == nil {
		a.strangers = map[tu.UserID]struct{}{}
	}
	a.strangers[id] = struct{}{}
}

// forStranger reports whether a user sends what nobody known has asked for. Of that nothing is held against a node.
func (a *assembly) forStranger(id tu.UserID) bool {
	_, is := a.strangers[id]
	return is
}

// Heard hears a response.
func (a *assembly) Heard(now time.Time, from nat.Flow, method string, code int) {
	if realm, ok := a.inside(from); ok {
		a.watch().Heard(now, realm, from, method, code)
		a.follow(now)
	}
}

// Unreached hears that what was sent somewhere did not arrive: an ICMP error, a connection that could not be made, or has ended.
func (a *assembly) Unreached(now time.Time, to nat.Flow) {
	if realm, ok := a.inside(to); ok {
		a.watch().Unreached(now, realm, to)
		a.listen(now)
	}
}

// refused hears that the question of a probe has not arrived. Over a connection that may be because somebody else's request has ended
// it.
func (a *assembly) refused(now time.Time, id string) {
	if p, probed := a.probes[id]; probed && !p.cfg.Hop.Flow.Transport.Reliable() {
		a.watch().Vain(id)
		a.listen(now)
	}
}

// Silent reports whether nothing has been heard from a node's address since a moment.
func (a *assembly) Silent(at netip.AddrPort, since time.Time) bool {
	return a.watch().Silent(at, since)
}
