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
	"sallyport/nat"
)

func TestPortsOfOthersAreMissing(t *testing.T) {
	need(t)
	other, held := listen(t, own(5)+":23103")
	p := plane(t, config(23100, own(5)), Options{})
	if m := p.Missing(); len(m) != 1 || m[0] != held {
		t.Fatalf("missing %v, want %v", m, held)
	}
	if g := p.Gauges(); g.Free != 3 || g.Missing != 1 { // 7 pairs of 8, two a stream
		t.Fatalf("gauges %+v", g)
	}
	// Both ports of the pair stay with others, and hear what is sent to them.
	neighbour, beside := listen(t, own(5)+":23102")
	from, _ := listen(t, own(6)+":0")
	for c, at := range map[*net.UDPConn]netip.AddrPort{other: held, neighbour: beside} {
		send(t, from, packet, at)
		if n, err := receive(c, make([]byte, 2048)); err != nil || n != len(packet) {
			t.Errorf("%v: %d bytes: %v", at, n, err)
		}
	}
	if g := p.Gauges(); g.Strays != 0 {
		t.Errorf("gauges %+v", g)
	}
}

// A predecessor that is just ending gives its ports back one by one: what is free a moment later is not missing.
func TestPortsThatComeBackAreNotMissing(t *testing.T) {
	ending, _ := listen(t, own(5)+":23202")
	_, held := listen(t, own(5)+":23207")
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
	for _, c := range [][2]string{{own(5), own(6)}, {"::1", "::1"}} {
		cfg := config(24000, c[0])
		first := plane(t, cfg, Options{})
		if _, err := media.New(cfg, New(Options{}), 1); err == nil || !strings.Contains(err.Error(), "in use by other programs") {
			t.Errorf("%s: a second relay on the same ports: %v", c[0], err)
		}
		cfg.First, cfg.Last = cfg.First+8, cfg.Last+8
		second := plane(t, cfg, Options{})
		if m := second.Missing(); len(m) != 8 || m[0].Port() != 24008 || m[7].Port() != 24015 {
			t.Errorf("%s: missing %v", c[0], m)
		}
		for _, p := range []*media.Plane{first, second} {
			a, aAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[1]), 0).String())
			b, bAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[1]), 0).String())
			for range 2 {
				_, local := call(t, p, [2]netip.AddrPort{aAt, bAt})
				pass(t, a, local[nat.Outside], b, local[nat.Inside], packet)
			}
		}
		_, _ = first.Close(), second.Close()
	}
}

// A flood of one port is dropped beyond its share, every datagram of it is accounted for, and another call goes on.
func TestFloodOfOnePort(t *testing.T) {
	need(t)
	for _, c := range [][2]string{{own(5), own(6)}, {"::1", "::1"}} {
		b := New(Options{})
		p := planeOn(t, config(24100, c[0]), b)
		attacker, _ := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[1]), 0).String())
		phone, phoneAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[1]), 0).String())
		pbx, pbxAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[1]), 0).String())
		_, local := call(t, p, [2]netip.AddrPort{phoneAt, pbxAt})
		free := netip.AddrPortFrom(local[0].Addr(), 24100)
		for free == local[0] || free == local[1] {
			free = netip.AddrPortFrom(free.Addr(), free.Port()+2)
		}
		const flood = 20000
		for n := range flood {
			send(t, attacker, packet, free)
			if n%500 == 0 {
				pass(t, phone, local[0], pbx, local[1], packet)
			}
		}
		await(t, "some are lost", func() bool { return p.Gauges().Strays+uint64(b.Flooded()) == flood })
		if n := b.Flooded(); n == 0 {
			t.Error("nothing was dropped") // 256 pass in 134 ms
		}
		_ = p.Close()
		if n := p.Gauges().Strays + uint64(b.Flooded()); n != flood {
			t.Errorf("after the end: %d", n)
		}
	}
}
