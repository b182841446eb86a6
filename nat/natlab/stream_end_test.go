package natlab

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCloseWakesAReader(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: %v", err)
			}
		})
		synctest.Wait()
		_ = w.b.Close()
		wg.Wait()
		for what, err := range map[string]error{
			"write": second(w.b.Write([]byte("x"))), "half close": w.b.CloseWrite(), "deadline": w.b.SetDeadline(time.Now()),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	})
}

func second(_ int, err error) error { return err }

// A closed end waits a minute for its peer's end; whoever speaks later is told that nobody is there.
func TestPeerThatNeverCloses(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		_ = w.dialled.Close()
		if _, err := w.b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		time.Sleep(orphanFor - 1)
		if n := w.streams(addrA); n != 1 {
			t.Errorf("%d streams of A before its time", n)
		}
		time.Sleep(1 * time.Nanosecond)
		synctest.Wait()
		if n := w.streams(addrA); n != 0 {
			t.Errorf("%d streams of A stay", n)
		}
		_, _ = w.b.Write([]byte("x"))
		if err := w.b.CloseWrite(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v", err)
		}
	})
}

// RFC 5961: a machine that comes up again and dials from the same port gets its connection, and the old one ends.
func TestRestartAndDialFromTheSamePort(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		local := w.dialled.local
		listening, err := w.Host(addrA).ListenUDP(1)
		if err != nil {
			t.Fatal(err)
		}
		w.Host(addrA).Restart()
		if _, err := w.dialled.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a stream outlives its machine: %v", err)
		}
		if _, _, err := listening.ReadFromUDPAddrPort(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a socket outlives its machine: %v", err)
		}
		c, err := w.Host(addrA).DialStream(t.Context(), local, w.accepting.local)
		if err != nil {
			t.Fatal(err)
		}
		if err := readError(w.b); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the old one: %v", err)
		}
		again, err := w.accepting.Accept()
		if err != nil {
			t.Fatal(err)
		}
		say(t, c.(*Stream), again.(*Stream), "REGISTER")
		if _, err := w.Host(addrA).DialStream(t.Context(), local, w.accepting.local); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a third from that port: %v", err)
		}
	})
}

// Who does not see the connection cannot end it, nor put bytes into it (RFC 5961 §3).
func TestForgedSegments(t *testing.T) {
	for name, g := range map[string]segment{
		"reset, old number": {rst: true, seq: 1},
		"reset, far ahead":  {rst: true, seq: 1 << 60},
		"bytes, old number": {ack: true, seq: 1, acked: 1},
		"bytes, far ahead":  {ack: true, seq: 1 << 60, acked: 1},
		"acknowledgement":   {ack: true, seq: 1, acked: 1 << 60},
		"SYN":               {syn: true, seq: 1},
		"end, no number":    {fin: true, seq: 1},
	} {
		t.Run(name, func(t *testing.T) {
			wired(t, Options{}, func(t *testing.T, w *wire) {
				w.forge(&packet{src: w.dialled.local, dst: w.b.local, segment: &g, data: []byte("BYE")})
				say(t, w.dialled, w.b, "still here")
				say(t, w.b, w.dialled, "so am I")
			})
		})
	}
}

// forge puts a segment on the network as if its source had sent it.
func (w *wire) forge(p *packet) {
	w.t.Helper()
	if err := w.send(w.Network, p); err != nil {
		w.t.Fatal(err)
	}
}

func TestResetBeforeAccept(t *testing.T) {
	wired(t, Options{Link: Link{Delay: time.Millisecond}}, func(t *testing.T, w *wire) {
		c, err := w.Host(addrA).DialStream(t.Context(), netip.AddrPort{}, w.accepting.local)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_ = c.(*Stream).SetLinger(0)
		_ = c.Close()
		time.Sleep(time.Second)
		s, err := w.accepting.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := readError(s.(*Stream)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v", err)
		}
		// Half a handshake, then nothing: it does not stay for ever.
		w.Impair(addrB, addrA, Link{Loss: 1})
		w.forge(&packet{src: netip.AddrPortFrom(addrA, 9), dst: w.accepting.local, segment: &segment{syn: true, seq: 1}})
		time.Sleep(time.Second)
		if n := w.pending(); n != 1 {
			t.Errorf("%d pending", n)
		}
		time.Sleep(dialFor + mostRTO)
		if n := w.pending(); n != 0 {
			t.Errorf("%d pending after %v", n, dialFor+mostRTO)
		}
	})
}

func (w *wire) pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accepting.pending
}

func TestStreamIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{Network: New(Options{}), t: t}
		defer w.Close()
		w.accepting = serve(t, w.Host(netip.MustParseAddr("2001:db8::2")), 5061)
		a, b := w.connect(w.Host(netip.MustParseAddr("2001:db8::1")))
		say(t, a, b, string(pattern(5000)))
	})
}

// A flood to ever new remotes leaves no more in a mapping than what is still alive, twice over.
func TestSessionsAreForgotten(t *testing.T) {
	natted(t, NATOptions{}, func(t *testing.T, h *home) {
		for port := range uint16(20_000) {
			write(t, h.phone, netip.AddrPortFrom(addrC, port+1), []byte("x"))
			if port%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		h.mu.Lock()
		m := h.box.tables[0].find(h.now(), inner{private: addrOf(h.phone)})
		h.mu.Unlock()
		if live := 100 * 30; len(m.sessions) > 2*live+200 {
			t.Errorf("%d sessions", len(m.sessions))
		}
		before := h.mapped(h.phone, h.a1)
		time.Sleep(time.Minute)
		if after := h.mapped(h.phone, h.a1); after == before {
			t.Errorf("the mapping did not expire")
		}
	})
}
