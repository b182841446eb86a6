package call

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// playing makes a player of a caller and plays events.
func playing(t *testing.T, from string, events ...string) *player {
	t.Helper()
	p := &player{t: t, stage: newStage(t, from), names: map[string]string{}}
	for _, ev := range events {
		p.event(ev)
	}
	return p
}

// find is the last action of a kind.
func find[A tu.Action](t *testing.T, do []tu.Action) A {
	t.Helper()
	for _, a := range slices.Backward(do) {
		if x, is := a.(A); is {
			return x
		}
	}
	var none A
	t.Fatalf("no %T in %+v", none, do)
	return none
}

func TestResume(t *testing.T) {
	p := playing(t, "phone1", "a INVITE sdp=audio:4000", "routed pbx1", "reserved 1", "b 401")
	first := p.records[0]
	if first.Code != 401 || first.Reason != "" || first.EndedBy != "callee" || first.AoR != "204@example.com" || first.Trunk != "" {
		t.Errorf("the challenged call: %+v", first)
	}
	p.now = p.now.Add(3 * time.Second)
	for _, ev := range []string{"again phone1", "correlate pair", "a INVITE sdp=audio:4000", "routed pbx1", "reserved 1", "tick +1s", "b 200 sdp=audio:4002", "a ACK", "tick +5s", "a BYE", "b 200"} {
		p.event(ev)
	}
	r := p.records[0]
	if r.Call != first.Call || p.c.ID() != first.Call || !r.Start.Equal(first.Start) || r.Code != 200 || r.Duration != 5 {
		t.Errorf("the record of the retry: %+v", r)
	}
	if r.Correlation != "pair" || p.c.Correlation() != "pair" || p.c.View().Correlation != "pair" {
		t.Errorf("correlation %q", r.Correlation)
	}
	if got := r.Answer.Sub(r.Start); got != 4*time.Second {
		t.Errorf("answered %v after the first INVITE", got)
	}
}

