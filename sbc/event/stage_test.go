package event

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
		Names: names, Tags: tu.NewTagKey([16]byte{1}), Domain: "Example.com", Limits: Limits{Waiting: 3},
		Ties:   stageTies{tu.NewVeils(names)},
		Behind: func(user string) (string, bool) { return "204", user == token },
	}
}

// stageTies know one call, of 204: callin inside, callout outside. All else they hide.
type stageTies struct{ *tu.Veils }

var (
	dialogIn  = tu.DialogID{CallID: "callin", Local: "ourin", Remote: "pbxin"}
	dialogOut = tu.DialogID{CallID: "callout", Local: "ourout", Remote: "hisout"}
)

func (stageTies) Counterpart(side nat.Side, ours tu.DialogID) (tu.DialogID, bool) {
	here, there := dialogOut, dialogIn
	if side == nat.Inside {
		here, there = there, here
	}
	return there, here == ours
}

func (stageTies) Phone(outside tu.DialogID) string {
	if outside == dialogOut {
		return "204@example.com"
	}
	return ""
}

// stageHop is a peer of the stage by its name, with the way to it: phone1 (204, bound), stranger1, node1 and node2 at the
// phones' listener, pbx1 at the trunks', itsp1.
func stageHop(name string) tu.Hop {
	h := tu.Hop{ID: name, Peer: &tu.Peer{
		Kind: tu.KindNode, Name: name, Side: nat.Inside, Realm: nat.Phones, Host: "example.com", Domain: "example.com",
		AttemptTimeout: 1500 * time.Millisecond, Reach: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
		Never: []netip.AddrPort{netip.AddrPortFrom(gate[nat.Inside], 5060)},
	}}
	port, at := uint16(5060), ""
	switch name {
	case "phone1", "stranger1", "tls1":
		at = "198.51.100.7:40001"
		h.Peer.Kind, h.Peer.Side, h.Peer.Reach = tu.KindPhone, nat.Outside, nil
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
	case "itsp1", "itsp2", "itsp3":
		at, port = "203.0.113.2"+name[4:]+":5060", 5080
		h.Peer.Kind, h.Peer.Side, h.Peer.Realm = tu.KindTrunk, nat.Outside, nat.Trunks
		h.Peer.Host, h.Peer.Domain, h.Peer.Reach = at[:len(at)-5], "", nil
		if name == "itsp3" {
			h.Peer.Transfer, h.Peer.Referral = tu.TransferLocal, tu.TransferReject
		}
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

// server is a request that the subscription was handed.
type server struct {
	leg     int
	msg     *message.Message
	final   int
	foreign bool // from where the phone is not: it may be dropped
}

// client is a request of ours.
type client struct {
	ref   tu.Ref
	leg   int
	msg   *message.Message
	hop   tu.Hop
	final int
}

// stage plays core, table and both peers for one subscription, and holds it to its laws.
type stage struct {
	t   tester
	s   *Subscription
	now time.Time
	hop [2]tu.Hop // of the subscriber, of the notifier that was asked last

	servers []*server
	clients map[tu.Ref]*client
	refs    []tu.Ref
	open    map[string]bool // dialogs of ours that the core knows, by side, Call-ID and tag
	seqs    map[string]uint32
	flows   map[nat.Flow]bool // of the phone: where it is, or was
	next    [2]uint32         // CSeq of each peer's last request
	tag     string            // ours towards the subscriber
	over    bool              // it has heard the last NOTIFY
	routes  int
	ended   bool
	lawless bool // events in an order that no core makes: only the laws that hold for any order are checked
}

func newStage(t tester, from string) *stage {
	s := &stage{
		t: t, s: New(settings(), tu.Seed{7}), now: start, hop: [2]tu.Hop{stageHop(from)}, clients: map[tu.Ref]*client{},
		open: map[string]bool{}, seqs: map[string]uint32{}, flows: map[nat.Flow]bool{}, next: [2]uint32{16, 100},
	}
	s.flows[s.hop[subscriber].Flow] = true
	return s
}

// step hands the subscription an event and takes its actions.
func (s *stage) step(ev tu.Event) []tu.Action {
	s.t.Helper()
	do := s.s.Step(s.now, ev, nil)
	s.take(do)
	d := s.s.Deadline()
	if _, tick := ev.(tu.Tick); tick && !d.IsZero() && !d.After(s.now) {
		s.t.Errorf("a deadline that is due again: the core would turn for ever")
	}
	if s.ended && !d.IsZero() {
		s.t.Errorf("a deadline after End")
	}
	if s.s.phase == active && !s.s.over && d.IsZero() {
		s.t.Errorf("a subscription without an end")
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
			s.sent(a)
		case tu.OpenDialog:
			if !a.Source.IsValid() || a.CallID == "" || a.Local == "" {
				s.t.Errorf("opened half: %+v", a)
			}
			s.open[fmt.Sprint(a.Side, a.CallID, a.Local)] = true
		case tu.CloseDialog:
			key := fmt.Sprint(a.Side, a.CallID, a.Local)
			if !s.open[key] {
				s.t.Errorf("closed what is not open: %+v", a)
			}
			delete(s.open, key)
		case tu.Route:
			if s.routes++; s.routes > 1 {
				s.t.Errorf("routed twice")
			}
		case tu.Note, tu.Drop:
		case tu.End:
			s.ended = true
			s.farewell()
		default:
			s.t.Errorf("a subscription has no use for %T", a)
		}
	}
}

// farewell checks what must be true when nothing of the subscription is left.
func (s *stage) farewell() {
	s.t.Helper()
	if s.lawless {
		return
	}
	if len(s.open) > 0 {
		s.t.Errorf("dialogs left open: %v", s.open)
	}
	for tx, x := range s.servers {
		if x.final == 0 && !x.foreign {
			s.t.Errorf("no final answer to %s #%d", x.msg.Method, tx+1)
		}
	}
	for _, ref := range s.refs {
		if x := s.clients[ref]; x.final == 0 {
			s.t.Errorf("End while our %s [%d] has no answer", x.msg.Method, ref)
		}
	}
}

func (s *stage) responded(a tu.Respond) {
	s.t.Helper()
	m := a.Msg
	if a.Tx == 0 || int(a.Tx) > len(s.servers) {
		s.t.Errorf("response to no request: %d", m.Status)
		return
	}
	x := s.servers[a.Tx-1]
	switch {
	case x.final != 0:
		s.t.Errorf("%d after the final %d", m.Status, x.final)
	case m.Status < 200, m.Status == 408, m.Status > 699:
		s.t.Errorf("%d is no answer to %s", m.Status, m.Method) // RFC 4320
	case m.To.Tag == "":
		s.t.Errorf("%d without To tag", m.Status)
	case m.CallID != x.msg.CallID || m.CSeq != x.msg.CSeq || m.From.Tag != x.msg.From.Tag:
		s.t.Errorf("the answer is to another request: %+v", m)
	case s.hop[x.leg].Peer.Kind != tu.KindPhone && (m.Status == 401 || m.Status == 407):
		s.t.Errorf("a challenge reaches a %s", s.hop[x.leg].Peer.Kind)
	}
	x.final = m.Status
	s.secret(m, nil)
	if x.leg == subscriber && x.msg.To.Tag == "" && m.Status < 300 {
		s.tag = m.To.Tag
	}
	if _, contact := m.Get("Contact"); Starts(x.msg.Method) && m.Status < 300 && !contact {
		s.t.Errorf("%d to SUBSCRIBE without Contact", m.Status)
	}
	s.wire(m, a.Side, a.Hide)
}

func (s *stage) sent(a tu.Send) {
	s.t.Helper()
	m := a.Msg
	x := &client{ref: a.Ref, leg: subscriber, msg: m, hop: a.Hop}
	if a.Hop.Peer.Side != s.hop[subscriber].Peer.Side {
		x.leg = notifier
		s.hop[notifier] = a.Hop
		if m.To.Tag == "" && a.Hop.Peer.Kind == tu.KindPhone {
			s.flows[a.Hop.Flow] = true
		}
	} else {
		s.tag = m.From.Tag
	}
	if s.clients[a.Ref] != nil {
		s.t.Errorf("ref %d used twice", a.Ref)
	}
	s.clients[a.Ref] = x
	s.refs = append(s.refs, a.Ref)
	want := [2]string{"NOTIFY", "SUBSCRIBE"}[x.leg]
	if x.leg == notifier && m.To.Tag == "" && s.servers[0].msg.Method == "REFER" {
		want = "REFER"
	}
	if m.Method != want {
		s.t.Errorf("%s to leg %d", m.Method, x.leg)
	}
	if !s.open[fmt.Sprint(a.Hop.Peer.Side, m.CallID, m.From.Tag)] {
		s.t.Errorf("%s in a dialog that the core does not know", m.Method)
	}
	if a.Hop.Peer.Kind == tu.KindPhone && !s.flows[a.Hop.Flow] {
		s.t.Errorf("%s goes to %v, where the phone is not", m.Method, a.Hop.Flow)
	}
	if d := m.CallID + m.From.Tag; m.To.Tag != "" && m.CSeq != 0 {
		if m.CSeq <= s.seqs[d] {
			s.t.Errorf("CSeq %d after %d", m.CSeq, s.seqs[d])
		}
		s.seqs[d] = m.CSeq
	} else if m.CSeq != 0 {
		s.seqs[d] = m.CSeq
	}
	if _, ok := m.Get("Contact"); !ok {
		s.t.Errorf("%s without Contact", m.Method)
	}
	s.secret(m, a.Hop.Peer)
	if a.Hide == nil {
		s.t.Errorf("a request without what it must not show")
	}
	if x.leg == subscriber {
		if s.over && !s.challenged() {
			s.t.Errorf("a NOTIFY after the last one")
		}
		state, _, _ := stateOf(m)
		s.over = state == "terminated"
	}
	s.wire(m, a.Hop.Peer.Side, a.Hide)
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
	copied.CSeq = max(1, copied.CSeq)
	if len(copied.Via) == 0 {
		copied.Via = []message.Via{{Transport: "UDP", Host: gate[side].String(), Branch: "z9hG4bKx", RPort: 0}}
	}
	b, err := copied.Append(nil)
	if err != nil {
		s.t.Errorf("%v: %+v", err, m)
	}
	foreign := []string{"10.0.0.", "inside-id", "pbxtag", "callin", "pbxin"}
	if side == nat.Inside {
		foreign = []string{"203.0.113.", "198.51.100.", "192.168.1.", "outside-id", "phonetag", "itsptag", "callout", "hisout"}
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
