//go:build linux

package epoll

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/goleak"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	rig.Suite(t, "epoll", 23000, func(o Options) rig.Backend { return New(o) })
}

func TestPortsOfOthersAreMissing(t *testing.T) {
	_, held := rig.Listen(t, rig.Own(5)+":23103")
	p := rig.Plane(t, rig.Config(23100, rig.Own(5)), New(Options{}))
	if m := p.Missing(); len(m) != 1 || m[0] != held {
		t.Fatalf("missing %v, want %v", m, held)
	}
	if g := p.Gauges(); g.Free != 3 || g.Missing != 1 { // 7 pairs of 8, two a stream
		t.Fatalf("gauges %+v", g)
	}
	// The pair's other port is not kept from others.
	rig.Listen(t, rig.Own(5)+":23102")
}

func TestASideWithoutPortsIsRefused(t *testing.T) {
	cfg := rig.Config(23300, rig.Own(5))
	cfg.Last = 23303
	cfg.Addresses[nat.Inside] = netip.MustParseAddr(rig.Own(6))
	rig.Listen(t, rig.Own(6)+":23300")
	rig.Listen(t, rig.Own(6)+":23303")
	if _, err := media.New(cfg, New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "both sides") {
		t.Fatalf("a gate whose inside has no port pair: %v", err)
	}
	rig.Listen(t, rig.Own(5)+":23300") // nothing is kept from others
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
		{rig.Own(5), unix.IPPROTO_IP, unix.IP_TOS, 46 << 2},
		{"::1", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 46 << 2},
	} {
		b := New(Options{})
		p, err := media.New(rig.Config(23300, c.address), b, 1)
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

// Between receive and send nothing is allocated.
func TestRelayDoesNotAllocate(t *testing.T) {
	a, aAt := rig.At(t, rig.Own(6))
	_, bAt := rig.At(t, rig.Own(7))
	b := New(Options{})
	p, err := media.New(rig.Config(23600, rig.Own(5)), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, local := rig.Call(t, p, [2]netip.AddrPort{aAt, bAt})
	// The thread ends, the sockets stay: the test does its work step by step.
	w := b.workers[0]
	b.crew.Stop()
	leg := int32(local[nat.Outside].Port() - 23600)
	before := relayed(w)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := a.WriteToUDPAddrPort(rig.Packet, local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
		w.relay(int64(time.Second), leg, w.fds[leg])
	}); n != 0 {
		t.Errorf("%v allocations for a relayed packet", n)
	}
	if relayed(w) == before {
		t.Error("nothing was relayed")
	}
	_ = p.Close()
}

// Packets are gathered as long as that brings some together, never after a large batch, and never where each is to be
// relayed at once.
func TestGathering(t *testing.T) {
	a, aAt := rig.At(t, rig.Own(6))
	_, bAt := rig.At(t, rig.Own(7))
	b := New(Options{Process: true})
	p, err := media.New(rig.Config(23800, rig.Own(5)), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	var ports [2][2]netip.AddrPort
	for i := range ports {
		_, ports[i] = rig.Call(t, p, [2]netip.AddrPort{aAt, bAt})
	}
	w := b.workers[0]
	b.crew.Stop()
	defer p.Close()
	if !w.Raw() || !w.Patient {
		t.Fatal("a process of its own does not gather")
	}
	w.Look(w.events[:]) // hears the ring of the stop
	arrive := func(n int) {
		for i := range n {
			if _, err := a.WriteToUDPAddrPort(rig.Packet, ports[i][nat.Outside]); err != nil {
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
	a, aAt := rig.At(t, rig.Own(6))
	b, bAt := rig.At(t, rig.Own(7))
	be := New(Options{})
	p, err := media.New(rig.Config(23700, rig.Own(5)), be, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	_, local := rig.Call(t, p, [2]netip.AddrPort{aAt, bAt})
	rig.Pass(t, a, local[nat.Outside], b, local[nat.Inside], rig.Packet)
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
	rig.Pass(t, a, local[nat.Outside], b, local[nat.Inside], rig.Packet)
}
