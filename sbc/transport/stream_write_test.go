package transport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// mute connects a peer that reads nothing after its first message.
func (y *yard) mute(from, id string) (*peer, nat.Flow) {
	y.Helper()
	p := newPeer(y.T, y.plug(from), false)
	if !p.send(request("REGISTER", id)) {
		y.Fatal("cannot send")
	}
	return p, y.flow()
}

// A peer that reads nothing is dropped, and holds nobody up meanwhile.
func TestPeerThatNeverReads(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		p, f := y.mute(theirs, "a")
		y.set.Keep(f, true)
		other := y.connect("203.0.113.21:5060")
		other.send(request("REGISTER", "b"))
		start, sent := time.Now(), 0
		var err error
		for err == nil {
			if err = y.set.Send(f, []byte(strings.Repeat("x", 100))); err == nil {
				sent++
			}
			if sent%10 == 0 {
				synctest.Wait()
			}
		}
		if !errors.Is(err, ErrSlow) || sent < 64 || sent > 200 || time.Since(start) != 0 {
			t.Errorf("%d messages went into the queue, then %v, after %v", sent, err, time.Since(start))
		}
		if b := y.set.Streams().Buffers.Now; b != int64(100*sent) {
			t.Errorf("%d bytes are counted of %d messages", b, sent)
		}
		if err := y.set.Send(y.flow(), []byte("y")); err != nil || other.text() != "y" {
			t.Errorf("another peer waits: %v", err)
		}
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if err := y.set.Send(f, []byte("x")); !errors.Is(err, ErrGone) {
			t.Errorf("after 8 s: %v", err)
		}
		if c := y.counters(); c.ClosedSlow != 1 || len(y.in.closed()) != 1 || y.set.Streams().Buffers.Now != 0 {
			t.Errorf("%+v, %+v", c, y.set.Streams())
		}
		if p.write(request("INVITE", "late")) {
			t.Error("it can still send")
		}
	})
}

// Who reads slowly is served: only who reads nothing for too long is not.
func TestSlowReader(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		p, f := y.mute(theirs, "a")
		y.set.Keep(f, true)
		want := strings.Repeat("0123456789", 6000)
		if err := y.set.Send(f, []byte(want)); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for buf := make([]byte, 4096); got.Len() < len(want); time.Sleep(time.Second) {
			n, err := p.Read(buf)
			if got.Write(buf[:n]); err != nil {
				t.Fatalf("after %d bytes: %v", got.Len(), err)
			}
		}
		if got.String() != want {
			t.Error("bytes are lost or mixed")
		}
		_ = p.Close()
	})
}

func TestQueueLimits(t *testing.T) {
	for _, c := range []struct {
		known      bool
		size, most int
	}{
		{false, 1, 64}, {false, 2000, 32}, {true, 1, 4096}, {true, 2000, 524},
	} {
		inYard(t, func(conf *Config) {
			conf.Known = func(*nat.Interface, netip.Addr) bool { return c.known }
		}, func(y *yard) {
			p, f := y.mute(theirs, "a")
			_ = y.set.Send(f, []byte("w")) // the writer waits with it
			synctest.Wait()
			n := 0
			for ; y.set.Send(f, make([]byte, c.size)) == nil; n++ {
			}
			if n != c.most {
				t.Errorf("%+v: %d messages went into the queue", c, n)
			}
			if got := y.set.Counters()[0].Failed; got != 1 {
				t.Errorf("%d failed", got)
			}
			_ = p.Close()
		})
	}
}

