package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat"
	"sallyport/policy"
)

// loopback opens a real set on a free port; the address tells which family.
func loopback(t testing.TB, addr string, guard guardFunc, change func(*Config)) (*Set, *inbox, netip.AddrPort) {
	t.Helper()
	if c, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0")); err != nil {
		t.Skipf("this machine has no %s: %v", addr, err)
	} else {
		_ = c.Close()
	}
	in := &inbox{news: make(chan struct{}, 1)}
	conf := Config{
		Interfaces: []nat.Interface{face(0, nat.Outside, nat.Trunks, net.JoinHostPort(addr, "0"))},
		Guard:      guard, Handler: in,
	}
	if change != nil {
		change(&conf)
	}
	s, err := Listen(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, in, s.find(0).(*endpoint).conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// patience bounds a wait for something that must happen; no test measures it.
const patience = 20 * time.Second

// wait waits until the handler has what it should get.
func (h *inbox) wait(t testing.TB, what string, enough func() bool) {
	t.Helper()
	limit := time.After(patience)
	for !enough() {
		select {
		case <-h.news:
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func peerSocket(t testing.TB, like netip.AddrPort) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(like.Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// closedPort is a port where nobody listens.
func closedPort(t testing.TB, like netip.AddrPort) netip.AddrPort {
	c, at := peerSocket(t, like)
	_ = c.Close()
	return at
}

func TestRealSocketBothWays(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			s, in, at := loopback(t, addr, known, func(c *Config) { c.DSCP = 40 })
			peer, from := peerSocket(t, at)
			if _, err := peer.WriteToUDPAddrPort([]byte(request("INVITE", "a")), at); err != nil {
				t.Fatal(err)
			}
			in.wait(t, "the INVITE", func() bool { return len(in.all()) == 1 })
			flow := in.all()[0].Flow
			if flow.Remote != from {
				t.Errorf("source %v, want %v", flow.Remote, from)
			}
			large := strings.Repeat("x", 60000) // larger than any path: fragments are allowed
			buf := make([]byte, 65535)
			for _, b := range []string{"short", large} {
				if err := s.Send(flow, []byte(b)); err != nil {
					t.Fatal(err)
				}
				n, src, err := peer.ReadFromUDPAddrPort(buf)
				if err != nil || src != at || string(buf[:n]) != b {
					t.Errorf("%d bytes from %v, %v", n, src, err)
				}
			}
			if err := s.Send(flow, make([]byte, 65536)); err == nil {
				t.Error("a datagram beyond UDP was sent")
			}
			other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 9)
			if at.Addr().Is4() {
				other = netip.AddrPortFrom(netip.MustParseAddr("::1"), 9)
			}
			if err := s.Send(nat.Flow{Remote: other}, []byte("x")); !errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Errorf("across families: %v", err)
			}
			if got := s.Counters()[0].ReceiveBuffer; got < 4096 {
				t.Errorf("receive buffer %d", got)
			}
		})
	}
}

func TestRealICMP(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			s, in, at := loopback(t, addr, known, nil)
			dead := closedPort(t, at)
			if err := s.Send(nat.Flow{Remote: dead}, []byte("x")); err != nil {
				t.Fatal(err)
			}
			in.wait(t, "the ICMP error", func() bool { return len(in.unreachable()) > 0 })
			if got := in.unreachable()[0].Remote; got != dead {
				t.Errorf("unreachable %v, want %v", got, dead)
			}
			if n := s.Counters()[0]; n.ReadErrors != 0 || n.Failed != 0 {
				t.Errorf("counters %+v", n)
			}
		})
	}
}

// An ICMP error about one destination must cost no datagram to another, and must not get lost when a send meets it
// before the reader does.
func TestRealICMPBetweenSends(t *testing.T) {
	const rounds = 200
	s, in, at := loopback(t, "127.0.0.1", known, nil)
	peer, alive := peerSocket(t, at)
	_ = peer.SetReadBuffer(1 << 20)
	dead := closedPort(t, at)
	for i := range rounds {
		if err := s.Send(nat.Flow{Remote: dead}, []byte("x")); err != nil {
			t.Fatalf("round %d, dead: %v", i, err)
		}
		if err := s.Send(nat.Flow{Remote: alive}, []byte(fmt.Sprint(i))); err != nil {
			t.Fatalf("round %d, alive: %v", i, err)
		}
	}
	buf := make([]byte, 16)
	for i := range rounds {
		n, _, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != fmt.Sprint(i) {
			t.Fatalf("datagram %d is %q, %v", i, buf[:n], err)
		}
	}
	// The kernel limits ICMP on loopback not at all; each one is reported.
	in.wait(t, "all ICMP errors", func() bool { return len(in.unreachable()) == rounds })
	for _, got := range in.unreachable() {
		if got.Remote != dead {
			t.Fatalf("unreachable %v", got)
		}
	}
}

