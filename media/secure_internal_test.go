package media

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var allSuites = []Suite{AES128CM80, AES128CM32, AES256CM80, AES256CM32, AEADAES128GCM, AEADAES256GCM}

func masterOf(seed byte) (m [maxKey]byte) {
	for i := range m {
		m[i] = seed + byte(i)*7
	}
	return m
}

// guarded is a table with one call: leg 0 outside is protected, leg 2·pairs inside is not.
type guarded struct {
	*Engine
	layout Layout
	now    int64
	inside int32
	crypto Crypto
	epoch  uint32
}

const (
	theirs, ours = 1, 2 // key seeds: what the peer sends, what it is sent
	peerSSRC     = 0x1234
	pbxSSRC      = 0x77
)

var (
	peerAt = Endpoint4([4]byte{198, 51, 100, 7}, 4000)
	pbxAt  = Endpoint4([4]byte{10, 0, 0, 10}, 5000)
	farAt  = Endpoint4([4]byte{192, 0, 2, 66}, 4000)
)

func newGuarded(suite Suite, r resume) *guarded {
	return newGuardedBy(Crypto{Suite: suite, Receive: masterOf(theirs), Send: masterOf(ours)}, r)
}

func newGuardedBy(keys Crypto, r resume) *guarded {
	layout := wireLayout()
	g := &guarded{layout: layout, now: 1e9, inside: int32(layout.Pairs * 2), crypto: keys}
	g.Engine = NewEngine(layout, time.Unix(1e9, 0))
	g.apply(r)
	c := Command{Leg: g.inside, Peer: 0, Generation: 1, rtp: pbxAt, rtcp: pbxAt.at(5001), flags: flagSend | flagReceive | flagFinal | flagInside}
	g.Apply(g.now, &c)
	return g
}

func (g *guarded) apply(r resume) {
	c := Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001), epoch: g.epoch,
		flags: flagSend | flagReceive | flagFinal | flagSecure, extras: extras{crypto: g.crypto, resume: r}}
	g.Apply(g.now, &c)
}

// room puts a datagram into a buffer as a back end has it.
func room(b []byte) []byte { return append(make([]byte, 0, len(b)+Tailroom), b...) }

func (g *guarded) hear(b []byte) Verdict { return g.Packet(g.now, 0, peerAt, room(b)) }
func (g *guarded) tell(b []byte) Verdict { return g.Packet(g.now, int(g.inside), pbxAt, room(b)) }
func (g *guarded) hearControl(b []byte) Verdict {
	return g.Packet(g.now, 1, peerAt.at(4001), room(b))
}
func (g *guarded) tellControl(b []byte) Verdict {
	return g.Packet(g.now, int(g.inside)+1, pbxAt.at(5001), room(b))
}

func voice(seq uint16, ssrc uint32, payload ...byte) []byte {
	b := []byte{0x80, 0, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], uint32(seq)*160)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	if payload == nil {
		payload = bytes.Repeat([]byte{0xd5}, 160)
	}
	return append(b, payload...)
}

func report(ssrc uint32) []byte {
	b := append([]byte{0x80, 200, 0, 6}, make([]byte, 24)...)
	binary.BigEndian.PutUint32(b[4:], ssrc)
	return b
}

