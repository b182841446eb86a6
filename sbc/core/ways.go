package core

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// Ways is what the program knows of the nodes that requests are sent to: whether they live, and which ones stand in for
// one that does not. Its methods run in the core's turn.
type Ways interface {
	// MayLeave reports whether a request may leave: its node may have had enough.
	MayLeave(now time.Time, id tu.UserID, a *tu.Send) bool
	// Left hears that a request of a user has left.
	Left(now time.Time, id tu.UserID, a *tu.Send)
	// Heard hears that a response to a request of some method, with a status code, came from a flow.
	Heard(now time.Time, from nat.Flow, method string, code int)
	// Unreached hears that what was sent to a flow did not arrive there. One that names a connection has ended.
	Unreached(now time.Time, to nat.Flow)
	// Detour is the way of a request within a dialog as things are: its own, or that by another node where the next hop
	// is one that does not live or is the one that was asked in vain (invalid: none). The message is a copy then.
	Detour(now time.Time, m *message.Message, hop tu.Hop, vain netip.AddrPort) (*message.Message, tu.Hop)
	// Silent reports whether nothing has been heard from an address since a moment.
	Silent(at netip.AddrPort, since time.Time) bool
}

// way is a request within a dialog that may go by another node if it gets no answer by the one that it went to.
type way struct {
	send  tu.Send        // as its user wanted it
	to    netip.AddrPort // where it went
	at    time.Time      // when
	again bool           // it was asked in vain once
	// routed: it goes on from the next hop, and may do so from another one. Else that is the far end itself.
	routed bool
}

// detour finds the way of a request within a dialog: a copy of it and another hop, or what was given.
func (c *Core) detour(now time.Time, m *message.Message, hop tu.Hop) (*message.Message, tu.Hop) {
	if c.cfg.Ways == nil || m.To.Tag == "" || hop.Peer.Kind != tu.KindNode {
		return m, hop
	}
	var vain netip.AddrPort
	if d := c.dialogs[dialogKey{side: hop.Peer.Side, callID: m.CallID, local: m.From.Tag}]; d != nil {
		vain = d.vain
	}
	return c.cfg.Ways.Detour(now, m, hop, vain)
}

// mayLeave asks whether a request may leave.
func (c *Core) mayLeave(now time.Time, id tu.UserID, a *tu.Send) bool {
	return c.cfg.Ways == nil || c.cfg.Ways.MayLeave(now, id, a)
}

// left hears that the table has taken a request, and keeps what is needed to ask another node. What a user wanted is kept;
// what went out is the table's.
func (c *Core) left(now time.Time, u *user, wanted tu.Send, sent *tu.Send, again bool) {
	if c.cfg.Ways == nil {
		return
	}
	c.cfg.Ways.Left(now, u.id, sent)
	m := wanted.Msg
	if m.To.Tag == "" || wanted.Hop.Peer.Kind != tu.KindNode {
		return
	}
	_, routed := m.Get("Route")
	u.ways = append(u.ways, way{send: wanted, to: sent.Hop.Flow.Remote, at: now, again: again, routed: routed})
}

// answered hears that a request has its final answer, or gets none.
func (c *Core) answered(id tu.UserID, ref tu.Ref) (w way, ok bool) {
	u := c.users[id]
	if u == nil {
		return w, false
	}
	i := slices.IndexFunc(u.ways, func(w way) bool { return w.send.Ref == ref })
	if i < 0 {
		return w, false
	}
	w = u.ways[i]
	u.ways = slices.Delete(u.ways, i, i+1)
	return w, true
}

// askAgain sends a request within a dialog that its node has left without an answer by another one, once: "the client …
// creates a new request, identical to the previous, but has a different value of the Via branch ID" (RFC 3263 §4.3). It
// reports false where there is no other way.
func (c *Core) askAgain(now time.Time, e *transaction.Effect) bool {
	id, ref := tu.UserID(e.User), tu.Ref(e.Ref)
	w, ok := c.answered(id, ref)
	if !ok || !w.routed || e.Kind == transaction.Timeout && !c.cfg.Ways.Silent(w.to, w.at) {
		return false // the node lives, it is the far end that does not
	}
	m := w.send.Msg
	if d := c.dialogs[dialogKey{side: w.send.Hop.Peer.Side, callID: m.CallID, local: m.From.Tag}]; d != nil {
		d.vain = w.to
	}
	if w.again {
		return false
	}
	copied := *m // the table may still have the first one
	copied.Headers = slices.Clone(m.Headers)
	w.send.Msg = &copied
	out, hop := c.detour(now, &copied, w.send.Hop)
	if hop.Flow.Remote == w.to {
		return false
	}
	sent := w.send
	sent.Msg, sent.Hop = out, hop
	if !c.mayLeave(now, id, &sent) {
		return false
	}
	out.Via = []message.Via{c.via(hop.Here)}
	effects, err := c.table.Send(now, uint64(id), uint32(ref), out, hop.Flow, c.effects)
	if c.effects = effects; err != nil {
		return false
	}
	c.left(now, c.users[id], w.send, &sent, true)
	return true
}

// heard hears a response, whoever it is for.
func (c *Core) heard(now time.Time, e *transaction.Effect) {
	if c.cfg.Ways != nil {
		c.cfg.Ways.Heard(now, e.Flow, e.Msg.Method, e.Msg.Status)
	}
	if e.Msg.Status >= 200 {
		c.answered(tu.UserID(e.User), tu.Ref(e.Ref))
	}
}

// unreached fails what waits for a first answer on a flow.
func (c *Core) unreached(now time.Time, to nat.Flow) {
	if c.cfg.Ways != nil {
		c.cfg.Ways.Unreached(now, to)
	}
	c.effects = c.table.Unreachable(now, to, c.effects)
}

// Abandon has what was sent to a node and has had no answer at all asked elsewhere at once, for nobody there lives: requests
// outside dialogs, and those within that another node may pass on. The others have nowhere to go, and wait. It runs in the
// core's turn.
func (c *Core) Abandon(now time.Time, to nat.Flow) {
	c.effects = c.table.Abandon(now, to, func(user uint64, ref uint32) bool {
		u := c.users[tu.UserID(user)]
		if u == nil {
			return false
		}
		i := slices.IndexFunc(u.ways, func(w way) bool { return w.send.Ref == tu.Ref(ref) })
		return i < 0 || u.ways[i].routed
	}, c.effects)
}

// Forsake has what has had a provisional answer of a node, and waits for the final one, come to its end, for that node lives no
// more: requests within dialogs go by another one that passes them on, users hear that all others are lost. It runs in the
// core's turn.
func (c *Core) Forsake(now time.Time, gone func(to nat.Flow) bool) {
	c.effects = c.table.Forsake(now, gone, c.effects)
}

// Divert has requests within dialogs that have had no answer at all since a moment asked of another node, where there is one that
// passes them on: theirs is silent, though nobody knows yet that it is down. It runs in the core's turn.
func (c *Core) Divert(now time.Time, to nat.Flow, since time.Time) {
	c.effects = c.table.Abandon(now, to, func(user uint64, ref uint32) bool {
		u := c.users[tu.UserID(user)]
		if u == nil {
			return false
		}
		i := slices.IndexFunc(u.ways, func(w way) bool { return w.send.Ref == tu.Ref(ref) })
		if i < 0 || !u.ways[i].routed || u.ways[i].again || u.ways[i].at.After(since) {
			return false
		}
		w := &u.ways[i]
		_, hop := c.cfg.Ways.Detour(now, w.send.Msg, w.send.Hop, w.to)
		return hop.Flow.Remote != w.to
	}, c.effects)
}
