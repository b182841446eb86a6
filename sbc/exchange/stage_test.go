package exchange

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/digest"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

const token = "token204token204"

var (
	gate  = [2]netip.Addr{nat.Outside: netip.MustParseAddr("203.0.113.10"), nat.Inside: netip.MustParseAddr("10.0.0.2")}
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func settings() *Settings {
	names := tu.NewNameKey([16]byte{2})
	return &Settings{
		Keys:  digest.NewKeyring(),
		Names: names, Tags: tu.NewTagKey([16]byte{1}), Domain: "Example.com", Ties: hiding{tu.NewVeils(names)},
		Behind: func(user string) (string, bool) { return "204", user == token },
	}
}

// hiding knows no call, and hides all.
type hiding struct{ *tu.Veils }

func (hiding) Counterpart(nat.Side, tu.DialogID) (far tu.DialogID, ok bool) { return far, false }
func (hiding) Phone(tu.DialogID) string                                     { return "" }

// stageHop is a peer of the stage by its name, with the way to it: phone1 (204, bound), stranger1, node1 and node2 at the
// phones' listener, pbx1 at the trunks', itsp1.
func stageHop(name string) tu.Hop {
	h := tu.Hop{ID: name, Peer: &tu.Peer{
		Kind: tu.KindNode, Name: name, Side: nat.Inside, Realm: nat.Phones, Host: "example.com", Domain: "example.com",
		AttemptTimeout: 1500 * time.Millisecond,
	}}
	port, at := uint16(5060), ""
	switch name {
	case "phone1", "stranger1", "tls1":
		at = "198.51.100.7:40001"
		h.Peer.Kind, h.Peer.Side = tu.KindPhone, nat.Outside
		h.Peer.Name, h.Peer.Token, h.Peer.AoRs = "204@example.com", token, []string{"204@example.com"}
		h.Peer.Trusted = []string{"X-Account"}
		target, _ := message.ParseURI("sip:204-x@192.168.1.20:5062;line=7?Subject=x")
		h.Target = &target
		if name == "stranger1" {
			h.Peer.Name, h.Peer.Token, h.Peer.AoRs, h.Peer.Stranger = "", "", nil, true
		}
	case "node1":
		at = "10.0.0.10:5060"
	case "node2":
		at = "10.0.0.11:5060"
	case "pbx1":
		at, port = "10.0.0.10:5060", 5080
		h.Peer.Realm, h.Peer.Domain = nat.Trunks, ""
	case "itsp1", "itsp2":
		at, port = "203.0.113.2"+name[4:]+":5060", 5080
		h.Peer.Kind, h.Peer.Side, h.Peer.Realm = tu.KindTrunk, nat.Outside, nat.Trunks
		h.Peer.Host, h.Peer.Domain = at[:len(at)-5], ""
	default:
		panic("no hop " + name)
	}
	iface := uint16(h.Peer.Side)
	h.Flow = nat.Flow{Interface: iface, Remote: netip.MustParseAddrPort(at)}
	h.Here = tu.Local{Interface: iface, Signal: netip.AddrPortFrom(gate[h.Peer.Side], port)}
	if name == "tls1" {
		h.Flow.Transport, h.Flow.Conn, h.Here.Transport = nat.TLS, 9, nat.TLS
	}
	return h
}

// tester is what tests, fuzz targets and properties have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// client is a request of ours.
type client struct {
	msg   *message.Message
	hop   tu.Hop
	final bool
}

// stage plays core and both peers for one exchange, and holds it to its laws.
type stage struct {
	t   tester
	e   *Exchange
	now time.Time
	hop tu.Hop // the asker

	arrived map[tu.TxID]*message.Message
	final   map[tu.TxID]int
	clients []*client
	routes  int
	ended   bool
}

func newStage(t tester, from string) *stage {
	return &stage{
		t: t, e: New(settings(), tu.Seed{7}), now: start, hop: stageHop(from),
		arrived: map[tu.TxID]*message.Message{}, final: map[tu.TxID]int{},
	}
}

// step hands the exchange an event and takes its actions.
func (s *stage) step(ev tu.Event) []tu.Action {
	s.t.Helper()
	if a, ok := ev.(tu.Arrived); ok {
		s.arrived[a.Tx] = a.Msg
	}
	do := s.e.Step(s.now, ev, nil)
	s.take(do)
	d := s.e.Deadline()
	if _, tick := ev.(tu.Tick); tick && !d.IsZero() && !d.After(s.now) {
		s.t.Errorf("a deadline that is due again: the core would turn for ever")
	}
	if s.ended && !d.IsZero() {
		s.t.Errorf("a deadline after End")
	}
	return do
}

func (s *stage) take(do []tu.Action) {
	s.t.Helper()
	for _, a := range do {
		if s.ended {
			s.t.Errorf("%T after End", a)
		}
		switch a := a.(type) {
		case tu.Respond:
			s.responded(a)
		case tu.Send:
			if int(a.Ref) != len(s.clients)+1 {
				s.t.Errorf("ref %d is not the next one", a.Ref)
			}
			s.clients = append(s.clients, &client{msg: a.Msg, hop: a.Hop})
			s.wire(a.Msg, a.Hop.Peer.Side, a.Hide)
			s.secret(a.Msg, a.Hop.Peer)
			if a.Hide == nil {
				s.t.Errorf("a request without what it must not show")
			}
		case tu.Route:
			if s.routes++; s.routes > 1 {
				s.t.Errorf("routed twice")
			}
		case tu.Note:
		case tu.End:
			s.ended = true
			for tx, m := range s.arrived {
				if s.final[tx] == 0 {
					s.t.Errorf("no final answer to %s", m.Method)
				}
			}
		default:
			s.t.Errorf("an exchange has no use for %T", a)
		}
	}
}

func (s *stage) responded(a tu.Respond) {
	s.t.Helper()
	m := a.Msg
	req := s.arrived[a.Tx]
	switch {
	case req == nil:
		s.t.Errorf("response to no request: %d", m.Status)
		return
	case s.final[a.Tx] != 0:
		s.t.Errorf("%d after the final %d", m.Status, s.final[a.Tx])
	case m.Status < 200, m.Status == 408, m.Status > 699:
		s.t.Errorf("%d is no answer to %s", m.Status, m.Method) // RFC 4320
	case m.To.Tag == "":
		s.t.Errorf("%d without To tag", m.Status)
	case m.CallID != req.CallID || m.CSeq != req.CSeq || m.From.Tag != req.From.Tag:
		s.t.Errorf("the answer is to another request: %+v", m)
	case s.hop.Peer.Kind == tu.KindTrunk && (m.Status == 401 || m.Status == 407):
		s.t.Errorf("a challenge reaches the provider")
	}
	s.final[a.Tx] = m.Status
	s.secret(m, nil)
	s.wire(m, a.Side, a.Hide)
}

// leaks is the guard that the core would ask before a message leaves.
var leaks = header.NewGuard(
	[2][]netip.Addr{{gate[0]}, {gate[1]}},
	[2][]string{{"203.0.113.21", "203.0.113.22"}, {"10.0.0.10", "10.0.0.11"}}, "example.com",
)

// wire checks that a message can be written, and shows nothing of the other side: to the eye, and to the leak guard.
func (s *stage) wire(m *message.Message, side nat.Side, hide *tu.Secrets) {
	s.t.Helper()
	seen := *m
	seen.Headers = append([]message.Header(nil), m.Headers...)
	if hits, whole := leaks.Check(side, &seen, hide); hits > 0 || !whole {
		s.t.Errorf("%d leaks of %s %d leaving %s: %+v", hits, m.Method, m.Status, side, m)
	}
	copied := *m
	if len(copied.Via) == 0 {
		copied.Via = []message.Via{{Transport: "UDP", Host: gate[side].String(), Branch: "z9hG4bKx", RPort: 0}}
	}
	b, err := copied.Append(nil)
	if err != nil {
		s.t.Errorf("%v: %+v", err, m)
	}
	foreign := []string{"10.0.0.", "inside-id", "pbxtag"}
	if side == nat.Inside {
		foreign = []string{"203.0.113.", "198.51.100.", "192.168.1.", "outside-id", "phonetag", "itsptag"}
	}
	for _, f := range foreign {
		if strings.Contains(string(b), f) {
			s.t.Errorf("%q leaves %s:\n%s", f, side, b)
		}
	}
	if ct, ok := m.Get("Content-Type"); ok != (len(m.Body) > 0) {
		s.t.Errorf("%s %d: Content-Type %q with %d bytes of body", m.Method, m.Status, ct, len(m.Body))
	}
}

// own is what a peer thinks its address is.
func own(h tu.Hop) netip.AddrPort {
	if h.Peer.Kind == tu.KindPhone {
		return netip.MustParseAddrPort("192.168.1.20:5062")
	}
	return h.Flow.Remote
}

// request is one of the asker's.
func (s *stage) request(method string) *message.Message {
	h := s.hop
	at := own(h)
	id, tag := "inside-id", "pbxtag"
	user, to, host := "210", "204", "example.com"
	switch {
	case h.Peer.Kind == tu.KindPhone:
		id, tag, user, to = "outside-id", "phonetag", "204", "210"
	case h.Peer.Realm == nat.Trunks:
		id, user, to, host = "outside-id", "+49401", "+4930123", at.Addr().String()
		if h.Peer.Kind == tu.KindNode {
			id, host = "inside-id", "example.com"
		} else {
			tag = "itsptag"
		}
	}
	m := &message.Message{
		Method: method, CSeq: 17, MaxForwards: 70, CallID: id + "@" + at.Addr().String(),
		Via:  []message.Via{{Transport: "UDP", Host: at.Addr().String(), Branch: "z9hG4bK" + id, RPort: -1}},
		From: message.NameAddr{Display: `"Ann"`, URI: message.URI{Scheme: "sip", User: user, Host: host}, Tag: tag},
		To:   message.NameAddr{URI: message.URI{Scheme: "sip", User: to, Host: host}},
		URI:  message.URI{Scheme: "sip", User: to, Host: h.Here.Signal.Addr().String(), Port: h.Here.Signal.Port()},
	}
	if h.Peer.Kind == tu.KindNode && h.Peer.Realm == nat.Phones {
		m.URI.User = token
	}
	m.Add("User-Agent", "FreeSWITCH")
	m.Add("Contact", fmt.Sprintf("<sip:%s@%s>", user, at))
	return m
}

// arrive makes an Arrived event of a request.
func (s *stage) arrive(m *message.Message) tu.Arrived {
	return tu.Arrived{Tx: tu.TxID(len(s.arrived) + 1), Msg: m, Flow: s.hop.Flow, Peer: s.hop.Peer, Here: s.hop.Here}
}

// response is one of a hop's, to a request of ours.
func (s *stage) response(ref tu.Ref, status int) tu.Answered {
	x := s.clients[ref-1]
	if status >= 200 {
		x.final = true
	}
	m := message.Reply(x.msg, status, "")
	m.To.Tag = "pbxtag"
	if x.hop.Peer.Side == nat.Outside {
		m.To.Tag = "phonetag"
	}
	m.Add("Server", "FreeSWITCH")
	m.Add("Contact", fmt.Sprintf("<sip:far@%s>", own(x.hop)))
	return tu.Answered{Ref: ref, Msg: m, Flow: x.hop.Flow}
}