// What leaves is what the standards say, octet for octet, and what a peer made by them is understood.
func TestSuitesOnTheWire(t *testing.T) {
	for _, suite := range allSuites {
		t.Run(suite.String(), func(t *testing.T) {
			g := newGuarded(suite, resume{})
			peer, us := newPlainly(suite, masterOf(theirs)), newPlainly(suite, masterOf(ours))
			for seq := range uint16(3) {
				in := voice(seq+1, peerSSRC)
				if v := g.hear(peer.rtp(in, 12, 0)); v.Why != Accepted || !bytes.Equal(v.Data, in) {
					t.Fatalf("heard %v %x", v.Why, v.Data)
				}
				out := voice(seq+9, pbxSSRC)
				if v := g.tell(out); v.Why != Accepted || !bytes.Equal(v.Data, us.rtp(out, 12, 0)) {
					t.Fatalf("told %v %x", v.Why, v.Data)
				}
				if v := g.hearControl(peer.rtcp(report(peerSSRC), uint32(seq)+5)); v.Why != Accepted || !bytes.Equal(v.Data, report(peerSSRC)) {
					t.Fatalf("heard %v %x", v.Why, v.Data)
				}
				if v := g.tellControl(report(pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, us.rtcp(report(pbxSSRC), uint32(seq)+1)) {
					t.Fatalf("told %v %x", v.Why, v.Data)
				}
			}
			// A header with contributing sources and an extension is not encrypted.
			long := append([]byte{0x91, 0, 0, 50, 0, 0, 0, 1, 0, 0, 0x12, 0x34, 9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0}, 1, 2, 3, 4)
			if v := g.hear(peer.rtp(long, 24, 0)); v.Why != Accepted || !bytes.Equal(v.Data, long) {
				t.Fatalf("heard %v %x", v.Why, v.Data)
			}
		})
	}
}

// Nobody without the key is heard, and his datagrams change nothing: no latch, no figure of the stream.
func TestOnlyTheKeyIsHeard(t *testing.T) {
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		peer, wrong := newPlainly(suite, masterOf(theirs)), newPlainly(suite, masterOf(99))
		in := voice(1, peerSSRC)
		good := peer.rtp(in, 12, 0)
		changed := bytes.Clone(good)
		changed[20] ^= 1
		for name, b := range map[string][]byte{
			"plain": in, "wrong key": wrong.rtp(in, 12, 0), "one bit": changed, "our own key": newPlainly(suite, masterOf(ours)).rtp(in, 12, 0),
			"no tag": good[:len(in)], "header only": good[:12], "another ROC": peer.rtp(in, 12, 3),
		} {
			if v := g.hear(b); v.Why != RejectedAuth || v.Data != nil {
				t.Errorf("%v %s: %v", suite, name, v.Why)
			}
		}
		r := peer.rtcp(report(peerSSRC), 7)
		open := bytes.Clone(r)
		open[len(open)-suiteTable[suite].control-4] &^= 0x80
		for name, b := range map[string][]byte{"plain": report(peerSSRC), "wrong key": wrong.rtcp(report(peerSSRC), 7), "not encrypted": open, "short": r[:12]} {
			if v := g.hearControl(b); v.Why == Accepted {
				t.Errorf("%v RTCP %s: %v", suite, name, v.Why)
			}
		}
		if s, _ := g.board.read(0, 1); s.packets != 0 || s.seen != 0 || s.latches != 0 || s.rejected[RejectedAuth] != 7+3 {
			t.Errorf("%v: %+v", suite, s)
		}
		if v := g.Packet(g.now, 0, farAt, room(good)); v.Why != RejectedSource {
			t.Errorf("from elsewhere: %v", v.Why) // and not tried: the packet itself is still good
		}
		if v := g.hear(good); v.Why != Accepted {
			t.Errorf("%v: %v", suite, v.Why)
		}
		if v := g.hear(good); v.Why != RejectedAuth {
			t.Errorf("%v repeated: %v", suite, v.Why)
		}
		if g.hearControl(r).Why != Accepted || g.hearControl(r).Why != RejectedAuth {
			t.Errorf("%v: a repeated report", suite)
		}
	}
}

