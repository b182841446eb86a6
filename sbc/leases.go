package sbc

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/core"
	"sallyport/sbc/reason"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// leases are the places that calls hold at trunks, groups of them, nodes, phones and source addresses. One is taken before an
// INVITE leaves, or is taken up, and given back where its leg ends. They belong to whoever has the core's turn.
type leases struct {
	ledger *trunk.Ledger
	calls  map[tu.UserID]lessee
}

// lessee is a call that holds places, or may want some.
type lessee struct {
	free bool // an emergency call: counted, and never refused
	code int  // what its caller hears where the PBX has no place for it
}

// busy is what one call too many hears: of a trunk "486 to the provider", which goes on sending others; of a phone the same, for so it
// is. Where there is no place behind us for somebody who is no provider, it is the server that has none: 503, without Retry-After.
const (
	busy   = 486
	noRoom = 503
)

func newLeases(now time.Time, w *world) leases {
	return leases{ledger: trunk.NewLedger(now, w.bounds()), calls: map[tu.UserID]lessee{}}
}

// bounds are how many places there are.
func (w *world) bounds() trunk.Bounds {
	b := trunk.Bounds{Lines: map[trunk.Key]trunk.Bound{}, Phone: w.snap.Phones.Calls, Source: w.snap.Phones.SourceCalls}
	for i := range w.snap.Trunks {
		c := &w.snap.Trunks[i].Capacity
		b.Lines[trunk.Key{Of: trunk.OfTrunk, Name: w.snap.Trunks[i].Name}] = trunk.Bound{Calls: c.Calls, PerSecond: c.PerSecond, Code: c.Code}
	}
	for i := range w.snap.Groups {
		c := &w.snap.Groups[i].Capacity
		b.Lines[trunk.Key{Of: trunk.OfGroup, Name: w.snap.Groups[i].Name}] = trunk.Bound{Calls: c.Calls, PerSecond: c.PerSecond, Code: c.Code}
	}
	for i := range w.snap.PBX.Nodes {
		n := &w.snap.PBX.Nodes[i]
		b.Lines[nodeKey(n.Address)] = trunk.Bound{Calls: n.Calls}
	}
	return b
}

func nodeKey(at netip.AddrPort) trunk.Key { return trunk.Key{Of: trunk.OfNode, Name: at.String()} }

// placesOf are those whose place a leg to or from a peer takes.
func placesOf(p *tu.Peer, at netip.Addr) (keys [2]trunk.Key) {
	switch p.Kind {
	case tu.KindTrunk:
		keys[0] = trunk.Key{Of: trunk.OfTrunk, Name: p.Name}
		if p.Group != "" {
			keys[1] = trunk.Key{Of: trunk.OfGroup, Name: p.Group}
		}
	case tu.KindNode:
		keys[0] = trunk.Key{Of: trunk.OfNode, Name: p.Name}
	case tu.KindPhone:
		keys[0] = trunk.Key{Of: trunk.OfSource, Addr: policy.SourceKey(at)}
		if p.Name != "" && !p.Stranger {
			keys[1] = trunk.Key{Of: trunk.OfPhone, Name: p.Name}
		}
	}
	return keys
}

// leaseCaller takes the place of the caller's leg of a new call. It reports false with the answer where there is none.
func (a *assembly) leaseCaller(now time.Time, id tu.UserID, ev *tu.Arrived, emergency bool) (core.Answer, bool) {
	p, l := ev.Peer, lessee{free: emergency, code: noRoom}
	claim := trunk.Claim{User: id, Leg: ev.Msg.CallID, Keys: placesOf(p, ev.Flow.Remote.Addr()), Free: emergency}
	if p.Kind == tu.KindTrunk {
		l.code = cmp.Or(a.leases.ledger.Bound(claim.Keys[0]).Code, busy)
	}
	none, ok := a.leases.ledger.Take(now, claim)
	if ok {
		a.leases.calls[id] = l
		return core.Answer{}, true
	}
	code := noRoom
	switch none.Key.Of {
	case trunk.OfTrunk, trunk.OfGroup:
		code = cmp.Or(none.Bound.Code, busy)
	case trunk.OfPhone:
		code = busy
	case trunk.OfNode, trunk.OfSource:
	}
	a.noPlace(now, ev.Flow, p, &none, code)
	return core.Answer{Code: code, Why: reason.NoCapacity}, false
}

// noPlace leaves word of a call that found none.
func (a *assembly) noPlace(now time.Time, at nat.Flow, p *tu.Peer, none *trunk.Shortage, code int) {
	a.Note(now, tu.Note{
		Source: at.Remote, Transport: at.Transport, Side: p.Side, Realm: p.Realm, Method: "INVITE", Code: code, Why: reason.NoCapacity,
		Text: shortage(none),
	})
}

