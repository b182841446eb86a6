//go:build linux

package epoll

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// TestASideWithBothFamilies: each port is bound twice, and is one leg: the peer's family decides by which socket it is reached, and
// a re-offer may change it.
func TestASideWithBothFamilies(t *testing.T) {
	for _, process := range []bool{false, true} {
		six, sixAt := listen(t, "[::1]:0")
		four, fourAt := listen(t, own(16)+":0")
		inside, insideAt := listen(t, own(17)+":0")
		cfg := testConfig(own(15), 23300)
		cfg.Others = [2]netip.Addr{netip.IPv6Loopback(), netip.IPv6Loopback()}
		p := plane(t, cfg, Options{Process: process})
		id, local := call(t, p, [2]netip.AddrPort{sixAt, insideAt})
		at6 := netip.AddrPortFrom(netip.IPv6Loopback(), local[nat.Outside].Port())
		pass(t, six, at6, inside, local[nat.Inside])
		pass(t, inside, local[nat.Inside], six, at6)
		if err := p.Point(id, nat.Outside, media.Want{RTP: fourAt, Send: true, Receive: true, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		pass(t, four, local[nat.Outside], inside, local[nat.Inside])
		pass(t, inside, local[nat.Inside], four, local[nat.Outside])
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
	_, held := listen(t, "[::1]:23403")
	cfg := testConfig(own(15), 23400)
	cfg.Others = [2]netip.Addr{netip.IPv6Loopback(), netip.IPv6Loopback()}
	p := plane(t, cfg, Options{})
	if m := p.Missing(); len(m) != 1 || m[0].Port() != held.Port() {
		t.Errorf("missing %v", m)
	}
}
