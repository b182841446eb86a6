package core

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// The benchmark's edges do nothing, so that the core with its table is measured and not its fakes.
type (
	noAssembly struct{ *bench }
	noSender   struct{ *bench }
	noMedia    struct{ *bench }
	noLeaks    struct{}
	noLive     struct{}
)

// bench is a core with the cheapest user of two legs. It is itself the only call at a time.
type bench struct {
	*Core
	now         time.Time
	tag, callID string
	branch      string // of the last request that went in
	invite      tu.Arrived
	next        media.ID
	sent        int
}

func newBench() *bench {
	b := &bench{now: began}
	b.Core = New(Config{
		Assembly: noAssembly{b}, Sender: noSender{b}, Media: noMedia{b}, Leaks: noLeaks{}, Live: noLive{}, Key: [16]byte{1}, Tags: testTags,
	})
	return b
}

func (b noAssembly) Identify(f nat.Flow) (*tu.Peer, tu.Local, nat.Side) {
	if f.Interface == 2 {
		return node, here[nat.Inside], nat.Inside
	}
	return itsp, here[nat.Outside], nat.Outside
}

func (b noAssembly) New(time.Time, tu.Seed, tu.UserID, *tu.Arrived) (tu.User, Answer) {
	b.tag, b.callID = b.ids.Tag(), b.ids.CallID()
	return b.bench, Answer{}
}

func (noAssembly) Taker(*tu.Arrived) (tu.UserID, bool)   { return 0, false }
func (noAssembly) Route(time.Time, tu.Route) tu.Routed   { return tu.Routed{} }
func (noAssembly) Registered(time.Time, tu.Registration) {}
func (noAssembly) Lease(time.Time, tu.UserID, tu.Send) (tu.Failed, bool) {
	return tu.Failed{}, true
}
func (noAssembly) Unlease(tu.UserID, tu.Ref)                        {}
func (noAssembly) UnleaseAll(tu.UserID)                             {}
func (noAssembly) Attempted(time.Time, tu.UserID, tu.Ref, int)      {}
func (noAssembly) Occupy(time.Time, tu.UserID, tu.Occupy)           {}
func (noAssembly) Health(time.Time, tu.Health)                      {}
func (noAssembly) Note(time.Time, tu.Note)                          {}
func (noAssembly) Challenged(time.Time, *message.Message, nat.Flow) {}
func (noAssembly) Joined(_, _ tu.UserID)                            {}
func (noAssembly) Record(tu.CDR)                                    {}
func (noAssembly) Ended(tu.UserID, tu.User)                         {}
func (noAssembly) SameSystem(_, _ nat.Flow) bool                    { return false }
func (noLive) Add(string, netip.Addr) bool                          { return true }
func (noLive) Remove(string)                                        {}
func (noMedia) Point(media.ID, nat.Side, media.Want) error          { return nil }
func (noMedia) Owner(netip.AddrPort) (media.ID, bool)               { return 0, false }
func (noMedia) Fingerprint() (media.Fingerprint, bool)              { return media.Fingerprint{}, false }
func (noMedia) Release(time.Time, media.ID)                         {}
func (noMedia) Stats(media.ID) (s [2]media.LegStats, ok bool) {
	return s, true
}

func (m noMedia) Reserve(time.Time) (media.ID, [2]netip.AddrPort, error) {
	m.next++
	return m.next, [2]netip.AddrPort{}, nil
}

func (noLeaks) Check(nat.Side, *message.Message, *tu.Secrets) (int, bool) { return 0, true }

func (s noSender) Send(to nat.Flow, b []byte) error {
	s.sent++
	if to.Interface == 2 && b[0] != 'A' {
		_, branch, _ := strings.Cut(string(b), "branch=")
		branch, _, _ = strings.Cut(branch, "\r\n")
		s.branch, _, _ = strings.Cut(branch, ";")
	}
	return nil
}

func (b *bench) Deadline() time.Time                           { return b.now.Add(time.Minute) }
func (b *bench) Abort(_ time.Time, do []tu.Action) []tu.Action { return append(do, tu.End{}) }

func (b *bench) answer(ev *tu.Arrived, code int) tu.Respond {
	m := message.Reply(ev.Msg, code, "")
	if code > 100 {
		m.To.Tag = b.tag
	}
	return tu.Respond{Tx: ev.Tx, Msg: m}
}

