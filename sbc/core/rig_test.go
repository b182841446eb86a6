package core

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

var (
	began    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	testTags = tu.NewTagKey([16]byte{1})

	itsp = &tu.Peer{
		Kind: tu.KindTrunk, Name: "itsp", Side: nat.Outside, Realm: nat.Trunks,
		Reach: []netip.Prefix{netip.MustParsePrefix("203.0.113.16/28")},
	}
	node = &tu.Peer{
		Kind: tu.KindNode, Name: "pbx", Side: nat.Inside, Realm: nat.Trunks, Reach: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
	}
	outer    = nat.Flow{Interface: 1, Remote: netip.MustParseAddrPort("203.0.113.20:5060")}
	inner    = nat.Flow{Interface: 2, Remote: netip.MustParseAddrPort("10.0.0.10:5060")}
	stranger = nat.Flow{Interface: 1, Remote: netip.MustParseAddrPort("198.51.100.66:5060")}
	here     = [2]tu.Local{
		nat.Outside: {Interface: 1, Signal: netip.MustParseAddrPort("203.0.113.10:5080")},
		nat.Inside:  {Interface: 2, Signal: netip.MustParseAddrPort("10.0.0.2:5080")},
	}
)

// hop is the way to a peer.
func hop(side nat.Side) tu.Hop {
	h := tu.Hop{ID: "itsp", Peer: itsp, Here: here[nat.Outside], Flow: outer}
	if side == nat.Inside {
		h = tu.Hop{ID: "pbx", Peer: node, Here: here[nat.Inside], Flow: inner}
	}
	return h
}

// rig is a core on fakes, in virtual time, without a goroutine.
type rig struct {
	t *testing.T
	*Core
	now   time.Time
	sent  []packet
	users []*actor
	live  map[string]netip.Addr

	born    func(ev tu.Arrived) (*actor, Answer) // nil: an actor of the rig's script
	script  func(a *actor, now time.Time, ev tu.Event) []tu.Action
	abort   func(a *actor, now time.Time) []tu.Action
	route   func(r tu.Route) tu.Routed
	taker   func(ev *tu.Arrived) (tu.UserID, bool)
	check   func(m *message.Message) (int, bool)
	refuse  error // of Send
	ports   int   // that the relay has; released ones come back
	taken   map[media.ID]bool
	nextID  media.ID
	point   error
	aims    []media.Want
	records []tu.CDR
	healths []tu.Health

	registrations []tu.Registration
	full          bool // no lease is to be had
	leases        map[lease]int
	heard         []string // of INVITEs, and of what got no answer

	challenges []string
	joined     [][2]tu.UserID
	owners     map[netip.AddrPort]media.ID
	notes      []tu.Note
	gone       []tu.UserID
	panics     map[string]bool // by the name of a fake's method
}

// unreachable tells of an ICMP error.
func (r *rig) unreachable(now time.Time, to nat.Flow) { r.Core.unreachable(now, hint{to: to}) }

type packet struct {
	to   nat.Flow
	text string
}

// actor is a user that does what a script says.
type actor struct {
	r        *rig
	id       tu.UserID
	ids      tu.IDs
	heard    []tu.Event
	deadline time.Time
	invite   tu.Arrived
	tag      string
}

func (a *actor) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	a.heard = append(a.heard, ev)
	if x, ok := ev.(tu.Arrived); ok && x.Msg.To.Tag == "" {
		a.invite = x
	}
	if a.r.script == nil {
		return do
	}
	return append(do, a.r.script(a, now, ev)...)
}

func (a *actor) Deadline() time.Time { return a.deadline }

func (a *actor) Abort(now time.Time, do []tu.Action) []tu.Action {
	if a.r.abort == nil {
		return append(do, tu.End{})
	}
	return append(do, a.r.abort(a, now)...)
}

// reply is a response to the actor's first request.
func (a *actor) reply(code int) tu.Respond { return a.replyTo(a.invite, code) }

