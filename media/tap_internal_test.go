package media

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// keptCopy is a copy that outlives the ring's memory.
func keptCopy(t Tapped) Tapped {
	t.Data = bytes.Clone(t.Data)
	return t
}

// TestTapRingInOrder: whatever is put, amended, published and taken, the reader gets exactly what was published and found
// room, in order, and the rest is counted.
func TestTapRingInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newTapRing(rapid.IntRange(16, 200).Draw(rt, "size") * 8)
		var put, got []Tapped // put and not refused; got
		refused, lost, serial := 0, 0, int64(0)
		look := func() {
			list, missing, end := r.look()
			lost += missing
			for i := range list {
				got = append(got, keptCopy(list[i]))
			}
			r.release(end)
		}
		for range rapid.IntRange(1, 100).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				serial++
				data := bytes.Repeat([]byte{byte(serial)}, rapid.IntRange(0, 300).Draw(rt, "length"))
				c := Tapped{At: serial, Leg: int32(serial % 7), Generation: uint32(serial), Remote: Endpoint4([4]byte{1, 2, 3, byte(serial)}, 9), Sent: serial%2 == 0,
					Form: tapForms, Why: RejectedInternal, Data: data}
				at := r.put(&c)
				if at < 0 {
					refused++
					continue
				}
				if rapid.Bool().Draw(rt, "amend") && len(data) > 3 {
					c.Data, c.Form = []byte{1, 2, 3}, TapClear
					r.amend(at, c.Data)
				}
				c.Why = RejectedJunk
				r.judged(at, c.Why)
				put = append(put, c)
			case 2:
				r.publish()
			default:
				look()
			}
		}
		r.publish()
		for n := -1; n != len(got); {
			n = len(got)
			look()
		}
		if len(got) != len(put) || lost != refused {
			rt.Fatalf("%d of %d came, %d of %d losses told", len(got), len(put), lost, refused)
		}
		for i := range got {
			if a, b := got[i], put[i]; a.At != b.At || a.Leg != b.Leg || a.Generation != b.Generation || a.Remote != b.Remote || a.Sent != b.Sent ||
				a.Form != b.Form || a.Why != b.Why || !bytes.Equal(a.Data, b.Data) {
				rt.Fatalf("%d: %+v, want %+v", i, a, b)
			}
		}
	})
}

// TestTapRingBetweenThreads: a writer that does not wait and a reader on another thread; for the race detector.
func TestTapRingBetweenThreads(t *testing.T) {
	r := newTapRing(4096)
	const count = 50_000
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range int64(count) {
			r.put(&Tapped{At: i, Form: TapWire, Data: bytes.Repeat([]byte{byte(i)}, int(i%200))})
			r.publish()
			if i%64 == 0 {
				runtime.Gosched()
			}
		}
	})
	last, came, lost := int64(-1), 0, 0
	look := func() int {
		list, missing, end := r.look()
		for i := range list {
			c := &list[i]
			if c.At <= last || len(c.Data) != int(c.At%200) || len(bytes.Trim(c.Data, string([]byte{byte(c.At)}))) > 0 && byte(c.At) < 128 {
				t.Fatalf("after %d: %+v", last, c)
			}
			last = c.At
		}
		came, lost = came+len(list), lost+missing
		r.release(end)
		return len(list)
	}
	for ended := false; !ended || look() > 0; {
		select {
		case <-done:
			ended = true
		default:
			look()
		}
	}
	wg.Wait()
	if came+lost != count || came == 0 {
		t.Errorf("%d came and %d were lost of %d", came, lost, count)
	}
}

// taps is what an engine has copied since the last time.
func (g *guarded) taps(t *testing.T) (out []Tapped) {
	t.Helper()
	for g.Look(0, func(list []Tapped, lost int) {
		if lost > 0 {
			t.Errorf("%d lost", lost)
		}
		for i := range list {
			out = append(out, keptCopy(list[i]))
		}
	}) {
	}
	return out
}

