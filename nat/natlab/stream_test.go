package natlab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// wire is a network with a stream from A to port 5060 of B.
type wire struct {
	*Network
	t          *testing.T
	accepting  *Listener
	dialled, b *Stream
}

// wired runs f in a bubble.
func wired(t *testing.T, o Options, f func(t *testing.T, w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{Network: New(o), t: t}
		defer w.Close()
		w.accepting = serve(t, w.Host(addrB), 5060)
		w.dialled, w.b = w.connect(w.Host(addrA))
		f(t, w)
	})
}

func serve(t *testing.T, h *Host, port uint16) *Listener {
	t.Helper()
	l, err := h.ListenStream(netip.AddrPortFrom(h.Addr(), port))
	if err != nil {
		t.Fatal(err)
	}
	return l.(*Listener)
}

// connect makes one more stream to the listener.
func (w *wire) connect(from *Host) (dialled, accepted *Stream) {
	w.t.Helper()
	c, err := from.DialStream(w.t.Context(), netip.AddrPort{}, w.accepting.local)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.accepting.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	return c.(*Stream), a.(*Stream)
}

// say writes and expects the peer to read the same.
func say(t *testing.T, from, to *Stream, text string) {
	t.Helper()
	if _, err := from.Write([]byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(to, buf); err != nil || string(buf) != text {
		t.Fatalf("read %q: %v", buf, err)
	}
}

// readError reads until the stream fails or a virtual hour has passed.
func readError(s *Stream) error {
	_ = s.SetReadDeadline(time.Now().Add(time.Hour))
	_, err := io.Copy(io.Discard, struct{ io.Reader }{s})
	return err
}

func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestStreamBothWays(t *testing.T) {
	wired(t, Options{Link: Link{Delay: time.Second}}, func(t *testing.T, w *wire) {
		if got := time.Since(w.start); got != 3*time.Second {
			t.Errorf("SYN, its answer and its acknowledgement took %v", got)
		}
		start := time.Now()
		say(t, w.dialled, w.b, "REGISTER")
		say(t, w.b, w.dialled, "401")
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("there and back took %v", got)
		}
		if got := w.b.RemoteAddr().String(); got != w.dialled.LocalAddr().String() {
			t.Errorf("B sees %s, A is %s", got, w.dialled.LocalAddr())
		}
		if got := w.dialled.RemoteAddr().String(); got != w.accepting.Addr().String() {
			t.Errorf("A sees %s", got)
		}
		if c := w.Counters(); c.Segments == 0 || c.Sent != 0 || c.Delivered != 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestDialFails(t *testing.T) {
	at := netip.AddrPortFrom(addrB, 5060)
	for _, c := range []struct {
		name   string
		setup  func(n *Network)
		local  netip.AddrPort
		remote netip.AddrPort
		limit  time.Duration
		want   error
		after  time.Duration
	}{
		{"refused", func(n *Network) { n.Host(addrB) }, netip.AddrPort{}, at, 0, syscall.ECONNREFUSED, 0},
		{"hidden", func(n *Network) { n.Host(addrB).Hide(true) }, netip.AddrPort{}, at, 0, syscall.ETIMEDOUT, dialFor},
		{"nobody", func(*Network) {}, netip.AddrPort{}, at, 0, syscall.ETIMEDOUT, dialFor},
		{"down", func(n *Network) { n.Host(addrB).Down(true) }, netip.AddrPort{}, at, 0, syscall.ETIMEDOUT, dialFor},
		{"impatient", func(*Network) {}, netip.AddrPort{}, at, 5 * time.Second, context.DeadlineExceeded, 5 * time.Second},
		{"too late", func(*Network) {}, netip.AddrPort{}, at, time.Nanosecond, context.DeadlineExceeded, time.Nanosecond},
		{"another's address", func(*Network) {}, netip.AddrPortFrom(addrC, 0), at, 0, syscall.EADDRNOTAVAIL, 0},
		{"port 0", func(*Network) {}, netip.AddrPort{}, netip.AddrPortFrom(addrB, 0), 0, syscall.EINVAL, 0},
		{"across families", func(*Network) {}, netip.AddrPort{}, netip.MustParseAddrPort("[2001:db8::1]:1"), 0, syscall.EINVAL, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(Options{})
				defer n.Close()
				c.setup(n)
				ctx := t.Context()
				if c.limit > 0 {
					limited, cancel := context.WithTimeout(ctx, c.limit)
					defer cancel()
					ctx = limited
				}
				start := time.Now()
				_, err := n.Host(addrA).DialStream(ctx, c.local, c.remote)
				var op *net.OpError
				if !errors.Is(err, c.want) || !errors.As(err, &op) || op.Op != "dial" {
					t.Errorf("%v", err)
				}
				// The last repeat of a SYN may be up to a minute before the patience ends.
				if got := time.Since(start); got < c.after || got > c.after+mostRTO {
					t.Errorf("after %v", got)
				}
				if h := n.Host(addrA); len(h.streams) != 0 {
					t.Errorf("%d streams stay", len(h.streams))
				}
			})
		})
	}
}