func (a *actor) replyTo(ev tu.Arrived, code int) tu.Respond {
	m := message.Reply(ev.Msg, code, "")
	if code > 100 && m.To.Tag == "" {
		m.To.Tag = a.tag
	}
	return tu.Respond{Tx: ev.Tx, Side: ev.Peer.Side, Msg: m}
}

func (a *actor) open() tu.OpenDialog {
	return tu.OpenDialog{Side: a.invite.Peer.Side, CallID: a.invite.Msg.CallID, Local: a.tag, Source: a.invite.Flow.Remote.Addr()}
}

// kinds are the types of what the actor heard.
func (a *actor) kinds() string {
	var out []string
	for _, ev := range a.heard {
		s := strings.TrimPrefix(fmt.Sprintf("%T", ev), "tu.")
		switch ev := ev.(type) {
		case tu.Answered:
			s += fmt.Sprint(" ", ev.Msg.Status)
		case tu.Failed:
			s += fmt.Sprint(" ", ev.Code, " ", ev.Why)
		case tu.Arrived:
			s += " " + ev.Msg.Method
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, now: began, live: map[string]netip.Addr{}, taken: map[media.ID]bool{}, ports: 100, panics: map[string]bool{}, leases: map[lease]int{}}
	r.Core = New(r.config())
	return r
}

func (r *rig) config() Config {
	return Config{
		Assembly: fakeAssembly{r}, Sender: fakeSender{r}, Media: fakeMedia{r}, Leaks: fakeLeaks{r}, Live: fakeLive{r},
		Now: func() time.Time { return r.now }, Key: [16]byte{7}, Tags: testTags,
	}
}

func (r *rig) fault(name string) {
	if r.panics[name] {
		panic(name + " is broken")
	}
}

type (
	fakeAssembly struct{ r *rig }
	fakeSender   struct{ r *rig }
	fakeMedia    struct{ r *rig }
	fakeLeaks    struct{ r *rig }
	fakeLive     struct{ r *rig }
)

func (f fakeAssembly) Identify(flow nat.Flow) (*tu.Peer, tu.Local, nat.Side) {
	f.r.fault("Identify")
	side := nat.Side(flow.Interface - 1)
	switch {
	case side == nat.Outside && itsp.Reach[0].Contains(flow.Remote.Addr()):
		return itsp, here[side], side
	case side == nat.Inside && node.Reach[0].Contains(flow.Remote.Addr()):
		return node, here[side], side
	}
	return nil, here[side], side
}

func (f fakeAssembly) New(_ time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, Answer) {
	f.r.fault("New")
	a := &actor{}
	if f.r.born != nil {
		var refusal Answer
		if a, refusal = f.r.born(*ev); a == nil {
			return nil, refusal
		}
	}
	a.r, a.id, a.ids = f.r, id, tu.NewIDs(seed, testTags)
	a.tag = a.ids.Tag()
	f.r.users = append(f.r.users, a)
	return a, Answer{}
}

func (f fakeAssembly) Taker(ev *tu.Arrived) (tu.UserID, bool) {
	f.r.fault("Taker")
	if f.r.taker != nil {
		return f.r.taker(ev)
	}
	return 0, false
}

func (f fakeAssembly) Route(_ time.Time, r tu.Route) tu.Routed {
	f.r.fault("Route")
	if f.r.route != nil {
		return f.r.route(r)
	}
	from := nat.Outside
	if r.Peer != nil {
		from = r.Peer.Side
	}
	return tu.Routed{Hops: []tu.Hop{hop(from.Other())}}
}

func (f fakeAssembly) Challenged(_ time.Time, m *message.Message, from nat.Flow) {
	f.r.challenges = append(f.r.challenges, fmt.Sprint(m.Status, " ", from.Remote))
}

func (f fakeAssembly) Joined(a, b tu.UserID) { f.r.joined = append(f.r.joined, [2]tu.UserID{a, b}) }

func (f fakeAssembly) Health(_ time.Time, h tu.Health) { f.r.healths = append(f.r.healths, h) }
func (f fakeAssembly) Note(_ time.Time, n tu.Note)     { f.r.notes = append(f.r.notes, n) }

func (f fakeAssembly) Record(c tu.CDR) {
	f.r.fault("Record")
	f.r.records = append(f.r.records, c)
}

func (f fakeAssembly) Ended(id tu.UserID, _ tu.User) {
	f.r.gone = append(f.r.gone, id)
	f.r.fault("Ended")
}

func (f fakeAssembly) SameSystem(x, y nat.Flow) bool {
	p, _, _ := f.Identify(x)
	q, _, _ := f.Identify(y)
	return p != nil && p == q
}

func (f fakeSender) Send(to nat.Flow, b []byte) error {
	f.r.fault("Send")
	if f.r.refuse != nil {
		return f.r.refuse
	}
	f.r.sent = append(f.r.sent, packet{to, string(b)})
	return nil
}

func (f fakeMedia) Reserve(time.Time) (media.ID, [2]netip.AddrPort, error) {
	f.r.fault("Reserve")
	if len(f.r.taken) >= f.r.ports {
		return 0, [2]netip.AddrPort{}, errors.New("no ports")
	}
	f.r.nextID++
	f.r.taken[f.r.nextID] = true
	port := uint16(30000 + 2*f.r.nextID)
	return f.r.nextID, [2]netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("203.0.113.10"), port), netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), port),
	}, nil
}