// tapBoth taps both legs of the call.
func (g *guarded) tapBoth(form Tap) {
	g.Apply(g.now, &Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001), flags: flagSend | flagReceive | flagFinal | flagSecure,
		extras: extras{crypto: g.crypto, tap: form}})
	g.Apply(g.now, &Command{Leg: g.inside, Peer: 0, Generation: 1, rtp: pbxAt, rtcp: pbxAt.at(5001), flags: flagSend | flagReceive | flagFinal | flagInside,
		extras: extras{tap: form}})
}

// TestTapOfAProtectedLeg: of SRTP the wire's form, the plain one, or both are copied; forged packets with why.
func TestTapOfAProtectedLeg(t *testing.T) {
	for _, suite := range allSuites {
		for _, form := range []Tap{TapWire, TapClear, tapForms} {
			g := newGuarded(suite, resume{})
			g.tapBoth(form)
			peer, us := newPlainly(suite, masterOf(theirs)), newPlainly(suite, masterOf(ours))
			in, out, rr := voice(1, peerSSRC), voice(9, pbxSSRC), report(peerSSRC)
			sealed, answer := peer.rtp(in, 12, 0), us.rtp(out, 12, 0)
			forged := slices.Clone(sealed)
			forged[20] ^= 1
			g.hear(forged)
			g.hear(sealed)
			g.tell(out)
			g.hearControl(peer.rtcp(rr, 5))
			var want []Tapped
			add := func(leg int32, sent bool, remote Endpoint, f Tap, why Rejection, data []byte) {
				if f &= form; f != 0 {
					want = append(want, Tapped{At: g.now, Leg: leg, Generation: 1, Remote: remote, Sent: sent, Form: f, Why: why, Data: data})
				}
			}
			add(0, false, peerAt, tapForms, RejectedAuth, forged)
			add(0, false, peerAt, TapWire, Accepted, sealed)
			add(0, false, peerAt, TapClear, Accepted, in)
			add(g.inside, true, pbxAt, tapForms, Accepted, in)
			add(g.inside, false, pbxAt, tapForms, Accepted, out)
			add(0, true, peerAt, TapClear, Accepted, out)
			add(0, true, peerAt, TapWire, Accepted, answer)
			add(1, false, peerAt.at(4001), TapWire, Accepted, peer.rtcp(rr, 5))
			add(1, false, peerAt.at(4001), TapClear, Accepted, rr)
			add(g.inside+1, true, pbxAt.at(5001), tapForms, Accepted, rr)
			got := g.taps(t)
			if len(got) != len(want) {
				t.Fatalf("%v, form %d: %d copies, want %d: %+v", suite, form, len(got), len(want), got)
			}
			for i := range got {
				a, b := got[i], want[i]
				if b.Why == RejectedAuth {
					a.Data, b.Data = nil, nil // GCM clears what it cannot open; the wire's copy is made before
				}
				if !bytes.Equal(a.Data, b.Data) {
					t.Errorf("%v, form %d, copy %d: %x\nwant %x", suite, form, i, a.Data, b.Data)
				}
				a.Data, b.Data = nil, nil
				if a.At != b.At || a.Leg != b.Leg || a.Remote != b.Remote || a.Sent != b.Sent || a.Form != b.Form || a.Why != b.Why {
					t.Errorf("%v, form %d, copy %d: %+v\nwant %+v", suite, form, i, a, b)
				}
			}
		}
	}
}

