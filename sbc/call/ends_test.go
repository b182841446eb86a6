package call

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// TestAnySequenceEndsByItself: nobody but the peers ends a call: one of them hangs up, and both are silent from then on. Nothing
// may stay.
func TestAnySequenceEndsByItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(filter{t}, func(n int) int { return choice.Draw(t, "pick") % n })
		switch g.pick(5) {
		case 0:
		case 1:
			g.ring()
		default:
			g.establish()
		}
		for range rapid.IntRange(1, 60).Draw(t, "moves") {
			if g.ended {
				break
			}
			switch g.pick(8) {
			case 0:
				g.takeOver()
			case 1:
				g.refer()
			case 2:
				g.thirdSays()
			case 3:
				g.acknowledge(true)
			case 4:
				for _, ref := range g.refs {
					if x := g.clients[ref]; x.msg.Method == "REFER" && x.final == 0 {
						g.happen(g.response(x, 202, "", nil))
						break
					}
				}
			default:
				if !g.move() {
					return
				}
			}
		}
		if g.c.phase == unborn {
			return
		}
		for n := range 60 {
			for len(g.internal) > 0 && !g.ended {
				g.deliver()
			}
			if g.ended {
				return
			}
			for range 40 {
				if !g.ended {
					g.acknowledge(false)
				}
			}
			if g.c.won >= 0 && g.c.phase != ending && g.c.phase != answered && n%3 == 0 && !g.ended {
				g.hangs(n / 3 % 2)
			}
			for _, ref := range append([]tu.Ref(nil), g.refs...) {
				x := g.clients[ref]
				if g.ended || x.final != 0 || x.msg.Method == "INVITE" && x.rang && !x.cancelled {
					continue
				}
				x.final = 408
				g.happen(tu.Failed{Ref: ref, Code: 408, Why: reason.Timeout})
			}
			if g.c.phase != established || g.c.exchanging() {
				g.pass(10 * time.Minute)
			} else {
				g.pass(40 * time.Second)
			}
		}
		t.Fatalf("the call never ends: phase %d, byes %v, relays %d, owns %d, byeCaller %v, moves %+v, waiting %d", g.c.phase, g.c.byes, len(g.c.relays), len(g.c.owns), g.c.byeCaller, g.c.moves, len(g.c.waiting))
	})
}

// filter leaves out what two hops with one tag make of CSeq.
type filter struct{ *rapid.T }

func (f filter) Errorf(format string, args ...any) {
	if strings.HasPrefix(format, "CSeq %d after") {
		return
	}
	f.T.Errorf(format, args...)
}
