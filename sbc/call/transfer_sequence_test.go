package call

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"fmt"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// refers gives a REFER where it leads, and a NOTIFY what it is about. Both may come in any dialog of the leg, that of a leg
// which was exchanged included.
func (g *game) refers(l int, m *message.Message) {
	if dialogs := g.dialogsOf(l); len(dialogs) > 0 && g.pick(3) == 0 {
		d := dialogs[g.pick(len(dialogs))]
		m.CallID, m.To.Tag, m.From.Tag = d.CallID, d.Local, d.Remote
	}
	switch m.Method {
	case "REFER":
		m.Body = nil
		m.Remove("Content-Type")
		m.Add("Refer-To", []string{
			"<sip:205@example.com>", "<sip:205@example.com;method=BYE>", "<http://x>",
			"<sip:205@h?Replaces=in-other%3Bto-tag%3Dgate-in%3Bfrom-tag%3Dpbx-in>", "<sip:205@h?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>",
		}[g.pick(5)])
		if g.pick(4) == 0 {
			m.Add("Refer-Sub", "false")
		}
	case "NOTIFY":
		m.Set("Event", []string{"refer", fmt.Sprint("refer;id=", g.pick(6)), "talk"}[g.pick(3)])
		m.Set("Subscription-State", []string{"active", "terminated;reason=noresource"}[g.pick(2)])
	}
}

// leads gives a 3xx somewhere to go.
func (g *game) leads(m *message.Message) {
	if m.Status/100 == 3 {
		m.Set("Contact", []string{"<sip:+49888@h>;q=0.5, <sip:+49889@h>", "<tel:+49777>", "<sip:h>", "<sip:+49888@h>"}[g.pick(4)])
	}
}

// dialogsOf are all dialogs of a leg, as we write them.
func (g *game) dialogsOf(l int) (list []tu.DialogID) {
	for i := range g.c.pairs {
		if d := &g.c.pairs[i].dlg[l]; d.CallID != "" {
			list = append(list, tu.DialogID{CallID: d.CallID, Local: d.Local.Tag, Remote: d.Remote.Tag})
		}
	}
	return list
}

// takeOver lets somebody inside replace a leg. The core hands a call only what it says that it takes.
func (g *game) takeOver() {
	l := g.insideLeg()
	dialogs := g.dialogsOf(l)
	if len(dialogs) == 0 {
		return
	}
	d := dialogs[g.pick(len(dialogs))]
	ref := header.DialogRef{Name: "Replaces", CallID: d.CallID, Local: d.Local, Remote: d.Remote}
	h, loop := stageHop([]string{"node2", "node1"}[g.pick(2)]), g.pick(3) == 0
	if loop {
		h = loopHop()
	}
	if !g.c.Takes(ref, loop) {
		return
	}
	h.Peer.Media = g.c.legs[l].peer.Media // the side has one setting
	ev := g.taking(h, g.body(l))
	n := len(g.order)
	ev.Msg.CallID, ev.Msg.From.Tag = fmt.Sprint("taker", n, "-inside-id"), fmt.Sprint("taker", n, "-pbxtag")
	ev.Msg.Via[0].Branch = fmt.Sprint("z9hG4bKtaker", n)
	if g.pick(8) == 0 {
		ref.Params = ";early-only"
	}
	ev.Msg.Add("Replaces", ref.String())
	g.happen(ev)
}

// TestAnySequenceOfTransfers: a call that stands, and transfers of every kind in any order with everything else.
func TestAnySequenceOfTransfers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		if g.pick(5) > 0 {
			g.establish()
		} else {
			g.ring()
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
				if g.pick(4) == 0 && g.c.moves != nil && g.c.moves.third != nil {
					g.hangs(g.c.moves.third.from)
				}
			default:
				if !g.move() {
					return
				}
			}
		}
		g.finish()
	})
}

// refer is a REFER in the dialog of the call.
func (g *game) refer() {
	if g.c.won < 0 || !g.begun {
		return
	}
	l := g.pick(2)
	d := &g.c.pairs[g.c.won].dlg[l]
	if g.hop[l].Peer == nil {
		return
	}
	m := g.request(l, "REFER", "", d.RemoteSeq+1, nil)
	g.refers(l, m)
	m.CallID, m.To.Tag, m.From.Tag = d.CallID, d.Local.Tag, d.Remote.Tag
	ev := g.arrive(l, m, netip.AddrPort{})
	ev.Flow, ev.Peer, ev.Here = g.c.legs[l].hop.Flow, g.c.legs[l].peer, g.c.legs[l].hop.Here
	if g.pick(3) > 0 {
		m.Set("Refer-To", "<sip:205@example.com>")
	}
	g.happen(ev)
	if len(g.internal) > 0 {
		g.deliver()
	}
}

// thirdSays lets the leg that is called answer, and the one that is asked.
func (g *game) thirdSays() {
	mv := g.c.moves
	if mv == nil {
		return
	}
	if t := mv.third; t != nil && len(t.attempts) > 0 {
		if x := g.clients[t.attempts[len(t.attempts)-1].ref]; x != nil && x.final == 0 {
			g.happen(g.response(x, []int{180, 200, 200, 486, 503}[g.pick(5)], "zyx"[g.pick(3):][:1], g.body(x.leg)))
			return
		}
	}
	for _, o := range g.c.owns {
		if x := g.clients[o.ref]; x != nil && x.final == 0 {
			g.happen(g.response(x, []int{200, 200, 200, 488, 491}[g.pick(5)], "", g.body(x.leg)))
			return
		}
	}
}