// Packets come in any order and some not at all; each is heard once, over every wrap of the numbers.
func TestEveryPacketOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		suite := rapid.SampledFrom(allSuites).Draw(t, "suite")
		g := newGuarded(suite, resume{})
		peer := newPlainly(suite, masterOf(theirs))
		index := uint64(rapid.IntRange(0, 1<<15).Draw(t, "first"))
		var late [][]byte
		wraps := 0
		for range rapid.IntRange(1, 120).Draw(t, "packets") {
			step := uint64(rapid.SampledFrom([]int{1, 1, 1, 2, 30, 9000, 30000}).Draw(t, "step"))
			wraps += int((index+step)>>16 - index>>16)
			index += step
			in := voice(uint16(index), peerSSRC, byte(index), byte(index>>8), byte(index>>16))
			b := peer.rtp(in, 12, uint32(index>>16))
			if step == 1 && rapid.Bool().Draw(t, "late") {
				late = append(late, b)
				continue
			}
			if v := g.hear(b); v.Why != Accepted || !bytes.Equal(v.Data, in) {
				t.Fatalf("index %d: %v", index, v.Why)
			}
			if step > 2 {
				late = nil
			}
			for _, b := range late {
				if v := g.hear(b); v.Why != Accepted {
					t.Fatalf("late: %v", v.Why)
				}
				if v := g.hear(b); v.Why != RejectedAuth {
					t.Fatalf("late and repeated: %v", v.Why)
				}
			}
			late = nil
			if v := g.hear(b); v.Why != RejectedAuth {
				t.Fatalf("repeated: %v", v.Why)
			}
		}
	})
}

