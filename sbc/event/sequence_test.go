package event

import (
	"bytes"
	"net/netip"
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
	g := &game{stage: newStage(t, []string{"phone1", "tls1", "stranger1", "node1", "pbx1", "itsp1"}[pick(6)]), pick: pick}
	g.trusted(g.hop[subscriber].Peer)
	return g
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
		return true
	case g.routes > 0 && !g.routed:
		g.routed = true
		g.step(g.plan())
		return true
	}
	switch n := g.pick(20); {
	case n < 7:
		g.respond()
	case n < 12:
		g.ask()
	case n < 14:
		g.pass([]time.Duration{time.Second, 4 * time.Second, 33 * time.Second, 700 * time.Second}[g.pick(4)])
	case n < 16:
		g.fail()
	case n < 17:
		if x := g.unanswered(); x != nil {
			g.step(tu.Trying{Ref: x.ref})
		}
	case n < 18:
		g.wander()
	case n < 19 && g.pick(4) == 0:
		g.step(tu.Hangup{Code: []int{503, 408, 0, 480}[g.pick(4)], Why: []reason.Reason{reason.Draining, reason.NoPBX}[g.pick(2)]})
	}
	return true
}

func (g *game) begin() {
	if g.pick(4) == 0 {
		m := g.request(subscriber, "REFER", "")
		adorn(m, []words{
			{}, {}, {"Refer-Sub": "false"}, {"Require": "nosub"}, {"Refer-To": "none"}, {"Refer-To": "<sip:9@10.0.0.10>,<sip:8@10.0.0.10>"},
			{"Refer-To": "<sip:300@192.168.1.20?Replaces=callout%3Bto-tag%3Dourout%3Bfrom-tag%3Dhisout>"}, {"Contact": "none"},
		}[g.pick(8)])
		g.step(g.arrive(subscriber, m))
		return
	}
	m := g.request(subscriber, "SUBSCRIBE", "")
	adorn(m, []words{
		{}, {"Expires": "600"}, {"Expires": "0"}, {"Expires": "x"}, {"Event": "dialog;id=1"}, {"Event": "none"},
		{"Contact": "none"}, {"maxforwards": "0"}, {"maxforwards": "-1"}, {"Require": "replaces"},
	}[g.pick(10)])
	g.step(g.arrive(subscriber, m))
}

func (g *game) plan() tu.Routed {
	var names []string
	switch p := g.hop[subscriber].Peer; {
	case p.Kind == tu.KindTrunk:
		names = []string{"pbx1", "pbx1"}
	case p.Kind == tu.KindPhone:
		names = []string{"node1", "node2"}
	case p.Name == "pbx1":
		names = []string{"itsp1", "itsp2"}
	default:
		names = []string{"phone1"}
	}
	var ev tu.Routed
	for _, name := range names[:min(len(names), g.pick(4))] {
		h := stageHop(name)
		g.trusted(h.Peer)
		ev.Hops = append(ev.Hops, h)
	}
	if len(ev.Hops) == 0 {
		ev.Code, ev.Why = []int{404, 480, 503, 0}[g.pick(4)], reason.NoRoute
	}
	return ev
}

