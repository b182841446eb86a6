//go:build linux

package epoll

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

// TestASideWithBothFamilies: each port is bound twice, and is one leg: the peer's family decides by which socket it is reached, and
// a re-offer may change it.
func TestASideWithBothFamilies(t *testing.T) {
	for _, process := range []bool{false, true} {
		six, sixAt := rig.Listen(t, "[::1]:0")
		four, fourAt := rig.At(t, rig.Own(16))
		inside, insideAt := rig.At(t, rig.Own(17))
		cfg := rig.Config(23300, rig.Own(15))
		cfg.Others = [2]netip.Addr{netip.IPv6Loopback(), netip.IPv6Loopback()}
		p := rig.Plane(t, cfg, New(Options{Process: process}))
		id, local := rig.Call(t, p, [2]netip.AddrPort{sixAt, insideAt})
		at6 := netip.AddrPortFrom(netip.IPv6Loopback(), local[nat.Outside].Port())
		rig.Pass(t, six, at6, inside, local[nat.Inside], rig.Packet)
		rig.Pass(t, inside, local[nat.Inside], six, at6, rig.Packet)
		if err := p.Point(id, nat.Outside, media.Want{RTP: fourAt, Send: true, Receive: true, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		rig.Pass(t, four, local[nat.Outside], inside, local[nat.Inside], rig.Packet)
		rig.Pass(t, inside, local[nat.Inside], four, local[nat.Outside], rig.Packet)
		if owner, ours := p.Owner(at6); !ours || owner != id {
			t.Errorf("%v is %v's, ours %v", at6, owner, ours)
		}
		p.Release(time.Now(), id)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPortThatIsTakenInOneFamily is missing in both.
func TestAPortThatIsTakenInOneFamily(t *testing.T) {
	_, held := rig.Listen(t, "[::1]:23403")
	cfg := rig.Config(23400, rig.Own(15))
	cfg.Others = [2]netip.Addr{netip.IPv6Loopback(), netip.IPv6Loopback()}
	p := rig.Plane(t, cfg, New(Options{}))
	if m := p.Missing(); len(m) != 1 || m[0].Port() != held.Port() {
		t.Errorf("missing %v", m)
	}
}
