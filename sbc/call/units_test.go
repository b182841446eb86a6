package call

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// talking plays a call until it is established.
func talking(t *testing.T) *player {
	t.Helper()
	p := &player{t: t, stage: newStage(t, "itsp1"), names: map[string]string{}}
	for _, ev := range []string{"a INVITE sdp=audio:4000", "routed node1", "reserved 1", "b 180 tag=x", "b 200 tag=x sdp=audio:4002", "a ACK"} {
		p.event(ev)
	}
	return p
}

func TestView(t *testing.T) {
	p := &player{t: t, stage: newStage(t, "itsp1"), names: map[string]string{}}
	for _, c := range []struct{ event, state, leg, signalled string }{
		{"a INVITE sdp=audio:4000", "trying", "trying", ""},
		{"routed node1", "trying", "trying", ""},
		{"reserved 1", "trying", "trying", "203.0.113.20:4000"},
		{"b 180 tag=x", "ringing", "early", "203.0.113.20:4000"},
		{"b 200 tag=x sdp=audio:4002", "talking", "confirmed", "203.0.113.20:4000"},
		{"a ACK", "talking", "confirmed", "203.0.113.20:4000"},
		{"a INVITE sdp=audio:4000:sendonly", "talking", "confirmed", "203.0.113.20:4000"},
		{"b 200 sdp=audio:4002:recvonly", "held", "confirmed", "203.0.113.20:4000"},
		{"a ACK", "held", "confirmed", "203.0.113.20:4000"},
		{"a BYE", "ending", "confirmed", "203.0.113.20:4000"},
	} {
		p.event(c.event)
		v := p.c.View()
		if v.State != c.state || v.Legs[0].State != c.leg || v.Trunk != "itsp" || v.From != "+49401" || v.To != "+4930123" {
			t.Errorf("after %s: %+v", c.event, v)
		}
		if len(v.Streams) > 0 && v.Streams[0].Signalled[nat.Outside] != c.signalled {
			t.Errorf("after %s: %+v", c.event, v.Streams)
		}
	}
	v := p.c.View()
	if len(v.Legs) != 2 || v.Node != node1.String() || v.Legs[1].Side != nat.Inside || v.Streams[0].Signalled[nat.Inside] != "10.0.0.10:4002" {
		t.Errorf("%+v", v)
	}
	if !p.c.Is(v.ID) || !p.c.Is(v.Legs[0].CallID) || !p.c.Is(v.Legs[1].CallID) || p.c.Is("") || p.c.Is("other") {
		t.Error("a call is found by its id and its Call-IDs")
	}
	if !p.c.Uses(0) || !p.c.Uses(1) || p.c.Uses(2) {
		t.Error("a call uses the interfaces of its legs")
	}
}

func TestDirection(t *testing.T) {
	trunk, node, phone := &tu.Peer{Kind: tu.KindTrunk}, &tu.Peer{Kind: tu.KindNode}, &tu.Peer{Kind: tu.KindPhone}
	for _, c := range []struct {
		a, b *tu.Peer
		want header.Direction
	}{
		{trunk, node, header.TrunkToPBX}, {node, trunk, header.PBXToTrunk}, {phone, node, header.PhoneToPBX}, {node, phone, header.PBXToPhone},
	} {
		x := &Call{legs: [2]leg{{peer: c.a}, {peer: c.b, hop: tu.Hop{Peer: c.b}}}}
		if got, _ := x.hosts(caller); got != c.want {
			t.Errorf("%v to %v: %v", c.a.Kind, c.b.Kind, got)
		}
	}
}

