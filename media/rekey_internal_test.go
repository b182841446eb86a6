package media

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// Who comes into a call later, with a key of his own, counts the wraps of the sequence numbers from zero; a key that comes back
// goes on where it stood.
func TestANewKeyBeginsAnew(t *testing.T) {
	for _, suite := range allSuites {
		t.Run(suite.String(), func(t *testing.T) {
			g := newGuarded(suite, resume{})
			first, second := newPlainly(suite, masterOf(ours)), newPlainly(suite, masterOf(77))
			told := func(by *plainly, seq uint16, roc uint32) {
				t.Helper()
				if v := g.tell(voice(seq, pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, by.rtp(voice(seq, pbxSSRC), 12, roc)) {
					t.Fatalf("%d: %v", seq, v.Why)
				}
			}
			under := func(seed byte) {
				g.crypto.Send = masterOf(seed)
				g.apply(resume{})
				g.apply(resume{}) // repeats of a command change nothing
			}
			told(first, 30000, 0)
			told(first, 60000, 0)
			told(first, 10, 1)
			under(77)
			if at := g.board.carried(0, 1).out; at != 0 {
				t.Errorf("an engine to come would go on at %#x", at)
			}
			told(second, 11, 0)
			told(second, 40000, 0)
			told(second, 3, 1)
			under(ours)
			if at := g.board.carried(0, 1).out; at != pbxSSRC<<32|1<<16|10 {
				t.Errorf("an engine to come would go on at %#x", at)
			}
			if v := g.tell(voice(10, pbxSSRC)); v.Why == Accepted {
				t.Error("an index served twice")
			}
			told(first, 11, 1)
			under(77)
			told(second, 4, 1)
		})
	}
}

// A key of ours that has changed while no engine was there begins anew as any other does, however often an engine is lost; the one before
// it, should it come back, goes on where it stood.
func TestAKeyThatChangesBetweenEngines(t *testing.T) {
	for _, suite := range allSuites {
		t.Run(suite.String(), func(t *testing.T) {
			first, second := newPlainly(suite, masterOf(ours)), newPlainly(suite, masterOf(77))
			g := newGuarded(suite, resume{})
			told := func(by *plainly, seq uint16, roc uint32) {
				t.Helper()
				if v := g.tell(voice(seq, pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, by.rtp(voice(seq, pbxSSRC), 12, roc)) {
					t.Fatalf("%d: %v", seq, v.Why)
				}
			}
			told(first, 30000, 0)
			told(first, 60000, 0)
			told(first, 10, 1)
			keys := g.crypto
			keys.Send = masterOf(77)
			for range 3 {
				g = newGuardedBy(keys, g.board.carried(0, 1))
			}
			told(second, 11, 0)
			told(second, 40000, 0)
			told(second, 3, 1)
			g = newGuardedBy(keys, g.board.carried(0, 1))
			told(second, 4, 1)
		})
	}
}

func TestAKeyThatComesBackBehindALoss(t *testing.T) {
	for _, suite := range allSuites {
		first := newPlainly(suite, masterOf(ours))
		g := newGuarded(suite, resume{})
		for _, seq := range []uint16{30000, 60000, 10} {
			g.tell(voice(seq, pbxSSRC))
		}
		keys := g.crypto
		keys.Send = masterOf(77)
		g = newGuardedBy(keys, g.board.carried(0, 1))
		g.tell(voice(11, pbxSSRC))
		g.crypto.Send = masterOf(ours)
		g.apply(resume{})
		if v := g.tell(voice(10, pbxSSRC)); v.Why == Accepted {
			t.Errorf("%v: an index served twice", suite)
		}
		if v := g.tell(voice(11, pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, first.rtp(voice(11, pbxSSRC), 12, 1)) {
			t.Errorf("%v: it does not go on: %v", suite, v.Why)
		}
	}
}

// A peer whose key has changed meanwhile may go on counting, or have begun anew.
func TestThePeersKeyChangesBetweenEngines(t *testing.T) {
	for _, suite := range allSuites {
		for _, roc := range []uint32{0, 1} {
			peer, next := newPlainly(suite, masterOf(theirs)), newPlainly(suite, masterOf(78))
			g := newGuarded(suite, resume{})
			for _, i := range []uint64{30000, 60000, 65536 + 10} {
				if v := g.hear(peer.rtp(voice(uint16(i), peerSSRC), 12, uint32(i>>16))); v.Why != Accepted {
					t.Fatal(v.Why)
				}
			}
			keys := g.crypto
			keys.Receive = masterOf(78)
			for range 2 {
				g = newGuardedBy(keys, g.board.carried(0, 1))
			}
			for seq := uint16(11); seq < 14; seq++ {
				in := voice(seq, peerSSRC)
				if v := g.hear(next.rtp(in, 12, roc)); v.Why != Accepted || !bytes.Equal(v.Data, in) {
					t.Fatalf("%v, round %d: %v", suite, roc, v.Why)
				}
			}
			if r := g.board.carried(0, 1); r.in != peerSSRC<<32|uint64(roc)<<16|13 || uint16(r.marks>>16) != markOf(suite, &keys.Receive) {
				t.Errorf("%v, round %d: an engine to come would go on at %+v", suite, roc, r)
			}
		}
	}
}

// Once there are too many keys to be told apart, a packet that comes late is none that was sent under one of them.
func TestALatePacketUnderManyKeys(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	told := func(seq uint16) bool { return g.tell(voice(seq, pbxSSRC)).Why == Accepted }
	under := func(seed byte) {
		g.crypto.Send = masterOf(seed)
		g.apply(resume{})
	}
	if !told(110) {
		t.Fatal("the first packet is refused")
	}
	for key := range byte(spentKept) {
		under(100 + key)
	}
	if !told(112) {
		t.Fatal("a packet under the last key is refused")
	}
	under(200)
	under(ours)
	if told(110) {
		t.Error("an index served twice")
	}
	if !told(113) {
		t.Error("the next packet is refused")
	}
}

// However many keys come and go, no index serves twice under one of them.
func TestNoIndexServesTwiceUnderManyKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGuarded(AES128CM80, resume{})
		type place struct {
			key   byte
			ssrc  uint32
			index uint64
		}
		used := map[place]bool{}
		key := byte(ours)
		seqs := map[uint32]uint16{}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "rekey") == 0 {
				key = byte(rapid.IntRange(0, 3*spentKept/2).Draw(t, "key")) * 8
				g.crypto.Send = masterOf(key)
				g.apply(resume{})
			}
			ssrc := uint32(rapid.IntRange(1, 3).Draw(t, "ssrc"))
			seqs[ssrc] += uint16(rapid.SampledFrom([]int{1, 1, 2, 65535, 20000, 30000}).Draw(t, "step"))
			v := g.tell(voice(seqs[ssrc], ssrc))
			if v.Why != Accepted {
				continue
			}
			by, found := newPlainly(AES128CM80, masterOf(key)), false
			seq := uint16(v.Data[2])<<8 | uint16(v.Data[3])
			for roc := uint32(0); roc < 80 && !found; roc++ {
				if found = bytes.Equal(v.Data, by.rtp(shifted(voice(seqs[ssrc], ssrc), seq), 12, roc)); found {
					at := place{key, ssrc, uint64(roc)<<16 | uint64(seq)}
					if used[at] {
						t.Fatalf("twice: %+v", at)
					}
					used[at] = true
				}
			}
			if !found {
				t.Fatal("under no index that could be found")
			}
		}
	})
}

