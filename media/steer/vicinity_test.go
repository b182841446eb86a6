//go:build linux

package steer

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media"
)

func TestVicinity(t *testing.T) {
	var list []netip.Prefix
	for _, p := range []string{"127.0.0.1/8", "10.0.0.9/32", "10.0.0.1/24", "198.51.100.7/32", "192.0.2.1/0", "fd99::9/128", "fd99::1/64", "::/0"} {
		list = append(list, netip.MustParsePrefix(p))
	}
	for _, c := range []struct {
		own, to string
		near    bool
	}{
		{"127.0.1.1", "127.16.0.1", true},
		{"10.0.0.9", "10.0.0.200", true}, // one of several addresses in a network
		{"10.0.0.9", "10.0.0.9", true},
		{"10.0.0.1", "10.0.1.1", false},
		{"10.0.0.1", "fd99::2", false},
		{"198.51.100.7", "198.51.100.1", false}, // a network of its own: all else is behind a gateway
		{"203.0.113.1", "203.0.113.1", false},   // not known
		{"203.0.113.1", "192.0.2.1", false},
		{"fd99::9", "fd99::ffff:0:0:1", true},
		{"fd99::9", "fd99:0:0:1::1", false},
		{"fd99::9", "10.0.0.1", false},
		{"fd98::1", "fd99::1", false},
	} {
		e := exit{vicinity: vicinityOf(netip.MustParseAddr(c.own), list)}
		o := e.to(media.EndpointOf(netip.AddrPortFrom(netip.MustParseAddr(c.to), 9)))
		if near := o == &e.near; near != c.near {
			t.Errorf("from %s to %s: near %v", c.own, c.to, near)
		}
	}
	if v := vicinityOf(netip.MustParseAddr("10.0.0.1"), nil); v.known {
		t.Error("a network without any")
	}
}

// It says what a prefix says.
func TestVicinityIsThePrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{4, 16}).Draw(t, "bytes")
		b := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "own")
		own, _ := netip.AddrFromSlice(b)
		p := netip.PrefixFrom(own, rapid.IntRange(1, n*8).Draw(t, "bits"))
		c := append([]byte(nil), b...)
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			c[rapid.IntRange(0, n-1).Draw(t, "place")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		to, _ := netip.AddrFromSlice(c)
		if to.IsUnspecified() || to.Is4In6() || own.Is4In6() {
			return
		}
		v := vicinityOf(own, []netip.Prefix{p})
		if got := v.contains(media.EndpointOf(netip.AddrPortFrom(to, 1))); got != p.Contains(to) {
			t.Fatalf("%v in %v: %v", to, p, got)
		}
	})
}

// The machine's own networks are known, in the namespace of the thread.
func TestNetworks(t *testing.T) {
	if !alone(t) {
		return
	}
	lay(t)
	list := networks()
	for _, c := range []string{"127.9.9.9", relay4b, relay6} {
		if v := vicinityOf(netip.MustParseAddr(c), list); !v.known {
			t.Errorf("%s is in none of %v", c, list)
		}
	}
}
