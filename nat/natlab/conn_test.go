package natlab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestWriterKeepsItsBuffer(t *testing.T) {
	lab(t, Options{Link: Link{Delay: time.Second}}, func(t *testing.T, _ *Network, a, b *PacketConn) {
		out := []byte{0, 0, 0, 1}
		write(t, a, addrOf(b), out)
		out[3] = 9
		if got := drain(t, b); !slices.Equal(got, []int{1}) {
			t.Errorf("got %v, want what was in the buffer at the write", got)
		}
	})
}

func TestMTU(t *testing.T) {
	lab(t, Options{Link: Link{MTU: 1500}}, func(t *testing.T, n *Network, a, b *PacketConn) {
		write(t, a, addrOf(b), make([]byte, 1472))
		write(t, a, addrOf(b), make([]byte, 1473))
		if c := n.Counters(); c.Delivered != 1 || c.TooLong != 1 {
			t.Errorf("counters %+v", c)
		}
		if _, err := a.WriteToUDPAddrPort(make([]byte, maxDatagram+1), addrOf(b)); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("beyond UDP: %v", err)
		}
	})
}

func TestIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Link: Link{MTU: 1280}})
		defer n.Close()
		a := listen(t, n.Host(netip.MustParseAddr("2001:db8::1")), 5060)
		b := listen(t, n.Host(netip.MustParseAddr("2001:db8::2")), 5060)
		write(t, a, addrOf(b), make([]byte, 1232))
		write(t, a, addrOf(b), make([]byte, 1233))
		if c := n.Counters(); c.Delivered != 1 || c.TooLong != 1 {
			t.Errorf("counters %+v", c)
		}
		if _, err := a.WriteToUDPAddrPort(nil, netip.AddrPortFrom(addrA, 5060)); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("across families: %v", err)
		}
	})
}

func TestFullBufferDropsTheNewest(t *testing.T) {
	lab(t, Options{Buffer: 10 * (4 + perDatagram)}, func(t *testing.T, n *Network, a, b *PacketConn) {
		sendNumbers(t, a, b, 15)
		if got := drain(t, b); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("got %v", got)
		}
		if c := n.Counters(); c.Overflow != 5 {
			t.Errorf("counters %+v", c)
		}
		sendNumbers(t, a, b, 1)
		if got := drain(t, b); len(got) != 1 {
			t.Errorf("after reading, the buffer still does not take %v", got)
		}
		if err := b.SetReadBuffer(1); err != nil {
			t.Fatal(err)
		}
		sendNumbers(t, a, b, 2)
		if got := drain(t, b); len(got) != 1 {
			t.Errorf("an empty buffer takes one datagram whatever its size; got %v", got)
		}
		checkSum(t, n)
	})
}

func TestShortReadCuts(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, a, b *PacketConn) {
		write(t, a, addrOf(b), []byte("123456"))
		write(t, a, addrOf(b), []byte("next"))
		buf := make([]byte, 4)
		for _, want := range []string{"1234", "next"} {
			got, _, err := b.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:got]) != want {
				t.Errorf("got %q, %v", buf[:got], err)
			}
		}
		if c := n.Counters(); c.Truncated != 1 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestICMP(t *testing.T) {
	closed := netip.AddrPortFrom(addrB, 9)
	for _, c := range []struct {
		name  string
		setup func(n *Network)
		dst   netip.AddrPort
		want  bool
	}{
		{"not asked for", func(*Network) {}, closed, false},
		{"asked for", func(n *Network) { n.Host(addrA).ReceiveErrors(true) }, closed, true},
		{"hidden port", func(n *Network) { n.Host(addrA).ReceiveErrors(true); n.Host(addrB).Hide(true) }, closed, false},
		{"host is down", func(n *Network) { n.Host(addrA).ReceiveErrors(true); n.Host(addrB).Down(true) }, closed, false},
		{"no such host", func(n *Network) { n.Host(addrA).ReceiveErrors(true) }, netip.AddrPortFrom(addrC, 9), false},
		{"lost on its way back", func(n *Network) {
			n.Host(addrA).ReceiveErrors(true)
			n.Impair(addrB, addrA, Link{Loss: 1})
		}, closed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab(t, Options{Link: Link{Delay: time.Second}}, func(t *testing.T, n *Network, a, _ *PacketConn) {
				c.setup(n)
				write(t, a, c.dst, []byte("x"))
				start := time.Now()
				_ = a.SetReadDeadline(start.Add(time.Minute))
				_, _, err := a.ReadFromUDPAddrPort(make([]byte, 8))
				var icmp *ICMPError
				if got := errors.As(err, &icmp); got != c.want {
					t.Fatalf("%v", err)
				}
				if c.want && (icmp.Unreachable() != c.dst || !errors.Is(err, syscall.ECONNREFUSED) ||
					icmp.Error() == "" || n.Counters().ICMP != 1 || time.Since(start) < time.Second) {
					t.Errorf("%v after %v, counters %+v", err, time.Since(start), n.Counters())
				}
				checkSum(t, n)
			})
		})
	}
}

