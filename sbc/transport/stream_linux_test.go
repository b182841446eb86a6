package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
)

// realStreams opens a real set with one interface on a free port.
func realStreams(t testing.TB, kind nat.Transport, addr string, h Handler, set *TLS) (*Set, netip.AddrPort) {
	t.Helper()
	f := face(0, nat.Outside, nat.Phones, net.JoinHostPort(addr, "0"))
	f.Transport = kind
	s, err := Listen(Config{
		Interfaces: []nat.Interface{f}, Guard: guardFunc(stranger), Handler: h, TLS: set, DSCP: 40,
		Streams: StreamLimits{PerSource: 1 << 20, Strangers: 1 << 20},
	})
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skipf("this machine has no %s: %v", addr, err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, s.find(0).(*streams).listener.Addr().(*net.TCPAddr).AddrPort()
}

// exchange sends text and reads what the other side sends to the connection's flow.
func exchange(t testing.TB, s *Set, in *inbox, c net.Conn, text string) nat.Flow {
	t.Helper()
	had := len(in.all())
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	in.wait(t, "a message", func() bool { return len(in.all()) > had })
	all := in.all()
	f := all[len(all)-1].Flow
	if err := s.Send(f, []byte("answer")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 6)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "answer" {
		t.Fatalf("got %q, %v", buf, err)
	}
	return f
}

func TestRealStreams(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, kind := range []nat.Transport{nat.TCP, nat.TLS} {
			t.Run(kind.String()+" "+addr, func(t *testing.T) {
				in := &inbox{news: make(chan struct{}, 1)}
				s, at := realStreams(t, kind, addr, in, set)
				conn, err := net.Dial("tcp", at.String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if kind == nat.TLS {
					conn = tls.Client(conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"})
				}
				f := exchange(t, s, in, conn, request("REGISTER", "a"))
				if f.Remote.String() != conn.LocalAddr().String() || f.Conn == 0 {
					t.Errorf("flow %+v of %v", f, conn.LocalAddr())
				}
				_ = conn.Close()
				in.wait(t, "the end", func() bool { return len(in.closed()) == 1 })
				if err := s.Send(f, nil); !errors.Is(err, ErrGone) {
					t.Errorf("after the end: %v", err)
				}
			})
		}
	}
}

func TestRealDialling(t *testing.T) {
	for _, addr := range []string{"127.0.0.2", "::1"} {
		t.Run(addr, func(t *testing.T) {
			in := &inbox{news: make(chan struct{}, 1)}
			s, _ := realStreams(t, nat.TCP, addr, in, nil)
			l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
			if err != nil {
				t.Fatal(err)
			}
			f := nat.Flow{Transport: nat.TCP, Remote: l.Addr().(*net.TCPAddr).AddrPort()}
			if err := s.Send(f, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != addr {
				t.Errorf("dialled from %s", host)
			}
			buf := make([]byte, 5)
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
				t.Fatalf("got %q, %v", buf, err)
			}
			if got := exchange(t, s, in, c, request("OPTIONS", "a")); got.Remote != f.Remote {
				t.Errorf("flow %+v", got)
			}
			_, _ = c.Close(), l.Close()
			in.wait(t, "the end", func() bool { return len(in.closed()) == 1 })
			if err := s.Send(f, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			in.wait(t, "the refusal", func() bool { return len(in.unreachable()) == 1 })
			if got := in.unreachable()[0]; got != f {
				t.Errorf("unreachable %+v", got)
			}
		})
	}
}

func TestStreamPortInUse(t *testing.T) {
	_, at := realStreams(t, nat.TCP, "127.0.0.1", &inbox{}, nil)
	f := face(0, nat.Inside, nat.Phones, at.String())
	f.Transport = nat.TCP
	_, err := Listen(Config{Interfaces: []nat.Interface{f}, Guard: guardFunc(known), Handler: &inbox{}})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"inside/phones tcp " + at.String(), fmt.Sprintf("(pid %d)", os.Getpid()), "inside.phones"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// A listener's port can be taken again while its connections rest in TIME-WAIT.
func TestStreamPortIsFreeAgain(t *testing.T) {
	in := &inbox{news: make(chan struct{}, 1)}
	s, at := realStreams(t, nat.TCP, "127.0.0.1", in, nil)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, s, in, c, request("REGISTER", "a"))
	s.Remove(0)
	f := face(0, nat.Outside, nat.Phones, at.String())
	f.Transport = nat.TCP
	if err := s.Add(f); err != nil {
		t.Error(err)
	}
}

// BenchmarkIdleConnection tells what a registered phone's idle connection takes: heap, and stack of its goroutine. The
// phones' own ends, some 0.5 KB each, are in it.
func BenchmarkIdleConnection(b *testing.B) {
	ca := authority.New("ca")
	set, _ := loadTLS(b, ca, "")
	for _, kind := range []nat.Transport{nat.TCP, nat.TLS} {
		b.Run(kind.String(), func(b *testing.B) {
			for b.Loop() {
				idleConnections(b, kind, set, &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"})
			}
		})
	}
}

// phoneBook keeps no message, like a core that has dealt with it.
type phoneBook struct{ flows chan nat.Flow }

func (h phoneBook) Deliver(p Packet) Outcome {
	h.flows <- p.Flow
	return Accepted
}
func (phoneBook) Unreachable(nat.Flow)  {}
func (phoneBook) Closed(nat.Flow, bool) {}

func idleConnections(b *testing.B, kind nat.Transport, set *TLS, phone *tls.Config) {
	const phones = 2000
	h := phoneBook{make(chan nat.Flow, 1)}
	s, at := realStreams(b, kind, "127.0.0.1", h, set)
	defer s.Close()
	conns := make([]net.Conn, 0, phones)
	answer := make([]byte, 600)
	before := footprint()
	for i := range phones {
		raw, err := net.Dial("tcp", at.String())
		if err != nil {
			b.Skipf("%d connections: %v", i, err)
		}
		defer raw.Close()
		conns = append(conns, raw)
		c := raw
		if kind == nat.TLS {
			c = tls.Client(raw, phone) // only the socket stays: a phone's state is not ours to count
		}
		if _, err := c.Write([]byte(request("REGISTER", "a"))); err != nil {
			b.Fatal(err)
		}
		f := <-h.flows
		s.Keep(f, true)
		if err := s.Send(f, answer); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, len(answer))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(footprint()-before)/phones, "B/conn")
	runtime.KeepAlive(conns)
	if g := s.Streams(); g.Kept.Now != phones || g.Buffers.Now != 0 {
		b.Errorf("%+v", g)
	}
}

// footprint is the memory in use, garbage and spare stacks given back.
func footprint() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
