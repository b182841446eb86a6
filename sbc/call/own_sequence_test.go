package call

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// establish brings a call as far as both peers' settings allow: mostly to its ACK.
func (g *game) establish() {
	g.t.Helper()
	g.begun, g.invites = true, 1
	m := g.request(caller, "INVITE", "", 1, describe(homeOf(g.hop[caller]), "audio:4000::0+8"))
	g.timed(m)
	g.happen(g.arrive(caller, m, netip.AddrPort{}))
	for range 20 {
		switch {
		case g.ended:
			return
		case len(g.internal) == 0:
			x := g.clients[g.refs[len(g.refs)-1]]
			ev := g.response(x, 200, calleeTag(x.hop, 0), describe(homeOf(x.hop), "audio:4002::0"))
			g.timed(ev.Msg)
			g.happen(ev)
			g.acknowledge(true)
			return
		}
		if r, is := g.internal[0].(tu.Routed); is && len(r.Hops) == 0 {
			g.internal[0] = g.plan()
			continue
		}
		g.deliver()
	}
}

// TestAnySequenceOfEstablished: a call that stands, and then whatever may come: refreshes of ours cross everything that peers
// do, and nothing is left behind.
func TestAnySequenceOfEstablished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		g.establish()
		for range rapid.IntRange(1, 40).Draw(t, "moves") {
			if g.ended {
				break
			}
			if g.pick(5) == 0 {
				g.pass([]time.Duration{time.Second, 5 * time.Second, 45 * time.Second, 5 * time.Minute, 15 * time.Minute}[g.pick(5)])
				continue
			}
			if !g.move() {
				break
			}
		}
		g.finish()
	})
}

// TestRefreshesKeepACallAlive: whoever refreshes, as long as refreshes are answered the call goes on, and as soon as one leg
// is not refreshed it ends before the interval of that leg is over.
func TestRefreshesKeepACallAlive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStage(t, "itsp1")
		interval := time.Duration(rapid.IntRange(90, 3600).Draw(t, "interval")) * time.Second
		knows := rapid.Bool().Draw(t, "knows") // the callee knows session timers
		hop := stageHop("node1")
		hop.Peer.SessionTimer = interval
		s.invites = 1
		s.step(s.arrive(caller, s.request(caller, "INVITE", "", 1, describe(itsp1, "audio:4000")), netip.AddrPort{}))
		s.step(tu.Routed{Hops: []tu.Hop{hop}})
		s.step(s.reserved(1))
		x := s.clients[s.refs[0]]
		ok := s.response(x, 200, "x", describe(node1, "audio:4002"))
		update := rapid.Bool().Draw(t, "update")
		if update {
			ok.Msg.Set("Allow", "INVITE, UPDATE")
		}
		if knows {
			ok.Msg.Add("Session-Expires", seconds(interval)+";refresher=uac")
		}
		s.step(ok)
		s.servers[1].acked = true
		s.step(tu.Acked{Tx: 1, Msg: s.request(caller, "ACK", s.tags[0], 1, nil)})
		last := s.now
		for range rapid.IntRange(0, 5).Draw(t, "refreshes") {
			n := len(s.refs)
			s.now = s.c.Deadline()
			s.step(tu.Tick{})
			if len(s.refs) != n+1 || s.ended || s.now.Sub(last) > interval/2 {
				t.Fatalf("%v after the last refresh of %v there are %d requests more", s.now.Sub(last), interval, len(s.refs)-n)
			}
			y := s.clients[s.refs[n]]
			if (y.msg.Method == "UPDATE") != update {
				t.Fatalf("%s refreshes", y.msg.Method)
			}
			s.now = s.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "wait")) * time.Millisecond)
			last = s.now
			if knows {
				a := s.response(y, 200, "x", nil)
				a.Msg.Add("Session-Expires", seconds(interval)+";refresher=uac")
				s.step(a)
			} else {
				s.step(s.response(y, 200, "x", nil))
			}
		}
		for len(s.records) == 0 {
			s.now = s.c.Deadline()
			s.step(tu.Tick{})
			if y := s.clients[s.refs[len(s.refs)-1]]; len(s.records) == 0 {
				y.final = 503
				s.step(tu.Failed{Ref: y.ref, Code: 503, Why: reason.Overload})
			}
		}
		if why := s.records[0].Reason; why != reason.SessionExpired || s.now.Sub(last) >= interval || s.now.Sub(last) < interval/2 {
			t.Fatalf("ended %v after the last refresh of %v: %s", s.now.Sub(last), interval, why)
		}
	})
}
