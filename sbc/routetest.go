package sbc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/message"
	"sallyport/sbc/names"
	"sallyport/sbc/reason"
	"sallyport/sbc/route"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// hopsShown bounds the hops that a test of a route plays a call through.
const hopsShown = 32

// TestRoute says where a call would go, by the code that routes calls. Nobody's turn is taken, and nothing is sent.
func (c control) TestRoute(ctx context.Context, q api.RouteQuestion) (api.RouteAnswer, error) {
	var t routeTest
	var err error
	if asked := c.core.Do(ctx, func(now time.Time) {
		t = routeTest{a: c.assembly, q: q}
		if err = t.plan(); err == nil {
			t.judge(now)
		}
	}); asked != nil {
		return t.out, asked
	}
	if err != nil {
		return t.out, err
	}
	t.play()
	c.nameless(&t.out)
	return t.out, nil
}

// nameless says of trunks that would take the call which of their names lead nowhere: no hop of the plan shows those.
func (c control) nameless(a *api.RouteAnswer) {
	snap := c.snap.Load()
	for i := range a.Rules {
		r := &a.Rules[i]
		if !r.Holds || r.Name == "" {
			continue
		}
		for _, n := range c.naming.Trunk(snap, r.Name) {
			if len(n.State.Endpoints) == 0 {
				r.Why += fmt.Sprintf("; but %s has no address yet: %s", n.Written(), n.Trouble())
			}
		}
	}
}

// TestRoute says where a call would go by a configuration that does not run: nothing is known of health and calls.
func TestRoute(snap *config.Snapshot, q api.RouteQuestion) (api.RouteAnswer, error) {
	tags, key := rehearsed()
	w := newWorld(names.StandIns(snap), tags, key)
	t := routeTest{a: &assembly{world: w, book: trunk.NewBook(w.systems, nil), phones: newPhones(key, tags)}, q: q}
	t.out.Offline = true
	if err := t.plan(); err != nil {
		return t.out, err
	}
	t.play()
	return t.out, nil
}

// routeTest is a call to be routed.
type routeTest struct {
	a    *assembly
	w    *world
	q    api.RouteQuestion
	uri  message.URI
	from message.URI
	peer tu.Hop // who calls
	hops []tu.Hop
	out  api.RouteAnswer
}

