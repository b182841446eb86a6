//go:build linux

package epoll

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/goleak"

	"sallyport/media"
	"sallyport/nat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// own is a loopback address that no other run of these tests uses.
func own(kind byte) string { return ownOf(os.Getpid(), kind).String() }

func ownOf(pid int, kind byte) netip.Addr {
	return netip.AddrFrom4([4]byte{127, kind, byte(pid >> 8), byte(pid)})
}

func testConfig(address string, first uint16) media.Config {
	a := netip.MustParseAddr(address)
	return media.Config{Addresses: [2]netip.Addr{a, a}, First: first, Last: first + 15, DSCP: 46}
}

func listen(t *testing.T, at string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Skipf("no %s here: %v", at, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

var packet = append([]byte{0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9}, make([]byte, 160)...)

// call points one stream of a new plane at two peers.
func call(t *testing.T, p *media.Plane, peers [2]netip.AddrPort) (id media.ID, local [2]netip.AddrPort) {
	t.Helper()
	id, local, err := p.Reserve(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for side, at := range peers {
		if err := p.Point(id, nat.Side(side), media.Want{RTP: at, Send: true, Receive: true}); err != nil {
			t.Fatal(err)
		}
	}
	return id, local
}

func plane(t *testing.T, cfg media.Config, o Options) *media.Plane {
	t.Helper()
	p, err := media.New(cfg, New(o), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func pass(t *testing.T, from *net.UDPConn, in netip.AddrPort, to *net.UDPConn, out netip.AddrPort) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(packet, in); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	_ = to.SetReadDeadline(time.Now().Add(5 * time.Second)) // a bound for failure, not a measure
	n, source, err := to.ReadFromUDPAddrPort(buf)
	if err != nil || n != len(packet) || netip.AddrPortFrom(source.Addr().Unmap(), source.Port()) != out {
		t.Fatalf("%d bytes from %v: %v", n, source, err)
	}
}

func TestBothFamiliesAndBothWaits(t *testing.T) {
	for _, c := range []struct {
		address, a, b string
		options       Options
	}{
		{own(5), own(6) + ":0", own(7) + ":0", Options{}},
		{own(5), own(6) + ":0", own(7) + ":0", Options{Process: true}},
		{"::1", "[::1]:0", "[::1]:0", Options{}},
	} {
		outside, outsideAt := listen(t, c.a)
		inside, insideAt := listen(t, c.b)
		p := plane(t, testConfig(c.address, 23000), c.options)
		_, local := call(t, p, [2]netip.AddrPort{outsideAt, insideAt})
		pass(t, outside, local[nat.Outside], inside, local[nat.Inside])
		pass(t, inside, local[nat.Inside], outside, local[nat.Outside])
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPortsOfOthersAreMissing(t *testing.T) {
	_, held := listen(t, own(5)+":23103")
	p := plane(t, testConfig(own(5), 23100), Options{})
	if m := p.Missing(); len(m) != 1 || m[0] != held {
		t.Fatalf("missing %v, want %v", m, held)
	}
	if g := p.Gauges(); g.Free != 3 || g.Missing != 1 { // 7 pairs of 8, two a stream
		t.Fatalf("gauges %+v", g)
	}
	// The pair's other port is not kept from others.
	listen(t, own(5)+":23102")
}

func TestASideWithoutPortsIsRefused(t *testing.T) {
	cfg := testConfig(own(5), 23300)
	cfg.Last = 23303
	cfg.Addresses[nat.Inside] = netip.MustParseAddr(own(6))
	listen(t, own(6)+":23300")
	listen(t, own(6)+":23303")
	if _, err := media.New(cfg, New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "both sides") {
		t.Fatalf("a gate whose inside has no port pair: %v", err)
	}
	listen(t, own(5)+":23300") // nothing is kept from others
}

func TestOpenErrors(t *testing.T) {
	first := plane(t, testConfig(own(5), 23200), Options{})
	if _, err := media.New(testConfig(own(5), 23200), New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "in use by other programs") {
		t.Errorf("the whole range in use: %v", err)
	}
	if _, err := media.New(testConfig("192.0.2.1", 23200), New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("an address of another machine: %v", err)
	}
	_ = first.Close()
	b := New(Options{})
	p, err := media.New(testConfig(own(5), 23200), b, 1)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if _, err := media.New(testConfig(own(5), 23220), b, 1); err == nil {
		t.Error("one back end served two planes")
	}
	_ = p.Close()
	b.Post(media.Command{Free: true})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := New(Options{}).Close(); err != nil {
		t.Errorf("never opened: %v", err)
	}
}

func TestLimitOfFiles(t *testing.T) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if _, err := checkLimit(int(min(lim.Cur, 1<<40))); err == nil || !strings.Contains(err.Error(), "LimitNOFILE") {
		t.Errorf("beyond the limit: %v", err)
	}
}

// The mark is on every socket of the range.
func TestMark(t *testing.T) {
	for _, c := range []struct {
		address            string
		level, name, value int
	}{
		{own(5), unix.IPPROTO_IP, unix.IP_TOS, 46 << 2},
		{"::1", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 46 << 2},
	} {
		b := New(Options{})
		p, err := media.New(testConfig(c.address, 23300), b, 1)
		if err != nil {
			t.Skipf("no %s here: %v", c.address, err)
		}
		for _, fd := range b.fds {
			if v, err := unix.GetsockoptInt(int(fd), c.level, c.name); err != nil || v != c.value {
				t.Errorf("%s: mark %#x: %v", c.address, v, err)
			}
		}
		_ = p.Close()
	}
}

func TestUnsendableIsCounted(t *testing.T) {
	a, aAt := listen(t, own(6)+":0")
	p := plane(t, testConfig(own(5), 23400), Options{})
	// A loopback socket cannot reach another network.
	id, local := call(t, p, [2]netip.AddrPort{aAt, netip.MustParseAddrPort("192.0.2.1:4000")})
	for limit := time.Now().Add(5 * time.Second); ; {
		if _, err := a.WriteToUDPAddrPort(packet, local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
		legs, _ := p.Stats(id)
		if legs[nat.Inside].Rejected[media.RejectedUnsent] > 0 && legs[nat.Inside].Sent == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%+v", legs)
		}
	}
}

// Signalling from many goroutines while packets flow: for the race detector, and for the order of commands.
func TestConcurrentSignalling(t *testing.T) {
	a, aAt := listen(t, own(6)+":0")
	b, bAt := listen(t, own(7)+":0")
	cfg := testConfig(own(5), 23500)
	cfg.Workers = 2
	p := plane(t, cfg, Options{})
	id, local := call(t, p, [2]netip.AddrPort{aAt, bAt})
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if other, at, err := p.Reserve(time.Now()); err == nil {
					_ = p.Point(other, nat.Inside, media.Want{RTP: bAt, Send: true, Receive: true, Latch: media.Strict, Fallback: bAt.Addr()})
					_, _ = a.WriteToUDPAddrPort(packet, at[nat.Inside])
					_, _ = p.Stats(other)
					p.Release(time.Now(), other)
				}
				p.Refill()
				p.Sweep(time.Now())
				_ = p.Gauges()
			}
		})
	}
	for range 200 {
		pass(t, a, local[nat.Outside], b, local[nat.Inside])
	}
	close(stop)
	workers.Wait()
	if legs, ok := p.Stats(id); !ok || legs[nat.Outside].Packets != 200 || legs[nat.Inside].Sent != 200 {
		t.Fatalf("%+v", legs)
	}
	if g := p.Gauges(); g.Reserved != 1 {
		t.Fatalf("gauges %+v", g)
	}
}

// Between receive and send nothing is allocated.
func TestRelayDoesNotAllocate(t *testing.T) {
	a, aAt := listen(t, own(6)+":0")
	_, bAt := listen(t, own(7)+":0")
	b := New(Options{})
	p, err := media.New(testConfig(own(5), 23600), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, local := call(t, p, [2]netip.AddrPort{aAt, bAt})
	// The thread ends, the sockets stay: the test does its work step by step.
	w := b.workers[0]
	w.queue.Stop()
	b.running.Wait()
	leg := int32(local[nat.Outside].Port() - 23600)
	before := relayed(w)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := a.WriteToUDPAddrPort(packet, local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
		w.relay(int64(time.Second), leg, w.fds[leg])
	}); n != 0 {
		t.Errorf("%v allocations for a relayed packet", n)
	}
	if relayed(w) == before {
		t.Error("nothing was relayed")
	}
	b.shut()
	b.close.Do(func() {})
}

// Packets are gathered as long as that brings some together, never after a large batch, and never where each is to be
// relayed at once.
func TestGathering(t *testing.T) {
	a, aAt := listen(t, own(6)+":0")
	_, bAt := listen(t, own(7)+":0")
	b := New(Options{Process: true})
	p, err := media.New(testConfig(own(5), 23800), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	var ports [2][2]netip.AddrPort
	for i := range ports {
		_, ports[i] = call(t, p, [2]netip.AddrPort{aAt, bAt})
	}
	w := b.workers[0]
	w.queue.Stop()
	b.running.Wait()
	defer func() {
		b.shut()
		b.close.Do(func() {})
	}()
	if !w.raw || !w.patient {
		t.Fatal("a process of its own does not gather")
	}
	w.hear() // the ring of the stop
	arrive := func(n int) {
		for i := range n {
			if _, err := a.WriteToUDPAddrPort(packet, ports[i][nat.Outside]); err != nil {
				t.Fatal(err)
			}
		}
	}
	take := func(n int) {
		for i := range n {
			w.relay(int64(time.Second), w.events[i].Fd, w.fds[w.events[i].Fd])
		}
	}
	gathered := func() int {
		w.last = w.gathered() // as if all had come during the sleep
		return w.last
	}
	for _, c := range []struct {
		name               string
		wait               func() int
		last, eager        int
		arrive, then, left int // what lies there, what the wait gives, eager afterwards
	}{
		{"two together", gathered, 1, 0, 2, 2, 0},
		{"one alone", gathered, 1, 0, 1, 1, eagerFor},
		{"one that was left", w.wait, 1, 0, 1, 1, 0},
		{"not tried", w.wait, 1, 5, 2, 2, 4},
		{"after a large batch", w.wait, fewPackets, 0, 1, 1, 0},
		{"after silence", w.wait, 0, 0, 1, 1, 0},
	} {
		w.last, w.eager = c.last, c.eager
		arrive(c.arrive)
		n := c.wait()
		if take(n); n != c.then || w.last != n || w.eager != c.left {
			t.Errorf("%s: %d packets, eager for %d", c.name, n, w.eager)
		}
	}
}

// relayed counts what the relay did with datagrams, by the port that the last one was sent from.
func relayed(w *worker) uint16 { return w.to4.Port }

// A datagram on which the engine fails costs that datagram.
func TestEngineFailure(t *testing.T) {
	a, aAt := listen(t, own(6)+":0")
	b, bAt := listen(t, own(7)+":0")
	be := New(Options{})
	p, err := media.New(testConfig(own(5), 23700), be, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	_, local := call(t, p, [2]netip.AddrPort{aAt, bAt})
	pass(t, a, local[nat.Outside], b, local[nat.Inside])
	// A leg that the table does not have stands for a bug of the engine.
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := be.workers[0].watch(fd, 1<<20); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(5 * time.Second); p.Gauges().Rejected[media.RejectedInternal] == 0; {
		if time.Now().After(limit) {
			t.Fatal("the failure was not counted")
		}
	}
	_ = unix.Close(fd)
	pass(t, a, local[nat.Outside], b, local[nat.Inside])
}
