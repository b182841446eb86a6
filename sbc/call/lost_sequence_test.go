package call

import (
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

// TestNodesDieAnywhere: whatever a call is at when its node dies, what DESIGN promises of its end holds; and a call that rang there rings
// at the next one, with a number of its own, if there is a next one.
func TestNodesDieAnywhere(t *testing.T) {
	moved := 0
	for try := 0; moved == 0 && try < 500; try++ { // few sequences, as in a short run, may have none
		nodesDie(t, &moved)
	}
	if moved == 0 {
		t.Error("no call has moved")
	}
}

func nodesDie(t *testing.T, moved *int) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		for range rapid.IntRange(4, 60).Draw(t, "moves") {
			a := g.c.current()
			waits := a != nil && !a.done && !g.c.final && a.hop.Peer.Kind == tu.KindNode && g.clients[a.ref].rang && len(g.c.waiting) == 0
			if !waits || choice.Draw(t, "dies")%4 > 0 {
				if !g.move() {
					break
				}
				continue
			}
			before, next := *a, len(g.c.attempts) < len(g.c.hops)
			g.lose()
			switch after := g.c.current(); {
			case !next && !g.c.final:
				t.Fatal("the call goes on, and nobody is left to ask")
			case next && !g.c.final:
				if *moved++; after == nil || after.hop.Flow == before.hop.Flow || after.sent.CSeq <= before.sent.CSeq || after.sent.CallID != before.sent.CallID {
					t.Fatalf("from %+v the call went to %+v", before, after)
				}
			}
		}
		g.finish()
	})
}