// planThird is where a third leg may go: to peers of the side of the leg that referred, with its settings of media.
func (g *game) planThird() tu.Routed {
	l := &g.c.legs[g.c.moves.third.from]
	names := [2]string{"node1", "node2"}
	if l.peer.Side == nat.Outside {
		names = [2]string{"itsp1", "itsp2"}
	}
	n := g.pick(5)
	if n == 0 {
		return tu.Routed{Code: 404, Why: reason.NoRoute}
	}
	hops := []tu.Hop{stageHop(names[0]), stageHop(names[1])}[:1+n%2]
	for i := range hops {
		hops[i].Peer.Media = l.peer.Media
	}
	return tu.Routed{Hops: hops}
}

// hangs is a BYE of a leg in the dialog of the call.
func (g *game) hangs(l int) {
	d := &g.c.pairs[g.c.won].dlg[l]
	m := g.request(l, "BYE", "", d.RemoteSeq+1, nil)
	m.CallID, m.To.Tag, m.From.Tag = d.CallID, d.Local.Tag, d.Remote.Tag
	ev := g.arrive(l, m, netip.AddrPort{})
	ev.Flow, ev.Peer, ev.Here = g.c.legs[l].hop.Flow, g.c.legs[l].peer, g.c.legs[l].hop.Here
	g.happen(ev)
}

// ring brings a call as far as that it rings.
func (g *game) ring() {
	g.move()
	for range 4 {
		if len(g.internal) > 0 {
			g.deliver()
		}
	}
	if x := g.clients[1]; x != nil && !g.ended && x.final == 0 {
		g.happen(g.response(x, 180, calleeTag(x.hop, 0), nil))
	}
}

// TestAbortInTransfer: a call that is aborted within a transfer leaves neither the new leg nor the one who would take a place
// without an end.
func TestAbortInTransfer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []string
		want   string // what is sent besides the two BYEs
	}{
		{"ringing", []string{"b REFER Refer-To=<sip:205@h>", "routed node1", "b 180 re=3 tag=z"}, "cancel 3"},
		{"answered", []string{"b REFER Refer-To=<sip:205@h>", "routed node1", "b 200 re=3 tag=z sdp=audio:4010"}, "BYE z"},
		{"taken", []string{"taker node2 INVITE sdp=audio:4020 Replaces=$b;to-tag=$T1;from-tag=x"}, "500"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := playing(t, "itsp1")
			for _, ev := range append([]string{"from itsp1 transfer=local", "a INVITE sdp=audio:4000", "routed node1", "reserved 1", "b 200 sdp=audio:4002", "a ACK"}, tt.events...) {
				for _, a := range p.event(ev) {
					p.show(a)
				}
			}
			p.c.Step(p.now, tu.Hangup{Code: 500}, nil) // one that panics: it has changed things, and sent nothing
			got, byes := "", 0
			for _, a := range p.c.Abort(p.now, nil) {
				switch a := a.(type) {
				case tu.Cancel:
					if x := p.clients[a.Ref]; x.msg.To.Tag == "" && x.final == 0 {
						got = fmt.Sprint("cancel ", a.Ref)
					}
				case tu.Send:
					if byes++; a.Msg.To.Tag == "z" {
						got = "BYE z"
					}
				case tu.Respond:
					got = fmt.Sprint(a.Msg.Status)
				}
			}
			if got != tt.want || byes < 2 {
				t.Errorf("%d BYEs and %q, want %q", byes, got, tt.want)
			}
		})
	}
}

// TestTransferShows: the administrator sees what is under way, and what has been.
func TestTransferShows(t *testing.T) {
	p := playing(t, "itsp1")
	for _, step := range []struct {
		event, moving string
		transfers     int
	}{
		{"from itsp1 transfer=local", "", 0},
		{"a INVITE sdp=audio:4000", "", 0}, {"routed node1", "", 0}, {"reserved 1", "", 0}, {"b 200 sdp=audio:4002", "", 0}, {"a ACK", "", 0},
		{"b REFER Refer-To=<sip:205@h>", "callee → 205, routing", 0},
		{"routed node1", "callee → 205, trying", 0},
		{"b 180 re=3 tag=z", "callee → 205, ringing", 0},
		{"b 200 re=3 tag=z sdp=audio:4010", "callee → 205, answered", 0},
		{"a 200 sdp=audio:4000", "", 1},
		{"taker node2 INVITE sdp=audio:4020 Replaces=$b;to-tag=$T3;from-tag=z", "callee → 201, answering", 1},
		{"a 200 sdp=audio:4000", "callee → 201, answering", 2},
		{"b ACK", "", 2},
	} {
		for _, a := range p.event(step.event) {
			p.show(a)
		}
		if v := p.c.View(); v.Moving != step.moving || len(v.Transfers) != step.transfers {
			t.Errorf("after %s: %q, %v", step.event, v.Moving, v.Transfers)
		}
	}
	if v := p.c.View().Transfers; v[0].Leg != "callee" || v[0].To != "205" || v[1].To != "201" || v[0].At.IsZero() {
		t.Errorf("%+v", v)
	}
}
