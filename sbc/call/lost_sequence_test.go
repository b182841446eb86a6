package call

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// lose has a node die: all that it has said it works on fails. It reports whether there was anything.
func (g *game) lose() (lost bool) {
	for _, ref := range g.refs {
		x := g.clients[ref]
		if g.ended || x.final != 0 || x.hop.Peer.Kind != tu.KindNode || !x.rang && (x.msg.Method == "INVITE" || g.pick(2) > 0) {
			continue
		}
		x.final, lost = 408, true
		g.happen(tu.Failed{Ref: ref, Code: 408, Why: reason.Timeout, Lost: true})
	}
	return lost
}

// ringsAtNode brings a call that goes to nodes as far as that it rings at the first of two.
func (g *game) ringsAtNode() {
	g.t.Helper()
	names := []string{"node1", "node2"}
	if g.hop[caller].Peer.Kind == tu.KindPhone {
		names = []string{"pbx1", "pbx2"}
	}
	g.begun, g.invites = true, 1
	g.happen(g.arrive(caller, g.request(caller, "INVITE", "", 1, describe(homeOf(g.hop[caller]), "audio:4000::0+8")), netip.AddrPort{}))
	for len(g.internal) > 0 && !g.ended {
		switch g.internal[0].(type) {
		case tu.Routed:
			if g.hop[caller].Peer.Kind != tu.KindNode {
				g.internal[0] = tu.Routed{Hops: g.speaking(stageHop(names[0]), stageHop(names[1]))}
			}
		case tu.Reserved:
			g.internal[0] = g.reserved(1)
		}
		g.deliver()
	}
	if a := g.c.current(); a != nil && !g.ended {
		g.happen(g.response(g.clients[a.ref], 180, calleeTag(a.hop, 0), nil))
	}
}

// waits reports whether a call waits for a node that works on it.
func (g *game) waits() bool {
	a := g.c.current()
	return !g.ended && a != nil && !a.done && !g.c.final && a.hop.Peer.Kind == tu.KindNode && g.clients[a.ref].rang && len(g.c.waiting) == 0
}

// dies has that node die. It reports whether the call rings on elsewhere; whether it must is checked.
func (g *game) dies() (moved bool) {
	g.t.Helper()
	before, next := *g.c.current(), len(g.c.attempts) < len(g.c.hops)
	g.lose()
	after := g.c.current()
	switch {
	case g.c.final:
		return false
	case !next:
		g.t.Fatalf("the call goes on, and nobody is left to ask")
	case after == nil || after.hop.Flow == before.hop.Flow || after.sent.CSeq <= before.sent.CSeq || after.sent.CallID != before.sent.CallID:
		g.t.Fatalf("from %+v the call went to %+v", before, after)
	}
	return true
}

// TestNodesDieAnywhere: whatever a call is at when its node dies, what DESIGN promises of its end holds; and a call that rang there rings
// at the next one, with a number of its own, if there is a next one.
func TestNodesDieAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		if rapid.Bool().Draw(t, "rings") {
			g.ringsAtNode()
		}
		for range rapid.IntRange(4, 60).Draw(t, "moves") {
			if g.waits() && choice.Draw(t, "dies")%4 == 0 {
				g.dies()
			} else if !g.move() {
				break
			}
		}
		g.finish()
	})
}

// TestTheNodeOfARingingCallDies: whoever calls, with nothing in between, the call moves; that is no matter of chance.
func TestTheNodeOfARingingCallDies(t *testing.T) {
	for _, who := range []int{0, 2, 4, 5} { // newGame: a provider, phones by UDP, TCP and WebSocket
		g := newGame(t, func(n int) int {
			if n == 6 {
				return who
			}
			return 0
		})
		if g.ringsAtNode(); !g.waits() || !g.dies() {
			t.Errorf("the call of %s has not moved", g.hop[caller].Peer.Name)
		}
		g.finish()
	}
}
