package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/policy"
)

func TestScopes(t *testing.T) {
	checkValues[Scope](t, []valueCase{
		{text: "any", want: "any"},
		{text: "192.0.2.7", want: "192.0.2.7"},
		{text: "192.0.2.0/24", want: "192.0.2.0/24"},
		{text: "192.0.2.10-192.0.2.20", want: "192.0.2.10-192.0.2.20"},
		{text: "2001:db8::/32", want: "2001:db8::/32"},
		{text: "country:DE", want: "country:DE"},
		{text: "Country:de", want: "country:DE"},
		{text: "country: no", want: "country:NO"},
		{text: "office.example.com", want: "office.example.com"},
		{text: "Office.Example.COM.", want: "office.example.com"},
		{text: "my-host.example.com", want: "my-host.example.com"},
		{text: "cafe.be", want: "cafe.be"}, // all of it hexadecimal
		{text: "a.xn--p1ai", want: "a.xn--p1ai"},
		{text: "dead-beef.fade", want: "dead-beef.fade"},
		{text: "1.2.office.example", want: "1.2.office.example"},
		{text: "country:UK", bad: `"UK" is not the code of a country`, hint: "write GB"},
		{text: "country:", bad: `"" is not the code of a country`, hint: "two letters"},
		{text: "country:Germany", bad: "not the code of a country", hint: "DE"},
		{text: "everybody", bad: "neither an address nor a full name", hint: "any"},
		{text: "192.0.2.1o", bad: "neither an address nor a full name", hint: "office.example.com"},
		{text: "192.0.2.any", bad: "neither an address nor a full name", hint: "prefix"},
		{text: "example.com.a-b", bad: "neither an address nor a full name", hint: "prefix"},
		{text: strings.Repeat("a", 64) + ".example", bad: "neither", hint: "name"},
		{text: strings.Repeat("a.", 126) + "example", bad: "neither", hint: "name"},
		{text: "192.0.2.300", bad: "is not an IP address", hint: "write"},
		{text: "10.0.0.1/8", bad: "has bits set", hint: "10.0.0.0/8"},
		{text: "office.example.com/24", bad: "is not a prefix", hint: "192.0.2.0/24"},
		{text: "", bad: "empty", hint: "write"},
	})
}

func TestWhatAScopeNames(t *testing.T) {
	for text, want := range map[string][2]string{
		"any": {}, "192.0.2.7": {}, "country:de": {"DE", ""}, "Office.example.com": {"", "office.example.com"},
	} {
		s := mustScope(text)
		if s.Country() != want[0] || s.Name() != want[1] || s.IsValid() != (want == [2]string{}) {
			t.Errorf("%s: country %q, name %q, a range: %v", text, s.Country(), s.Name(), s.IsValid())
		}
	}
	list := Scopes{mustScope("country:DE"), mustScope("a.example"), mustScope("192.0.2.0/30")}
	for addr, want := range map[string]bool{"192.0.2.3": true, "192.0.2.4": false, "::": false} {
		if list.ranges().Contains(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if !anywhere().isAnywhere() || list.isAnywhere() || (Scopes{mustScope("any"), list[0]}).isAnywhere() {
		t.Error("any is something else than any alone")
	}
}

// TestScopesAreThoseOfTheGuard: what the file may say the guard understands in the same way: a name as a name.
func TestScopesAreThoseOfTheGuard(t *testing.T) {
	label := rapid.StringMatching(`[a-zA-Z0-9_-]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`[0-9a-fx.:/-]{1,20}`),
			rapid.Map(rapid.SliceOfN(label, 1, 5), func(l []string) string { return strings.Join(l, ".") }),
			rapid.Map(rapid.StringMatching(`[A-Za-z]{0,3}`), func(s string) string { return countryPrefix + s }),
			rapid.Just("any"),
		).Draw(t, "text")
		var s Scope
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		c := &policy.Config{BlackList: []policy.BlackEntry{{Range: texts(Scopes{s})}}}
		if err := c.Validate(); err != nil {
			t.Fatalf("%s: the guard refuses it: %v", text, err)
		}
		var want []string
		if s.Name() != "" {
			want = []string{s.Name()}
		}
		if got := policy.NamesOf(c); !slices.Equal(got, want) {
			t.Fatalf("%s: the guard looks up %v, want %v", text, got, want)
		}
	})
}