func TestHalfClose(t *testing.T) {
	wired(t, Options{Link: Link{Delay: time.Second}}, func(t *testing.T, w *wire) {
		if _, err := w.dialled.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		if err := w.dialled.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(w.b); err != nil || string(got) != "last words" {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := w.dialled.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after it: %v", err)
		}
		say(t, w.b, w.dialled, "the answer")
		_ = w.b.Close()
		if got, err := io.ReadAll(w.dialled); err != nil || len(got) != 0 {
			t.Errorf("%q, %v", got, err)
		}
		_ = w.dialled.Close()
		time.Sleep(time.Minute)
		w.gone()
	})
}

// gone checks that no stream is remembered.
func (w *wire) gone() {
	w.t.Helper()
	if a, b := w.streams(addrA), w.streams(addrB); a+b != 0 {
		w.t.Errorf("%d and %d streams stay", a, b)
	}
}

// streams is how many a host remembers.
func (w *wire) streams(addr netip.Addr) int {
	h := w.Host(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(h.streams)
}

func TestCloseSendsWhatWasWritten(t *testing.T) {
	wired(t, Options{Link: Link{Delay: time.Second, Loss: 0.2}, Seed: 1}, func(t *testing.T, w *wire) {
		want := pattern(50_000)
		if _, err := w.dialled.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := w.dialled.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.dialled.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if got, err := io.ReadAll(w.b); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		_ = w.b.Close()
		time.Sleep(time.Hour)
		w.gone()
	})
}

func TestResets(t *testing.T) {
	for name, do := range map[string]func(w *wire){
		"linger 0":          func(w *wire) { _ = w.dialled.SetLinger(0); _ = w.dialled.Close() },
		"unread bytes":      func(w *wire) { _, _ = w.b.Write([]byte("x")); _ = w.dialled.Close() },
		"written to closed": func(w *wire) { _ = w.dialled.Close(); _, _ = w.b.Write([]byte("x")) },
		"peer restarted":    func(w *wire) { w.Host(addrA).Restart(); _, _ = w.b.Write([]byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			wired(t, Options{}, func(t *testing.T, w *wire) {
				do(w)
				if err := readError(w.b); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read: %v", err)
				}
				if _, err := w.b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("write: %v", err)
				}
				if err := w.b.CloseWrite(); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("half close: %v", err)
				}
				_ = w.b.Close()
				w.gone()
			})
		})
	}
}

// What came before a reset may still be read.
func TestBytesBeforeTheResetAreRead(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		_, _ = w.dialled.Write([]byte("BYE"))
		_ = w.dialled.SetLinger(0)
		_ = w.dialled.Close()
		buf := make([]byte, 3)
		if _, err := io.ReadFull(w.b, buf); err != nil || string(buf) != "BYE" {
			t.Errorf("%q, %v", buf, err)
		}
	})
}

// A cable that is cut and mended costs time, no bytes; one that stays cut costs the connection, at the end.
func TestCutCable(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		w.Host(addrA).Down(true)
		if _, err := w.b.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.Host(addrA).Down(false)
		buf := make([]byte, 4)
		if _, err := io.ReadFull(w.dialled, buf); err != nil || string(buf) != "late" {
			t.Errorf("%q, %v", buf, err)
		}

		time.Sleep(24 * time.Hour) // an idle connection needs nobody
		w.Host(addrA).Down(true)
		start := time.Now()
		if _, err := w.b.Write([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		if err := readError(w.b); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%v", err)
		}
		if got := time.Since(start); got < giveUp || got > giveUp+mostRTO {
			t.Errorf("gave up after %v", got)
		}
	})
}