// What is sent is protected under the index that a receiver guesses, and no index serves twice.
func TestNoIndexServesTwice(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	us := newPlainly(AES128CM80, masterOf(ours))
	for _, seq := range []uint16{65000, 65535, 3, 65534, 0, 2, 30000, 62000, 70} {
		roc := uint32(0)
		switch {
		case seq == 70:
			roc = 2
		case seq < 65000:
			roc = 1
		}
		if v := g.tell(voice(seq, pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, us.rtp(voice(seq, pbxSSRC), 12, roc)) {
			t.Fatalf("%d: %v", seq, v.Why)
		}
		if v := g.tell(voice(seq, pbxSSRC, 1, 2, 3)); v.Why == Accepted {
			t.Fatalf("%d was sent twice", seq)
		}
	}
	for n := range uint32(3) {
		if v := g.tellControl(report(pbxSSRC + n)); !bytes.Equal(v.Data, us.rtcp(report(pbxSSRC+n), n+1)) {
			t.Fatalf("report %d", n)
		}
	}
	if v := g.Packet(g.now, int(g.inside), pbxAt, voice(200, pbxSSRC)[:100:100]); v.Why == Accepted {
		t.Error("protected without room for the tag")
	}
}

// A peer whose SSRC changes without end takes no memory, and what it sent counts.
func TestManySources(t *testing.T) {
	g := newGuarded(AEADAES128GCM, resume{})
	peer := newPlainly(AEADAES128GCM, masterOf(theirs))
	for n := range uint32(500) {
		g.now += 25e6
		if v := g.hear(peer.rtp(voice(uint16(n), 1000+n), 12, 0)); v.Why != Accepted {
			t.Fatalf("%d: %v", n, v.Why)
		}
		if v := g.tell(voice(uint16(n), 5000+n)); v.Why != Accepted {
			t.Fatalf("%d: %v", n, v.Why)
		}
		if v := g.tellControl(report(5000 + n)); v.Why != Accepted {
			t.Fatalf("%d: %v", n, v.Why)
		}
	}
	if s := g.secured[0]; s.in.states > maxStates || s.out.states > maxStates {
		t.Errorf("%d and %d states", s.in.states, s.out.states)
	}
	// Those that are new and false are tried a few times a second.
	before := g.secured[0].alien
	for n := range uint32(200) {
		g.hear(voice(1, 90000+n))
	}
	if tried := g.secured[0].alien - before; tried < 100 {
		t.Errorf("%d counted", tried)
	}
	if v := g.hear(peer.rtp(voice(1, 80000), 12, 0)); v.Why != RejectedAuth {
		t.Errorf("%v", v.Why)
	}
	g.now += 1e9
	if v := g.hear(peer.rtp(voice(1, 80000), 12, 0)); v.Why != Accepted {
		t.Errorf("%v", v.Why)
	}
}

// Another engine goes on where the lost one stood: rollover counters, lists of repeats, index of the reports.
func TestSecureLegsSurvive(t *testing.T) {
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		peer, us := newPlainly(suite, masterOf(theirs)), newPlainly(suite, masterOf(ours))
		for _, i := range []uint64{30000, 60000, 65530, 65536 + 20000, 65536 + 50000, 65536*2 - 3} {
			if g.hear(peer.rtp(voice(uint16(i), peerSSRC), 12, uint32(i>>16))).Why != Accepted || g.tell(voice(uint16(i), pbxSSRC)).Why != Accepted {
				t.Fatal(i)
			}
		}
		r := peer.rtcp(report(peerSSRC), 12)
		g.hearControl(r)
		g.tellControl(report(pbxSSRC))
		old := peer.rtp(voice(65533, peerSSRC), 12, 1)

		c := Command{extras: extras{resume: g.board.carried(0, 1)}}
		if again := g.board.carried(0, 2); again != (resume{}) {
			t.Errorf("another call's: %+v", again)
		}
		g = newGuarded(suite, c.resume)
		if g.board.carried(0, 1) != c.resume {
			t.Error("lost once more before a packet came, it would begin anew")
		}
		for name, b := range map[string][]byte{"repeated": old, "of the first round": peer.rtp(voice(5, peerSSRC), 12, 0)} {
			if v := g.hear(b); v.Why != RejectedAuth {
				t.Errorf("%v %s: %v", suite, name, v.Why)
			}
		}
		if v := g.hearControl(r); v.Why != RejectedAuth {
			t.Errorf("%v repeated report: %v", suite, v.Why)
		}
		for _, i := range []uint64{65536*2 + 2, 65536*2 + 1, 65536*2 + 3} {
			if v := g.hear(peer.rtp(voice(uint16(i), peerSSRC), 12, uint32(i>>16))); v.Why != Accepted {
				t.Fatalf("%v %d: %v", suite, i, v.Why)
			}
		}
		if v := g.tell(voice(65533, pbxSSRC)); v.Why == Accepted {
			t.Errorf("%v: an index served twice", suite)
		}
		if v := g.tell(voice(2, pbxSSRC)); !bytes.Equal(v.Data, us.rtp(voice(2, pbxSSRC), 12, 2)) {
			t.Errorf("%v: sent under another index", suite)
		}
		if v := g.tellControl(report(pbxSSRC)); !bytes.Equal(v.Data, us.rtcp(report(pbxSSRC), 2)) {
			t.Errorf("%v: report under another index", suite)
		}
	}
}

// Whatever comes, nothing of it is heard and nothing breaks.
func FuzzSecure(f *testing.F) {
	peer := newPlainly(AES128CM80, masterOf(theirs))
	f.Add(uint8(1), peer.rtp(voice(1, peerSSRC), 12, 0), false)
	f.Add(uint8(5), peer.rtcp(report(peerSSRC), 1), true)
	f.Add(uint8(0), []byte{0x91, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0xff, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, suite uint8, b []byte, control bool) {
		if len(b) > scratchLen {
			return
		}
		g := newGuarded(allSuites[int(suite)%len(allSuites)], resume{})
		g.crypto.Receive = masterOf(60) // a key that no seed was made by
		g.apply(resume{})
		g.secured[0].before = nil
		hear := g.hear
		if control {
			hear = g.hearControl
		}
		for range 2 {
			if v := hear(b); v.Why == Accepted {
				t.Fatalf("heard %x", b)
			}
		}
		if v := g.tell(b); v.Why == Accepted && bytes.Equal(v.Data, b) && len(b) > 12 {
			t.Fatalf("sent in the clear: %x", b)
		}
		g.tellControl(b)
	})
}
