//go:build linux

package rig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/thread"
	"sallyport/nat"
)

// Backend is what a media process asks of one.
type Backend interface {
	media.Backend
	fmt.Stringer
	// Settle returns when every command posted so far has been carried out.
	Settle()
}

// suite is a back end under test.
type suite struct {
	name  string
	first uint16
	open  func(thread.Options) Backend
}

// Suite runs the tests that each back end with threads has to pass, on a hundred ports from first on of addresses that are
// Own, and of ::1. name is what the start-up line calls it.
func Suite(t *testing.T, name string, first uint16, open func(thread.Options) Backend) {
	s := suite{name, first, open}
	for what, test := range map[string]func(*testing.T, suite){
		"both families and all waits":       familiesAndWaits,
		"workers share the pairs":           workers,
		"what is posted is settled":         settled,
		"it opens once and closes for good": lifetime,
		"what failed to open holds nothing": givenBack,
		"ports of others":                   portsOfOthers,
		"what cannot be sent is counted":    unsendable,
		"calls that feed each other":        hairpin,
		"signalling from many goroutines":   concurrent,
		"nothing is left behind":            nothingLeft,
	} {
		t.Run(what, func(t *testing.T) { test(t, s) })
	}
}

func (s suite) config(addresses ...string) media.Config { return Config(s.first, addresses...) }

// familiesAndWaits: either side of its own family, in a process of its own and in another's, gathering and not.
func familiesAndWaits(t *testing.T, s suite) {
	for _, c := range []struct {
		outside, inside, a, b string
		process, low          bool
	}{
		{Own(5), Own(5), Own(6), Own(7), false, false},
		{Own(5), Own(8), Own(6), Own(7), true, false},
		{Own(5), Own(8), Own(6), Own(7), true, true},
		{"::1", "::1", "::1", "::1", false, false},
		{"::1", "::1", "::1", "::1", true, false},
		{Own(5), "::1", Own(6), "::1", false, false},
		{"::1", Own(5), "::1", Own(6), true, true},
	} {
		outside, outsideAt := At(t, c.a)
		inside, insideAt := At(t, c.b)
		cfg := s.config(c.outside, c.inside)
		cfg.LowLatency = c.low
		p := Plane(t, cfg, s.open(thread.Options{Process: c.process}))
		id, local := Call(t, p, [2]netip.AddrPort{outsideAt, insideAt})
		for range 20 {
			Pass(t, outside, local[nat.Outside], inside, local[nat.Inside], Packet)
			Pass(t, inside, local[nat.Inside], outside, local[nat.Outside], Packet)
		}
		if legs, _ := p.Stats(id); legs[0].Packets != 20 || legs[1].Packets != 20 || legs[0].Sent != 20 || legs[1].Sent != 20 {
			t.Errorf("%+v: %+v", c, legs)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// workers: a call is heard whoever serves it.
func workers(t *testing.T, s suite) {
	cfg := s.config(Own(5), Own(8))
	cfg.Last, cfg.Workers = cfg.First+47, 3
	p := Plane(t, cfg, s.open(thread.Options{}))
	for range 24 {
		a, aAt := At(t, Own(6))
		b, bAt := At(t, Own(7))
		_, local := Call(t, p, [2]netip.AddrPort{aAt, bAt})
		Pass(t, a, local[nat.Outside], b, local[nat.Inside], Packet)
		Pass(t, b, local[nat.Inside], a, local[nat.Outside], Packet)
	}
}

// settled: what was posted before Settle is in force when it returns; before Open and after Close nobody waits.
func settled(t *testing.T, s suite) {
	var made *media.Board
	b := s.open(thread.Options{Board: func(layout media.Layout, base time.Time) (*media.Board, error) {
		made = media.NewBoard(layout, base)
		return made, nil
	}})
	b.Settle()
	cfg := s.config(Own(5))
	cfg.Workers = 2
	p := Plane(t, cfg, b)
	used := func() (n int) {
		for range made.Holdings() {
			n++
		}
		return n
	}
	_, at := At(t, Own(6))
	for n := range 3 {
		id, _ := Call(t, p, [2]netip.AddrPort{at, at})
		b.Settle()
		if got := used(); got != 2 {
			t.Errorf("call %d: %d legs in use", n, got)
		}
		p.Release(time.Now(), id)
		b.Settle()
		if got := used(); got != 0 {
			t.Errorf("call %d: %d legs in use afterwards", n, got)
		}
	}
	_ = p.Close()
	b.Settle()
	if b.String() != s.name {
		t.Errorf("%s, want %s", b, s.name)
	}
}

// lifetime: one back end serves one plane; whoever has not opened it, or closed it, may still post, settle and close.
func lifetime(t *testing.T, s suite) {
	never := s.open(thread.Options{})
	never.Post(media.Command{})
	never.Settle()
	if err := never.Close(); err != nil {
		t.Errorf("never opened: %v", err)
	}
	failing := s.open(thread.Options{Board: func(media.Layout, time.Time) (*media.Board, error) { return nil, unix.ENOSPC }})
	if _, err := media.New(s.config(Own(5)), failing, 1); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("no board: %v", err)
	}
	again := s.open(thread.Options{})
	if _, err := media.New(s.config(Own(5), "192.0.2.1"), again, 1); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("an address of another machine: %v", err)
	}
	again.Post(media.Command{Free: true})
	again.Settle()
	p, err := media.New(s.config(Own(5)), again, 1)
	if err != nil {
		t.Fatalf("after a failure: %v", err)
	}
	if _, err := media.New(Config(s.first+40, Own(5)), again, 1); err == nil {
		t.Error("one back end served two planes")
	}
	_ = p.Close()
	for _, leg := range []int32{0, -1, 1000} {
		again.Post(media.Command{Leg: leg, Free: true})
	}
	again.Settle()
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// givenBack: what could not be opened, and is closed then, closes nothing that has its numbers by now.
func givenBack(t *testing.T, s suite) {
	b := s.open(thread.Options{Process: true})
	if _, err := media.New(s.config(Own(5), "192.0.2.1"), b, 1); err == nil {
		t.Fatal("an address of another machine")
	}
	var others []int
	for range 100 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, fd)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, fd := range others {
		if err := unix.Close(fd); err != nil {
			t.Errorf("somebody else's descriptor %d: %v", fd, err)
		}
	}
}

// portsOfOthers are missing; where none is left, that is an error.
func portsOfOthers(t *testing.T, s suite) {
	c := s.config(Own(5))
	c.Last = c.First + 7
	_, held := Listen(t, netip.AddrPortFrom(c.Addresses[0], c.First+2).String())
	p := Plane(t, c, s.open(thread.Options{}))
	if m := p.Missing(); len(m) != 1 || m[0] != held {
		t.Errorf("missing %v, want %v", m, held)
	}
	_ = p.Close()
	for _, offset := range []uint16{0, 4, 6} {
		Listen(t, netip.AddrPortFrom(c.Addresses[0], c.First+offset).String())
	}
	if _, err := media.New(c, s.open(thread.Options{}), 1); err == nil || !strings.Contains(err.Error(), "in use by other programs") {
		t.Errorf("the whole range in use: %v", err)
	}
}

func unsendable(t *testing.T, s suite) {
	a, aAt := At(t, Own(6))
	p := Plane(t, s.config(Own(5)), s.open(thread.Options{}))
	// From a loopback address there is no way to another network.
	id, local := Call(t, p, [2]netip.AddrPort{aAt, netip.MustParseAddrPort("192.0.2.1:4000")})
	Send(t, a, Packet, local[nat.Outside])
	Eventually(t, "not counted", func() bool {
		legs, _ := p.Stats(id)
		return legs[nat.Inside].Rejected[media.RejectedUnsent] == 1 && legs[nat.Inside].Sent == 0
	})
}

// concurrent is for the race detector, and for the order of commands.
func concurrent(t *testing.T, s suite) {
	a, aAt := At(t, Own(6))
	b, bAt := At(t, Own(7))
	cfg := s.config(Own(5))
	cfg.Workers = 2
	p := Plane(t, cfg, s.open(thread.Options{}))
	id, local := Call(t, p, [2]netip.AddrPort{aAt, bAt})
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() { signal(p, a, bAt, stop) })
	}
	for range 200 {
		Pass(t, a, local[nat.Outside], b, local[nat.Inside], Packet)
	}
	close(stop)
	others.Wait()
	if legs, ok := p.Stats(id); !ok || legs[nat.Outside].Packets != 200 || legs[nat.Inside].Sent != 200 {
		t.Fatalf("%+v", legs)
	}
	if g := p.Gauges(); g.Reserved != 1 {
		t.Fatalf("gauges %+v", g)
	}
}

