package policy

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/policy/geo"
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
		{[]string{"pbx"}, "!not an address"},
		{[]string{"10.0.0.l0"}, "!not an address"},
		{[]string{"1.2.3.4.5"}, "!not an address"},
		{[]string{"192.0.2.0/33"}, "!not a prefix"},
		{[]string{"::ffff:192.0.2.0/120"}, "!IPv4 in IPv6"},
		{[]string{"country:XX"}, "!not the code of a country"},
		{[]string{"country:UK"}, "!write GB"},
		{[]string{"country:"}, "!not the code"},
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

func TestNamesAndCountriesInRanges(t *testing.T) {
	r, err := parseRanges([]string{"Office.Example.COM., country:de", "COUNTRY:FR", "192.0.2.1"})
	if err != nil || strings.Join(r.names, " ") != "office.example.com" || len(r.countries) != 2 || len(r.spans) != 1 || r.any || r.single() {
		t.Fatalf("%+v %v", r, err)
	}
	for code, want := range map[string]bool{"DE": true, "FR": true, "US": false} {
		if c, _ := geo.ParseCode(code); r.holdsCountry(c) != want {
			t.Errorf("%s: %v", code, !want)
		}
	}
	if r.holdsCountry(geo.Code{}) {
		t.Error("the unknown country is in it")
	}
	d := Data{Names: map[string][]netip.Addr{"office.example.com": {netip.MustParseAddr("::ffff:198.51.100.9"), netip.MustParseAddr("2001:db8::9"), {}}}}
	resolved := r.resolve(d)
	if len(resolved.spans) != 3 || len(r.spans) != 1 {
		t.Fatalf("%+v of %+v", resolved, r)
	}
	for _, a := range []string{"198.51.100.9/32", "2001:db8::9/128", "192.0.2.1/32"} {
		if w, named, ok := resolved.covers(netip.MustParsePrefix(a)); !ok || !named || w != (width{}) {
			t.Errorf("%s: %v %v %v", a, w, named, ok)
		}
	}
	if got := r.resolve(Data{}); len(got.spans) != 1 {
		t.Errorf("a name without an answer makes %+v", got)
	}
	if _, err := parseRanges([]string{"country:DE"}); err != nil {
		t.Error(err)
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
			next = nat.LastOf(p).Next()
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
		return span{q.Addr(), nat.LastOf(q)}.width()
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
	for _, s := range []string{"any", "192.0.2.0/24", "::-ffff::", "1.2.3.4-1.2.3.9,10.0.0.0/8", "-", "/", ",", "country:DE,office-1.example.com", "fe80::1%eth0-fe80::2"} {
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