// What was sent before we had the key is lost. Where the numbers wrap in it, the first packet that is heard counts as the second
// round's.
func TestFirstHeardBehindTheWrap(t *testing.T) {
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		peer := newPlainly(suite, masterOf(theirs))
		for _, x := range []struct {
			seq uint16
			roc uint32
			why Rejection
		}{{3, 1, Accepted}, {3, 1, RejectedAuth}, {4, 1, Accepted}, {65534, 0, Accepted}, {5, 0, RejectedAuth}, {5, 2, RejectedAuth}, {5, 1, Accepted}} {
			in := voice(x.seq, peerSSRC)
			if v := g.hear(peer.rtp(in, 12, x.roc)); v.Why != x.why || x.why == Accepted && !bytes.Equal(v.Data, in) {
				t.Fatalf("%v: %d of round %d: %v", suite, x.seq, x.roc, v.Why)
			}
		}
		// Strangers leave nothing behind.
		wrong := newPlainly(suite, masterOf(99))
		for n := range uint32(1000) {
			g.now += 25e6
			if v := g.hear(wrong.rtp(voice(1, 5000+n), 12, 0)); v.Why != RejectedAuth {
				t.Fatal(v.Why)
			}
		}
		if states := g.secured[0].in.states; states > maxStates {
			t.Errorf("%d states", states)
		}
	}
}

// A key of ours may change while there are calls, when nobody collects what is left on the heap.
func TestAMarkDoesNotAllocate(t *testing.T) {
	master := [maxKey]byte{1, 2, 3}
	if n := testing.AllocsPerRun(100, func() { markOf(AES128CM80, &master) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