func (f fakeMedia) Point(_ media.ID, _ nat.Side, w media.Want) error {
	f.r.fault("Point")
	f.r.aims = append(f.r.aims, w)
	return f.r.point
}

// Fingerprint implements Media.
func (f fakeMedia) Fingerprint() (media.Fingerprint, bool) {
	return media.Fingerprint{Hash: media.SHA256, Value: [64]byte{1, 2, 3}}, true
}

func (f fakeMedia) Owner(at netip.AddrPort) (media.ID, bool) {
	id, ours := f.r.owners[at]
	return id, ours
}

func (f fakeMedia) Release(_ time.Time, id media.ID) {
	delete(f.r.taken, id)
	f.r.fault("Release")
}

func (f fakeMedia) Stats(id media.ID) ([2]media.LegStats, bool) {
	f.r.fault("Stats")
	return [2]media.LegStats{{Packets: 50, Remote: netip.MustParseAddrPort("203.0.113.21:4000")}, {Sent: 49}}, f.r.taken[id]
}

func (f fakeLeaks) Check(_ nat.Side, m *message.Message, _ *tu.Secrets) (int, bool) {
	f.r.fault("Check")
	if f.r.check != nil {
		return f.r.check(m)
	}
	return 0, true
}

func (f fakeLive) Add(tag string, a netip.Addr) bool { f.r.live[tag] = a; return true }
func (f fakeLive) Remove(tag string)                 { delete(f.r.live, tag); f.r.fault("Remove") }

// hear hands a message to the core as its loop does.
func (r *rig) hear(flow nat.Flow, m *message.Message) {
	r.advance(r.now)
	r.receive(r.now, Inbound{Msg: m, Flow: flow})
}

// pass lets virtual time go by, running everything when it is due.
func (r *rig) pass(d time.Duration) {
	end := r.now.Add(d)
	for {
		next := r.wake(r.now)
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(r.now) {
			r.now = next
		}
		r.advance(r.now)
	}
	r.now = end
}

// lines are the start lines and addresses of what was sent since the last call.
func (r *rig) lines() string {
	var out []string
	for _, p := range r.sent {
		first, _, _ := strings.Cut(p.text, "\r\n")
		if m, ok := strings.CutPrefix(first, "SIP/2.0 "); ok {
			first = m[:3] + " " + p.field("CSeq")
		} else {
			first, _, _ = strings.Cut(first, " ")
		}
		out = append(out, first+" "+p.to.Remote.String())
	}
	r.sent = nil
	return strings.Join(out, ", ")
}