// signal does what signalling does, to other calls.
func signal(p *media.Plane, from *net.UDPConn, peer netip.AddrPort, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if other, at, err := p.Reserve(time.Now()); err == nil {
			_ = p.Point(other, nat.Inside, media.Want{RTP: peer, Send: true, Receive: true, Latch: media.Strict, Fallback: peer.Addr()})
			_, _ = from.WriteToUDPAddrPort(Packet, at[nat.Inside])
			_, _ = p.Stats(other)
			p.Release(time.Now(), other)
		}
		p.Refill()
		p.Sweep(time.Now())
		_ = p.Gauges()
	}
}

// nothingLeft: a hundred starts and ends leave no descriptor, and the ports are everybody's again.
func nothingLeft(t *testing.T, s suite) {
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	cfg := s.config(Own(5), Own(8))
	cfg.Workers = 2
	before := 0
	for n := range 101 {
		p, err := media.New(cfg, s.open(thread.Options{}), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Reserve(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			before = descriptors() // with what the run time keeps for itself
		}
	}
	if now := descriptors(); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	c, at := Listen(t, netip.AddrPortFrom(cfg.Addresses[0], s.first).String())
	from, _ := At(t, Own(6))
	Send(t, from, Packet, at)
	if _, _, err := Receive(c, make([]byte, 2048)); err != nil {
		t.Error(err)
	}
}