func TestHosts(t *testing.T) {
	hop := stageHop("itsp1")
	hop.Peer.Domain = "registrar.example"
	if h := header.HostsFor(header.PBXToTrunk, hop.Peer, hop); h.From != "registrar.example" || h.RequestURI != "203.0.113.20" {
		t.Errorf("%+v", h)
	}
	if h := header.HostsFor(header.PhoneToPBX, hop.Peer, hop); h.From != "registrar.example" || h.Identity != h.From {
		t.Errorf("%+v", h)
	}
	if header.Forwards(&message.Message{MaxForwards: -1}) != 70 || header.Forwards(&message.Message{MaxForwards: 1}) != 0 {
		t.Error("absent is 70, else one less")
	}
	for _, x := range []struct {
		transport nat.Transport
		secure    bool
		want      string
	}{
		{nat.UDP, false, "<sip:1@[2001:db8::1]:5081>"},
		{nat.TLS, false, "<sip:1@[2001:db8::1]:5081;transport=tls>"},
		{nat.TLS, true, "<sips:1@[2001:db8::1]:5081>"},
		{nat.WSS, false, "<sip:1@[2001:db8::1]:5081;transport=ws>"},
		{nat.WSS, true, "<sips:1@[2001:db8::1]:5081;transport=ws>"},
	} {
		c := &Call{legs: [2]leg{{user: "1", secure: x.secure, hop: tu.Hop{Here: tu.Local{Transport: x.transport, Signal: netip.MustParseAddrPort("[2001:db8::1]:5081")}}}}}
		if h := c.contact(caller); h.Value != x.want {
			t.Errorf("Contact %s, want %s", h.Value, x.want)
		}
	}
}

// TestNextHop: RFC 3261 §12.2.1.1 within what the peer may name.
func TestNextHop(t *testing.T) {
	for _, c := range []struct{ target, want string }{
		{"sip:x@203.0.113.25:5070", "203.0.113.25:5070"},
		{"sip:x@203.0.113.25", "203.0.113.25:5060"},
		{"sip:x@198.51.100.1:5060", "203.0.113.20:5060"}, // a stranger's
		{"sip:x@trunk.example", "203.0.113.20:5060"},
	} {
		p := talking(t)
		d := &p.c.pairs[0].dlg[caller]
		u, err := message.ParseURI(c.target)
		if err != nil {
			t.Fatal(err)
		}
		d.Target = u
		if got := p.c.hopOf(caller, d).Flow.Remote.String(); got != c.want {
			t.Errorf("%s goes to %s, want %s", c.target, got, c.want)
		}
	}
}

// TestUnborn: a call that never gets its INVITE takes whatever comes, and ends when it is told to.
func TestUnborn(t *testing.T) {
	for _, ev := range []tu.Event{
		tu.Routed{}, tu.Reserved{}, tu.Tick{}, tu.Acked{}, tu.NotAcked{}, tu.Cancelled{}, tu.Trying{}, tu.MediaHint{Silent: true},
		tu.DigitHeard{}, tu.Failed{Ref: 1}, tu.Answered{Ref: 1, Msg: &message.Message{Status: 200}},
	} {
		c := New(settings(), tu.Seed{})
		if do := c.Step(start, ev, nil); len(do) != 0 || !c.Deadline().IsZero() {
			t.Errorf("%T: %v", ev, do)
		}
	}
	c := New(settings(), tu.Seed{})
	if do := c.Step(start, tu.Hangup{}, nil); len(do) != 1 || fmt.Sprintf("%T", do[0]) != "tu.End" {
		t.Errorf("%v", do)
	}
	if do := c.Step(start, tu.Hangup{}, nil); len(do) != 0 {
		t.Errorf("after its end: %v", do)
	}
	if do := New(settings(), tu.Seed{}).Abort(start, nil); len(do) != 1 {
		t.Errorf("abort before birth: %v", do)
	}
}

// TestCrowdedWait: while ports are on their way only so many events are kept in order; none is lost.
func TestCrowdedWait(t *testing.T) {
	p := talking(t)
	p.event("a INVITE sdp=audio:4000,video:4010")
	for range 2 * maxWaiting {
		p.event("b UPDATE tag=x")
	}
	if len(p.c.waiting) != maxWaiting {
		t.Errorf("%d events wait", len(p.c.waiting))
	}
	p.event("reserved 1")
	for _, tx := range p.order[1:] {
		if x := p.servers[tx]; x.final == 0 && x.msg.Method == "UPDATE" {
			t.Errorf("no answer to %s %d", x.msg.Method, x.msg.CSeq)
		}
	}
}

