package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
)

func TestRange(t *testing.T) {
	checkValues[Range](t, []valueCase{
		{text: "any", want: "any"},
		{text: "192.0.2.1", want: "192.0.2.1"},
		{text: "192.0.2.1/32", want: "192.0.2.1"},
		{text: "192.0.2.0/24", want: "192.0.2.0/24"},
		{text: "0.0.0.0/0", want: "0.0.0.0/0"},
		{text: "2001:db8::/32", want: "2001:db8::/32"},
		{text: "2001:db8::1", want: "2001:db8::1"},
		{text: "::ffff:192.0.2.0/120", want: "192.0.2.0/24"},
		{text: "192.0.2.0-192.0.2.255", want: "192.0.2.0/24"},
		{text: "192.0.2.3-192.0.2.9", want: "192.0.2.3-192.0.2.9"},
		{text: "192.0.2.3 - 192.0.2.3", want: "192.0.2.3"},
		{text: "2001:db8::1-2001:db8::ffff", want: "2001:db8::1-2001:db8::ffff"},
		{text: "fd00::a-fd00::f", want: "fd00::a-fd00::f"},
		{text: "", bad: "empty", hint: "IP address"},
		{text: "10.0.0.5/8", bad: "bits set", hint: "10.0.0.0/8"},
		{text: "10.0.0.0/33", bad: "not a prefix", hint: "such as"},
		{text: "10.0.0.0/", bad: "not a prefix", hint: "such as"},
		{text: "::ffff:0:0/90", bad: "not a prefix", hint: "such as"},
		{text: "country:XX", bad: "no country can be named here", hint: "policy.white_list"},
		{text: "10.0.0.9-10.0.0.1", bad: "ends before", hint: "10.0.0.1-10.0.0.9"},
		{text: "10.0.0.9-fd00::1", bad: "address family", hint: "such as"},
		{text: "10.0.0.9-", bad: "empty", hint: "IP address"},
		{text: "-10.0.0.9", bad: "empty", hint: "IP address"},
		{text: "10.0.0.1-nine", bad: "not an IP address", hint: "192.0.2.10"},
		{text: "my-network", bad: "is a name", hint: "IP address"},
	})
}

func mustRange(s string) (r Range) {
	if err := r.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return r
}

func TestRangePrefixes(t *testing.T) {
	for text, want := range map[string]string{
		"any":                             "0.0.0.0/0 ::/0",
		"192.0.2.7":                       "192.0.2.7/32",
		"192.0.2.0/25":                    "192.0.2.0/25",
		"192.0.2.1-192.0.2.6":             "192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32",
		"192.0.2.255-192.0.3.0":           "192.0.2.255/32 192.0.3.0/32",
		"255.255.255.254-255.255.255.255": "255.255.255.254/31",
		"::-::1":                          "::/127",
	} {
		var got []string
		for _, p := range mustRange(text).Prefixes() {
			got = append(got, p.String())
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", text, s, want)
		}
	}
	if got := (Range{}).Prefixes(); got != nil {
		t.Errorf("the zero range: %v", got)
	}
}

// TestRangeAgreesWithItsPrefixes: the same addresses, each once, in order, and as few prefixes as can be.
func TestRangeAgreesWithItsPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRange(t)
		prefixes := r.Prefixes()
		if n := r.first.BitLen(); len(prefixes) > max(2*n-2, 1) {
			t.Fatalf("%s has %d prefixes", r, len(prefixes))
		}
		if prefixes[0].Addr() != r.first || nat.LastOf(prefixes[len(prefixes)-1]) != r.last {
			t.Fatalf("%s: %v does not span it", r, prefixes)
		}
		for i, p := range prefixes {
			if p.Masked() != p || i > 0 && nat.LastOf(prefixes[i-1]).Next() != p.Addr() {
				t.Fatalf("%s: %v has a gap, an overlap or loose bits at %d", r, prefixes, i)
			}
		}
		probe := drawAddr(t)
		held := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(probe) })
		if held != r.Contains(probe) || held != r.Overlaps(RangeOf(probe)) {
			t.Fatalf("%s and %s: prefixes %v, range %v", r, probe, held, r.Contains(probe))
		}
		back := mustRange(r.String())
		if back != r {
			t.Fatalf("%s reads back as %s", r, back)
		}
	})
}

// drawAddr draws addresses that lie close together, so that ranges meet.
func drawAddr(t *rapid.T) netip.Addr {
	last := rapid.Uint16().Draw(t, "address")
	if rapid.Bool().Draw(t, "v6") {
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(last >> 8), 15: byte(last)})
	}
	return netip.AddrFrom4([4]byte{192, 0, byte(last >> 8), byte(last)})
}

func drawRange(t *rapid.T) Range {
	a, b := drawAddr(t), drawAddr(t)
	if a.Is4() != b.Is4() {
		b = a
	}
	if b.Less(a) {
		a, b = b, a
	}
	return Range{first: a, last: b}
}

func TestRangeOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"any", "192.0.2.1", true},
		{"2001:db8::1", "any", true},
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.1-192.0.2.5", "192.0.2.5-192.0.2.9", true},
		{"192.0.2.1-192.0.2.5", "192.0.2.6-192.0.2.9", false},
		{"192.0.2.1", "2001:db8::1", false},
	} {
		if got := mustRange(c.a).Overlaps(mustRange(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
	if (Range{}).Overlaps(mustRange("any")) || mustRange("any").Overlaps(Range{}) || (Range{}).IsValid() {
		t.Error("the zero range holds something")
	}
}

func TestRangesTogether(t *testing.T) {
	l := Ranges{mustRange("192.0.2.1-192.0.2.2"), mustRange("2001:db8::/64")}
	for addr, want := range map[string]bool{
		"192.0.2.1": true, "::ffff:192.0.2.2": true, "192.0.2.3": false, "2001:db8::5": true, "2001:db8:1::": false,
	} {
		if got := l.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if got := l.Prefixes(); len(got) != 3 {
		t.Errorf("prefixes: %v", got)
	}
	if mustRange("any").Contains(netip.Addr{}) {
		t.Error("any holds no address at all")
	}
}