func TestHostDownAndUp(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, a, b *PacketConn) {
		n.Host(addrB).Down(true)
		sendNumbers(t, a, b, 1)
		write(t, b, addrOf(a), []byte{0, 0, 0, 0})
		n.Host(addrB).Down(false)
		if got := append(drain(t, a), drain(t, b)...); len(got) != 0 {
			t.Errorf("a dead host spoke or heard: %v", got)
		}
		sendNumbers(t, a, b, 1)
		if got := drain(t, b); len(got) != 1 {
			t.Error("the host did not come back")
		}
	})
}

func TestPorts(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, a, _ *PacketConn) {
		h := n.Host(addrA)
		if h != n.Host(addrA) || h.Addr() != addrA {
			t.Error("an address is one host")
		}
		if _, err := h.ListenUDP(5060); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("taken port: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		again := listen(t, h, 5060)
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if _, err := h.ListenUDP(5060); err == nil {
			t.Error("the second Close of the old socket freed the new one's port")
		}
		if again.LocalAddr().String() != "192.0.2.1:5060" {
			t.Errorf("local address %v", again.LocalAddr())
		}
		for range lastEphemeral - firstEphemeral + 1 {
			if c := listen(t, h, 0); c.local.Port() < firstEphemeral {
				t.Fatalf("ephemeral port %d", c.local.Port())
			}
		}
		if _, err := h.ListenUDP(0); err == nil {
			t.Error("more sockets than ports")
		}
	})
}

func TestDeadline(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, _ *Network, a, b *PacketConn) {
		buf := make([]byte, 8)
		_ = b.SetReadDeadline(time.Now().Add(-time.Second))
		if _, _, err := b.ReadFromUDPAddrPort(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("past deadline: %v", err)
		}
		// A replaced deadline does not fire.
		_ = b.SetReadDeadline(time.Now().Add(time.Second))
		_ = b.SetReadDeadline(time.Now().Add(time.Hour))
		start := time.Now()
		if _, _, err := b.ReadFromUDPAddrPort(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_ = b.SetDeadline(time.Time{})
		_ = b.SetWriteDeadline(time.Time{})
		write(t, a, addrOf(b), []byte("x"))
		if _, _, err := b.ReadFromUDPAddrPort(buf); err != nil {
			t.Errorf("after lifting it: %v", err)
		}
	})
}

func TestCloseWakesReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Link: Link{Delay: time.Hour}})
		a, b := listen(t, n.Host(addrA), 1), listen(t, n.Host(addrB), 1)
		var wg sync.WaitGroup
		for _, c := range []*PacketConn{a, a, b} {
			wg.Go(func() {
				if _, _, err := c.ReadFromUDPAddrPort(make([]byte, 8)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("read: %v", err)
				}
			})
		}
		write(t, a, addrOf(b), []byte("under way"))
		synctest.Wait()
		n.Close()
		wg.Wait()
		if _, err := a.WriteToUDPAddrPort(nil, addrOf(b)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		if err := n.Inject(addrOf(a), addrOf(b), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("inject: %v", err)
		}
		if err := a.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("deadline: %v", err)
		}
		if _, err := n.Host(addrA).ListenUDP(2); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listen: %v", err)
		}
	})
}

func TestIsANetPacketConn(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, _ *Network, a, b *PacketConn) {
		var pa, pb net.PacketConn = a, b
		if _, err := pa.WriteTo([]byte("hi"), pb.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		n, src, err := pb.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "hi" || src.String() != pa.LocalAddr().String() {
			t.Errorf("%q from %v, %v", buf[:n], src, err)
		}
		if _, err := pa.WriteTo(nil, &net.TCPAddr{}); err == nil {
			t.Error("took a TCP address")
		}
		_ = pb.SetReadDeadline(time.Now())
		if _, _, err := pb.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		if _, err := pa.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP("192.0.2.2"), Port: 0}); err == nil {
			t.Error("took port 0")
		}
	})
}