// field is the value of a header field.
func (p packet) field(name string) string {
	_, rest, ok := strings.Cut(p.text, "\r\n"+name+": ")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func (p packet) toTag() string {
	_, tag, _ := strings.Cut(p.field("To"), ";tag=")
	return tag
}

// zero checks that nothing is left behind.
func (r *rig) zero() {
	r.t.Helper()
	r.measure()
	g := r.Gauges()
	if g.Users.Load() != 0 || g.Dialogs.Load() != 0 || g.Streams.Load() != 0 || g.ServerTransactions.Load() != 0 ||
		g.ClientTransact.Load() != 0 || g.RetainedBytes.Load() != 0 || len(r.taken) != 0 || len(r.live) != 0 || len(r.clock.h) != 0 {
		r.t.Errorf("left behind: %d users, %d dialogs, %d streams, %d+%d transactions, %d bytes, %d ports, %d live, %d deadlines",
			g.Users.Load(), g.Dialogs.Load(), g.Streams.Load(), g.ServerTransactions.Load(), g.ClientTransact.Load(),
			g.RetainedBytes.Load(), len(r.taken), len(r.live), len(r.clock.h))
	}
}

func uri(user, host string) message.URI { return message.URI{Scheme: "sip", User: user, Host: host} }

// request is a request of a peer; branch tells transactions apart.
func request(method, callID, branch, toTag string) *message.Message {
	return &message.Message{
		Method: method, URI: uri("100", "203.0.113.10"),
		Via:    []message.Via{{Transport: "UDP", Host: "203.0.113.20", Port: 5060, Branch: "z9hG4bK" + branch, RPort: -1}},
		From:   message.NameAddr{URI: uri("200", "203.0.113.20"), Tag: "theirs"},
		To:     message.NameAddr{URI: uri("100", "203.0.113.10"), Tag: toTag},
		CallID: callID, CSeq: 1, MaxForwards: 70,
	}
}

// outgoing is a request of ours with a number of its own.
func outgoing(method, callID, tag string, cseq uint32) *message.Message {
	return &message.Message{
		Method: method, URI: uri("100", "10.0.0.10"), From: message.NameAddr{URI: uri("200", "10.0.0.2"), Tag: tag},
		To: message.NameAddr{URI: uri("100", "10.0.0.10")}, CallID: callID, CSeq: cseq, MaxForwards: 70,
	}
}

// answer is a peer's response to what we sent.
func (r *rig) answer(p packet, code int, toTag string) *message.Message {
	r.t.Helper()
	_, via, ok := strings.Cut(p.text, "\r\nVia: ")
	if !ok {
		r.t.Fatalf("no Via in %q", p.text)
	}
	_, branch, _ := strings.Cut(via, "branch=")
	branch, _, _ = strings.Cut(branch, "\r\n")
	branch, _, _ = strings.Cut(branch, ";")
	cseq, method, _ := strings.Cut(p.field("CSeq"), " ")
	var n uint32
	_, _ = fmt.Sscan(cseq, &n)
	_, fromTag, _ := strings.Cut(p.field("From"), ";tag=")
	return &message.Message{
		Method: method, Status: code, Reason: "x",
		Via:    []message.Via{{Transport: "UDP", Host: here[nat.Inside].Signal.Addr().String(), Port: 5080, Branch: branch, RPort: 5080}},
		From:   message.NameAddr{URI: uri("200", "10.0.0.2"), Tag: fromTag},
		To:     message.NameAddr{URI: uri("100", "10.0.0.10"), Tag: toTag},
		CallID: p.field("Call-ID"), CSeq: n, MaxForwards: -1,
	}
}

// find is the first packet that begins with a text.
func (r *rig) find(start string) packet {
	r.t.Helper()
	for _, p := range r.sent {
		if strings.HasPrefix(p.text, start) {
			return p
		}
	}
	r.t.Fatalf("nothing sent begins with %q: %s", start, r.lines())
	return packet{}
}

// faultsContained is how many faults were contained.
func (r *rig) faultsContained() int64 { return r.Gauges().Panics.Load() }
