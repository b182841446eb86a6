package exchange

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// game makes events in any order that a core can make of peers who do what they like. pick chooses one of n.
type game struct {
	*stage
	pick   func(n int) int
	begun  bool
	routed bool
}

func newGame(t tester, pick func(n int) int) *game {
	return &game{stage: newStage(t, []string{"phone1", "tls1", "stranger1", "node1", "pbx1", "itsp1"}[pick(6)]), pick: pick}
}

// move lets something happen. It reports false when there is nothing left that could.
func (g *game) move() bool {
	g.t.Helper()
	switch {
	case g.ended:
		return false
	case !g.begun:
		g.begun = true
		g.begin()
	case g.routes > 0 && !g.routed:
		g.routed = true
		g.step(g.plan())
	default:
		switch g.pick(8) {
		case 0, 1:
			g.pass(time.Duration(1+g.pick(5)) * time.Second)
		case 2:
			g.fail()
		case 3:
			if g.pick(4) == 0 {
				g.step(tu.Hangup{Code: []int{503, 408, 0, 480, 200}[g.pick(5)], Why: reason.Draining})
			}
		case 4:
			if n := len(g.clients); n > 0 {
				g.step(tu.Trying{Ref: tu.Ref(1 + g.pick(n))})
			}
		default:
			g.answer()
		}
	}
	return true
}

func (g *game) begin() {
	methods := []string{"MESSAGE", "MESSAGE", "OPTIONS", "NOTIFY", "PUBLISH", "INFO", "REFER", "FOO"}
	m := g.request(methods[g.pick(len(methods))])
	adorn(m, []words{
		{}, {"text": "hi"}, {"sdp": "1"}, {"text": "hi", "type": "none"}, {"maxforwards": "0"}, {"maxforwards": "-1"},
		{"Require": "replaces"}, {"totag": "x"}, {"uri": "urn:service:sos"}, {"uri": "tel:+4930"}, {"Event": "dialog"}, {},
	}[g.pick(12)])
	g.step(g.arrive(m))
}

func (g *game) plan() tu.Routed {
	var names []string
	switch p := g.hop.Peer; {
	case p.Kind == tu.KindTrunk:
		names = []string{"pbx1", "pbx1"}
	case p.Kind == tu.KindPhone:
		names = []string{"node1", "node2"}
	case p.Name == "pbx1":
		names = []string{"itsp1", "itsp2"}
	default:
		names = []string{"phone1", "tls1"}
	}
	var ev tu.Routed
	for _, name := range names[:g.pick(3)] {
		h := stageHop(name)
		trusts(h.Peer, []words{{}, {"account": "itsp"}, {"account": "itsp,home", "routes": "sip:edge.example.net;lr"}}[g.pick(3)])
		ev.Hops = append(ev.Hops, h)
	}
	if len(ev.Hops) == 0 {
		ev.Code, ev.Why = []int{404, 480, 503, 0}[g.pick(4)], reason.NoRoute
	}
	return ev
}

// answer lets a hop answer, once each.
func (g *game) answer() {
	ref, ok := g.open()
	if !ok {
		return
	}
	codes := []int{100, 180, 200, 202, 302, 401, 404, 407, 408, 480, 481, 482, 486, 489, 500, 503, 503, 603}
	ev := g.response(ref, codes[g.pick(len(codes))])
	adorn(ev.Msg, []words{{}, {"text": "hi"}, {"sdp": "1"}, {"text": "v=", "type": "application/sdp"}, {"Contact": "*"}}[g.pick(5)])
	g.challenges(ev.Msg)
	g.step(ev)
}

// open is a request of ours that has no final answer.
func (g *game) open() (tu.Ref, bool) {
	var open []tu.Ref
	for i, x := range g.clients {
		if !x.final {
			open = append(open, tu.Ref(i+1))
		}
	}
	if len(open) == 0 {
		return 0, false
	}
	return open[g.pick(len(open))], true
}

func (g *game) fail() {
	ref, ok := g.open()
	if !ok {
		return
	}
	g.clients[ref-1].final = true
	code := []int{408, 503, 503, 500}[g.pick(4)]
	g.step(tu.Failed{Ref: ref, Code: code, Why: map[int]reason.Reason{408: reason.Timeout, 503: reason.Overload, 500: reason.Leak}[code]})
}

// finish lets the core's timers do what they must: then whoever asked has an answer, and the exchange is over.
func (g *game) finish() {
	g.t.Helper()
	for range 20 {
		if !g.begun || g.ended || g.routes > 0 && !g.routed {
			if !g.move() {
				return
			}
			continue
		}
		g.pass(32 * time.Second)
		if ref, ok := g.open(); ok {
			g.clients[ref-1].final = true
			g.step(tu.Failed{Ref: ref, Code: 408, Why: reason.Timeout})
		}
	}
	g.t.Errorf("the exchange never ends: %+v", g.e)
}

func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		for range rapid.IntRange(1, 20).Draw(t, "moves") {
			if !g.move() {
				break
			}
		}
		g.finish()
		// After the end nothing follows, whatever is still told.
		g.step(tu.Failed{Ref: 1, Code: 408, Why: reason.Timeout})
		g.step(tu.Tick{})
		g.step(tu.Hangup{Code: 503})
	})
}

// TestAbortAnywhere: whatever an exchange was at, Abort answers what is open, and no more.
func TestAbortAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		for range rapid.IntRange(0, 6).Draw(t, "moves") {
			if !g.move() {
				return
			}
		}
		if g.ended {
			return
		}
		g.e.Step(g.now, tu.Hangup{Code: 500, Why: reason.Internal}, nil) // it panics: nothing of it is done
		g.take(g.e.Abort(g.now, nil))
		if !g.ended {
			t.Errorf("no End")
		}
	})
}

// FuzzStep hands an exchange events that no core would make, in any order.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 2, 1, 1, 4, 3, 3, 2, 0, 0, 30, 8, 0, 1, 12, 0, 0})
	f.Add([]byte{3, 1, 0, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})
	f.Add(bytes.Repeat([]byte{5, 1, 4, 1, 5, 9, 2, 6}, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		pick := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			k := int(data[0]) % n
			data = data[1:]
			return k
		}
		g := newGame(t, pick)
		for len(data) > 0 {
			if pick(3) > 0 {
				g.move()
			} else {
				g.lawbreak()
			}
		}
	})
}

// lawbreak is an event that does not fit.
func (g *game) lawbreak() {
	ref := tu.Ref(g.pick(len(g.clients) + 2))
	switch g.pick(9) {
	case 0:
		g.step(tu.Failed{Ref: ref, Code: 408, Why: reason.Timeout})
	case 1:
		g.step(tu.Routed{Hops: g.plan().Hops})
	case 2:
		if ref > 0 && int(ref) <= len(g.clients) {
			ev := g.response(ref, 100+g.pick(600))
			g.step(ev)
		}
	case 3:
		if !g.ended { // a second request: the core makes another user of it
			g.step(g.arrive(g.request("MESSAGE")))
		}
	case 4:
		g.step(tu.Tick{})
	case 5:
		g.step(tu.Trying{Ref: ref})
	case 6:
		g.step(tu.Acked{Tx: 1})
	case 7:
		g.step(tu.Moved{Token: token})
	case 8:
		g.step(tu.Hangup{Code: g.pick(800), Why: reason.Draining})
	}
}