// What the kernel drops while the reader is slow is counted.
func TestKernelDrops(t *testing.T) {
	hold := make(chan struct{})
	first := make(chan struct{}, 1)
	s, in, at := loopback(t, "127.0.0.1", known, func(c *Config) {
		c.ReceiveBuffer = 4096
		in := c.Handler.(*inbox)
		in.outcome = func(Packet) Outcome {
			select {
			case first <- struct{}{}:
			default:
			}
			<-hold
			return Accepted
		}
	})
	peer, _ := peerSocket(t, at)
	message := []byte(request("OPTIONS", "a"))
	for range 200 {
		if _, err := peer.WriteToUDPAddrPort(message, at); err != nil {
			t.Fatal(err)
		}
	}
	<-first
	close(hold)
	// The count stands beside the next datagrams that find room.
	in.wait(t, "the kernel's count", func() bool {
		_, _ = peer.WriteToUDPAddrPort(message, at)
		return s.Counters()[0].KernelDrops > 0
	})
}

func TestSmallBufferIsSaid(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	loopback(t, "127.0.0.1", known, func(c *Config) {
		c.ReceiveBuffer = 1 << 30 // the kernel never gives more than a byte less
		c.Log = zap.New(core)
	})
	if logs.Len() != 1 || !strings.Contains(logs.All()[0].Message, "net.core.rmem_max") {
		t.Errorf("log %v", logs.All())
	}
}

func TestNoteDropsWraps(t *testing.T) {
	var s socket
	report := func(n uint32) []byte {
		b := make([]byte, syscall.CmsgSpace(4))
		head := syscall.CmsgLen(0)
		binary.NativeEndian.PutUint32(b[head-8:], syscall.SOL_SOCKET)
		binary.NativeEndian.PutUint32(b[head-4:], syscall.SO_RXQ_OVFL)
		binary.NativeEndian.PutUint32(b[head:], n)
		return b
	}
	for _, n := range []uint32{5, 5, 1<<32 - 1, 4} {
		s.noteDrops(report(n))
	}
	s.noteDrops(nil)
	s.noteDrops(make([]byte, 64)) // another kind of message
	if got := s.kernelDrops(); got != 1<<32+4 {
		t.Errorf("%d dropped", got)
	}
}

// RFC 3261 §18.4.
func TestRealSendDoesNotAllocate(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		s, _, at := loopback(t, addr, known, nil)
		_, alive := peerSocket(t, at)
		flow, b := nat.Flow{Remote: alive}, []byte("x")
		if n := testing.AllocsPerRun(1000, func() {
			if err := s.Send(flow, b); err != nil && !errors.Is(err, ErrLost) {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", addr, n)
		}
	}
}

func TestRealReceiveDoesNotAllocate(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:0")
	k, err := openSocket(at, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	self := k.LocalAddr().(*net.UDPAddr).AddrPort()
	b := []byte("x")
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := k.WriteToUDPAddrPort(b, self); err != nil {
			t.Error(err)
		}
		if _, _, err := k.ReadFromUDPAddrPort(b); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRealSendAfterClose(t *testing.T) {
	k, err := openSocket(netip.MustParseAddrPort("127.0.0.1:0"), 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = k.Close()
	if _, err := k.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if _, _, err := k.ReadFromUDPAddrPort(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

// Two that send at once (the core, and the reader with an answer) do not wait for each other's arguments.
func TestRealConcurrentSends(t *testing.T) {
	s, in, at := loopback(t, "127.0.0.1", func(p *policy.Packet) policy.Verdict {
		return verdict(policy.Reject, 403, "stranger")
	}, nil)
	peer, alive := peerSocket(t, at)
	_ = peer.SetReadBuffer(4 << 20)
	const each = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range each {
			_ = s.Send(nat.Flow{Remote: alive}, []byte("from the core"))
		}
	}()
	for range each {
		if _, err := peer.WriteToUDPAddrPort([]byte(request("INVITE", "a")), at); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	buf := make([]byte, 2048)
	for range 2 * each {
		n, _, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("%v after %+v", err, s.Counters())
		}
		if got := string(buf[:n]); got != "from the core" && !strings.HasPrefix(got, "SIP/2.0 403 ") {
			t.Fatalf("mixed up: %q", got)
		}
	}
	_ = in
}

func BenchmarkSend(b *testing.B) {
	s, _, at := loopback(b, "127.0.0.1", known, nil)
	_, alive := peerSocket(b, at)
	flow, data := nat.Flow{Remote: alive}, []byte(request("INVITE", "a"))
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Send(flow, data)
	}
}

// BenchmarkSendFloor is the bare system call of BenchmarkSend.
func BenchmarkSendFloor(b *testing.B) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer syscall.Close(fd)
	_, alive := peerSocket(b, netip.MustParseAddrPort("127.0.0.1:0"))
	to := &syscall.SockaddrInet4{Addr: alive.Addr().As4(), Port: int(alive.Port())}
	data := []byte(request("INVITE", "a"))
	b.ReportAllocs()
	for b.Loop() {
		_ = syscall.Sendto(fd, data, syscall.MSG_DONTWAIT, to)
	}
}