// unanswered is a request of ours without a final answer, nil if there is none.
func (g *game) unanswered() *client {
	var open []*client
	for _, ref := range g.refs {
		if x := g.clients[ref]; x.final == 0 {
			open = append(open, x)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return open[g.pick(len(open))]
}

// respond lets a peer answer.
func (g *game) respond() {
	x := g.unanswered()
	if x == nil {
		return
	}
	codes := []int{200, 200, 200, 200, 202, 180, 302, 401, 403, 404, 407, 408, 423, 481, 482, 489, 500, 503, 603}
	ev := g.response(x, codes[g.pick(len(codes))], "xyz"[g.pick(3):][:1])
	adorn(ev.Msg, []words{{}, {}, {}, {"Expires": "none"}, {"Expires": "0"}, {"Contact": "none"}, {"text": "hi"}, {"tagless": "1"}}[g.pick(8)])
	g.challenges(ev.Msg)
	if ev.Msg.To.Tag == "" && x.msg.To.Tag != "" {
		ev.Msg.To.Tag = x.msg.To.Tag
	}
	g.step(ev)
}

// ask lets a peer send a request in one of its dialogs.
func (g *game) ask() {
	l, method := notifier, "NOTIFY"
	if g.tag != "" && g.pick(3) == 0 {
		l, method = subscriber, "SUBSCRIBE"
	}
	if l == notifier && g.hop[notifier].Peer == nil {
		return
	}
	if g.pick(12) == 0 {
		method = []string{"OPTIONS", "BYE", "NOTIFY", "SUBSCRIBE"}[g.pick(4)]
	}
	m := g.request(l, method, "xxxyz"[g.pick(5):][:1])
	adorn(m, []words{
		{}, {}, {}, {"Expires": "600"}, {"Expires": "0"}, {"state": "pending"}, {"state": "active;expires=5"}, {"state": "terminated"},
		{"Subscription-State": "none"}, {"Event": "dialog"}, {"maxforwards": "0"}, {"Require": "replaces"}, {"Contact": "none"},
		{"text": "hi"}, {"cseq": "1"}, {"text": lampText, "type": "application/dialog-info+xml"},
		{"text": "<dialog-info", "type": "application/dialog-info+xml"}, {"text": `SIP/2.0_200_OK\n`, "type": "message/sipfrag"},
		{"text": `Message-Account:_sip:9@10.0.0.10\n`, "type": "application/simple-message-summary"},
	}[g.pick(19)])
	ev := g.arrive(l, m)
	if g.pick(6) == 0 {
		at := []string{"198.51.100.7:45000", "198.51.100.66:5000", "10.0.0.77:5060"}[g.pick(3)]
		g.comesBy(&ev, netip.MustParseAddrPort(at), ev.Flow.Interface, g.pick(2) == 0)
	}
	g.step(ev)
}

// lampText is a body that names a call, as golden files write it.
const lampText = `<dialog-info_xmlns="urn:ietf:params:xml:ns:dialog-info"_version="1"_state="full"_entity="sip:204@example.com">` +
	`<dialog_id="7"_call-id="callin"_local-tag="ourin"_remote-tag="pbxin"><state>confirmed</state></dialog></dialog-info>`

// fail ends a request of ours without answer.
func (g *game) fail() {
	x := g.unanswered()
	if x == nil {
		return
	}
	code := []int{408, 503, 503, 500}[g.pick(4)]
	why := map[int]reason.Reason{408: reason.Timeout, 503: reason.Timeout, 500: reason.Leak}[code]
	if code == 503 && g.pick(2) == 0 {
		why = reason.Overload
	}
	x.final = code
	g.step(tu.Failed{Ref: x.ref, Code: code, Why: why})
}

// wander lets the phone register from elsewhere.
func (g *game) wander() {
	for l := range g.hop {
		if h := g.hop[l]; h.Peer != nil && h.Peer.Kind == tu.KindPhone {
			h.Flow.Remote = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.9"), uint16(5000+g.pick(9)))
			if h.Peer.Token != "" {
				g.flows[h.Flow] = true
			}
			g.step(tu.Moved{Token: h.Peer.Token, Flow: h.Flow, Here: h.Here})
			return
		}
	}
}

// finish lets the core's timers do what they must, until nothing is left.
func (g *game) finish() {
	g.t.Helper()
	for range 60 {
		switch {
		case g.ended:
			return
		case !g.begun, g.routes > 0 && !g.routed:
			g.move()
			continue
		}
		g.pass(5000 * time.Second) // all expires are shorter
		if x := g.unanswered(); x != nil && !g.ended {
			x.final = 408
			g.step(tu.Failed{Ref: x.ref, Code: 408, Why: reason.Timeout})
		}
	}
	g.t.Errorf("the subscription never ends: %+v", g.s)
}

func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		for range rapid.IntRange(1, 50).Draw(t, "moves") {
			if !g.move() {
				break
			}
		}
		g.finish()
		// After the end nothing follows, whatever is still told.
		g.step(tu.Failed{Ref: 1, Code: 408, Why: reason.Timeout})
		g.step(tu.Tick{})
		g.step(tu.Moved{Token: token})
		g.step(tu.Hangup{Code: 503})
	})
}

// TestAbortAnywhere: whatever a subscription was at, Abort answers what is open and ends both legs, and no more.
func TestAbortAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		for range rapid.IntRange(0, 20).Draw(t, "moves") {
			if !g.move() {
				return
			}
		}
		if g.ended {
			return
		}
		lives, unanswered := g.s.phase == active && !g.s.over, g.begun && g.servers[0].final == 0
		g.s.Step(g.now, tu.Hangup{Code: 500, Why: reason.Internal}, nil) // it panics: nothing of it is done
		g.lawless = true
		before := len(g.refs)
		g.take(g.s.Abort(g.now, nil))
		if !g.ended {
			t.Errorf("no End")
		}
		if n := len(g.refs) - before; (n > 0) != lives {
			t.Errorf("%d requests end a subscription that lives: %v", n, lives)
		}
		if unanswered && g.servers[0].final != 500 {
			t.Errorf("the SUBSCRIBE hears %d", g.servers[0].final)
		}
	})
}

// FuzzStep hands a subscription events that no core would make, in any order.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 2, 1, 1, 4, 3, 3, 2, 0, 0, 30, 8, 0, 1, 12, 0, 0})
	f.Add([]byte{3, 1, 0, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})
	f.Add(bytes.Repeat([]byte{5, 1, 4, 1, 5, 9, 2, 6}, 12))
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
		g.lawless = true
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
	ref := tu.Ref(g.pick(len(g.refs) + 2))
	switch g.pick(9) {
	case 0:
		g.step(tu.Failed{Ref: ref, Code: 408, Why: reason.Timeout})
	case 1:
		g.step(tu.Routed{Hops: g.plan().Hops})
	case 2:
		if x := g.clients[ref]; x != nil {
			g.step(g.response(x, 100+g.pick(600), "x"))
		}
	case 3:
		if !g.ended { // a second one outside of dialogs: the core makes another user of it
			m := g.request(subscriber, "SUBSCRIBE", "")
			m.To.Tag = ""
			g.step(g.arrive(subscriber, m))
		}
	case 4:
		g.step(tu.Tick{})
	case 5:
		g.step(tu.Trying{Ref: ref})
	case 6:
		g.step(tu.Cancelled{Tx: 1})
	case 7:
		if !g.ended && g.tag != "" {
			g.step(g.arrive(subscriber, g.request(subscriber, "SUBSCRIBE", "")))
		}
	case 8:
		g.step(tu.Hangup{Code: g.pick(800), Why: reason.Draining})
	}
}
