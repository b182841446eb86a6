package natlab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestListenerCloses(t *testing.T) {
	wired(t, Options{}, func(t *testing.T, w *wire) {
		waiting, err := w.Host(addrA).DialStream(t.Context(), netip.AddrPort{}, w.accepting.local)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Host(addrB).ListenStream(netip.AddrPortFrom(netip.IPv4Unspecified(), 5060)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("taken port: %v", err)
		}
		if _, err := w.Host(addrB).ListenStream(netip.AddrPortFrom(addrA, 5061)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("another's address: %v", err)
		}
		if err := w.accepting.Close(); err != nil {
			t.Fatal(err)
		}
		if err := readError(waiting.(*Stream)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("one that nobody accepted: %v", err)
		}
		say(t, w.dialled, w.b, "accepted ones live on")
		if _, err := w.accepting.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if err := w.accepting.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if err := w.accepting.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("deadline: %v", err)
		}
		l, err := w.Host(addrB).ListenStream(netip.AddrPort{})
		if err != nil || l.Addr().(*net.TCPAddr).Port < firstEphemeral {
			t.Errorf("%v, %v", l, err)
		}
	})
}

func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{Network: New(Options{}), t: t}
		defer w.Close()
		w.accepting = serve(t, w.Host(addrB), 5060)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		for i := range backlog + 1 {
			_, err := w.Host(addrA).DialStream(ctx, netip.AddrPort{}, w.accepting.local)
			if (err != nil) != (i == backlog) {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
		if _, err := w.accepting.Accept(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Host(addrA).DialStream(t.Context(), netip.AddrPort{}, w.accepting.local); err != nil {
			t.Errorf("after an Accept: %v", err)
		}
	})
}

func TestNetworkCloseWakesStreams(t *testing.T) {
	wired(t, Options{Window: 1000}, func(t *testing.T, w *wire) {
		var wg sync.WaitGroup
		for _, wait := range []func() error{
			func() error { _, err := w.dialled.Read(make([]byte, 1)); return err },
			func() error { _, err := w.dialled.Write(make([]byte, 9000)); return err },
			func() error { _, err := w.dialled.Write(make([]byte, 9000)); return err },
			func() error { _, err := w.accepting.Accept(); return err },
			func() error {
				_, err := w.Host(addrA).DialStream(t.Context(), netip.AddrPort{}, netip.AddrPortFrom(addrC, 1))
				return err
			},
		} {
			wg.Go(func() {
				if err := wait(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%v", err)
				}
			})
		}
		synctest.Wait()
		w.Close()
		wg.Wait()
		if _, err := w.Host(addrA).ListenStream(netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listen: %v", err)
		}
		if _, err := w.Host(addrA).DialStream(t.Context(), netip.AddrPort{}, w.accepting.local); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial: %v", err)
		}
	})
}