// TestBounds: what a peer can make a call hold.
func TestBounds(t *testing.T) {
	p := talking(t)
	for i := range 40 {
		p.step(p.response(p.clients[1], 200, fmt.Sprint("fork", i), describe(node1, "audio:4002")))
	}
	if len(p.c.pairs) > maxPairs || len(p.c.acks) > maxAcks {
		t.Errorf("%d dialogs, %d ACKs", len(p.c.pairs), len(p.c.acks))
	}
	for i := range 100 {
		p.event(fmt.Sprintf("a UPDATE Contact=<sip:h%d@host%d.example>", i, i))
	}
	if s := p.c.legs[caller].brought; len(s.Hosts) > 32 || len(s.IDs) > 8 {
		t.Errorf("%d hosts, %d ids", len(s.Hosts), len(s.IDs))
	}
}

// TestRTCPElsewhere: RTCP may have an address of its own, but none that RTP may not have (RFC 3605).
func TestRTCPElsewhere(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"a=rtcp:4999", "203.0.113.20:4999"},
		{"a=rtcp:4999 IN IP4 203.0.113.21", "203.0.113.21:4999"},
		{"a=rtcp:4999 IN IP4 127.0.0.1", "invalid AddrPort"},
		{"a=rtcp:4999 IN IP4 192.168.0.1", "invalid AddrPort"},
	} {
		p := talking(t)
		m := p.request(caller, "INVITE", "x", 9, append(describe(itsp1, "audio:4000"), c.line+"\r\n"...))
		got, err := p.c.edit(caller, m)
		if err != nil || got.aims[0].RTCP.String() != c.want {
			t.Errorf("%s: %v %v", c.line, got.aims, err)
		}
	}
}

// TestVerdict: an error without a code of its own is ours.
func TestVerdict(t *testing.T) {
	if code, why := verdict(fmt.Errorf("x")); code != 500 || why != reason.Internal {
		t.Errorf("%d %s", code, why)
	}
	if code, why := verdict(fmt.Errorf("x: %w", errSilent)); code != 502 || why != reason.Malformed || errSilent.Error() == "" {
		t.Errorf("%d %s", code, why)
	}
	if timerC(&tu.Peer{TimerC: time.Hour}) != time.Hour {
		t.Error("the peer's Timer C counts")
	}
}

// TestClockSet: the wall clock of a record runs with the monotonic one, however the clock is set meanwhile.
func TestClockSet(t *testing.T) {
	p := talking(t)
	began := time.Now()
	p.c.cdr.Start, p.c.answerAt = began, began
	r := p.c.close(began.Add(time.Minute), 200, "", "sbc")
	if got := r.End.Round(0).Sub(r.Start.Round(0)); got != time.Minute || r.Duration != 60 {
		t.Errorf("ended %v after its start, duration %v", got, r.Duration)
	}
}

// TestNextHopStaysWithinReach: a Contact leads to the peer's own addresses and nowhere else, least of all back to us.
func TestNextHopStaysWithinReach(t *testing.T) {
	setUp := netip.MustParseAddrPort("10.0.0.10:5060")
	hop := tu.Hop{
		Flow: nat.Flow{Interface: 2, Remote: setUp},
		Peer: &tu.Peer{
			Reach: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Never: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:5080")},
		},
	}
	for _, tt := range []struct {
		name string
		uri  message.URI
		want string
	}{
		{"another node", message.URI{Scheme: "sip", Host: "10.0.0.11", Port: 5070}, "10.0.0.11:5070"},
		{"standard port", message.URI{Scheme: "sip", Host: "10.0.0.11"}, "10.0.0.11:5060"},
		{"IPv4 in IPv6 clothes", message.URI{Scheme: "sip", Host: "::ffff:10.0.0.11", Port: 5070}, "10.0.0.11:5070"},
		{"elsewhere", message.URI{Scheme: "sip", Host: "203.0.113.66", Port: 5060}, "10.0.0.10:5060"},
		{"a host name", message.URI{Scheme: "sip", Host: "pbx.example.com"}, "10.0.0.10:5060"},
		{"our own listener", message.URI{Scheme: "sip", Host: "10.0.0.2", Port: 5080}, "10.0.0.10:5060"},
		{"another program on our machine", message.URI{Scheme: "sip", Host: "10.0.0.2", Port: 5060}, "10.0.0.2:5060"},
	} {
		d := dialog.Dialog{Target: tt.uri}
		if got := hop.Toward(d.NextHop()); got.Remote.String() != tt.want || got.Interface != 2 {
			t.Errorf("%s: %v, want %s", tt.name, got.Remote, tt.want)
		}
	}
}
