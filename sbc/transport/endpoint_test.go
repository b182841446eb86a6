package transport

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
)

// scripted is a socket whose reads follow a script; after its end they wait for Close.
type scripted struct {
	mu     sync.Mutex
	script []error // nil: a datagram
	times  []time.Time
	closed chan struct{}
	once   sync.Once

	write error
	sent  [][]byte
	to    []netip.AddrPort
}

func newScripted(script ...error) *scripted {
	return &scripted{script: script, closed: make(chan struct{})}
}

func (c *scripted) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.mu.Lock()
	c.times = append(c.times, time.Now())
	if len(c.script) == 0 {
		c.mu.Unlock()
		<-c.closed
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	err := c.script[0]
	c.script = c.script[1:]
	c.mu.Unlock()
	return copy(b, request("INVITE", "a")), netip.MustParseAddrPort(theirs), err
}

func (c *scripted) WriteToUDPAddrPort(b []byte, dst netip.AddrPort) (int, error) {
	if c.write != nil {
		return 0, c.write
	}
	c.sent, c.to = append(c.sent, append([]byte(nil), b...)), append(c.to, dst)
	return len(b), nil
}

func (c *scripted) LocalAddr() net.Addr { return &net.UDPAddr{} }

func (c *scripted) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func listenScripted(t testing.TB, c *scripted, h Handler) *Set {
	t.Helper()
	s, err := Listen(Config{
		Interfaces: []nat.Interface{face(0, nat.Outside, nat.Trunks, ours)},
		Guard:      guardFunc(known), Handler: h,
		Listen: func(netip.AddrPort) (PacketConn, error) { return c, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An error that stays must neither end the reader nor make it spin.
func TestReadErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var script []error
		for range 30 {
			script = append(script, syscall.ENOMEM)
		}
		c, in := newScripted(append(script, nil, net.ErrClosed, nil)...), &inbox{}
		s := listenScripted(t, c, in)
		defer s.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := s.Counters()[0]; n.ReadErrors != 31 || n.Delivered != 2 {
			t.Errorf("counters %+v", n)
		}
		for i := range 30 {
			if gap := c.times[i+1].Sub(c.times[i]); gap < time.Millisecond || gap > time.Second {
				t.Errorf("pause %d is %v", i, gap)
			}
		}
		if gap := c.times[30].Sub(c.times[29]); gap != time.Second {
			t.Errorf("pauses grow to %v", gap)
		}
	})
}

// Close must not wait for the pause of a failing reader.
func TestCloseDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var script []error
		for range 1000 {
			script = append(script, syscall.ENOMEM)
		}
		s := listenScripted(t, newScripted(script...), &inbox{})
		time.Sleep(time.Minute + time.Millisecond)
		start := time.Now()
		s.Close()
		if d := time.Since(start); d != 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestLostAndFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newScripted()
		s := listenScripted(t, c, &inbox{})
		defer s.Close()
		flow := nat.Flow{Remote: netip.MustParseAddrPort(theirs)}
		for _, want := range []error{ErrLost, syscall.EPERM, syscall.EPERM} {
			c.write = want
			if err := s.Send(flow, []byte("x")); !errors.Is(err, want) {
				t.Errorf("%v instead of %v", err, want)
			}
		}
		if n := s.Counters()[0]; n.Lost != 1 || n.Failed != 2 || n.Sent != 0 {
			t.Errorf("counters %+v", n)
		}
	})
}

// A handler that panics on an ICMP report must not end the reader.
func TestUnreachablePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenScripted(t, newScripted(unreachable(netip.MustParseAddrPort(theirs))), panicking{})
		defer s.Close()
		synctest.Wait()
		if n := s.Counters()[0]; n.Panics != 1 || n.Unreachable != 1 {
			t.Errorf("counters %+v", n)
		}
	})
}

type panicking struct{}

func (panicking) Deliver(Packet) Outcome { panic("deliver") }
func (panicking) Unreachable(nat.Flow)   { panic("unreachable") }
func (panicking) Closed(nat.Flow, bool)  { panic("closed") }

func bench(guard Guard, h Handler) (*endpoint, *scripted) {
	c := newScripted()
	conf := &Config{Guard: guard, Handler: h, Now: time.Now, Log: zap.NewNop()}
	return newEndpoint(conf, face(0, nat.Outside, nat.Trunks, ours), c, 0), c
}

func drop(*policy.Packet) policy.Verdict { return verdict(policy.Drop, 0, reason.Ban) }

// A drop costs no allocation.
func TestDropDoesNotAllocate(t *testing.T) {
	e, _ := bench(guardFunc(drop), &inbox{})
	data, src := []byte(request("INVITE", "a")), netip.MustParseAddrPort(theirs)
	if n := testing.AllocsPerRun(1000, func() { e.receive(data, src) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever arrives, a reader neither panics nor answers anybody but the source, nor more than a little more.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		request("INVITE", "a"), request("ACK", "a"), response("a"), "\r\n\r\n", "jaK", "", "\x00",
		request("INVITE", "a", "CSeq: 1 OPTIONS"), request("OPTIONS", "a", "Via: SIP/2.0/UDP h;rport;branch=z9hG4bKx"),
		request("INVITE", "a", "Content-Length: 99"), "INVITE sip:a SIP/2.0\r\nVia: x",
		strings.Replace(request("INVITE", "a"), "SIP/2.0\r\n", "SIP/7.0\r\n", 1),
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	src := netip.MustParseAddrPort(theirs)
	f.Fuzz(func(t *testing.T, data []byte, busy bool) {
		in := &inbox{outcome: func(Packet) Outcome {
			if busy {
				return Busy
			}
			return Accepted
		}}
		e, c := bench(guardFunc(known), in)
		e.receive(data, src)
		n := e.snapshot()
		if n.Panics != 0 || n.Received != 1 {
			t.Fatalf("%+v", n)
		}
		if len(c.sent) > 1 {
			t.Fatalf("%d answers", len(c.sent))
		}
		for i, b := range c.sent {
			if c.to[i] != src || len(b) > len(data)+200 || !strings.HasPrefix(string(b), "SIP/2.0 ") {
				t.Fatalf("to %v: %q", c.to[i], b)
			}
		}
	})
}

func BenchmarkReceiveDrop(b *testing.B) {
	e, _ := bench(guardFunc(drop), &inbox{})
	data, src := []byte(request("INVITE", "a")), netip.MustParseAddrPort(theirs)
	b.ReportAllocs()
	for b.Loop() {
		e.receive(data, src)
	}
}

type sink struct{}

func (sink) Deliver(Packet) Outcome { return Accepted }
func (sink) Unreachable(nat.Flow)   {}
func (sink) Closed(nat.Flow, bool)  {}

func BenchmarkReceiveDeliver(b *testing.B) {
	e, _ := bench(guardFunc(known), sink{})
	data, src := []byte(request("INVITE", "a")), netip.MustParseAddrPort(theirs)
	b.ReportAllocs()
	for b.Loop() {
		e.receive(data, src)
	}
}