// TestChallengeKeepsIDs: credentials are good for the Call-ID and From-tag that were challenged, whatever seed a call is born
// with; another phone, AoR or call has others.
func TestChallengeKeepsIDs(t *testing.T) {
	ids := func(from string, seed byte, change func(*message.Message)) string {
		s := newStage(t, from)
		s.c = New(settings(), tu.Seed{seed})
		m := s.request(caller, "INVITE", "", 9, nil)
		change(m)
		s.step(s.arrive(caller, m, netip.AddrPort{}))
		l := &s.c.legs[callee]
		return l.callID + " " + l.tag
	}
	same := func(*message.Message) {}
	want := ids("phone1", 1, same)
	for name, got := range map[string]string{
		"another seed":  ids("phone1", 2, same),
		"another CSeq":  ids("phone1", 1, func(m *message.Message) { m.CSeq = 10 }),
		"another port":  ids("phone1", 1, func(m *message.Message) { m.From.URI.Port = 5060 }),
		"a served host": ids("phone1", 1, func(m *message.Message) { m.From.URI.Host = "203.0.113.10" }),
	} {
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, got := range map[string]string{
		"another call":           ids("phone1", 1, func(m *message.Message) { m.CallID = "x" }),
		"another tag":            ids("phone1", 1, func(m *message.Message) { m.From.Tag = "x" }),
		"another user":           ids("phone1", 1, func(m *message.Message) { m.From.URI.User = "205" }),
		"a trunk":                ids("itsp1", 1, same),
		"a number without room":  ids("phone1", 1, func(m *message.Message) { m.CSeq = 1<<31 - 1 }),
		"the same, another seed": ids("phone1", 2, func(m *message.Message) { m.CSeq = 1<<31 - 1 }),
	} {
		if got == want {
			t.Errorf("%s has the same ids", name)
		}
	}
	set := settings()
	set.Names = nil
	c := New(set, tu.Seed{1})
	s := newStage(t, "phone1")
	c.Step(start, s.arrive(caller, s.request(caller, "INVITE", "", 9, nil), netip.AddrPort{}), nil)
	if c.cseq != 1 || c.legs[callee].callID == "" {
		t.Error("without names ids are random, and the numbers begin at 1")
	}
}

// TestForks: a PBX that forks to two phones behind us sends one Call-ID twice. These are two calls that share nothing.
func TestForks(t *testing.T) {
	var sent []tu.Send
	var open []tu.OpenDialog
	var on [2]*player
	for i, phone := range []string{"phone1", "phone2"} {
		p := playing(t, "pbx1")
		p.c = New(settings(), tu.Seed{byte(20 + i)})
		on[i] = p
		p.event("a INVITE sdp=audio:4002")
		p.event("routed " + phone)
		sent = append(sent, find[tu.Send](t, p.event("reserved 1")))
		open = append(open, find[tu.OpenDialog](t, p.event("b 180")))
	}
	if open[0].CallID != open[1].CallID || open[0].Local == open[1].Local {
		t.Errorf("towards the PBX: %+v, %+v", open[0], open[1])
	}
	a, b := sent[0].Msg, sent[1].Msg
	if a.CallID == b.CallID || a.From.Tag == b.From.Tag || a.URI.String() == b.URI.String() || sent[0].Hop.Flow == sent[1].Hop.Flow {
		t.Errorf("towards the phones: %+v, %+v", a, b)
	}
	for i, ev := range []string{"b 200 sdp=audio:4000", "a CANCEL"} {
		on[i].event(ev)
	}
	for _, ev := range []string{"a ACK", "a BYE", "b 200"} {
		on[0].event(ev)
	}
	on[1].event("b 487")
	if !on[0].ended || !on[1].ended || on[0].records[0].Code != 200 || on[1].records[0].Code != 487 {
		t.Errorf("%+v %+v", on[0].records, on[1].records)
	}
}

// TestSpiral: a proxy PBX sends a phone's call on to another phone behind us, with the Call-ID and From-tag that are ours.
// Nothing of the first phone is seen by the second.
func TestSpiral(t *testing.T) {
	one := playing(t, "phone1", "a INVITE sdp=audio:4000", "routed pbx1")
	out := find[tu.Send](t, one.event("reserved 1")).Msg
	two := playing(t, "pbx1")
	two.c = New(settings(), tu.Seed{9})
	m := two.request(caller, "INVITE", "", out.CSeq, describe(netip.MustParseAddrPort("10.0.0.2:1"), "audio:30000"))
	m.CallID, m.From, m.To = out.CallID, out.From, out.To
	m.Add("Record-Route", "<sip:10.0.0.10;lr>")
	two.step(two.arrive(caller, m, netip.AddrPort{}))
	two.event("routed phone2")
	sent := find[tu.Send](t, two.event("reserved 1"))
	if x := sent.Msg; x.CallID == out.CallID || x.From.Tag == out.From.Tag || x.URI.User != "205" {
		t.Errorf("%+v", x)
	}
	if !slices.Contains(sent.Hide.IDs, out.CallID) || !slices.Contains(sent.Hide.IDs, out.From.Tag) {
		t.Errorf("the guard is not told of %+v", sent.Hide)
	}
	two.event("b 200 sdp=audio:4000")
	if got := two.c.legs[caller].media.aims[0].RTP.String(); got != "10.0.0.2:30000" {
		t.Errorf("the hairpin is aimed at %s", got)
	}
}

// TestNextHopOfPhones: a phone is where its flow is, whatever its Contact or route says.
func TestNextHopOfPhones(t *testing.T) {
	for _, name := range []string{"phone1", "tcpphone"} {
		hop := stageHop(name)
		hop.Peer.Reach = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		for _, target := range []string{"sip:204@192.168.1.5:5062", "sip:204@203.0.113.99", "sip:x@y.invalid;transport=ws"} {
			u, err := message.ParseURI(target)
			if err != nil {
				t.Fatal(err)
			}
			d := dialog.Dialog{Target: u, Routes: []message.NameAddr{{URI: u}}}
			if got := hop.Toward(d.NextHop()); got != hop.Flow {
				t.Errorf("%s at %s: %v", name, target, got)
			}
		}
	}
}

// TestNextHopOverStreams: a system's Contact is dialled, or reached by the connection that leads there; the one that the set-up
// came by serves where there is nothing better.
func TestNextHopOverStreams(t *testing.T) {
	came := nat.Flow{Interface: 7, Transport: nat.TCP, Remote: netip.MustParseAddrPort("10.0.0.10:51234"), Conn: 9}
	secure := came
	secure.Transport = nat.TLS
	at := func(f nat.Flow, to string) nat.Flow {
		f.Remote, f.Conn = netip.MustParseAddrPort(to), 0
		return f
	}
	for _, c := range []struct {
		flow   nat.Flow
		target string
		want   nat.Flow
	}{
		{came, "sip:x@10.0.0.10:5060;transport=tcp", at(came, "10.0.0.10:5060")},
		{came, "sip:x@10.0.0.11", at(came, "10.0.0.11:5060")},
		{secure, "sip:x@10.0.0.10;transport=tls", at(secure, "10.0.0.10:5061")},
		{came, "sip:x@203.0.113.66:5060", came},
		{came, "sip:x@pbx.example.com", came},
		{came, "sip:x@10.0.0.2:5080", came},
	} {
		u, err := message.ParseURI(c.target)
		if err != nil {
			t.Fatal(err)
		}
		hop := tu.Hop{Flow: c.flow, Peer: &tu.Peer{
			Kind: tu.KindNode, Reach: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Never: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:5080")},
		}}
		if got := hop.Toward(u); got != c.want {
			t.Errorf("%s: %v, want %v", c.target, got, c.want)
		}
	}
}

// TestAPhoneMovesWhileItIsAskedFor: the way is known, the ports are not.
func TestAPhoneMovesWhileItIsAskedFor(t *testing.T) {
	const token = "token204token204"
	p := playing(t, "pbx1", "a INVITE sdp=audio:4002")
	p.event("routed phone1")
	do := p.event("moved 198.51.100.7:40777")
	if len(do) != 0 {
		t.Errorf("%v", do)
	}
	if sent := find[tu.Send](t, p.event("reserved 1")); sent.Hop.Flow.Remote.Port() != 40777 {
		t.Errorf("the INVITE goes to %v", sent.Hop.Flow)
	}
	p.event("b 200 sdp=audio:4000")
	before := p.c.legs[callee].hop.Flow
	for _, ev := range []tu.Moved{{Flow: nat.Flow{Interface: 9}}, {Token: "token205token204", Flow: nat.Flow{Interface: 9}}, {Token: token, Flow: before, Here: p.c.legs[callee].hop.Here}} {
		if do := p.step(ev); len(do) != 0 || p.c.legs[callee].hop.Flow != before {
			t.Errorf("%+v: %v", ev, do)
		}
	}
}

// TestMovedToAnotherNetwork: by another transport, and in the other family. Media has no socket there: it stays.
func TestMovedToAnotherNetwork(t *testing.T) {
	p := playing(t, "phone1", "a INVITE sdp=audio:4000@198.51.100.7", "routed pbx1", "reserved 1", "b 200 sdp=audio:4002", "a ACK")
	there := nat.Flow{Interface: 5, Transport: nat.TLS, Remote: netip.MustParseAddrPort("[2001:db8::7]:5061"), Conn: 3}
	p.flows[there] = true
	do := p.step(tu.Moved{Token: "token204token204", Flow: there, Here: seenOn(p.c.legs[caller].hop.Here, there)})
	if open := find[tu.OpenDialog](t, do); open.Source != there.Remote.Addr() {
		t.Errorf("%+v", open)
	}
	aim := find[tu.Point](t, do).Aim
	if aim.Fallback.IsValid() || aim.RTP.Addr().IsValid() || aim.RTP.Port() != 4000 || aim.RTCP.Port() != 4001 || aim.Epoch != 2 || !aim.Final {
		t.Errorf("what was said of the old network: %+v", aim)
	}
	p.event("b INFO text=x")
	if hop := p.c.legs[caller].hop; hop.Flow != there || hop.Here.Interface != 5 || hop.Here.Transport != nat.TLS || hop.Here.Media != gate[0] {
		t.Errorf("%+v", hop)
	}
	if !p.c.Uses(5) || p.c.Uses(2) {
		t.Error("the interface that it came by is free")
	}
}

// TestLongRequestByTCP: a phone may send what is too long for a datagram by TCP (RFC 3261 §18.1.1) and still live at its UDP flow;
// it moves there only if it registers there.
func TestLongRequestByTCP(t *testing.T) {
	p := playing(t, "phone1", "a INVITE sdp=audio:4000", "routed pbx1", "reserved 1", "b 200 sdp=audio:4002", "a ACK")
	before := p.c.legs[caller].hop.Flow
	if m := find[tu.Respond](t, p.event("a UPDATE at=198.51.100.7:60000 interface=4")).Msg; m.Status != 200 || p.c.legs[caller].hop.Flow != before {
		t.Errorf("%d, and the leg is at %v", m.Status, p.c.legs[caller].hop.Flow)
	}
	p.event("a UPDATE at=198.51.100.7:60000 interface=4 bound=1")
	if got := p.c.legs[caller].hop; got.Flow.Interface != 4 || got.Flow.Remote.Port() != 60000 || got.Here.Interface != 4 {
		t.Errorf("the leg is at %v", got.Flow)
	}
}

// TestForgedChangesNothing: a request with leaked ids from where the phone is not leaves the call as it was, to the last number.
func TestForgedChangesNothing(t *testing.T) {
	for _, ev := range []string{
		"a BYE at=198.51.100.66:5060 cseq=99", "a INVITE sdp=audio:6666@198.51.100.66 at=198.51.100.66:5060 cseq=99",
		"a INVITE sdp=audio:1,audio:2,audio:3 from=tcpphone cseq=99", "a BYE from=tcpphone cseq=99", "a UPDATE from=node2 cseq=99", "a INFO text=x from=itsp1 cseq=99",
	} {
		p := playing(t, "phone1", "a INVITE sdp=audio:4000", "routed pbx1", "reserved 1", "b 200 sdp=audio:4002", "a ACK")
		before := p.c.legs[caller]
		do := p.event(ev)
		note := find[tu.Note](t, do)
		if drop := find[tu.Drop](t, do); len(do) != 2 || drop.Tx == 0 || note.Why != reason.NotRegistered || note.Text == "" || note.Code != 0 {
			t.Errorf("%s: %+v", ev, do)
		}
		after := p.c.legs[caller]
		if before.hop.Flow != after.hop.Flow || before.media.epoch != after.media.epoch || after.bye || p.c.phase != established {
			t.Errorf("%s: %+v", ev, after)
		}
		p.invites = 1
		if m := find[tu.Respond](t, p.event("a UPDATE")).Msg; m.Status != 200 {
			t.Errorf("%s took the phone's number: %d", ev, m.Status)
		}
	}
}

// TestUnavailable: what the PBX hears of a phone that cannot be reached.
func TestUnavailable(t *testing.T) {
	for _, c := range []struct {
		event string
		code  int
		why   reason.Reason
	}{
		{"failed 503", 480, reason.NotRegistered},
		{"failed 408", 480, reason.Timeout},
		{"failed 503 why=overload", 503, reason.Overload},
		{"failed 500 why=internal", 500, reason.Internal},
		{"failed 500 why=leak", 500, reason.Leak},
		{"b 503", 480, reason.NoCapacity},
		{"b 486", 486, ""},
		{"b 603", 603, ""},
		{"b 404", 404, ""},
		{"b 407", 480, reason.NoRoute},
	} {
		for _, rings := range []bool{false, true} {
			p := playing(t, "pbx1", "a INVITE sdp=audio:4002", "routed phone1", "reserved 1")
			if rings {
				if c.event[0] != 'b' {
					continue
				}
				p.event("b 180")
			}
			do := p.event(c.event)
			m := find[tu.Respond](t, do).Msg
			_, wait := m.Get("Retry-After")
			if r := p.records[0]; m.Status != c.code || r.Code != c.code || r.Reason != c.why || wait != (c.why == reason.Overload) {
				t.Errorf("%s (rings: %v): %d %s, Retry-After %v", c.event, rings, m.Status, r.Reason, wait)
			}
		}
	}
}

// TestB2BUAInside: a PBX that calls the Contact of a phone writes the token wherever it would write a user. The phone and the
// record see the user.
func TestB2BUAInside(t *testing.T) {
	p := playing(t, "pbx1", "a INVITE sdp=audio:4002 uri=sip:token204token204@10.0.0.2:5060", "routed phone1")
	m := find[tu.Send](t, p.event("reserved 1")).Msg
	if m.To.URI.String() != "sip:204@example.com" || m.URI.String() != "sip:204@192.168.1.5:5062;line=a1" || m.From.URI.String() != "sip:210@example.com" {
		t.Errorf("%v %v %v", m.URI, m.From, m.To)
	}
	v := p.c.View()
	if v.To != "204" || v.AoR != "204@example.com" || v.Node != node1.String() || v.Trunk != "" || v.Direction != "outbound" {
		t.Errorf("%+v", v)
	}
	p.event("b 486")
	if r := p.records[0]; r.To != "204" || r.AoR != "204@example.com" || r.Node != node1.String() || r.Destination != "198.51.100.7:40122" {
		t.Errorf("%+v", r)
	}
	p = playing(t, "pbx1", "a INVITE", "routed code=480 why=not-registered peer=204@example.com")
	if r := p.records[0]; r.AoR != "204@example.com" || r.Trunk != "" {
		t.Errorf("%+v", r)
	}
}

// TestStrangersCall: with `forward` somebody without a binding may call, too. The PBX's Contact for it is no token.
func TestStrangersCall(t *testing.T) {
	s := newStage(t, "phone1")
	stranger := *s.hop[caller].Peer
	stranger.Name, stranger.Token, stranger.AoRs, stranger.Stranger = "", "", nil, true
	s.hop[caller].Peer = &stranger
	p := &player{t: t, stage: s, names: map[string]string{}}
	p.event("a INVITE sdp=audio:4000 from-uri=sip:299@example.com")
	p.event("routed pbx1")
	do := p.c.Step(p.now, p.reserved(1), nil)
	m := find[tu.Send](t, do).Msg
	if c, _ := m.Get("Contact"); c != "<sip:299@10.0.0.2:5060>" {
		t.Errorf("Contact %s", c)
	}
	if v := p.c.View(); v.AoR != "" || v.From != "299" || v.Direction != "inbound" {
		t.Errorf("%+v", v)
	}
}

// TestSIPS: a dialog that a phone opens with a SIPS URI has one in our Contact, over TLS.
func TestSIPS(t *testing.T) {
	for _, c := range []struct{ from, uri, contact, want string }{
		{"tlsphone", "sips:1@example.com", "<sip:207@192.168.1.7:5061>", "<sips:1@203.0.113.10:5060>"},
		{"tlsphone", "sip:1@example.com", "<sips:207@192.168.1.7:5061>", "<sips:1@203.0.113.10:5060>"},
		{"tlsphone", "sip:1@example.com", "<sip:207@192.168.1.7;transport=tls>", "<sip:1@203.0.113.10:5060;transport=tls>"},
		{"tcpphone", "sips:1@example.com", "<sip:206@192.168.1.7>", "<sip:1@203.0.113.10:5060;transport=tcp>"},
	} {
		p := playing(t, c.from, "a INVITE sdp=audio:4000 uri="+c.uri+" Contact="+c.contact, "routed pbx1", "reserved 1")
		m := find[tu.Respond](t, p.event("b 180")).Msg
		if got, _ := m.Get("Contact"); got != c.want {
			t.Errorf("%s to %s: Contact %s, want %s", c.contact, c.uri, got, c.want)
		}
	}
}

// TestMovedAfterTheEnd: a BYE that waits for the caller's ACK finds the phone where it is then; ports are no longer spoken of.
func TestMovedAfterTheEnd(t *testing.T) {
	p := playing(t, "phone1", "a INVITE sdp=audio:4000", "routed pbx1", "reserved 1", "b 200 sdp=audio:4002", "b BYE")
	if do := p.event("moved 203.0.113.77:1024"); len(do) != 0 {
		t.Errorf("%v", do)
	}
	bye := find[tu.Send](t, p.event("a ACK"))
	if bye.Msg.Method != "BYE" || bye.Hop.Flow.Remote.String() != "203.0.113.77:1024" {
		t.Errorf("%+v", bye)
	}
}

// TestAcksFollow: a copy of a 2xx has its ACK where the phone is by then.
func TestAcksFollow(t *testing.T) {
	p := playing(t, "pbx1", "a INVITE sdp=audio:4002", "routed phone1", "reserved 1", "b 200 sdp=audio:4000", "moved 198.51.100.7:40999")
	if got := find[tu.SendAck](t, p.event("b 200 re=1 sdp=audio:4000 at=198.51.100.7:40999")).Hop.Flow.Remote.Port(); got != 40999 {
		t.Errorf("the ACK goes to port %d", got)
	}
}

// named checks that the ids of a phone's call follow from the phone's INVITE, and that no other call's do.
func (s *stage) named(x *client) {
	s.t.Helper()
	if x.msg.Method != "INVITE" || x.msg.To.Tag != "" || len(s.order) == 0 || s.isThird(x.msg) {
		return
	}
	in, p, set := s.servers[1].msg, s.hop[caller].Peer, s.c.set
	who := p.Name
	if p.Stranger {
		who = in.From.URI.AoR("example.com")
	}
	follows := x.msg.CallID == set.Names.CallID("INVITE", in.CallID, in.From.Tag, who) &&
		x.msg.From.Tag == set.Names.Tag(set.Tags, "INVITE", in.CallID, in.From.Tag, who) && x.msg.CSeq >= in.CSeq
	if follows != (p.Kind == tu.KindPhone) {
		s.errorf("ids %s %s %d of a %s's call", x.msg.CallID, x.msg.From.Tag, x.msg.CSeq, p.Kind)
	}
}