func (b *bench) Step(_ time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	switch ev := ev.(type) {
	case tu.Arrived:
		if ev.Msg.Method == "BYE" {
			return append(do, b.answer(&ev, 200), tu.Send{Ref: 2, Msg: outgoing("BYE", b.callID, b.tag, 2), Hop: hop(nat.Inside)})
		}
		b.invite = ev
		return append(do, b.answer(&ev, 100), tu.Route{Msg: ev.Msg})
	case tu.Routed:
		return append(do, tu.Reserve{Streams: 1})
	case tu.Reserved:
		return append(do, tu.OpenDialog{Side: nat.Outside, CallID: b.invite.Msg.CallID, Local: b.tag},
			tu.OpenDialog{Side: nat.Inside, CallID: b.callID, Local: b.tag}, tu.Point{}, tu.Point{Side: nat.Inside},
			tu.Send{Ref: 1, Msg: outgoing("INVITE", b.callID, b.tag, 1), Hop: hop(nat.Inside)})
	case tu.Answered:
		switch {
		case ev.Ref == 2:
			return append(do, tu.Record{}, tu.Release{}, tu.End{})
		case ev.Msg.Status == 200:
			return append(do, b.answer(&b.invite, 200), tu.SendAck{Msg: outgoing("ACK", b.callID, b.tag, 1), Hop: hop(nat.Inside)})
		default:
			return append(do, b.answer(&b.invite, ev.Msg.Status))
		}
	}
	return do
}

func (b *bench) hear(flow nat.Flow, m *message.Message) {
	b.now = b.now.Add(10 * time.Millisecond)
	b.advance(b.now)
	b.receive(b.now, Inbound{Msg: m, Flow: flow})
}

// fromCallee is a response of the callee to the last request that it got.
func (b *bench) fromCallee(method string, code int, cseq uint32) *message.Message {
	return &message.Message{
		Method: method, Status: code, Via: []message.Via{{Transport: "UDP", Host: "10.0.0.2", Port: 5080, Branch: b.branch, RPort: 5080}},
		From: message.NameAddr{URI: uri("200", "10.0.0.2"), Tag: b.tag}, To: message.NameAddr{URI: uri("100", "10.0.0.10"), Tag: "callee"},
		CallID: b.callID, CSeq: cseq, MaxForwards: -1,
	}
}

// call is INVITE, 100, 180, 200, ACK, BYE, 200: seven messages in and seven out.
func (b *bench) call(i int) {
	id := strconv.Itoa(i)
	b.hear(outer, request("INVITE", id, "i"+id, ""))
	b.hear(inner, b.fromCallee("INVITE", 100, 1))
	b.hear(inner, b.fromCallee("INVITE", 180, 1))
	b.hear(inner, b.fromCallee("INVITE", 200, 1))
	b.hear(outer, request("ACK", id, "a"+id, b.tag))
	bye := request("BYE", id, "b"+id, b.tag)
	bye.CSeq = 2
	b.hear(outer, bye)
	b.hear(inner, b.fromCallee("BYE", 200, 2))
}

// BenchmarkCoreCall is a whole call of two legs through core and table: 60 ms of its own time each, so that about 500
// calls' transactions stand in the table at any moment. The budget of the design is 0.10 ms a call for all rooms.
func BenchmarkCoreCall(bb *testing.B) {
	b := newBench()
	bb.ReportAllocs()
	i := 0
	for bb.Loop() {
		i++
		b.call(i)
	}
	if b.sent < 7*i || len(b.Core.users) != 0 {
		bb.Fatalf("%d sent for %d calls, %d users left", b.sent, i, len(b.Core.users))
	}
}

// BenchmarkRefuse is what a request costs that becomes no user.
func BenchmarkRefuse(bb *testing.B) {
	b := newBench()
	bb.ReportAllocs()
	i := 0
	for bb.Loop() {
		i++
		id := strconv.Itoa(i)
		b.hear(outer, request("BYE", id, id, "x"))
	}
}

// callAllocs is the budget of a call, messages of user and peers and their texts included.
const callAllocs = 95

// TestAllocations bounds what the core adds to a call beyond its messages: a change that costs the collector more shows
// here.
func TestAllocations(t *testing.T) {
	b := newBench()
	i := 0
	for range 1000 {
		i++
		b.call(i)
	}
	if n := testing.AllocsPerRun(200, func() { i++; b.call(i) }); n > callAllocs {
		t.Errorf("a call costs %v allocations, %d were enough", n, callAllocs)
	}
	idle := func() { b.now = b.now.Add(time.Microsecond); b.advance(b.now); b.measure(); b.wake(b.now) }
	if n := testing.AllocsPerRun(200, idle); n != 0 {
		t.Errorf("a turn of the loop without work costs %v allocations", n)
	}
	stray := b.fromCallee("INVITE", 200, 1)
	stray.Via[0].Branch = "z9hG4bKstray"
	if n := testing.AllocsPerRun(200, func() { b.receive(b.now, Inbound{Msg: stray, Flow: inner}) }); n != 0 {
		t.Errorf("a stray response costs %v allocations", n)
	}
}
