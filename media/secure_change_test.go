package media

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
)

// A new key within a call: what was sent under the one before is heard for a while, repeats of it are not; the peer may go
// on with its counter, or begin anew.
func TestKeysChange(t *testing.T) {
	for _, suite := range allSuites {
		for _, anew := range []bool{false, true} {
			t.Run(fmt.Sprint(suite, " anew ", anew), func(t *testing.T) {
				g := newGuarded(suite, resume{})
				old := newPlainly(suite, masterOf(theirs))
				for _, i := range []uint64{30000, 60000, 65536 + 10} {
					if v := g.hear(old.rtp(voice(uint16(i), peerSSRC), 12, uint32(i>>16))); v.Why != Accepted {
						t.Fatal(i, v.Why)
					}
				}
				flying, flyingReport := old.rtp(voice(12, peerSSRC), 12, 1), old.rtcp(report(peerSSRC), 4)
				g.crypto.Receive = masterOf(50)
				g.epoch++
				g.apply(resume{})
				g.apply(resume{}) // repeats of a command change nothing
				if v := g.hear(flying); v.Why != Accepted || !bytes.Equal(v.Data, voice(12, peerSSRC)) {
					t.Errorf("on its way: %v", v.Why)
				}
				if v := g.hear(flying); v.Why != RejectedAuth {
					t.Errorf("repeated: %v", v.Why)
				}
				if v := g.hearControl(flyingReport); v.Why != Accepted {
					t.Errorf("report on its way: %v", v.Why)
				}
				roc, peer := uint32(1), newPlainly(suite, masterOf(50))
				if anew {
					roc = 0
				}
				for _, seq := range []uint16{13, 14} {
					b := peer.rtp(voice(seq, peerSSRC), 12, roc)
					if v := g.hear(b); v.Why != Accepted || !bytes.Equal(v.Data, voice(seq, peerSSRC)) {
						t.Fatalf("%d: %v", seq, v.Why)
					}
					if v := g.hear(b); v.Why != RejectedAuth {
						t.Fatalf("%d repeated: %v", seq, v.Why)
					}
				}
				g.now += rekeyGrace + 1
				if v := g.hear(old.rtp(voice(13, peerSSRC), 12, 1)); v.Why != RejectedAuth {
					t.Errorf("the old key is still good: %v", v.Why)
				}
				if g.secured[0].before != nil {
					t.Error("the old key is kept")
				}
			})
		}
	}
}

// Keys end with the call, and come back as they were when a peer goes without them for a while.
func TestKeysEndWithTheCall(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	first := g.tell(voice(7, pbxSSRC))
	c := Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001), flags: flagSend | flagReceive | flagFinal}
	g.Apply(g.now, &c)
	if v := g.tell(voice(8, pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, voice(8, pbxSSRC)) {
		t.Fatalf("not in the clear: %v", v.Why)
	}
	g.apply(resume{})
	if v := g.tell(voice(7, pbxSSRC, 1)); v.Why == Accepted || first.Why != Accepted {
		t.Error("an index served twice")
	}
	free := Command{Leg: 0, Peer: g.inside, Generation: 1, Free: true}
	g.Apply(g.now, &free)
	if g.secured[0] != nil {
		t.Error("keys outlive the call")
	}
	// A leg that is to be protected and has no key says nothing.
	c.flags, c.Generation = flagSend|flagReceive|flagSecure, 2
	g.Apply(g.now, &c)
	in := Command{Leg: g.inside, Peer: 0, Generation: 2, rtp: pbxAt, rtcp: pbxAt.at(5001), flags: flagSend | flagReceive}
	g.Apply(g.now, &in)
	if v := g.tell(voice(1, pbxSSRC)); v.Why != RejectedAuth {
		t.Errorf("without a key: %v", v.Why)
	}
	if v := g.hear(voice(1, peerSSRC)); v.Why != RejectedAuth {
		t.Errorf("without a key: %v", v.Why)
	}
}

// RTCP on the RTP port (RFC 5761) has SRTCP's keys.
func TestSecureMux(t *testing.T) {
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		c := Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001),
			flags: flagSend | flagReceive | flagFinal | flagSecure | flagMux, extras: extras{crypto: g.crypto}}
		g.Apply(g.now, &c)
		peer, us := newPlainly(suite, masterOf(theirs)), newPlainly(suite, masterOf(ours))
		if v := g.hear(peer.rtcp(report(peerSSRC), 1)); v.Why != Accepted || !bytes.Equal(v.Data, report(peerSSRC)) || v.Out != g.inside+1 {
			t.Errorf("%v heard: %v", suite, v.Why)
		}
		if v := g.tellControl(report(pbxSSRC)); v.Why != Accepted || v.Out != 0 || !bytes.Equal(v.Data, us.rtcp(report(pbxSSRC), 1)) {
			t.Errorf("%v told: %v", suite, v.Why)
		}
	}
}

