package policy

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseRanges(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  string // prefixes, or "!" and a part of the error
	}{
		{[]string{"any"}, "0.0.0.0/0 ::/0"},
		{[]string{"ANY"}, "0.0.0.0/0 ::/0"},
		{[]string{"192.0.2.1"}, "192.0.2.1/32"},
		{[]string{"2001:db8::1"}, "2001:db8::1/128"},
		{[]string{"::ffff:192.0.2.1"}, "192.0.2.1/32"},
		{[]string{"192.0.2.0/24, 10.0.0.0/8"}, "192.0.2.0/24 10.0.0.0/8"},
		{[]string{"192.0.2.0/24", "2001:db8::/32"}, "192.0.2.0/24 2001:db8::/32"},
		{[]string{"192.0.2.1-192.0.2.6"}, "192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32"},
		{[]string{"192.0.2.0 - 192.0.2.255"}, "192.0.2.0/24"},
		{[]string{"0.0.0.0-255.255.255.255"}, "0.0.0.0/0 ::/0 0.0.0.0/0"},
		{[]string{"255.255.255.254-255.255.255.255"}, "255.255.255.254/31"},
		{[]string{"2001:db8::-2001:db8::ffff"}, "2001:db8::/112"},
		{nil, "!no range given"},
		{[]string{""}, "!not an address"},
		{[]string{"192.0.2.1/24"}, "!host bits set"},
		{[]string{"192.0.2.9-192.0.2.1"}, "!ends before it starts"},
		{[]string{"192.0.2.1-2001:db8::1"}, "!mixes"},
		{[]string{"192.0.2.1-"}, "!two addresses"},
		{[]string{"pbx.example.com"}, "!not an address"},
		{[]string{"192.0.2.0/33"}, "!not a prefix"},
		{[]string{"::ffff:192.0.2.0/120"}, "!IPv4 in IPv6"},
		{[]string{"country:DE"}, "!country database"},
	} {
		r, err := parseRanges(c.texts)
		if want, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error %v, want %q", c.texts, err, want)
			}
			continue
		}
		var got []string
		for _, p := range r.prefixes() {
			got = append(got, p.String())
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v %v, want %s", c.texts, got, err, c.want)
		}
	}
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func TestSpanPrefixesHoldExactlyTheSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint32().Draw(t, "a"), rapid.Uint32().Draw(t, "b")
		if rapid.Bool().Draw(t, "near") {
			b = a + b%2000
		}
		s := span{addr4(min(a, b)), addr4(max(a, b))}
		prefixes := s.prefixes()
		if len(prefixes) > 62 {
			t.Fatalf("%d prefixes", len(prefixes))
		}
		next := s.first
		for _, p := range prefixes {
			if p != p.Masked() || p.Addr() != next {
				t.Fatalf("%v does not go on at %s", prefixes, next)
			}
			next = lastOf(p).Next()
		}
		if next != s.last.Next() {
			t.Fatalf("%v ends before %s", prefixes, s.last)
		}
		if w := s.width(); w.hi != 0 || w.lo != uint64(max(a, b)-min(a, b)) {
			t.Fatalf("width %v", w)
		}
	})
}

func TestWidthOrdersIPv6(t *testing.T) {
	widthOf := func(p string) width {
		q := netip.MustParsePrefix(p)
		return span{q.Addr(), lastOf(q)}.width()
	}
	order := []string{"2001:db8::1/128", "2001:db8::/65", "2001:db8::/64", "2001:db8::/63", "2001:db8::/32", "::/0"}
	for i := range order[1:] {
		if !widthOf(order[i]).less(widthOf(order[i+1])) {
			t.Errorf("%s is not narrower than %s", order[i], order[i+1])
		}
	}
	if widthOf("::/0") != widest {
		t.Error("the whole space is not the widest")
	}
}

func TestSourceKeyIsTheAddressOrThe64(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := SourceKey(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if p := SourcePrefix(netip.MustParseAddr("2001:db8::9")); p.String() != "2001:db8::/64" {
		t.Error(p)
	}
	if p := BanPrefix(netip.MustParseAddr("192.0.2.9")); p.String() != "192.0.2.9/32" {
		t.Error(p)
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"any", "192.0.2.0/24", "::-ffff::", "1.2.3.4-1.2.3.9,10.0.0.0/8", "-", "/", ",", "fe80::1%eth0-fe80::2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRanges([]string{text})
		if err != nil {
			return
		}
		for _, p := range r.prefixes() {
			if _, _, ok := r.covers(p); !ok || p != p.Masked() {
				t.Errorf("%q does not cover its own %s", text, p)
			}
		}
	})
}
