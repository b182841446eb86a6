package registrar

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

var (
	testNames = tu.NewNameKey([16]byte{7})
	testTags  = tu.NewTagKey([16]byte{8})
	zero      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	outsideAt = netip.MustParseAddrPort("203.0.113.10:5060")
	insideAt  = netip.MustParseAddrPort("10.0.0.2:5060")
)

// settings are those of a gate in front of example.com that tells phones 60 s.
func settings() *Settings {
	return &Settings{
		Book: NewBook(), Names: testNames, Tags: testTags, Domain: "example.com", Outside: time.Minute,
		Internal: nat.NewRanges(netip.MustParsePrefix("10.0.0.0/8")), Hop: phoneHop, Keepalive: 25 * time.Second,
		Decoys: &header.Decoys{},
	}
}

// phoneHop is what the assembler would say.
func phoneHop(b *Binding) tu.Hop {
	target := b.Target()
	return tu.Hop{
		ID: b.Token, Peer: &tu.Peer{Kind: tu.KindPhone, Name: b.AoR, Token: b.Token, Realm: nat.Phones},
		Here: tu.Local{Transport: b.Flow.Transport, Signal: outsideAt}, Flow: b.Flow, Target: &target,
	}
}

// nodeHop is a PBX node: its address, with ! for one that is given 1.5 s where there is another, and tcp: in front for that.
func nodeHop(name string) tu.Hop {
	h := tu.Hop{
		Peer: &tu.Peer{Kind: tu.KindNode, Side: nat.Inside, Host: "example.com", Domain: "example.com"},
		Here: tu.Local{Signal: insideAt},
	}
	if rest, ok := strings.CutSuffix(name, "!"); ok {
		name, h.Peer.AttemptTimeout = rest, 1500*time.Millisecond
	}
	if rest, ok := strings.CutPrefix(name, "tcp:"); ok {
		name, h.Here.Transport = rest, nat.TCP
	}
	if rest, ok := strings.CutPrefix(name, "six:"); ok {
		name, h.Here.Signal = rest, netip.MustParseAddrPort("[2001:db8::2]:5060")
	}
	h.ID = "pbx " + name
	h.Flow = nat.Flow{Interface: 9, Transport: h.Here.Transport, Remote: netip.MustParseAddrPort(name)}
	return h
}

// phone is a phone as a script knows it.
type phone struct {
	name   string
	flow   nat.Flow
	host   string // its own address
	user   string
	callID string
	cseq   uint32
}

// phones of the scripts: a and b at home behind one NAT, c at another, d over TLS, e in an internal range, f with IPv6.
func newPhones() map[string]*phone {
	list := map[string]*phone{}
	for _, p := range []*phone{
		{name: "a", flow: udp("198.51.100.7:40122"), host: "192.168.1.20:5060"},
		{name: "b", flow: udp("198.51.100.7:40200"), host: "192.168.1.21:5060"},
		{name: "c", flow: udp("198.51.100.99:6000"), host: "192.168.1.20:5060"},
		{name: "d", flow: nat.Flow{Interface: 3, Transport: nat.TLS, Remote: netip.MustParseAddrPort("198.51.100.50:51000"), Conn: 77}, host: "192.168.7.7:51000"},
		{name: "e", flow: udp("10.9.9.9:5060"), host: "10.9.9.9:5060"},
		{name: "f", flow: udp("[2001:db8:1::7]:5060"), host: "[2001:db8:1::7]:5060"},
	} {
		p.user, p.callID = "204", "call-of-"+p.name+"@"+strings.Trim(netip.MustParseAddrPort(p.host).Addr().String(), "[]")
		list[p.name] = p
	}
	return list
}

func udp(at string) nat.Flow {
	return nat.Flow{Interface: 1, Transport: nat.UDP, Remote: netip.MustParseAddrPort(at)}
}

