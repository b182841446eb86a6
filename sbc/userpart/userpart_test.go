package userpart

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestChar(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"alice", "alice"},
		{"%61lice", "alice"},
		{"%2B49%2b", "+49+"},
		{"%00%ff", "\x00\xff"},
		{"%2541", "%41"}, // once is enough: what comes out is not read again
		{"%", "%"},
		{"%4", "%4"},
		{"%4g%g4%%41", "%4g%g4%A"},
		{"a%", "a%"},
		{"30%", "30%"},
	} {
		if got := Plain(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	if c, next := Char([]byte("x%40y"), 1); c != '@' || next != 4 {
		t.Errorf("of bytes: %q, next at %d", c, next)
	}
	if c, next := Char("x%4", 1); c != '%' || next != 2 {
		t.Errorf("cut short: %q, next at %d", c, next)
	}
}

func TestHex(t *testing.T) {
	for c := range 256 {
		var want int
		if n, err := fmt.Sscanf(strings.TrimSpace(string([]byte{byte(c)})), "%x", &want); n != 1 || err != nil {
			want = -1
		}
		if got := Hex(byte(c)); got != want {
			t.Errorf("%q: %d, want %d", byte(c), got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"0301234", "0301234", true},
		{"+49301234", "+49301234", true},
		{"%2B49(30)12-3.4", "+49301234", true},
		{"%30%33%30", "030", true}, // a digit is one however it is written
		{"-+49", "+49", true},
		{"*31#030", "*31#030", true},
		{"*31%23030", "*31#030", true},
		{"%2A31%23", "*31#", true},
		{"0", "0", true},
		{"#", "#", true},
		{"", "", false},
		{"+", "", false},
		{"%2B", "", false},
		{"-", "", false},
		{"()", "", false},
		{"49+30", "", false},
		{"++49", "", false},
		{"030%", "", false},
		{"030%2", "", false},
		{"030%zz", "", false},
		{"030%25", "", false},
		{"030 1", "", false},
		{"030/1", "", false},
		{"030;x", "", false},
		{"alice", "", false},
		{"4a", "", false},
	} {
		got, ok := Number(c.in)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %q %v, want %q %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

// TestEscapedIsEqual: a text reads the same however many of its characters are escaped, and a number stays the number.
func TestEscapedIsEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "text")
		var all []byte
		for _, c := range in {
			all = fmt.Appendf(all, rapid.SampledFrom([]string{"%%%02x", "%%%02X"}).Draw(t, "as"), c)
		}
		if got := Plain(string(all)); got != string(in) {
			t.Fatalf("%q is %q, want %q", all, got, in)
		}
		if want, err := url.PathUnescape(string(in)); err == nil && Plain(string(in)) != want {
			t.Fatalf("%q: %q, elsewhere %q", in, Plain(string(in)), want)
		}

		number := rapid.StringMatching(`\+?[0-9*#]{1,15}`).Draw(t, "number")
		var out strings.Builder
		for i := range len(number) {
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				fmt.Fprintf(&out, "%%%02X", number[i])
			case 1:
				out.WriteString(rapid.SampledFrom([]string{"-", ".", "(", ")", "%2d"}).Draw(t, "eye") + number[i:i+1])
			default:
				out.WriteByte(number[i])
			}
		}
		if got, ok := Number(out.String()); !ok || got != number {
			t.Fatalf("%q is %q %v, want %q", out.String(), got, ok, number)
		}
	})
}

func TestNumberCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = Number("+49301234") }); n != 0 {
		t.Errorf("%v allocations for a number that is one already", n)
	}
	name := []byte("%61lice")
	if n := testing.AllocsPerRun(100, func() { _, _ = Char(name, 0) }); n != 0 {
		t.Errorf("%v allocations for a character", n)
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"+49 30", "%2B49", "%", "%4", "%%41", "a%00b", "*31#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p := Plain(s); len(p) > len(s) || !strings.Contains(s, "%") && p != s {
			t.Fatalf("%q: %q", s, p)
		}
		n, ok := Number(s)
		if !ok {
			return
		}
		if again, ok := Number(n); !ok || again != n {
			t.Fatalf("%q: %q, read again %q %v", s, n, again, ok)
		}
		if strings.Trim(n, "+0123456789*#") != "" || strings.LastIndexByte(n, '+') > 0 {
			t.Fatalf("%q: %q is no number", s, n)
		}
	})
}
