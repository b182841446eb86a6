//go:build linux

package steer

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

// Both families, either side of its own, and all waits.
func TestFamiliesAndWaits(t *testing.T) {
	need(t)
	for _, c := range []struct {
		outside, inside, a, b string
		process, low          bool
	}{
		{own(5), own(5), own(6), own(7), false, false},
		{own(5), own(8), own(6), own(7), true, false},
		{own(5), own(8), own(6), own(7), true, true},
		{"::1", "::1", "::1", "::1", false, false},
		{"::1", "::1", "::1", "::1", true, false},
		{own(5), "::1", own(6), "::1", false, false},
		{"::1", own(5), "::1", own(6), true, true},
	} {
		outside, outsideAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c.a), 0).String())
		inside, insideAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c.b), 0).String())
		cfg := config(23000, c.outside, c.inside)
		cfg.LowLatency = c.low
		p := plane(t, cfg, Options{Process: c.process})
		id, local := call(t, p, [2]netip.AddrPort{outsideAt, insideAt})
		for range 20 {
			pass(t, outside, local[nat.Outside], inside, local[nat.Inside], packet)
			pass(t, inside, local[nat.Inside], outside, local[nat.Outside], packet)
		}
		if legs, _ := p.Stats(id); legs[0].Packets != 20 || legs[1].Packets != 20 || legs[0].Sent != 20 || legs[1].Sent != 20 {
			t.Errorf("%+v: %+v", c, legs)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Workers share the pairs; each has its own socket, and a call is heard whoever serves it.
func TestWorkers(t *testing.T) {
	need(t)
	cfg := config(23050, own(5), own(8))
	cfg.Last, cfg.Workers = cfg.First+47, 3
	p := plane(t, cfg, Options{})
	for range 24 {
		a, aAt := listen(t, own(6)+":0")
		b, bAt := listen(t, own(7)+":0")
		_, local := call(t, p, [2]netip.AddrPort{aAt, bAt})
		pass(t, a, local[nat.Outside], b, local[nat.Inside], packet)
		pass(t, b, local[nat.Inside], a, local[nat.Outside], packet)
	}
}

// What was posted before Settle is in force when it returns; before Open and after Close nobody waits.
func TestSettle(t *testing.T) {
	need(t)
	b := New(Options{})
	b.Settle()
	cfg := config(23900, own(5))
	cfg.Workers = 2
	var made *media.Board
	b.options.Board = func(layout media.Layout, base time.Time) (*media.Board, error) {
		made = media.NewBoard(layout, base)
		return made, nil
	}
	p := planeOn(t, cfg, b)
	used := func() (n int) {
		for range made.Holdings() {
			n++
		}
		return n
	}
	_, at := listen(t, own(6)+":0")
	for n := range 3 {
		id, _ := call(t, p, [2]netip.AddrPort{at, at})
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
	if b.String() != "steer" {
		t.Error(b)
	}
	failing := New(Options{Board: func(media.Layout, time.Time) (*media.Board, error) { return nil, unix.ENOSPC }})
	if _, err := media.New(cfg, failing, 1); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("no board: %v", err)
	}
}

// Calls of one relay that feed each other: what a raw socket sends to a port of ours is steered again.
func TestHairpin(t *testing.T) {
	need(t)
	for name, addresses := range map[string][]string{"one address": {own(8)}, "two": {own(8), own(9)}, "IPv6": {"::1"}} {
		t.Run(name, func(t *testing.T) {
			p := plane(t, config(23500, addresses...), Options{})
			var phones [2]*net.UDPConn
			var ids [2]media.ID
			var local [2][2]netip.AddrPort
			var at [2]netip.AddrPort
			for i := range ids {
				host := own(10 + byte(i))
				if name == "IPv6" {
					host = "[::1]"
				}
				phones[i], at[i] = listen(t, host+":0")
				var err error
				if ids[i], local[i], err = p.Reserve(time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			for i, id := range ids {
				for side, to := range [2]netip.AddrPort{at[i], local[1-i][nat.Inside]} {
					if err := p.Point(id, nat.Side(side), media.Want{RTP: to, Send: true, Receive: true}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 20 {
				for from := range ids {
					pass(t, phones[from], local[from][nat.Outside], phones[1-from], local[1-from][nat.Outside], packet)
				}
			}
			for i, id := range ids {
				legs, _ := p.Stats(id)
				for side, l := range legs {
					if l.Packets != 20 || l.Sent != 20 || l.RejectedTotal() != 0 {
						t.Errorf("call %d, %v: %+v", i, nat.Side(side), l)
					}
				}
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	need(t)
	c := config(23200, own(5))
	c.Last = c.First + 7
	for port := c.First; port < c.Last; port += 2 {
		listen(t, netip.AddrPortFrom(c.Addresses[0], port).String())
	}
	if _, err := media.New(c, New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "in use by other programs") {
		t.Errorf("the whole range in use: %v", err)
	}
	if _, err := media.New(config(23200, "192.0.2.1"), New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "192.0.2.1") || errors.Is(err, ErrUnavailable) {
		t.Errorf("an address of another machine: %v", err)
	}
	b := New(Options{})
	p, err := media.New(config(23220, own(5)), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := media.New(config(23260, own(5)), b, 1); err == nil {
		t.Error("one back end served two planes")
	}
	_ = p.Close()
	b.Post(media.Command{Free: true})
	b.Post(media.Command{Leg: -1})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := New(Options{}).Close(); err != nil {
		t.Errorf("never opened: %v", err)
	}
	never := New(Options{})
	never.Post(media.Command{})
}

func TestUnsendableIsCounted(t *testing.T) {
	need(t)
	a, aAt := listen(t, own(6)+":0")
	p := plane(t, config(23400, own(5)), Options{})
	// From a loopback address there is no way to another network.
	id, local := call(t, p, [2]netip.AddrPort{aAt, netip.MustParseAddrPort("192.0.2.1:4000")})
	send(t, a, packet, local[nat.Outside])
	await(t, "not counted", func() bool {
		legs, _ := p.Stats(id)
		return legs[nat.Inside].Rejected[media.RejectedUnsent] == 1 && legs[nat.Inside].Sent == 0
	})
}

// Signalling from many goroutines while packets flow: for the race detector, and for the order of commands.
func TestConcurrentSignalling(t *testing.T) {
	need(t)
	a, aAt := listen(t, own(6)+":0")
	b, bAt := listen(t, own(7)+":0")
	cfg := config(23500, own(5))
	cfg.Workers = 2
	p := plane(t, cfg, Options{})
	id, local := call(t, p, [2]netip.AddrPort{aAt, bAt})
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() {
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
		pass(t, a, local[nat.Outside], b, local[nat.Inside], packet)
	}
	close(stop)
	others.Wait()
	if legs, ok := p.Stats(id); !ok || legs[nat.Outside].Packets != 200 || legs[nat.Inside].Sent != 200 {
		t.Fatalf("%+v", legs)
	}
}

// A hundred starts and ends leave no descriptor, and no program attached.
func TestStartAndStopLeaveNothing(t *testing.T) {
	need(t)
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	first, err := attached()
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	cfg := config(23800, own(5), own(8))
	cfg.Workers = 2
	for range 100 {
		p, err := media.New(cfg, New(Options{}), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Reserve(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if now := descriptors(); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	await(t, "programs are left", func() bool {
		now, err := attached()
		return err == nil && len(now) <= len(first)
	})
	// The ports are everybody's again.
	c, at := listen(t, own(5)+":23800")
	from, _ := listen(t, own(6)+":0")
	send(t, from, packet, at)
	if _, err := receive(c, make([]byte, 2048)); err != nil {
		t.Error(err)
	}
}