func mustNameAddr(t judge, s string) message.NameAddr {
	n, err := message.ParseNameAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// request is the phone's next REGISTER with the usual Contact, which scripts replace.
func (p *phone) request() *message.Message {
	p.cseq++
	at := netip.MustParseAddrPort(p.host)
	host := at.Addr().String()
	aor := message.URI{Scheme: "sip", User: p.user, Host: "Example.COM"}
	m := &message.Message{
		Method: "REGISTER", URI: message.URI{Scheme: "sip", Host: "example.com"}, CallID: p.callID, CSeq: p.cseq, MaxForwards: 70,
		Via:     []message.Via{{Transport: p.flow.Transport.Via(), Host: host, Port: at.Port(), Branch: fmt.Sprint("z9hG4bK", p.name, p.cseq), RPort: 0}},
		From:    message.NameAddr{URI: aor, Tag: "from-" + p.name},
		To:      message.NameAddr{URI: aor},
		Headers: []message.Header{{Name: "User-Agent", Value: "Phone " + p.name}},
	}
	transport := ""
	if p.flow.Transport.Reliable() {
		transport = ";transport=" + p.flow.Transport.String()
	}
	m.Add("Contact", "<sip:"+p.user+"@"+p.host+transport+">;expires=3600")
	return m
}

// run is one Register of a script.
type run struct {
	*Register
	phone *phone
	sent  map[tu.Ref]tu.Send
	last  tu.Ref
	over  bool
}

// judge is what *testing.T, *testing.B and *rapid.T have in common.
type judge interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// stage is a gate with phones and REGISTERs under way.
type stage struct {
	t      judge
	set    *Settings
	now    time.Time
	phones map[string]*phone
	runs   []*run
	seeds  byte
}

func newStage(t judge) *stage {
	return &stage{t: t, set: settings(), now: zero, phones: newPhones()}
}

// start steps the Arrived of a REGISTER.
func (s *stage) start(p *phone, m *message.Message, peer *tu.Peer) (*run, []tu.Action) {
	s.seeds++
	r := &run{Register: NewRegister(s.set, tu.Seed{s.seeds}), phone: p, sent: map[tu.Ref]tu.Send{}}
	s.runs = append(s.runs, r)
	if peer == nil {
		peer = &tu.Peer{Kind: tu.KindPhone, Stranger: len(s.set.Book.OnFlow(p.flow)) == 0}
	}
	return r, s.step(r, tu.Arrived{Tx: tu.TxID(len(s.runs)), Msg: m, Flow: p.flow, Peer: peer, Here: tu.Local{Interface: 1, Signal: outsideAt}})
}

// step hands an event to a Register and holds it to what every user owes.
func (s *stage) step(r *run, ev tu.Event) []tu.Action {
	before := r.over
	do := r.Step(s.now, ev, nil)
	s.owe(r, do)
	if before && len(do) > 0 {
		s.t.Errorf("a Register that has ended does %v", do)
	}
	if r.over && !r.Deadline().IsZero() {
		s.t.Error("a Register that has ended has a deadline")
	}
	return do
}

func (s *stage) owe(r *run, do []tu.Action) {
	answers := 0
	for i, a := range do {
		switch a := a.(type) {
		case tu.Respond:
			answers++
			if a.Msg.Status < 200 || a.Msg.To.Tag == "" || !testTags.Owns([]byte(a.Msg.To.Tag)) {
				s.t.Errorf("answer %s", a.Msg)
			}
			if _, err := a.Msg.Append(nil); err != nil {
				s.t.Errorf("answer cannot be written: %v", err)
			}
		case tu.Send:
			r.sent[a.Ref], r.last = a, a.Ref
			sent := *a.Msg
			sent.Via = []message.Via{{Transport: "UDP", Host: "10.0.0.2", Branch: "z9hG4bKx", RPort: -1}}
			if _, err := sent.Append(nil); err != nil {
				s.t.Errorf("request cannot be written: %v", err)
			}
		case tu.End:
			r.over = true
			if i != len(do)-1 || answers != 1 {
				s.t.Errorf("ends with %d answers", answers)
			}
		}
	}
}

// grant answers a request of ours as a registrar does: it binds what was asked, for at most so many seconds.
func (s *stage) grant(r *run, ref tu.Ref, most uint32, listed ...string) tu.Answered {
	req := r.sent[ref].Msg
	m := message.Reply(req, 200, "")
	m.To.Tag = "pbx-tag"
	usual := uint32(3600)
	if v, ok := req.Get("Expires"); ok {
		usual = seconds(v)
	}
	list, _, err := req.Contacts()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range list {
		n := usual
		if v, ok := c.Param("expires"); ok {
			n = seconds(v)
		}
		if n == 0 {
			continue
		}
		c.Params = fmt.Sprintf(";expires=%d;received=\"sip:10.0.0.2:5060\"", min(n, most))
		m.Add("Contact", c.String())
	}
	for _, x := range listed {
		m.Add("Contact", x)
	}
	m.Add("Path", "<sip:10.0.0.11;lr>")
	m.Add("Service-Route", "<sip:10.0.0.11;lr>")
	m.Add("Server", "PBX/1.0")
	m.Add("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
	m.Add("Supported", "path, outbound, replaces, pref")
	return tu.Answered{Ref: ref, Msg: m, Flow: r.sent[ref].Hop.Flow}
}

// local lets the gate answer a REGISTER in the PBX's place, if it does.
func (s *stage) local(p *phone, m *message.Message) (*message.Message, bool) {
	out, fields, ok := s.set.Local(s.now, p.flow, m)
	if !ok {
		return nil, false
	}
	if !out.Local || out.Code != 200 || out.Node != "" || out.Signed {
		s.t.Errorf("outcome %+v", out)
	}
	reply := message.Reply(m, 200, "")
	reply.Headers = append(reply.Headers, fields...)
	s.runs = append(s.runs, &run{Register: NewRegister(s.set, tu.Seed{}), phone: p, over: true})
	return reply, true
}

// register plays a whole REGISTER that the PBX grants without a challenge.
func (s *stage) register(p *phone, edit func(*message.Message)) (*run, *message.Message) {
	m := p.request()
	if edit != nil {
		edit(m)
	}
	r, do := s.start(p, m, nil)
	if !r.over {
		s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
		do = s.step(r, s.grant(r, r.last, 3600))
	}
	for _, a := range do {
		if a, ok := a.(tu.Respond); ok {
			return r, a.Msg
		}
	}
	s.t.Fatal("no answer")
	return nil, nil
}
