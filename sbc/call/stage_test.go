package call

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// The addresses of the stage: a provider with two proxies outside, a PBX of two nodes inside.
var (
	gate      = [2]netip.Addr{nat.Outside: netip.MustParseAddr("203.0.113.10"), nat.Inside: netip.MustParseAddr("10.0.0.2")}
	itsp1     = netip.MustParseAddrPort("203.0.113.20:5060")
	itsp2     = netip.MustParseAddrPort("203.0.113.21:5060")
	other     = netip.MustParseAddrPort("203.0.113.22:5060") // of another provider
	node1     = netip.MustParseAddrPort("10.0.0.10:5060")
	node2     = netip.MustParseAddrPort("10.0.0.11:5060")
	elsewhere = netip.MustParseAddrPort("198.51.100.66:5060")
	home      = netip.MustParseAddr("198.51.100.7") // of two phones behind one NAT
	start     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func settings() *Settings {
	s := &Settings{Tags: tu.NewTagKey([16]byte{1}), Names: tu.NewNameKey([16]byte{2}), Keys: digest.NewKeyring(), Internal: nat.NewRanges(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"))}
	for side := range s.Destinations {
		s.Destinations[side] = nat.DestinationRules{Side: nat.Side(side), Bind: gate[side], Own: [2][]netip.Addr{{gate[0], gate6[0]}, {gate[1], gate6[1]}}}
	}
	return s
}

// phoneAt is where a phone of the stage is, and what it thinks of it.
var phoneAt = map[string]struct {
	user string
	flow nat.Flow
	own  string // host and port of its Contact
}{
	"phone1":   {"204", nat.Flow{Interface: 2, Remote: netip.AddrPortFrom(home, 40122)}, "192.168.1.5:5062"},
	"phone2":   {"205", nat.Flow{Interface: 2, Remote: netip.AddrPortFrom(home, 40123)}, "192.168.1.6:5062"},
	"tcpphone": {"206", nat.Flow{Interface: 4, Transport: nat.TCP, Remote: netip.MustParseAddrPort("198.51.100.9:51000"), Conn: 5}, "192.168.1.5:5064"},
	"webphone": {"208", nat.Flow{Interface: 6, Transport: nat.WSS, Remote: netip.MustParseAddrPort("198.51.100.9:51002"), Conn: 7}, "192.168.1.8:5062"},
	"tlsphone": {"207", nat.Flow{Interface: 5, Transport: nat.TLS, Remote: netip.MustParseAddrPort("198.51.100.9:51001"), Conn: 6}, "192.168.1.7:5061"},
}

// phoneHop is the way to a phone of the stage.
func phoneHop(name string) tu.Hop {
	x := phoneAt[name]
	uri, err := message.ParseURI(map[bool]string{false: "sip:", true: "sips:"}[x.flow.Transport == nat.TLS] + x.user + "@" + x.own + ";line=a1")
	if err != nil {
		panic(err)
	}
	p := &tu.Peer{
		Kind: tu.KindPhone, Name: x.user + "@example.com", Side: nat.Outside, Realm: nat.Phones, Host: "example.com", Domain: "example.com",
		Token: "token" + x.user + "token204", AoRs: []string{x.user + "@example.com"}, Trusted: []string{"x-account"},
		Media: tu.MediaPolicy{Latch: tu.LatchStrict}, RingTimeout: 60 * time.Second,
	}
	return tu.Hop{ID: p.Token, Peer: p, Flow: x.flow, Target: &uri, Here: tu.Local{
		Interface: x.flow.Interface, Transport: x.flow.Transport, Signal: netip.AddrPortFrom(gateFor(nat.Outside, x.flow.Remote.Addr()), 5060), Media: gateFor(nat.Outside, x.flow.Remote.Addr()),
	}}
}

// stageHop is a hop of the stage by its name.
func stageHop(name string) tu.Hop {
	if plain, setting, is := strings.Cut(name, ":"); is { // of SRTP
		return sealedHop(stageHop(plain), setting)
	}
	if _, is := phoneAt[name]; is {
		return phoneHop(name)
	}
	if h, is := sixHop(name); is {
		return h
	}
	if inner, is := strings.CutPrefix(name, "pbx"); is { // a node as phones' calls see it
		h := stageHop("node" + inner)
		h.Peer.Realm, h.Peer.Domain = nat.Phones, "example.com"
		h.Here.Signal = netip.AddrPortFrom(gate[nat.Inside], 5060)
		h.Flow.Interface, h.Here.Interface = 3, 3
		return h
	}
	at := map[string]netip.AddrPort{"itsp1": itsp1, "itsp2": itsp2, "node1": node1, "node2": node2, "other": other}[name]
	if !at.IsValid() {
		panic("no hop " + name)
	}
	p := &tu.Peer{Kind: tu.KindNode, Name: at.String(), Side: nat.Inside, Realm: nat.Trunks, Host: "example.com",
		Reach: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, AttemptTimeout: 1500 * time.Millisecond}
	if strings.HasPrefix(name, "itsp") || name == "other" {
		p = &tu.Peer{Kind: tu.KindTrunk, Name: strings.TrimRight(name, "12"), Side: nat.Outside, Realm: nat.Trunks, Host: at.Addr().String(),
			Reach: []netip.Prefix{netip.MustParsePrefix("203.0.113.16/28")}, AttemptTimeout: 1500 * time.Millisecond,
			RingTimeout: 60 * time.Second}
	}
	return tu.Hop{ID: name, Peer: p, Flow: nat.Flow{Interface: uint16(p.Side), Remote: at}, Here: tu.Local{
		Interface: uint16(p.Side), Signal: netip.AddrPortFrom(gate[p.Side], 5080), Media: gate[p.Side],
	}}
}

// server is a server transaction: a request that the call was handed.
type server struct {
	leg       int
	msg       *message.Message
	final     int  // its final answer
	acked     bool // Acked or NotAcked was told
	foreign   bool // it came from where a phone's leg is not: no answer
	behind    bool // it has to wait for what is before it, by which a phone's leg may move: whether it is foreign is not known yet
	cancelled bool
	sent      *message.Message
}

// client is a client transaction: a request that the call sent.
type client struct {
	ref       tu.Ref
	leg       int
	msg       *message.Message
	hop       tu.Hop
	final     int
	rang      bool
	cancelled bool
}

// tester is what tests, fuzz targets, benchmarks and properties have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// stage plays core, table and both peers for one call, and holds it to its promises: one final answer, every 2xx acknowledged, one record, ports given back.
type stage struct {
	t      tester
	c      *Call
	now    time.Time
	hop    [2]tu.Hop // of the caller, of the callee that was asked last
	called tu.Hop    // the callee's, if it is not one that answered too late

	servers map[tu.TxID]*server
	order   []tu.TxID
	clients map[tu.Ref]*client
	refs    []tu.Ref
	want    map[string]bool // ACKs that are due, by dialog and CSeq
	seqs    map[string]uint32
	byed    map[string]bool
	steady  map[string]*steadyAnswer
	tags    []string          // our To tags towards the caller, in order of appearance
	asked   int               // streams asked for and not yet given
	held    int               // streams given
	flows   map[nat.Flow]bool // where phones of the call have been seen
	port    int
	invites uint32 // CSeq of the caller's
	calleeN uint32 // CSeq of the callee's last request

	bids    bids
	told    map[string][]string // what each peer was told, by dialog and version
	places  map[tu.Ref]bool     // that the call holds, by the INVITE that has begun the leg
	records []tu.CDR
	release int
	ended   bool
	lawless bool // events in an order that no core makes: only the laws that hold for any order are checked
}

func newStage(t tester, from string) *stage {
	s := &stage{
		t: t, c: New(transferring(settings()), tu.Seed{7}), now: start, hop: [2]tu.Hop{stageHop(from)},
		servers: map[tu.TxID]*server{}, clients: map[tu.Ref]*client{}, want: map[string]bool{},
		seqs: map[string]uint32{}, byed: map[string]bool{}, steady: map[string]*steadyAnswer{}, port: 30000, flows: map[nat.Flow]bool{},
	}
	for name := range phoneAt {
		s.flows[phoneAt[name].flow] = true
	}
	return s
}

func (s *stage) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf(format, args...)
}

// step hands the call an event and takes its actions.
func (s *stage) step(ev tu.Event) []tu.Action {
	s.t.Helper()
	if r, ok := ev.(tu.Reserved); ok {
		s.asked, s.held = 0, s.held+len(r.Streams)
	}
	if a, ok := ev.(tu.Acked); ok { // a lawless one counts too: the call believes it
		// It may even come while the 2xx waits for ports, and wait behind it.
		if x := s.servers[a.Tx]; x != nil && (x.final/100 == 2 || s.asked > 0) {
			x.acked = true
		}
	}
	s.acknowledged(ev)
	do := s.c.Step(s.now, ev, nil)
	s.take(do)
	s.answers(ev, do)
	s.placed(ev, do)
	if repeating {
		s.again(ev, do)
	}
	if d := s.c.Deadline(); !d.IsZero() {
		if _, tick := ev.(tu.Tick); tick && d.Before(s.now) {
			s.errorf("deadline %v lies before now", d.Sub(s.now))
		}
		if s.ended {
			s.errorf("a deadline after End")
		}
	}
	return do
}

func (s *stage) take(do []tu.Action) {
	s.t.Helper()
	for _, a := range do {
		if s.ended {
			s.errorf("%T after End", a)
		}
		switch a := a.(type) {
		case tu.Respond:
			s.responded(a)
		case tu.Send:
			s.sent(a)
		case tu.SendAck:
			delete(s.want, ackKey(a.Msg))
			s.reaches(a.Hop)
			s.secret(a.Msg, a.Hop)
			s.wire(a.Msg, a.Hop.Peer.Side)
		case tu.Cancel:
			if x := s.clients[a.Ref]; x == nil || x.msg.Method != "INVITE" {
				s.errorf("CANCEL of no INVITE: %v", a)
			} else {
				x.cancelled = true
			}
		case tu.Point:
			s.pointed(a)
		case tu.Reserve:
			s.asked += a.Streams
			if s.release > 0 {
				s.errorf("ports asked for after Release")
			}
		case tu.Record:
			if s.records = append(s.records, a.CDR); len(s.records) > 1 {
				s.errorf("a second record")
			}
			if s.release > 0 {
				s.errorf("Record after Release: the media figures are gone")
			}
			s.recorded(a.CDR)
		case tu.Release:
			if s.release++; s.release > 1 || len(s.records) == 0 {
				s.errorf("Release %d with %d records", s.release, len(s.records))
			}
			s.held = 0
		case tu.End:
			s.ended = true
			s.farewell()
		}
	}
}

// farewell checks what must be true when nothing of the call is left.
func (s *stage) farewell() {
	s.t.Helper()
	if len(s.records) != 1 || s.release != 1 {
		s.errorf("End with %d records and %d releases", len(s.records), s.release)
	}
	if s.lawless {
		return
	}
	for key := range s.want {
		s.errorf("2xx without ACK: %s", key)
	}
	for _, tx := range s.order {
		if x := s.servers[tx]; x.final == 0 && !x.foreign && !x.behind {
			s.errorf("no final answer to %s of %s", x.msg.Method, legNames[x.leg])
		}
	}
	for _, ref := range s.refs {
		if x := s.clients[ref]; x.final == 0 {
			s.errorf("End while %s to %s has no answer", x.msg.Method, legNames[x.leg])
		}
	}
}

func (s *stage) responded(a tu.Respond) {
	s.t.Helper()
	x := s.servers[a.Tx]
	if x == nil {
		s.errorf("response to no request: %v", a.Msg.Status)
		return
	}
	if x.foreign && !x.behind && a.Msg.Status != 481 { // that is for ids which nobody has
		s.errorf("%d to a forged %s", a.Msg.Status, x.msg.Method)
	}
	if x.final != 0 {
		s.errorf("%d after the final %d to %s", a.Msg.Status, x.final, x.msg.Method)
	}
	if a.Msg.Status > 100 && a.Msg.To.Tag == "" {
		s.errorf("%d without To tag", a.Msg.Status)
	}
	if a.Msg.Status > 100 && a.Msg.Status < 200 && x.msg.Method != "INVITE" {
		s.errorf("%d to %s", a.Msg.Status, x.msg.Method)
	}
	if a.Msg.Status >= 200 {
		x.final = a.Msg.Status
	}
	x.sent = a.Msg
	s.secret(a.Msg, tu.Hop{})
	if a.Tx == 1 {
		s.reliable(a.Msg)
		s.bare(a)
	}
	if x.leg == caller && x.msg.To.Tag == "" && a.Msg.Status > 100 && a.Msg.Status < 300 {
		s.tagged(a.Msg.To.Tag)
	}
	s.wire(a.Msg, a.Side)
}

func (s *stage) tagged(tag string) {
	for _, t := range s.tags {
		if t == tag {
			return
		}
	}
	s.tags = append(s.tags, tag)
}

func (s *stage) sent(a tu.Send) {
	s.t.Helper()
	x := &client{ref: a.Ref, msg: a.Msg, hop: a.Hop, leg: caller}
	if a.Hop.Peer.Side != s.hop[caller].Peer.Side {
		x.leg = callee
	}
	if s.clients[a.Ref] != nil {
		s.errorf("ref %d used twice", a.Ref)
	}
	s.named(x)
	s.offers(x)
	s.mannerly(x)
	s.clients[a.Ref] = x
	s.refs = append(s.refs, a.Ref)
	if x.leg == callee {
		s.hop[callee] = a.Hop
		if a.Msg.Method != "BYE" { // which goes to a hop that answered too late, too
			s.called = a.Hop
		}
	}
	m := a.Msg
	d := dialogAt(m, a.Hop)
	if m.To.Tag != "" && m.CSeq != 0 { // 0: an aborted call, whose numbers the core fills in
		if m.CSeq <= s.seqs[d] {
			s.errorf("CSeq %d after %d in %s", m.CSeq, s.seqs[d], d)
		}
		if s.byed[d] && m.Method != "NOTIFY" && !s.challenged(d) { // which may be of a usage that the BYE does not concern (RFC 5057 §4.1)
			s.errorf("%s after BYE", m.Method)
		}
		s.byed[d] = s.byed[d] || m.Method == "BYE"
	}
	s.seqs[d] = m.CSeq
	s.reaches(a.Hop)
	s.secret(m, a.Hop)
	s.wire(m, a.Hop.Peer.Side)
}

// dialogAt names the dialog of a request of ours. Two hops that have answered one call by the same tag have two.
func dialogAt(m *message.Message, h tu.Hop) string {
	d := m.CallID + " " + m.From.Tag + " " + m.To.Tag
	if h.Peer.Kind != tu.KindPhone {
		d += " " + h.Flow.Remote.Addr().String()
	}
	return d
}

// reaches checks that what goes to a phone goes to one of its flows, whatever anybody wrote into a Contact.
func (s *stage) reaches(h tu.Hop) {
	s.t.Helper()
	if h.Peer.Kind != tu.KindPhone {
		return
	}
	if !s.flows[h.Flow] {
		s.errorf("a message goes to %v, where the phone is not", h.Flow)
	}
}

// offers checks that no leg has two open offers (RFC 3264 §4, RFC 3261 §14.1).
func (s *stage) offers(x *client) {
	s.t.Helper()
	if !s.offering(x.msg) || x.msg.To.Tag == "" {
		return
	}
	for _, o := range s.clients {
		if o.leg == x.leg && o.final == 0 && o.msg.To.Tag == x.msg.To.Tag && s.offering(o.msg) {
			s.errorf("two open offers towards the %s", legNames[x.leg])
		}
	}
	if won := s.c.won; x.msg.Method == "UPDATE" && won >= 0 && s.c.pairs[won].complete(x.leg) {
		return // it needs no ACK to be allowed (RFC 3311 §5.1)
	}
	for _, tx := range s.order {
		o := s.servers[tx]
		if o.leg == x.leg && o.msg.CallID == x.msg.CallID && o.msg.Method == "INVITE" && o.final/100 == 2 && !o.acked { // of one that is gone it does not count
			s.errorf("an INVITE towards the %s while its own awaits an ACK", legNames[x.leg])
		}
	}
}

// wire checks that a message can be written, and shows nothing of the other side.
func (s *stage) wire(m *message.Message, side nat.Side) {
	s.t.Helper()
	copied := *m
	if copied.CSeq == 0 {
		copied.CSeq = 1
	}
	if len(copied.Via) == 0 {
		copied.Via = []message.Via{{Transport: "UDP", Host: gate[side].String(), Branch: "z9hG4bKx", RPort: 0}}
	}
	b, err := copied.Append(nil)
	if err != nil {
		s.errorf("%v: %+v", err, m)
	}
	foreign := []string{"10.0.0.", "inside-id", "pbxtag", "fd00:"}
	if side == nat.Inside {
		foreign = []string{"203.0.113.", "outside-id", "itsptag", "198.51.100.", "192.168.", "2001:db8:"}
	}
	for _, f := range foreign {
		if strings.Contains(string(b), f) {
			s.errorf("%q leaves %s:\n%s", f, side, b)
		}
	}
	for name, line := range sealLines { // keys of peers are for us alone
		if _, key, _ := strings.Cut(line, "inline:"); strings.Contains(string(b), key) {
			s.errorf("the key %q leaves %s:\n%s", name, side, b)
		}
	}
	for _, word := range webLeaks {
		if strings.Contains(string(b), word) {
			s.errorf("%q leaves %s:\n%s", word, side, b)
		}
	}
	if ct, ok := m.Get("Content-Type"); ok != (len(m.Body) > 0) {
		s.errorf("%s %d: Content-Type %q with %d bytes of body", m.Method, m.Status, ct, len(m.Body))
	}
}

func ackKey(m *message.Message) string {
	return fmt.Sprint(m.CallID, " ", m.From.Tag, " ", m.To.Tag, " ", m.CSeq)
}
