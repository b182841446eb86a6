package media

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport/nat"
)

// taker is a Keying that remembers what it was given.
type taker struct {
	wishes
	took  []taken
	begun int
}

type taken struct {
	leg      int32
	from     netip.AddrPort
	standing Standing
	record   string
}

func (k *taker) Begin(int32, uint32, netip.AddrPort) { k.begun++ }

func (k *taker) Take(leg int32, _ uint32, from netip.AddrPort, s Standing, record []byte) {
	k.took = append(k.took, taken{leg, from, s, string(record)})
}

// firstRecord is a record that begins a handshake, with a mark at the end.
func firstRecord(mark byte) []byte {
	b := make([]byte, 40)
	b[0], b[1], b[2], b[13], b[39] = 22, 254, 255, 1, mark
	return b
}

var (
	calledAt  = netip.MustParseAddrPort("198.51.100.7:4000")
	besideIt  = netip.MustParseAddrPort("198.51.100.7:4001")
	strangeAt = netip.MustParseAddrPort("192.0.2.66:4000")
	atFirst   = int64(time.Second)
)

func earlyEngine(t *testing.T) (*Engine, *taker, func(now int64, w Want)) {
	t.Helper()
	cfg := Config{Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")}, First: 30000, Last: 30019}
	layout, k := cfg.layout(), &taker{wishes: wishes{}}
	e := NewEngine(layout, time.Now())
	e.SetKeying(k)
	return e, k, func(now int64, w Want) {
		c := w.command(nat.Outside, 0, legOf(layout, 0, 1), 1)
		e.Apply(now, &c)
	}
}

func shaking() Want {
	return Want{RTP: calledAt, Send: true, Receive: true, Peer: Identity{Role: Passive, Print: Fingerprint{Hash: SHA256}}}
}

// A phone that begins its handshake before signalling knows that it has answered is heard as soon as signalling knows, in the
// order in which it spoke, and once; nobody is answered before, and nobody but who may be the phone.
func TestHandshakeBeforeTheAnswer(t *testing.T) {
	e, k, point := earlyEngine(t)
	for n, from := range []netip.AddrPort{strangeAt, calledAt, besideIt, calledAt} {
		record := firstRecord(byte(n))
		record[21] = byte(n) // another fragment of a message
		if v := e.Packet(atFirst+int64(n), 0, EndpointOf(from), record); v.Why != RejectedStray {
			t.Fatalf("%v", v.Why)
		}
	}
	for _, record := range [][]byte{nil, {22}, firstRecord(0)[:17], append(firstRecord(0), make([]byte, earlyBytes)...), append([]byte{23}, firstRecord(0)[1:]...)} {
		e.Packet(atFirst, 0, EndpointOf(calledAt), record)
	}
	e.Packet(atFirst, 1, EndpointOf(calledAt), firstRecord(9)) // RTCP's port has no handshake
	point(atFirst+1e8, Want{RTP: calledAt, Send: true, Receive: true})
	if len(k.took) != 0 {
		t.Fatalf("taken before it is known whose they are: %v", k.took)
	}
	point(atFirst+2e8, shaking())
	var marks []byte
	for _, r := range k.took {
		marks = append(marks, r.record[39])
		if r.leg != 0 || r.from.Addr() != calledAt.Addr() || (r.standing == Named) != (r.from == calledAt) {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(marks, []byte{1, 2, 3}) {
		t.Errorf("taken: %v", marks)
	}
	k.took = nil
	point(atFirst+3e8, shaking())
	if len(k.took) != 0 {
		t.Errorf("again: %v", k.took)
	}
}

// What comes for a leg that is plain so far, or whose peer is still another, waits for the answer as well.
func TestHandshakeBeforeAnotherAnswer(t *testing.T) {
	for name, before := range map[string]Want{
		"plain":        {RTP: calledAt, Send: true, Receive: true},
		"another peer": func() Want { w := shaking(); w.RTP = strangeAt; w.Peer.Print.Value[0] = 1; return w }(),
	} {
		t.Run(name, func(t *testing.T) {
			e, k, point := earlyEngine(t)
			point(atFirst, before)
			if v := e.Packet(atFirst, 0, EndpointOf(calledAt), firstRecord(1)); v.Why == Accepted || v.To.usable() {
				t.Fatalf("%+v", v)
			}
			point(atFirst+1, before)
			if len(k.took) != 0 {
				t.Fatal("the peer of before is not there")
			}
			point(atFirst+1e9, shaking())
			if len(k.took) != 1 {
				t.Errorf("taken: %v", k.took)
			}
		})
	}
}

// Nothing waits for ever, and what waits has a bound: who sends such records to all ports, or many to one, fills no memory.
func TestEarlyRecordsAreBounded(t *testing.T) {
	kept := func(e *Engine) (n int) {
		for i := range e.early[0].kept {
			if e.early[0].kept[i].at != 0 {
				n++
			}
		}
		return n
	}
	e, k, point := earlyEngine(t)
	e.Packet(atFirst, 0, EndpointOf(calledAt), firstRecord(1))
	point(atFirst+earlyFor+1, shaking())
	if len(k.took) != 0 {
		t.Error("it is too long ago")
	}

	e, k, point = earlyEngine(t)
	for n := range 100 { // many to one: its own are displaced
		e.Packet(atFirst+int64(n), 2, EndpointOf(netip.AddrPortFrom(strangeAt.Addr(), uint16(5000+n))), firstRecord(1))
	}
	if n := kept(e); n != earlyOfLeg {
		t.Errorf("%d of one leg are kept", n)
	}
	e.Packet(atFirst+100, 0, EndpointOf(calledAt), firstRecord(1))
	for n := range 100 { // a repetition takes no other place
		e.Packet(atFirst+200+int64(n), 0, EndpointOf(calledAt), firstRecord(2))
	}
	if n := kept(e); n != earlyOfLeg+1 {
		t.Errorf("%d are kept", n)
	}
	point(atFirst+400, shaking())
	if len(k.took) != 1 || k.took[0].record[39] != 2 {
		t.Errorf("taken: %v", k.took)
	}

	e, k, point = earlyEngine(t)
	for n := range earlyMost { // to all ports: the oldest goes
		e.Packet(atFirst+int64(n), n%20&^1, EndpointOf(netip.AddrPortFrom(calledAt.Addr(), uint16(5000+n))), firstRecord(1))
	}
	record := firstRecord(2)
	flood := func() {
		for leg := 0; leg < 20; leg += 2 {
			e.Packet(atFirst+1000, leg, EndpointOf(calledAt), record)
		}
	}
	flood()
	if n := testing.AllocsPerRun(100, flood); n != 0 && !raced {
		t.Errorf("%v allocations", n)
	}
	if n := kept(e); n > earlyMost {
		t.Errorf("%d are kept", n)
	}
	point(atFirst+1001, shaking())
	if len(k.took) == 0 || len(k.took) > earlyOfLeg || k.took[len(k.took)-1].record[39] != 2 {
		t.Errorf("taken: %v", k.took)
	}
}

// Without handshakes, nothing is kept.
func TestNobodyShakesHands(t *testing.T) {
	e, _, _ := earlyEngine(t)
	e.SetKeying(nil)
	e.Packet(atFirst, 0, EndpointOf(calledAt), firstRecord(1))
	if e.early[0].latest != 0 {
		t.Error("it is kept")
	}
}

// Several phones ring, and their answers name them in turn: whose keys are known is protected by them at once, however often
// the others have been named meanwhile, and no more are remembered than a few.
func TestAnswersInTurn(t *testing.T) {
	p, k := pointed(t)
	id := p.streams[p.byPair[k.last.Leg/2]].id()
	e, hands := NewEngineOn(k.layout, k.board), &taker{wishes: wishes{}}
	e.SetKeying(hands)
	peer := func(n byte) Identity {
		return Identity{Role: Passive, Print: Fingerprint{Hash: SHA256, Value: [64]byte{n}}}
	}
	point := func(n byte) bool {
		t.Helper()
		w := Want{RTP: peerAt.AddrPort(), Send: true, Receive: true, Mux: true, Peer: peer(n)}
		if err := p.Point(id, nat.Outside, w); err != nil {
			t.Fatal(err)
		}
		e.Apply(1, &k.last)
		s := e.secured[k.last.Leg/2]
		return e.legs[k.last.Leg].is(flagSecure) && s != nil && s.in.master == master(n)
	}
	agree := func(n byte) {
		t.Helper()
		a := Agreement{Leg: k.last.Leg, Generation: k.last.Generation, From: peerAt, Peer: peer(n), Crypto: Crypto{Suite: AES128CM80, Receive: master(n), Send: master(n + 100)}}
		if p.agreed(a); !e.Agree(2, &a) {
			t.Fatal("nobody waits for the keys")
		}
	}
	for n := byte(1); n <= 2; n++ {
		if point(n) {
			t.Fatalf("peer %d has keys before it has agreed on any", n)
		}
		agree(n)
	}
	for _, n := range []byte{1, 2, 1} {
		if !point(n) {
			t.Errorf("the keys of peer %d are lost", n)
		}
	}
	agree(1) // it begins anew: its place is the same
	for n := byte(3); n <= mostAgreed+1; n++ {
		point(n)
		agree(n)
	}
	if list := p.streams[p.byPair[k.last.Leg/2]].agreed[nat.Outside]; len(list) != mostAgreed {
		t.Errorf("%d peers are remembered", len(list))
	}
	if point(2) || !point(1) {
		t.Error("it is not the oldest that is forgotten")
	}
}

func master(n byte) (m [maxKey]byte) {
	for i := range 30 {
		m[i] = n + byte(i)
	}
	return m
}

// Where we are to begin, we do until there are keys, and no more: not with an engine that has them from the one before either,
// however often signalling repeats itself. The peer has an association, and would have to give it up.
func TestNobodyBeginsUnderKeys(t *testing.T) {
	e, k, point := earlyEngine(t)
	w := shaking()
	w.Peer.Role = Active
	point(atFirst, w)
	if k.begun != 1 {
		t.Fatalf("begun %d times", k.begun)
	}
	a := Agreement{Leg: 0, Generation: 1, From: EndpointOf(calledAt), Peer: w.Peer, Crypto: Crypto{Suite: AES128CM80, Receive: master(1), Send: master(2)}}
	if !e.Agree(atFirst+1, &a) {
		t.Fatal("nobody waits for the keys")
	}
	point(atFirst+2, w)
	next, hands, again := earlyEngine(t)
	with := w
	with.Crypto = a.Crypto // as Plane tells them
	again(atFirst, with)
	again(atFirst+1, with)
	again(atFirst+2, w)
	if k.begun != 1 || hands.begun != 0 || !next.legs[0].is(flagSecure) || hands.wishes[0] != 1 {
		t.Errorf("begun %d times by the first engine, %d by the next one", k.begun, hands.begun)
	}
}

// Whatever comes too early, what is taken of it later begins a handshake, and is as it came.
func FuzzTooEarly(f *testing.F) {
	f.Add(firstRecord(1), firstRecord(2))
	f.Add([]byte{22}, make([]byte, earlyBytes+1))
	f.Add(firstRecord(1)[:19], append(firstRecord(3), make([]byte, earlyBytes)...))
	cfg := Config{Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")}, First: 30000, Last: 30019}
	layout := cfg.layout()
	f.Fuzz(func(t *testing.T, a, b []byte) {
		e, k := NewEngine(layout, time.Now()), &taker{wishes: wishes{}}
		e.SetKeying(k)
		came := []string{string(a), string(b)}
		for _, record := range came {
			e.Packet(atFirst, 0, EndpointOf(calledAt), []byte(record))
		}
		w := shaking()
		c := w.command(nat.Outside, 0, legOf(layout, 0, 1), 1)
		e.Apply(atFirst, &c)
		for _, r := range k.took {
			if !slices.Contains(came, r.record) || !BeginsHandshake([]byte(r.record)) || len(r.record) > earlyBytes {
				t.Errorf("%+v", r)
			}
		}
	})
}