// plan routes the call. Of a running program it has the core's turn.
func (t *routeTest) plan() (err error) {
	t.w = t.a.world
	if t.uri, err = t.dialled(t.q.Number); err != nil {
		return err
	}
	t.from = message.URI{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"}
	if t.q.From != "" {
		if t.from, err = t.dialled(t.q.From); err != nil {
			return err
		}
	}
	called, calling := t.w.reads(t.uri), t.w.reads(t.from)
	t.out.Number, t.out.E164, t.out.Trunk = called.Text, called.E164, t.q.Trunk
	if t.q.From != "" {
		t.out.From, t.out.FromE164 = calling.Text, calling.E164
	}
	t.out.Hops, t.out.Rules = []api.RouteHop{}, []api.RouteRule{}
	t.a.book.Preview(func() {
		if t.q.Trunk != "" {
			err = t.inbound(called, calling)
		} else {
			err = t.outbound(called)
		}
	})
	if len(t.hops) > hopsShown {
		t.out.More = len(t.hops) - hopsShown
		t.hops = t.hops[:hopsShown]
	}
	return err
}

// dialled is the URI of a number, or of a name, as a peer of the gate writes it.
func (t *routeTest) dialled(text string) (message.URI, error) {
	const hint = "write a number, a user, or a URI such as tel:+4930123 or sip:alice@example.com"
	if scheme, _, ok := strings.Cut(text, ":"); ok {
		switch strings.ToLower(scheme) {
		case "sip", "sips", "tel":
			u, err := message.ParseURI(text)
			if err != nil {
				return u, api.BadRequest(hint, "%q cannot be read: %s", text, err)
			}
			return u, nil
		}
	}
	user := strings.ReplaceAll(strings.ReplaceAll(text, " ", ""), "#", "%23")
	u, err := message.ParseURI("sip:" + user + "@" + t.w.snap.PBX.Domain)
	if err != nil || u.User != user {
		return u, api.BadRequest(hint, "%q is no number", text)
	}
	return u, nil
}

func (t *routeTest) outbound(called route.Dialled) error {
	t.out.Emergency = t.w.urgent(t.uri)
	nodes := t.a.book.Plan(pbxName, nat.Inside)
	if len(nodes) == 0 {
		return api.BadRequest("add trunks to the realms of a node in pbx.nodes", "the PBX has no node that calls trunks")
	}
	t.peer = nodes[0]
	steps, hops := t.a.outbound(t.uri, false)
	for _, v := range t.w.table.Explain(called, t.out.Emergency) {
		t.out.Rules = append(t.out.Rules, api.RouteRule{Key: v.Key, Name: v.Name, Holds: v.Holds, Why: v.Why})
	}
	t.take(t.a.taken(steps, hops))
	return nil
}

func (t *routeTest) inbound(called, calling route.Dialled) error {
	from := t.a.book.PlanAll(t.q.Trunk, nat.Outside)
	if !slices.ContainsFunc(t.w.snap.Trunks, func(x config.Trunk) bool { return x.Name == t.q.Trunk }) {
		return api.NotFound("`sbc trunks` lists them", "no trunk has the name %q", t.q.Trunk)
	}
	if len(from) > 0 {
		t.peer = from[0]
	}
	rule, hops := t.a.inbound(t.q.Trunk, called, calling)
	for _, v := range t.w.table.ExplainInbound(t.q.Trunk, called, calling) {
		t.out.Rules = append(t.out.Rules, api.RouteRule{Key: v.Key, Holds: v.Holds, Why: v.Why})
	}
	if rule < 0 {
		t.out.Rules = append(t.out.Rules, api.RouteRule{Key: "pbx.nodes", Holds: true, Why: "no rule of routes.inbound fits: all nodes"})
	} else if to := t.w.table.Rule(rule).To; len(to) > 0 {
		t.out.Rules[rule].Why += "; to " + strings.Join(to, ", then ")
	}
	t.take(t.a.toPBX(hops))
	if t.peer.Peer != nil && t.a.drainedTrunk(t.peer.Peer) {
		t.hops, t.out.Refused = nil, "503 "+string(reason.Draining)+": the trunk is drained"
	}
	return nil
}

func (t *routeTest) take(r tu.Routed) {
	t.hops = r.Hops
	if len(r.Hops) == 0 {
		t.out.Refused = fmt.Sprintf("%d %s: %s", r.Code, message.Phrase(r.Code), r.Why)
	}
}

// judge says how the hops are. It has the core's turn.
func (t *routeTest) judge(now time.Time) {
	for i := range t.hops {
		h := &t.hops[i]
		health := t.a.book.Health(h.ID)
		x := api.RouteHop{State: health.State.String(), Reason: health.Why}
		for _, k := range placesOf(h.Peer, h.Flow.Remote.Addr()) {
			if k == (trunk.Key{}) {
				continue
			}
			load := t.a.load(now, k)
			if x.Load == nil {
				x.Load = &load
			}
			switch {
			case load.Most > 0 && load.Calls >= load.Most:
				x.Full = fmt.Sprintf("%s has %d calls, as many as it may have", k, load.Calls)
			case load.RateMost > 0 && load.Rate >= load.RateMost:
				x.Full = fmt.Sprintf("%d calls began at %s within a second, as many as may", load.Rate, k)
			}
		}
		t.out.Hops = append(t.out.Hops, x)
	}
}

// play plays the call through each hop: what would be sent is what the code for calls makes of it.
func (t *routeTest) play() {
	for i := range t.hops {
		if len(t.out.Hops) <= i {
			t.out.Hops = append(t.out.Hops, api.RouteHop{})
		}
		h, x := t.hops[i], &t.out.Hops[i]
		x.Peer, x.Address, x.Transport, x.Group = h.Peer.Name, h.Flow.Remote.String(), h.Flow.Transport.String(), h.Peer.Group
		if h.Peer.Kind == tu.KindTrunk && t.out.Offline && strings.ContainsAny(h.Peer.Host, "abcdefghijklmnopqrstuvwxyz") && !strings.Contains(h.Peer.Host, ":") {
			x.Address = h.Peer.Host // what it leads to nobody has asked
		}
		if i+1 < len(t.hops) {
			x.Answers = elsewhere(h.Peer)
		}
		if t.peer.Peer == nil {
			continue // of a trunk whose address nobody knows
		}
		s := &crossing{from: t.peer, to: h, plan: tu.Routed{Hops: []tu.Hop{h}}, rules: [2]*tu.Rules{t.peer.Peer.Rules, h.Peer.Rules}}
		m, _, _, _ := s.playRequest(t.w, t.invite()).outcome(false)
		if m == nil || !m.IsRequest() {
			continue
		}
		x.URI = m.URI.String()
		if t.q.From != "" {
			m.From.Tag = ""
			x.From = m.From.String()
		}
		if m.To.URI != m.URI {
			x.To = m.To.String()
		}
	}
}

// invite is the call as its peer would send it.
func (t *routeTest) invite() *message.Message {
	from := t.peer.Flow.Remote
	m := &message.Message{
		Method: "INVITE", URI: t.uri, CallID: "route-test", CSeq: 1, MaxForwards: 70,
		From: message.NameAddr{URI: t.from, Tag: "test"}, To: message.NameAddr{URI: t.uri},
		Via:  []message.Via{{Transport: "UDP", Host: from.Addr().String(), Port: from.Port(), Branch: "z9hG4bKtest", RPort: -1}},
		Body: plainOffer(t.peer),
	}
	m.Add("Contact", "<sip:"+from.String()+">")
	m.Add("Content-Type", "application/sdp")
	return m
}

// elsewhere says after which answers of a peer the next hop is tried.
func elsewhere(p *tu.Peer) []string {
	out := []string{"503"}
	if p.AttemptTimeout > 0 {
		out = []string{"no answer within " + p.AttemptTimeout.String(), "503"}
	}
	for _, r := range p.Failover {
		switch {
		case r.First == 503 && r.Last == 503:
		case r.First == r.Last:
			out = append(out, itoa(r.First))
		default:
			out = append(out, itoa(r.First/100)+"xx")
		}
	}
	return out
}
