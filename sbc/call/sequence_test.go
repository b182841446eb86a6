package call

import (
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// game makes events in any order that a core can make of peers who do what they like. pick chooses one of n.
type game struct {
	*stage
	pick     func(n int) int
	internal []tu.Event // answers of the core to actions, in order
	begun    bool
	rseqs    map[string]uint32 // the callee's last reliable response in each dialog
}

func newGame(t tester, pick func(n int) int) *game {
	g := &game{stage: newStage(t, []string{"itsp1", "node1", "phone1", "pbx1", "tcpphone", "webphone:off"}[pick(6)]), pick: pick}
	g.speak(&g.hop[caller])
	return g
}

// speak chooses how a peer has digits, and whether it has SRTP.
func (g *game) speak(h *tu.Hop) {
	h.Peer.Media.DTMF, h.Peer.Media.SRTP, h.Peer.Sealed = tu.DTMF(g.pick(3)), tu.SRTP(g.pick(3)), g.pick(2) == 0
	g.lasts(h.Peer)
	if g.trusted(h.Peer); g.pick(3) == 0 {
		g.lets(*h, "itsp/k1")
	}
	h.Peer.Transfer, h.Peer.Referral, h.Peer.Redirect = tu.Transfer(g.pick(3)), tu.Transfer(g.pick(3)), tu.Redirect(g.pick(3))
}

// speaking are hops with a way to have digits.
func (g *game) speaking(hops ...tu.Hop) []tu.Hop {
	for i := range hops {
		g.speak(&hops[i])
	}
	return hops
}

// happen hands the call an event and keeps what the core will answer.
func (g *game) happen(ev tu.Event) {
	g.t.Helper()
	for _, a := range g.step(ev) {
		switch a := a.(type) {
		case tu.Route:
			g.internal = append(g.internal, g.judged(a))
		case tu.Reserve:
			g.internal = append(g.internal, g.reserved(g.pick(a.Streams+1)))
		}
	}
}

// judged is plan, but for where a provider has redirected the call to.
func (g *game) judged(r tu.Route) tu.Routed {
	switch {
	case r.By == nil:
		return g.plan()
	case g.pick(5) == 0:
		return tu.Routed{Code: 403, Why: reason.Fraud}
	}
	return tu.Routed{Hops: []tu.Hop{*r.By}}
}

func (g *game) plan() tu.Routed {
	names := []string{"node1", "node2"}
	switch p := g.hop[caller].Peer; {
	case g.c.moves != nil && g.c.moves.third != nil:
		return g.planThird()
	case p.Kind == tu.KindPhone:
		names = []string{"pbx1", "pbx2"}
	case p.Realm == nat.Phones:
		name := []string{"phone1", "phone2", "tcpphone", "webphone:off", "phone2:checked"}[g.pick(5)]
		if n := g.pick(5); n == 0 {
			return tu.Routed{Code: 404, Why: reason.NoRoute}
		}
		return tu.Routed{Hops: g.speaking(stageHop(name))} // a token is one phone
	case p.Kind == tu.KindNode:
		names = []string{[]string{"itsp1", "itsp1", "itsp1:rules", "itsp1:numbers", "itsp1:untrusted", "itsp1:codes"}[g.pick(6)], "itsp2"}
	}
	if n := g.pick(5); n > 0 {
		return tu.Routed{Hops: g.speaking(stageHop(names[0]), stageHop(names[1]))[:1+n%2]}
	}
	return tu.Routed{Code: 404, Why: reason.NoRoute}
}

// body is a description that a leg's peer may send, or none.
func (g *game) body(l int) []byte {
	spec := []string{
		"", "", "audio:4000", "audio:4000", "audio:4000:sendonly", "audio:4444", "audio:4000,video:4010", "audio:0",
		"audio:4000@0.0.0.0", "audio:4000@127.0.0.1", "bad", "audio:4000,video:4010,video:4020",
		"audio:4000::0+101=telephone-event/8000", "audio:4000::0+96=telephone-event/8000,audio:4006::8+101=telephone-event/8000",
		"audio:9::0+dtls+active+mux+ice+mid0@0.0.0.0", "audio:9::0+dtls+actpass+mux+ice2+mid0@0.0.0.0", "audio:4000::0+dtls2+passive",
		"audio:4000::0+dtls+actpass+ice,video:4010::97=VP8/90000+dtls2+actpass+ice2+mid1,application:9::data+ice", "audio:4000::0+print+actpass",
		"audio:4000::0+savp+seal", "audio:4000::0+savp+newseal", "audio:4000::0+savpf+gcm+seal", "audio:4000::0+seal", "audio:4000::0+savp",
		"image:4000", "audio:0,image:4006", "audio:4000::96=opus/48000/2+8+0+18,image:4006::tcp",
	}[g.pick(27)]
	if spec == "" {
		return nil
	}
	return describe(homeOf(g.hop[l]), spec)
}

// move lets something happen. It reports false when there is nothing left that could.
func (g *game) move() bool {
	g.t.Helper()
	if g.ended {
		return false
	}
	if !g.begun {
		g.begun = true
		g.invites = 1
		m := g.request(caller, "INVITE", "", 1, g.body(caller))
		g.adorn(m)
		g.happen(g.arrive(caller, m, netip.AddrPort{}))
		return true
	}
	if len(g.internal) > 0 && g.pick(4) > 0 {
		g.deliver()
		return true
	}
	switch n := g.pick(20); {
	case n < 8:
		g.respond()
	case n < 12:
		g.ask()
	case n < 14:
		g.acknowledge(g.pick(8) > 0)
	case n < 15:
		g.cancel()
	case n < 17:
		g.pass(time.Duration(1+g.pick(4)) * time.Second)
	case n < 18:
		g.fail()
	case n < 19:
		g.rare()
	default:
		g.takeOver()
	}
	return true
}

func (g *game) deliver() {
	ev := g.internal[0]
	g.internal = g.internal[1:]
	g.happen(ev)
}

// calleeTag is what a hop calls one of its dialogs; no two hops use the same.
func calleeTag(h tu.Hop, n int) string {
	if a := h.Flow.Remote; a == itsp2 || a == node2 {
		n += 3
	}
	return "xyzuvw"[n : n+1]
}

// respond lets a peer answer, or repeat a 2xx, or fork.
func (g *game) respond() {
	var open []*client
	for _, ref := range g.refs {
		if x := g.clients[ref]; x.final == 0 || x.msg.Method == "INVITE" && x.final/100 == 2 {
			open = append(open, x)
		}
	}
	if len(open) == 0 {
		return
	}
	x := open[g.pick(len(open))]
	codes := []int{100, 180, 183, 183, 199, 200, 200, 200, 202, 302, 401, 407, 408, 481, 422, 486, 487, 491, 500, 503, 603}
	code := codes[g.pick(len(codes))]
	switch {
	case x.final != 0:
		code = 200
	case x.cancelled && code > 202:
		code = 487
	case code == 100:
		g.happen(tu.Trying{Ref: x.ref})
		x.rang = true
		return
	case x.msg.Method != "INVITE" && code < 200:
		return
	}
	body := g.body(x.leg)
	if x.msg.Method == "BYE" {
		body = nil
	}
	ev := g.response(x, code, calleeTag(x.hop, g.pick(3)), body)
	g.challenges(ev.Msg)
	g.adorn(ev.Msg)
	g.leads(ev.Msg)
	if x.msg.Method == "INVITE" && code < 200 {
		g.reliably(ev.Msg)
	}
	if x.hop.Peer.Kind == tu.KindPhone && g.pick(10) == 0 {
		ev.Flow = g.otherPort(ev.Flow)
	}
	switch g.pick(30) {
	case 0:
		ev.Msg.Remove("Contact")
	case 1:
		if x.msg.To.Tag == "" && code < 200 {
			ev.Msg.To.Tag = ""
		}
	}
	g.happen(ev)
}

// ask lets a peer send a request in one of its dialogs.
func (g *game) ask() {
	l, tag := caller, ""
	if g.pick(2) == 0 && len(g.tags) > 0 {
		tag = g.tags[g.pick(len(g.tags))]
	} else if g.hop[callee].Peer != nil {
		l, tag = callee, calleeTag(g.hop[callee], g.pick(3))
	} else {
		return
	}
	methods := []string{"BYE", "INVITE", "INVITE", "INVITE", "UPDATE", "UPDATE", "PRACK", "PRACK", "PRACK", "INFO", "OPTIONS", "NOTIFY", "REFER", "REFER"}
	method := methods[g.pick(len(methods))]
	n := &g.invites
	if l == callee {
		n = &g.calleeN
	}
	cseq := *n
	if k := g.pick(8); k > 0 {
		*n += uint32((k + 6) / 7 * (1 + k/7))
		cseq = *n
	}
	body := g.body(l)
	from := netip.AddrPort{}
	if g.pick(16) == 0 {
		from = elsewhere
	}
	m := g.request(l, method, tag, cseq, body)
	g.adorn(m)
	g.refers(l, m)
	if method == "PRACK" {
		m.Add("RAck", g.rack(tag, g.pick(8)/7))
	}
	if method == "INFO" && g.pick(3) > 0 {
		var kind string
		m.Body, kind = digitBody([]string{"plain", "relay"}[g.pick(2)], []string{"5", "#/100", "16", "X"}[g.pick(4)])
		m.Set("Content-Type", kind)
	}
	ev := g.arrive(l, m, from)
	if !from.IsValid() && g.hop[l].Peer.Kind == tu.KindPhone {
		g.wander(l, &ev)
	}
	g.happen(ev)
}

// wander lets a phone's request come by another flow: another port, another connection, another address where the phone has
// registered, or where only somebody else has.
func (g *game) wander(l int, ev *tu.Arrived) {
	p := *ev.Peer
	switch g.pick(12) {
	case 0, 1:
		ev.Flow = g.otherPort(ev.Flow)
		p.Name, p.AoRs, p.Token, p.Stranger = "", nil, "", true
		g.servers[ev.Tx].foreign = !sameHost(ev.Flow, g.c.legs[l].hop.Flow) // it has left that address for good
		g.servers[ev.Tx].behind = len(g.c.waiting) > 0
	case 2:
		ev.Flow.Remote = netip.AddrPortFrom(elsewhere.Addr().Next(), uint16(1024+g.pick(3)))
		g.flows[ev.Flow] = true
	case 3:
		ev.Flow.Remote = elsewhere
		p.Name, p.AoRs = "299@example.com", []string{"299@example.com"}
		g.servers[ev.Tx].foreign = true
	default:
		return
	}
	ev.Peer = &p
}

// otherPort is another flow of a phone: a port, or a connection, that its NAT has made.
func (g *game) otherPort(f nat.Flow) nat.Flow {
	n := g.pick(3)
	f.Remote = netip.AddrPortFrom(f.Remote.Addr(), uint16(50000+n))
	if f.Conn != 0 {
		f.Conn = uint64(100 + n)
	}
	g.flows[f] = true
	return f
}

// acknowledge sends the ACK of a 2xx of ours, or lets it fail to come.
func (g *game) acknowledge(comes bool) {
	for _, tx := range g.order {
		x := g.servers[tx]
		if x.msg.Method != "INVITE" || x.final/100 != 2 || x.acked {
			continue
		}
		x.acked = true
		if !comes {
			g.happen(tu.NotAcked{Tx: tx})
			return
		}
		var body []byte
		if len(x.msg.Body) == 0 {
			body = g.body(x.leg)
		}
		g.happen(tu.Acked{Tx: tx, Msg: g.request(x.leg, "ACK", x.sent.To.Tag, x.msg.CSeq, body)})
		return
	}
}

func (g *game) cancel() {
	for _, tx := range g.order {
		if x := g.servers[tx]; x.msg.Method == "INVITE" && x.final == 0 && !x.cancelled {
			x.cancelled = true
			g.happen(tu.Cancelled{Tx: tx})
			return
		}
	}
}

// pass lets time go on, with a Tick at every deadline.
func (g *game) pass(d time.Duration) {
	end := g.now.Add(d)
	for !g.ended {
		due := g.c.Deadline()
		if due.IsZero() || due.After(end) {
			break
		}
		g.now = due
		g.happen(tu.Tick{})
	}
	g.now = end
}

// fail ends a request without answer.
func (g *game) fail() {
	if g.pick(3) == 0 {
		g.lose()
		return
	}
	for _, ref := range g.refs {
		x := g.clients[ref]
		if x.final != 0 || x.msg.Method == "INVITE" && x.rang && !x.cancelled {
			continue
		}
		code := []int{408, 503, 500}[g.pick(3)]
		why := map[int]reason.Reason{408: reason.Timeout, 503: reason.Overload, 500: reason.Leak}[code]
		x.final = code
		g.happen(tu.Failed{Ref: ref, Code: code, Why: why})
		return
	}
}

func (g *game) rare() {
	switch g.pick(7) {
	case 6:
		g.pass(16 * time.Minute)
	case 4:
		for l := range g.hop {
			if h := g.hop[l]; h.Peer != nil && h.Peer.Kind == tu.KindPhone {
				f := g.otherPort(h.Flow)
				if g.pick(2) == 0 {
					f.Remote = netip.AddrPortFrom(elsewhere.Addr().Next(), f.Remote.Port())
					g.flows[f] = true
				}
				g.happen(tu.Moved{Token: h.Peer.Token, Flow: f, Here: seenOn(h.Here, f)})
			}
		}
	case 0:
		g.happen(tu.Hangup{Code: 503, Why: reason.Draining})
	case 1:
		g.happen(tu.MediaRefused{})
	case 2:
		g.happen(tu.MediaHint{Silent: true})
	case 3:
		g.pass(200 * time.Second)
	case 5:
		if l := g.pick(2); g.hop[l].Peer != nil {
			g.happen(tu.DigitHeard{Stream: g.pick(2), Side: g.hop[l].Peer.Side, Event: uint8(g.pick(20)), Duration: uint16(g.pick(1 << 16))})
		}
	}
}

// finish lets both peers behave until nothing is left: what DESIGN promise 1 says must then hold is checked by the stage.
func (g *game) finish() {
	g.t.Helper()
	for range 100 {
		for len(g.internal) > 0 {
			g.deliver()
		}
		if g.ended {
			return
		}
		g.happen(tu.Hangup{Code: 503, Why: reason.Draining})
		for _, ref := range g.refs {
			x := g.clients[ref]
			switch {
			case g.ended:
			case x.final != 0:
			case x.msg.Method != "INVITE":
				g.happen(g.response(x, 200, "x", nil))
			case x.cancelled:
				g.happen(g.response(x, 487, "x", nil))
			}
		}
		if !g.ended {
			g.acknowledge(false)
		}
	}
	g.t.Errorf("the call never ends: phase %d, byes %v, relays %+v", g.c.phase, g.c.byes, g.c.relays)
}
