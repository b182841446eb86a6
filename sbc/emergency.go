package sbc

import (
	"net/netip"

	"sallyport/policy"
	"sallyport/sbc/tu"
)

// urgentMost is how many emergency calls of one source outside no drain, bound or rule stops at a time. Who calls from a
// known address may be a forger or a neighbour behind its NAT, and the number must be no way past every other bound. One too
// many is a call like any other.
const urgentMost = 8

// urgent are the emergency calls that passed as such. It belongs to whoever has the core's turn.
type urgent struct {
	from  map[tu.UserID]netip.Addr
	calls map[netip.Addr]int // by SourceKey
}

// emergency reports whether somebody who is known calls an emergency number: no drain, bound or rule stops that call.
func (a *assembly) emergency(ev *tu.Arrived) bool {
	return len(a.world.snap.Policy.Emergency) > 0 && ev.Msg.Method == "INVITE" && !ev.Peer.Stranger &&
		a.world.urgent(ev.Msg.URI) &&
		(ev.Peer.Kind == tu.KindNode || a.urgent.calls[policy.SourceKey(ev.Flow.Remote.Addr())] < urgentMost)
}

// add counts an emergency call. Those of the PBX, whom nobody outside can be, are not bounded.
func (u *urgent) add(id tu.UserID, ev *tu.Arrived) {
	if ev.Peer.Kind == tu.KindNode {
		return
	}
	if u.from == nil {
		u.from, u.calls = map[tu.UserID]netip.Addr{}, map[netip.Addr]int{}
	}
	key := policy.SourceKey(ev.Flow.Remote.Addr())
	u.from[id] = key
	u.calls[key]++
}

// drop forgets a call that has gone.
func (u *urgent) drop(id tu.UserID) {
	key, counts := u.from[id]
	if !counts {
		return
	}
	delete(u.from, id)
	if u.calls[key]--; u.calls[key] <= 0 {
		delete(u.calls, key)
	}
}

// full reports whether there are as many calls as limits.calls allows; emergency calls may be a tenth more.
func (a *assembly) full(emergency bool) bool {
	most := a.world.snap.Calls
	if most <= 0 {
		return false
	}
	if emergency {
		most += max(1, most/10)
	}
	return len(a.calls) >= most
}
