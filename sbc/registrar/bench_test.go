package registrar

import (
	"fmt"
	"testing"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// usual is a REGISTER as phones send them.
func usual(p *phone, authorised bool) *message.Message {
	m := p.request()
	m.Set("Contact", "<sip:204@192.168.1.20:5060>;expires=3600;methods=\"INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER\"")
	m.Add("Allow", "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE")
	m.Add("Supported", "path, outbound")
	m.Add("Allow-Events", "talk, hold, conference, check-sync")
	if authorised {
		m.Add("Authorization", `Digest username="204", realm="example.com", nonce="0123456789abcdef0123456789abcdef", uri="sip:example.com", `+
			`response="0123456789abcdef0123456789abcdef", algorithm=MD5, qop=auth, nc=00000001, cnonce="0a4f113b"`)
	}
	return m
}

// refresh is a REGISTER and its 401, the same with credentials and its 200, in a Book of 20,000 others. The peers' messages are
// made once.
func refresh(t judge) func() {
	s := newStage(t)
	s.set.Limits.PerSource = 1 << 20
	for n := range 20_000 {
		bind(s.set.Book, flowOf(n), fmt.Sprint(n, "@example.com"), n)
	}
	p := s.phones["a"]
	first, second := usual(p, false), usual(p, true)
	hops := tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}}
	peer := &tu.Peer{Kind: tu.KindPhone}
	r, _ := s.start(p, second, peer)
	s.step(r, hops)
	refused := message.Reply(r.sent[1].Msg, 401, "")
	refused.To.Tag = "x"
	refused.Add("WWW-Authenticate", `Digest realm="example.com", nonce="0123456789abcdef0123456789abcdef", qop="auth"`)
	granted := s.grant(r, 1, 600).Msg
	s.step(r, tu.Answered{Ref: 1, Msg: granted})
	var do []tu.Action
	seed, now := tu.Seed{}, zero
	relay := func(m, answer *message.Message) {
		seed[0]++
		r := NewRegister(s.set, seed)
		do = r.Step(now, tu.Arrived{Tx: 1, Msg: m, Flow: p.flow, Peer: peer}, do[:0])
		do = r.Step(now, hops, do[:0])
		do = r.Step(now, tu.Answered{Ref: 1, Msg: answer}, do[:0])
	}
	return func() {
		now = now.Add(time.Millisecond)
		relay(first, refused)
		relay(second, granted)
		s.set.Book.Changes()
	}
}

// BenchmarkRegister is this room's share of a refresh as it is on the wire.
func BenchmarkRegister(b *testing.B) {
	once := refresh(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// BenchmarkLocal is this room's share of a refresh that is answered here.
func BenchmarkLocal(b *testing.B) {
	s := throttled(b)
	p := s.phones["a"]
	s.enter(p, func(m *message.Message) { m.Headers = usual(p, true).Headers })
	m := usual(p, true)
	b.ReportAllocs()
	for b.Loop() {
		m.CSeq++
		if _, _, ok := s.set.Local(s.now, p.flow, m); !ok {
			b.Fatal("it goes to the PBX")
		}
		s.set.Book.Changes()
	}
}

// TestRegisterAllocations keeps a refresh from growing unseen.
func TestRegisterAllocations(t *testing.T) {
	const most = 48
	if n := testing.AllocsPerRun(100, refresh(t)); n > most {
		t.Errorf("%v allocations a refresh, the gate is %d", n, most)
	}
}

// TestExpiryOfMany: a Book of 25,000 that end at one time goes at one call, and each was told.
func TestExpiryOfMany(t *testing.T) {
	b := NewBook()
	for n := range 25_000 {
		bind(b, flowOf(n), fmt.Sprint(n, "@example.com"), n)
	}
	b.Changes()
	b.Expire(b.Next())
	if gone := b.Changes(); b.Len() != 0 || len(gone) != 25_000 || b.High() != 25_000 {
		t.Errorf("%d left, %d told", b.Len(), len(gone))
	}
	consistent(t, b)
}