// A peer that does not read blocks the writer, and nothing grows.
func TestPeerThatNeverReads(t *testing.T) {
	const window = 10_000
	wired(t, Options{Window: window}, func(t *testing.T, w *wire) {
		_ = w.dialled.SetWriteDeadline(time.Now().Add(time.Hour))
		n, err := w.dialled.Write(pattern(100_000))
		if n != 2*window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes written, %v", n, err)
		}
		w.mu.Lock()
		if len(w.b.in) != window || len(w.dialled.out) != window || len(w.transit) > 3 {
			t.Errorf("%d received, %d wait, %d under way", len(w.b.in), len(w.dialled.out), len(w.transit))
		}
		w.mu.Unlock()
		var nerr net.Error
		if !errors.As(err, &nerr) || !nerr.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		// It reads at last.
		_ = w.dialled.SetWriteDeadline(time.Time{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = w.dialled.Write(pattern(100_000)[n:])
			_ = w.dialled.Close()
		})
		if got, err := io.ReadAll(w.b); err != nil || !bytes.Equal(got, pattern(100_000)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		wg.Wait()
	})
}

func TestStreamDeadlines(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		buf := make([]byte, 1)
		_ = w.b.SetDeadline(time.Now().Add(-time.Second))
		if _, err := w.b.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if _, err := w.b.Write(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
		_ = w.b.SetReadDeadline(time.Now().Add(time.Second))
		_ = w.b.SetReadDeadline(time.Now().Add(time.Minute)) // replaces it
		start := time.Now()
		if _, err := w.b.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_ = w.b.SetDeadline(time.Time{})
		say(t, w.dialled, w.b, "x")
		if n, err := w.b.Read(nil); n != 0 || err != nil {
			t.Errorf("empty read: %d, %v", n, err)
		}

		_ = w.accepting.SetDeadline(time.Now().Add(time.Second))
		if _, err := w.accepting.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("accept: %v", err)
		}
		_ = w.accepting.SetDeadline(time.Time{})
		w.connect(w.Host(addrC))
	})
}

// Writers do not mix, whatever the window.
func TestWritesAreWhole(t *testing.T) {
	wired(t, Options{Window: 777}, func(t *testing.T, w *wire) {
		var wg sync.WaitGroup
		for i := range byte(4) {
			wg.Go(func() {
				for range 5 {
					if _, err := w.dialled.Write(bytes.Repeat([]byte{i}, 1000)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		buf := make([]byte, 1000)
		for range 20 {
			if _, err := io.ReadFull(w.b, buf); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf, bytes.Repeat(buf[:1], 1000)) {
				t.Fatal("two writes were mixed")
			}
		}
		wg.Wait()
	})
}

// Whatever the link, a stream delivers every byte once and in order, both ways at a time, and ends well.
func TestStreamOverAnyLink(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		share := rapid.Float64Range(0, 0.3)
		o := Options{
			Seed:   rapid.Uint64().Draw(rt, "seed"),
			Window: rapid.IntRange(1, 20_000).Draw(rt, "window"),
			Link: Link{
				Loss: share.Draw(rt, "loss"), Duplicate: share.Draw(rt, "duplicate"),
				Delay:   time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "delay")),
				Jitter:  time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "jitter")),
				Reorder: rapid.Bool().Draw(rt, "reorder"),
			},
		}
		size := rapid.IntRange(0, 5*o.Window).Draw(rt, "size")
		chunk := rapid.IntRange(1, 5000).Draw(rt, "chunk")
		wired(t, o, func(t *testing.T, w *wire) {
			want := pattern(size)
			var wg sync.WaitGroup
			for _, s := range []*Stream{w.dialled, w.b} {
				wg.Go(func() {
					for part := range bytesBy(want, chunk) {
						if _, err := s.Write(part); err != nil {
							t.Errorf("write: %v", err)
						}
					}
					_ = s.CloseWrite()
				})
				wg.Go(func() {
					h := sha256.New()
					if n, err := io.Copy(h, s); err != nil || n != int64(size) || [32]byte(h.Sum(nil)) != sha256.Sum256(want) {
						t.Errorf("%d of %d bytes, or others: %v", n, size, err)
					}
				})
			}
			wg.Wait()
			_, _ = w.dialled.Close(), w.b.Close()
			time.Sleep(2 * time.Hour)
			w.gone()
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.transit) != 0 {
				t.Errorf("%d things under way", len(w.transit))
			}
		})
	})
}

func bytesBy(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(size, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}