// shortage says in words whose places are taken, and by which key there could be more.
func shortage(none *trunk.Shortage) string {
	key := map[trunk.Scope]string{
		trunk.OfTrunk: "trunks[].capacity.calls", trunk.OfGroup: "trunk_groups[].capacity.calls", trunk.OfNode: "pbx.nodes[].capacity.calls",
		trunk.OfPhone: "phones.capacity.calls", trunk.OfSource: "phones.capacity.per_source",
	}[none.Key.Of]
	if none.Rate {
		return fmt.Sprintf("%s: %d calls began within the last second, as many as %s_per_second allows", none.Key, none.Bound.PerSecond, key)
	}
	return fmt.Sprintf("%s: it has %d calls, as many as %s allows", none.Key, none.Bound.Calls, key)
}

// Lease takes a place for an INVITE that begins a leg towards a peer system.
func (a *assembly) Lease(now time.Time, id tu.UserID, s tu.Send) (failed tu.Failed, ok bool) {
	if s.Hop.Flow.Interface == loopInterface {
		return failed, true // the call on the other end has the places
	}
	l := a.leases.calls[id]
	none, ok := a.leases.ledger.Take(now, trunk.Claim{
		User: id, Ref: s.Ref, Leg: s.Msg.CallID, Keys: placesOf(s.Hop.Peer, s.Hop.Flow.Remote.Addr()), Hop: s.Hop.ID, Free: l.free,
	})
	if ok {
		return failed, true
	}
	code := busy
	switch none.Key.Of {
	case trunk.OfTrunk, trunk.OfGroup:
		code = noRoom
	case trunk.OfNode:
		code = cmp.Or(l.code, noRoom)
	case trunk.OfPhone, trunk.OfSource:
	}
	a.noPlace(now, s.Hop.Flow, s.Hop.Peer, &none, code)
	return tu.Failed{Ref: s.Ref, Code: code, Why: reason.NoCapacity}, false
}

// Attempted hears what becomes of such an INVITE. That a node of the PBX is silent is found out by all that is sent there
// (silence.go). A stranger's says nothing: whom he calls he chooses, and with that who refuses it.
func (a *assembly) Attempted(now time.Time, id tu.UserID, ref tu.Ref, code int) {
	word := trunk.Judged
	if code == 100 {
		word = trunk.Alive
	}
	hop, was := a.leases.ledger.Mark(id, ref, word)
	if hop == "" || word == trunk.Alive {
		return
	}
	kind, known := a.book.Kind(hop)
	changed := false
	switch {
	case !known, a.forStranger(id):
	case code == 503:
		changed = a.book.Refused(hop, now)
	case was == trunk.Judged:
	case code != 0:
		changed = a.book.Attempt(hop, true, now)
	case was == trunk.Silent && kind == tu.KindTrunk:
		changed = a.book.Attempt(hop, false, now)
	}
	if changed {
		a.hopChanged(now, hop)
	}
}

// Unlease gives a place back.
func (a *assembly) Unlease(id tu.UserID, ref tu.Ref) { a.leases.ledger.Return(id, ref) }

// UnleaseAll gives all places of a call back: its record is written.
func (a *assembly) UnleaseAll(id tu.UserID) { a.leases.ledger.ReturnAll(id) }

// Occupy takes a place for a leg that has taken another one's. It is counted and never refused: the call stands.
func (a *assembly) Occupy(now time.Time, id tu.UserID, s tu.Occupy) {
	if s.Hop.Flow.Interface == loopInterface {
		return
	}
	a.leases.ledger.Take(now, trunk.Claim{
		User: id, Ref: s.Ref, Leg: s.Leg, Keys: placesOf(s.Hop.Peer, s.Hop.Flow.Remote.Addr()), Free: true,
	})
}

// leave forgets a call that has gone, or never came to be.
func (l *leases) leave(id tu.UserID) {
	l.ledger.ReturnAll(id)
	delete(l.calls, id)
}

// auditLeases compares the places that are taken with the calls that there are: a place too many would keep calls out for ever, one
// too few lets one too many in.
func (a *assembly) auditLeases() []api.Gauge {
	type place struct {
		id  tu.UserID
		ref tu.Ref
	}
	held := map[place]bool{}
	for c := range a.leases.ledger.Each {
		held[place{c.User, c.Ref}] = true
	}
	lacking := 0
	for id, c := range a.calls {
		for ref := range c.Places {
			if !held[place{id, ref}] {
				lacking++
			}
			delete(held, place{id, ref})
		}
	}
	return []api.Gauge{
		{Name: "places of calls", Value: int64(a.leases.ledger.Len())},
		{Name: "places that no call has any more", Value: int64(len(held)), Bad: len(held) > 0},
		{Name: "calls without their place", Value: int64(lacking), Bad: lacking > 0},
	}
}
