package userpart

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ in, bare, want string }{
		{"204", "204", "204"},
		{"%3204", "%3204", "204"},
		{"%32%30%34", "%32%30%34", "204"},
		{"Alice", "Alice", "Alice"}, // case counts
		{"%61lice", "%61lice", "alice"},
		{"%2B4930123", "%2B4930123", "+4930123"},
		{"%2b4930123", "%2b4930123", "+4930123"},
		{"*31#", "*31#", "*31%23"},
		{"*31%23", "*31%23", "*31%23"},
		// A password and parameters say nothing of who it is.
		{"204:secret", "204", "204"},
		{"204:%73ecret;x", "204", "204"},
		{"204:", "204", "204"},
		{"204;isub=1", "204", "204"},
		{"204%3bisub=1", "204", "204"},
		{"204;phone-context=example.com:secret", "204", "204"},
		{"+4930;ext=1;postd=pp", "+4930", "+4930"},
		// What is part of a name stays, however it is written.
		{"00%3a11%3A22", "00%3a11%3A22", "00%3A11%3A22"},
		{"alice%40example.org", "alice%40example.org", "alice%40example.org"},
		{"a&b=c+d$e,f?g/h", "a&b=c+d$e,f?g/h", "a&b=c+d$e,f?g/h"},
		{"-_.!~*'()", "-_.!~*'()", "-_.!~*'()"},
		{"%2541", "%2541", "%2541"}, // read once
		{"50%", "50%", "50%25"},
		{"%zz", "%zz", "%25zz"},
		{"a%20b", "a%20b", "a%20b"},
		{"a%22b%3Cc%3e", "a%22b%3Cc%3e", "a%22b%3Cc%3E"},
		{"j%c3%b6rg", "j%c3%b6rg", "j%C3%B6rg"},
		{"jörg", "jörg", "j%C3%B6rg"},
		{"%ff%fe", "%ff%fe", "%FF%FE"},
		// Nobody.
		{"", "", ""},
		{";x", "", ""},
		{"%3Bx", "", ""},
		{":x", "", ""},
		{"204%00", "204", ""},
		{"null-%00-null", "null-", ""},
		{"204%0d%0aX", "204%0d%0aX", ""},
		{"204%7F", "204%7F", ""},
		{"204;%00", "204", "204"}, // it is no part of the user
	} {
		if got := Bare(c.in); got != c.bare {
			t.Errorf("%q is %q alone, want %q", c.in, got, c.bare)
		}
		if got := string(Bare([]byte(c.in))); got != c.bare {
			t.Errorf("%q is %q alone as bytes, want %q", c.in, got, c.bare)
		}
		if got := Canonical(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b        string
		equal, same bool
	}{
		{"204", "%3204", true, true},
		{"%3a", "%3A", true, true},
		{"alice", "%61%6C%69%63%65", true, true},
		{"alice", "Alice", false, false},
		{"204", "2040", false, false},
		{"204", "204%30", false, false},
		// A reserved character is another one than its escape to who compares URIs, and the same to whom a call reaches.
		{"+49", "%2B49", false, true},
		{"a;b", "a%3Bb", false, true},
		{"204:secret", "204", false, true},
		{"204:s%65cret", "204:secret", true, true},
		{"204;x", "204;%78", true, true},
		{"%", "%25", true, true},
		{"204%00", "205%00", false, false},
		{"", ";x", false, false},
	} {
		if got := Equal(c.a, c.b); got != c.equal || Equal(c.b, c.a) != got {
			t.Errorf("%q and %q are equal: %v", c.a, c.b, got)
		}
		if got := Same(c.a, c.b); got != c.same || Same(c.b, c.a) != got {
			t.Errorf("%q and %q are the same: %v", c.a, c.b, got)
		}
	}
}

// TestOnePersonIsOne: however a name is spelled, and whatever stands behind it, it has one canonical form, which spells itself.
func TestOnePersonIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "name")
		for i, c := range name {
			if c < ' ' || c == 0x7f || c == ';' {
				name[i] = 'x'
			}
		}
		spell := func(label string) string {
			var out []byte
			for i, c := range name {
				bareword := bare[c]
				switch rapid.IntRange(0, 2).Draw(t, fmt.Sprint(label, i)) {
				case 0:
					out = fmt.Appendf(out, "%%%02x", c)
				case 1:
					out = fmt.Appendf(out, "%%%02X", c)
				default:
					if bareword {
						out = append(out, c)
					} else {
						out = fmt.Appendf(out, "%%%02X", c)
					}
				}
			}
			return string(out) + rapid.SampledFrom([]string{"", ";isub=1", "%3Bisub=1", ":secret", ";a:b"}).Draw(t, label)
		}
		a, b := spell("a"), spell("b")
		if !Same(a, b) {
			t.Fatalf("%q is %q, but %q is %q", a, Canonical(a), b, Canonical(b))
		}
		if got, err := url.PathUnescape(Canonical(a)); err != nil || got != string(name) {
			t.Fatalf("%q is %q, not %q: %v", a, got, name, err)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"204", "%3204;isub=1:secret", "%2B49", "a%00b", "%0d%0a", "%zz%", "jörg", "%ff", "%3B", "a%3Ab", "\x00\"<>"} {
		f.Add(s, "%3204")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		c := Canonical(a)
		if Canonical(c) != c {
			t.Fatalf("%q is %q, and that is %q", a, c, Canonical(c))
		}
		if i := strings.IndexFunc(c, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>\;:@[]`, r) }); i >= 0 {
			t.Fatalf("%q is %q, which is no user", a, c)
		}
		if c != "" && Plain(c) != Plain(Bare(a)) {
			t.Fatalf("%q is %q, which means %q", a, c, Plain(c))
		}
		if Escaped(Plain(c)) != c {
			t.Fatalf("%q is %q, and resolved and escaped %q", a, c, Escaped(Plain(c)))
		}
		if string(Append(nil, Bare(a))) != c && c != "" {
			t.Fatalf("%q is %q, and shown as %q", a, c, Append(nil, Bare(a)))
		}
		if shown := string(Append([]byte(nil), a)); strings.ContainsFunc(shown, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q is shown as %q", a, shown)
		}
		if n := Named(a); strings.Contains(n, ":") || !strings.HasPrefix(a, n) {
			t.Fatalf("%q is named %q", a, n)
		}
		if !Equal(a, a) || Equal(a, b) != Equal(b, a) || Equal(a, b) && !Same(a, b) || Same(a, b) != Same(b, a) {
			t.Fatalf("%q and %q: equal %v, same %v", a, b, Equal(a, b), Same(a, b))
		}
	})
}

func TestCanonicalCostsNothing(t *testing.T) {
	name := []byte("204;isub=1")
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = Canonical("+49301234"), Escaped("204"), Plain("204"), Bare(name) }); n != 0 {
		t.Errorf("%v allocations for a name that is canonical", n)
	}
}
