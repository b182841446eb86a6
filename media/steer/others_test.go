//go:build linux

package steer

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

func TestPortsOfOthersAreMissing(t *testing.T) {
	need(t)
	other, held := rig.Listen(t, rig.Own(5)+":23103")
	p := rig.Plane(t, rig.Config(23100, rig.Own(5)), New(Options{}))
	if m := p.Missing(); len(m) != 1 || m[0] != held {
		t.Fatalf("missing %v, want %v", m, held)
	}
	if g := p.Gauges(); g.Free != 3 || g.Missing != 1 { // 7 pairs of 8, two a stream
		t.Fatalf("gauges %+v", g)
	}
	// Both ports of the pair stay with others, and hear what is sent to them.
	neighbour, beside := rig.Listen(t, rig.Own(5)+":23102")
	from, _ := rig.At(t, rig.Own(6))
	for c, at := range map[*net.UDPConn]netip.AddrPort{other: held, neighbour: beside} {
		rig.Send(t, from, rig.Packet, at)
		if n, _, err := rig.Receive(c, make([]byte, 2048)); err != nil || n != len(rig.Packet) {
			t.Errorf("%v: %d bytes: %v", at, n, err)
		}
	}
	if g := p.Gauges(); g.Strays != 0 {
		t.Errorf("gauges %+v", g)
	}
}

// A predecessor that is just ending gives its ports back one by one: what is free a moment later is not missing.
func TestPortsThatComeBackAreNotMissing(t *testing.T) {
	ending, _ := rig.Listen(t, rig.Own(5)+":23202")
	_, held := rig.Listen(t, rig.Own(5)+":23207")
	moments := 0
	layout := media.Layout{Addresses: [2]netip.Addr{held.Addr(), held.Addr()}, First: 23200, Pairs: 8, Blocks: 1}
	free, legs, err := vacant(layout, func() {
		moments++
		_ = ending.Close()
	})
	slices.Sort(free)
	if err != nil || moments != 1 || !slices.Equal(free, []int{0, 1, 2, 4, 5, 6, 7}) || !slices.Equal(legs, []int{7}) {
		t.Errorf("free %v, held %v, %d moments: %v", free, legs, moments, err)
	}
	// Where nothing is free nobody waits here: the number says that it may pass.
	layout.First, layout.Pairs = 23206, 1
	if _, _, err := vacant(layout, func() { t.Error("a moment for nothing") }); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v", err)
	}
}

// A relay whose ports another one steers already is told so, on both families, and takes nothing from the first.
func TestASecondRelayIsRefused(t *testing.T) {
	need(t)
	for _, c := range [][2]string{{rig.Own(5), rig.Own(6)}, {"::1", "::1"}} {
		cfg := rig.Config(24000, c[0])
		first := rig.Plane(t, cfg, New(Options{}))
		if _, err := media.New(cfg, New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "in use by other programs") {
			t.Errorf("%s: a second relay on the same ports: %v", c[0], err)
		}
		cfg.First, cfg.Last = cfg.First+8, cfg.Last+8
		second := rig.Plane(t, cfg, New(Options{}))
		if m := second.Missing(); len(m) != 8 || m[0].Port() != 24008 || m[7].Port() != 24015 {
			t.Errorf("%s: missing %v", c[0], m)
		}
		for _, p := range []*media.Plane{first, second} {
			a, aAt := rig.At(t, c[1])
			b, bAt := rig.At(t, c[1])
			for range 2 {
				_, local := rig.Call(t, p, [2]netip.AddrPort{aAt, bAt})
				rig.Pass(t, a, local[nat.Outside], b, local[nat.Inside], rig.Packet)
			}
		}
		_, _ = first.Close(), second.Close()
	}
}

// A flood of one port is dropped beyond its share, every datagram of it is accounted for, and another call goes on.
func TestFloodOfOnePort(t *testing.T) {
	need(t)
	for _, c := range [][2]string{{rig.Own(5), rig.Own(6)}, {"::1", "::1"}} {
		b := New(Options{})
		p := rig.Plane(t, rig.Config(24100, c[0]), b)
		attacker, _ := rig.At(t, c[1])
		phone, phoneAt := rig.At(t, c[1])
		pbx, pbxAt := rig.At(t, c[1])
		_, local := rig.Call(t, p, [2]netip.AddrPort{phoneAt, pbxAt})
		free := netip.AddrPortFrom(local[0].Addr(), 24100)
		for free == local[0] || free == local[1] {
			free = netip.AddrPortFrom(free.Addr(), free.Port()+2)
		}
		const flood = 20000
		for n := range flood {
			rig.Send(t, attacker, rig.Packet, free)
			if n%500 == 0 {
				rig.Pass(t, phone, local[0], pbx, local[1], rig.Packet)
			}
		}
		rig.Eventually(t, "some are lost", func() bool { return p.Gauges().Strays+uint64(b.Flooded()) == flood })
		if n := b.Flooded(); n == 0 {
			t.Error("nothing was dropped") // 256 pass in 134 ms
		}
		_ = p.Close()
		if n := p.Gauges().Strays + uint64(b.Flooded()); n != flood {
			t.Errorf("after the end: %d", n)
		}
	}
}
