package nat

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestRangesContains(t *testing.T) {
	r := NewRanges(prefixes("192.168.0.0/16", "10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "fd00::/8", "203.0.113.20/32", "172.16.7.9/12")...)
	for s, want := range map[string]bool{
		"10.0.0.0": true, "10.1.2.3": true, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false,
		"172.16.0.1": true, "172.31.255.255": true, "172.32.0.0": false, "192.168.1.1": true, "192.169.0.0": false,
		"203.0.113.20": true, "203.0.113.21": false, "203.0.113.19": false, "::ffff:10.0.0.1": true, "::ffff:11.0.0.1": false,
		"fd12::1": true, "fd12::1%eth0": true, "fe80::1": false, "::": false, "0.0.0.0": false, "255.255.255.255": false,
	} {
		if got := r.Contains(addr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if r.Contains(netip.Addr{}) || (Ranges{}).Contains(addr("10.0.0.1")) {
		t.Error("nothing is in no range")
	}
	if want := prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "203.0.113.20/32", "fd00::/8"); !slices.Equal(r.Prefixes(), want) {
		t.Errorf("%v", r.Prefixes())
	}
	if n := testing.AllocsPerRun(100, func() { r.Contains(addr4) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var addr4 = addr("192.168.77.1")

// TestRangesAgreeWithTheNaive holds the search against a walk through all prefixes.
func TestRangesAgreeWithTheNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.Custom(func(t *rapid.T) netip.Addr {
			if rapid.Bool().Draw(t, "v6") {
				b := [16]byte{0: 0xfd, 15: rapid.Byte().Draw(t, "last")}
				b[7] = rapid.ByteRange(0, 3).Draw(t, "middle")
				return netip.AddrFrom16(b)
			}
			return netip.AddrFrom4([4]byte{10, rapid.ByteRange(0, 3).Draw(t, "b"), rapid.ByteRange(0, 3).Draw(t, "c"), rapid.Byte().Draw(t, "d")})
		})
		var list []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "prefixes") {
			a := one.Draw(t, "prefix")
			list = append(list, netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")))
		}
		r := NewRanges(list...)
		for range 8 {
			a := one.Draw(t, "address")
			want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
			if r.Contains(a) != want {
				t.Fatalf("%v in %v: %v", a, list, !want)
			}
		}
	})
}

func TestCheckRange(t *testing.T) {
	for _, p := range prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8", "203.0.113.20/32") {
		if err := CheckRange(p); err != nil {
			t.Error(err)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.2/8": "has host bits set; write 10.0.0.0/8, or 10.0.0.2/32", "0.0.0.0/0": "makes the whole Internet internal",
		"::/0": "makes the whole Internet internal", "::ffff:10.0.0.0/104": "IPv4 in IPv6", "224.0.0.0/4": "is multicast", "ff00::/8": "is multicast",
	} {
		if err := CheckRange(netip.MustParsePrefix(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := CheckRange(netip.Prefix{}); err == nil || !strings.Contains(err.Error(), "not a range") {
		t.Error(err)
	}
}