// A candidate's packets latch once they are authentic; a neighbour's do not, however many there are.
func TestOnlyTheKeyLatches(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	c := Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt.at(9), rtcp: peerAt.at(10), fallback: peerAt.at(0), mode: Ported, epoch: 2,
		flags: flagSend | flagReceive | flagFinal | flagSecure, extras: extras{crypto: g.crypto}}
	g.Apply(g.now, &c)
	peer := newPlainly(AES128CM80, masterOf(theirs))
	for n := range uint16(50) {
		g.now += 20e6
		if v := g.Packet(g.now, 0, peerAt.at(7777), room(voice(n, 5))); v.Why != RejectedAuth {
			t.Fatalf("neighbour: %v", v.Why)
		}
	}
	heard := 0
	for n := range uint16(5) {
		g.now += 20e6
		if g.hear(peer.rtp(voice(n, peerSSRC), 12, 0)).Why == Accepted {
			heard++
		}
	}
	if s, _ := g.board.read(0, 1); heard != 3 || s.remote != peerAt || !s.latched {
		t.Errorf("%d heard, remote %v", heard, s.remote.AddrPort())
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	w := Want{Crypto: Crypto{Suite: AEADAES256GCM, Receive: masterOf(theirs), Send: masterOf(ours)}}
	for _, text := range []string{fmt.Sprintf("%v", w), fmt.Sprintf("%+v", w), fmt.Sprintf("%#v", w)} {
		if !bytes.Contains([]byte(text), []byte("AEAD_AES_256_GCM")) || bytes.Contains([]byte(text), []byte("15 22")) || bytes.Contains([]byte(text), []byte("0xf, 0x16")) {
			t.Errorf("%s", text)
		}
	}
}

// lost is a back end whose engine is lost and made anew.
type lost struct {
	layout Layout
	to     Listener
	engine *Engine
}

func (b *lost) Open(l Layout, to Listener) (*Board, error) {
	b.layout, b.to = l, to
	b.engine = NewEngine(l, time.Unix(1e9, 0))
	return b.engine.Board(), nil
}
func (b *lost) Post(c Command) { b.engine.Apply(1e9, &c) }
func (b *lost) Close() error   { return nil }

// A media process is lost in a call whose numbers have wrapped: signalling fills the next one, and nobody hears a gap.
func TestARefilledEngineKeepsItsCounters(t *testing.T) {
	b := &lost{}
	p, err := New(Config{Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")}, First: 30000, Last: 30099}, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, local, err := p.Reserve(time.Unix(1e9+1, 0))
	if err != nil {
		t.Fatal(err)
	}
	var legs [2]int
	for side := range legs {
		legs[side], _ = b.layout.Leg(local[side])
		w := Want{RTP: [2]Endpoint{peerAt, pbxAt}[side].AddrPort(), Send: true, Receive: true, Final: true}
		if side == 0 {
			w.Crypto = Crypto{Suite: AES128CM80, Receive: masterOf(theirs), Send: masterOf(ours)}
		}
		if err := p.Point(id, nat.Side(side), w); err != nil {
			t.Fatal(err)
		}
	}
	peer, us := newPlainly(AES128CM80, masterOf(theirs)), newPlainly(AES128CM80, masterOf(ours))
	both := func(i uint64) {
		t.Helper()
		seq, roc := uint16(i), uint32(i>>16)
		if v := b.engine.Packet(2e9, legs[0], peerAt, room(peer.rtp(voice(seq, peerSSRC), 12, roc))); v.Why != Accepted {
			t.Errorf("%d heard: %v", i, v.Why)
		}
		if v := b.engine.Packet(2e9, legs[1], pbxAt, room(voice(seq, pbxSSRC))); !bytes.Equal(v.Data, us.rtp(voice(seq, pbxSSRC), 12, roc)) {
			t.Errorf("%d told: %v", i, v.Why)
		}
	}
	for i := uint64(100); i < 4<<16; i += 20000 {
		both(i)
	}
	both(4<<16 - 2)
	for n := range uint64(3) {
		b.engine = NewEngine(b.layout, time.Unix(1e9, 0))
		if !b.to.Renewed(b.engine.Board()) {
			t.Fatal("not taken")
		}
		if n != 1 { // lost twice without a packet in between
			both(4<<16 + n)
		}
	}
}