// Replies of this room's own wait in the same queue, and are dropped when it is full.
func TestRepliesToOneWhoDoesNotRead(t *testing.T) {
	inYard(t, func(c *Config) { c.Guard = guardFunc(known) }, func(y *yard) {
		p := newPeer(t, y.plug(theirs), false)
		for i := 0; p.write(request("INVITE", fmt.Sprint(i), "CSeq: 1 OPTIONS"), ping); i++ {
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		c := y.set.Counters()[0]
		if c.Replies < 60 || c.Replies > 130 || y.counters().ClosedSlow != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func TestSendErrors(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		p := y.connect(theirs)
		p.send(request("REGISTER", "a"))
		f := y.flow()
		for _, c := range []struct {
			name   string
			change func(f *nat.Flow)
			want   error
		}{
			{"another connection", func(f *nat.Flow) { f.Conn += 1000 }, ErrGone},
			{"another address", func(f *nat.Flow) { f.Remote = netip.MustParseAddrPort("203.0.113.99:5060") }, ErrGone},
			{"another port", func(f *nat.Flow) { f.Remote = netip.AddrPortFrom(f.Remote.Addr(), 1) }, ErrGone},
			{"another transport", func(f *nat.Flow) { f.Transport = nat.TLS }, ErrNoInterface},
			{"datagram", func(f *nat.Flow) { f.Transport = nat.UDP }, ErrNoInterface},
			{"another interface", func(f *nat.Flow) { f.Interface = 9 }, ErrNoInterface},
			{"nowhere", func(f *nat.Flow) { f.Conn, f.Remote = 0, netip.AddrPort{} }, errNowhere},
			{"port 0", func(f *nat.Flow) { f.Conn, f.Remote = 0, netip.AddrPortFrom(f.Remote.Addr(), 0) }, errNowhere},
			{"other family", func(f *nat.Flow) { f.Conn, f.Remote = 0, netip.MustParseAddrPort("[2001:db8::1]:5060") }, errNowhere},
		} {
			bad := f
			c.change(&bad)
			if err := y.set.Send(bad, []byte("x")); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
			if bad.Conn != 0 && (y.set.Keep(bad, true) || y.set.CloseFlow(bad)) {
				t.Errorf("%s: taken for a live one", c.name)
			}
		}
		if y.calls() != 0 || p.text() != "" {
			t.Errorf("%d dialled", y.calls())
		}
		for _, kept := range []bool{true, true, false} {
			if !y.set.Keep(f, kept) || y.set.Streams().Kept.High != 1 {
				t.Errorf("Keep(%v): %+v", kept, y.set.Streams())
			}
		}
		_ = y.set.Send(f, []byte("last words"))
		if !y.set.CloseFlow(f) {
			t.Error("CloseFlow")
		}
		if over, _ := p.closed(); !over || p.text() != "last words" || y.counters().ClosedAsked != 1 {
			t.Errorf("%+v", y.counters())
		}
		if y.set.CloseFlow(f) || y.set.Keep(f, true) || !errors.Is(y.set.Send(f, nil), ErrGone) {
			t.Error("a closed connection still does something")
		}
		y.set.Close()
		if err := y.set.Send(f, nil); !errors.Is(err, ErrNoInterface) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestCloseWhere: those that are picked end, with what was queued on them; our own stay.
func TestCloseWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, nil)
		defer y.close()
		bad := y.connect(theirs)
		bad.send(request("REGISTER", "a"))
		badFlow := y.flow()
		good := y.connect("203.0.113.44:5060")
		good.send(request("REGISTER", "b"))
		goodFlow := y.flow()
		y.must(pbx, "hello")
		y.must(badFlow, "last words")
		asked := 0
		n := y.set.CloseWhere(func(face *nat.Interface, remote netip.AddrPort) bool {
			asked++
			return face.ID == badFlow.Interface && remote == badFlow.Remote
		})
		synctest.Wait()
		if over, _ := bad.closed(); !over || bad.text() != "last words" || n != 1 || asked != 2 {
			t.Errorf("%d of %d closed, the connection's end: %t, it heard %q", n, asked, over, bad.text())
		}
		if over, _ := good.closed(); over || y.set.Send(goodFlow, []byte("x")) != nil {
			t.Error("another connection ended")
		}
		if y.counters().ClosedAsked != 1 || y.set.CloseWhere(func(*nat.Interface, netip.AddrPort) bool { return false }) != 0 {
			t.Errorf("%+v", y.counters())
		}
	})
}

// TestUnwelcome: who is not wanted is closed at once and counts for nothing.
func TestUnwelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, func(c *Config) {
			c.Unwelcome = func(face *nat.Interface, remote netip.AddrPort) bool {
				return face.Transport == nat.TCP && remote == netip.MustParseAddrPort(theirs)
			}
		})
		defer y.close()
		bad, good := y.connect(theirs), y.connect("203.0.113.44:5060")
		good.send(request("REGISTER", "b"))
		if over, _ := bad.closed(); !over || y.set.Streams().Open.High != 1 || y.ids() != "b" {
			t.Errorf("closed %t, %+v, delivered %q", over, y.set.Streams(), y.ids())
		}
		if over, _ := good.closed(); over {
			t.Error("another one is closed")
		}
	})
}

// A flow's message reaches its own connection or nobody: not the next one from the same address and port, nor the one
// that we dialled there.
func TestFlowIsolation(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 1000), 2, 2), 1, 40).Draw(r, "steps")
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, nil)
			if err := isolate(y, steps); err != nil {
				r.Errorf("%v", err)
			}
			y.close()
		})
	})
}

func isolate(y *yard, steps [][]int) error {
	type end struct {
		*peer
		flow nat.Flow
		mark string
		open bool
	}
	var ends []*end
	for i, step := range steps {
		e := &end{}
		if len(ends) > 0 {
			e = ends[step[1]%len(ends)]
		}
		switch do := step[0] % 5; {
		case do == 0 || len(ends) == 0: // always the same address and port
			p := y.connect(theirs)
			p.send(request("REGISTER", fmt.Sprint(i)))
			ends = append(ends, &end{peer: p, flow: y.flow(), mark: fmt.Sprintf("<%d>", i), open: true})
		case do == 1:
			_ = e.Close()
			e.open = false
		case do == 2:
			y.set.CloseFlow(e.flow)
			e.open = false
		case do == 3:
			dial := e.flow
			dial.Conn = 0
			if err := y.set.Send(dial, []byte("<dialled>")); err != nil {
				return err
			}
		default:
			if err := y.set.Send(e.flow, []byte(e.mark)); e.open != (err == nil) || !e.open && !errors.Is(err, ErrGone) {
				return fmt.Errorf("open: %v, sending: %w", e.open, err)
			}
		}
		synctest.Wait()
	}
	for _, e := range ends {
		if rest := strings.ReplaceAll(e.text(), e.mark, ""); rest != "" {
			return fmt.Errorf("%s got %q", e.mark, rest)
		}
	}
	for _, p := range y.dialled {
		if rest := strings.ReplaceAll(p.text(), "<dialled>", ""); rest != "" {
			return fmt.Errorf("whom we dialled got %q", rest)
		}
	}
	return nil
}

// Many senders, one order: what is sent arrives whole and in the order of sending.
func TestOrderOfSending(t *testing.T) {
	inYard(t, func(c *Config) {
		c.Known = func(*nat.Interface, netip.Addr) bool { return true }
	}, func(y *yard) {
		p := y.connect(theirs)
		p.send(request("REGISTER", "a"))
		f := y.flow()
		var want strings.Builder
		for i := range 5000 {
			text := fmt.Sprintf("%d.", i)
			for y.set.Send(f, []byte(text)) != nil {
				time.Sleep(time.Millisecond)
			}
			want.WriteString(text)
			if rand.IntN(50) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if p.text() != want.String() {
			t.Error("lost, doubled or out of order")
		}
	})
}