// TestTapEnds: with the command that does not ask for it, and with the stream.
func TestTapEnds(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	g.tapBoth(TapWire)
	g.tell(voice(1, pbxSSRC))
	if n := len(g.taps(t)); n != 2 {
		t.Errorf("%d copies", n)
	}
	g.tapBoth(0)
	g.tell(voice(2, pbxSSRC))
	if n := len(g.taps(t)); n != 0 {
		t.Errorf("%d copies of a call that is not tapped any more", n)
	}
	g.tapBoth(TapWire)
	for _, leg := range []int32{0, g.inside} {
		g.Apply(g.now, &Command{Leg: leg, Peer: g.inside - leg, Generation: 1, Free: true})
	}
	g.tell(voice(3, pbxSSRC))
	if n := len(g.taps(t)); n != 0 {
		t.Errorf("%d copies on a free port", n)
	}
}

// TestTapCostsNoAllocation, nor does a full ring stop a packet.
func TestTapCostsNoAllocation(t *testing.T) {
	for _, form := range []Tap{0, TapWire, TapClear, tapForms} {
		g := newGuarded(NoCrypto, resume{})
		g.crypto = Crypto{}
		for _, c := range []Command{
			{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001), flags: flagSend | flagReceive | flagFinal, extras: extras{tap: form}},
			{Leg: g.inside, Peer: 0, Generation: 1, rtp: pbxAt, rtcp: pbxAt.at(5001), flags: flagSend | flagReceive | flagFinal | flagInside, extras: extras{tap: form}},
		} {
			g.Apply(g.now, &c)
		}
		b, seq := room(voice(1, peerSSRC)), uint16(1)
		full := 0
		if n := testing.AllocsPerRun(40_000, func() {
			seq++
			binary.BigEndian.PutUint16(b[2:], seq)
			if v := g.Packet(g.now, 0, peerAt, b); v.Why != Accepted {
				t.Fatal(v.Why)
			}
		}); n != 0 {
			t.Errorf("form %d: %v allocations", form, n)
		}
		g.Look(0, func(_ []Tapped, lost int) { full += lost })
		if (full > 0) != (form != 0) {
			t.Errorf("form %d: %d lost of 80,000 copies in a ring that nobody empties", form, full)
		}
	}
}

func FuzzDecodeTapped(f *testing.F) {
	c := Tapped{At: 5, Leg: 3, Generation: 9, Remote: peerAt, Sent: true, Form: TapClear, Why: RejectedAuth, Data: []byte("data")}
	f.Add(c.AppendTo(nil))
	f.Add(append(c.AppendTo(nil), 1))
	f.Add(make([]byte, tapHeadLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, rest, err := DecodeTapped(b)
		if err != nil {
			return
		}
		again, _, err := DecodeTapped(c.AppendTo(nil))
		if err != nil || again.At != c.At || again.Leg != c.Leg || again.Generation != c.Generation || again.Remote != c.Remote || again.Sent != c.Sent ||
			again.Form != c.Form || again.Why != c.Why || !bytes.Equal(again.Data, c.Data) || len(rest)+c.Size() != len(b) {
			t.Fatalf("%+v became %+v, %d bytes are left of %d", c, again, len(rest), len(b))
		}
	})
}

func BenchmarkPacketTapped(b *testing.B) {
	for _, tap := range []Tap{0, TapWire} {
		name := "untapped"
		if tap != 0 {
			name = "tapped"
		}
		b.Run(name, func(b *testing.B) {
			g := newGuarded(NoCrypto, resume{})
			for _, c := range []Command{
				{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001), flags: flagSend | flagReceive | flagFinal, extras: extras{tap: tap}},
				{Leg: g.inside, Peer: 0, Generation: 1, rtp: pbxAt, rtcp: pbxAt.at(5001), flags: flagSend | flagReceive | flagFinal | flagInside, extras: extras{tap: tap}},
			} {
				g.Apply(g.now, &c)
			}
			p, seq := room(voice(1, peerSSRC)), uint16(1)
			b.ReportAllocs()
			for b.Loop() {
				seq++
				binary.BigEndian.PutUint16(p[2:], seq)
				g.Packet(g.now, 0, peerAt, p)
				if seq%64 == 0 {
					g.Look(0, func([]Tapped, int) {})
				}
			}
		})
	}
}
