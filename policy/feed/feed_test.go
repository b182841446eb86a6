package feed

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gaissmai/bart"
	"pgregory.net/rapid"
)

// told is a set as text, in order.
func told(set *bart.Lite) string {
	var list []string
	for p := range set.AllSorted() {
		list = append(list, p.String())
	}
	return strings.Join(list, " ")
}

func TestLines(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                              "192.0.2.1/32",
		"192.0.2.0/24\n198.51.100.0/24\n":        "192.0.2.0/24 198.51.100.0/24",
		"2001:db8::1\r\n2001:db8:1::/48\r\n":     "2001:db8::1/128 2001:db8:1::/48",
		"192.0.2.9/24":                           "192.0.2.0/24",
		"192.0.2.0-192.0.2.255":                  "192.0.2.0/24",
		"192.0.2.1 - 192.0.2.6":                  "192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32",
		"2001:db8::-2001:db8::ffff":              "2001:db8::/112",
		"# a list\n\n192.0.2.1 # who\n":          "192.0.2.1/32",
		"; Spamhaus\n192.0.2.0/24 ; SBL123\n":    "192.0.2.0/24",
		"// a list\n192.0.2.1 // who\n":          "192.0.2.1/32",
		"192.0.2.1,5,scanner\n192.0.2.2,1,x\n":   "192.0.2.1/32 192.0.2.2/32",
		"ip,score,what\n192.0.2.1,5,scanner\n":   "192.0.2.1/32",
		"ip\tscore\n192.0.2.1\t5\n":              "192.0.2.1/32",
		"\"192.0.2.1\",\"5\"":                    "192.0.2.1/32",
		"192.0.2.1;5":                            "192.0.2.1/32",
		"192.0.2.1 5 scanner":                    "192.0.2.1/32",
		"192.0.2.1\n192.0.2.1\n":                 "192.0.2.1/32",
		"::ffff:192.0.2.1\n::ffff:192.0.2.0/120": "192.0.2.0/24 192.0.2.1/32",
		"\ufeff192.0.2.1\n":                      "192.0.2.1/32",
		"fe80::1%eth0\n192.0.2.1":                "192.0.2.1/32",
		"# nothing today\n":                      "",
		"  192.0.2.1  ":                          "192.0.2.1/32",
		"1.0.0.0/8\n2001::/19":                   "1.0.0.0/8 2001::/19",
	} {
		set, report, err := Parse(strings.NewReader(text), 100)
		if err != nil || told(set) != want || report.Entries != set.Size() {
			t.Errorf("%q: %v %+v, want %s", text, err, report, want)
		}
	}
}

func TestWhatIsLeftOut(t *testing.T) {
	text := strings.Repeat("198.51.100.1\n", 60) + "0.0.0.0/0\n::/0\n1.0.0.0/7\n2001::/18\n0.0.0.0-255.255.255.255\n1.0.0.0-223.255.255.255\n" +
		"10.1.2.3\n172.16.0.0/12\n172.0.0.0/8\n192.168.0.0/16\n100.64.7.7\n127.0.0.1\n169.254.1.1\n224.0.0.1\n255.255.255.255\n0.0.0.0\n" +
		"::1\n::\nfd00::1\nfe80::/10\nff02::1\n9.255.255.255-10.0.0.0\nwhat\n300.1.1.1\n1.2.3.4/33\n4.4.4.4-3.3.3.3\n4.4.4.4-::1\n"
	set, r, err := Parse(strings.NewReader(text), 10)
	if err != nil || told(set) != "198.51.100.1/32" {
		t.Fatal(err, told(set))
	}
	if want := (Report{Lines: 87, Entries: 1, Again: 59, Junk: 5, FirstJunk: 83, Wide: 7, Special: 15}); r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	if r.Left() != 27 {
		t.Error(r.Left())
	}
}

func TestNoList(t *testing.T) {
	many := strings.Builder{}
	for i := range 11 {
		fmt.Fprintf(&many, "192.0.2.%d\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"an error page":       {"<!DOCTYPE html>\n<html>\n<body>503</body>\n</html>\n", "4 of 4 lines"},
		"a page with columns": {"<html>,\n<b>,\n", "this is no address list"},
		"one long line":       {"<html><body>Too many requests, please slow down</body></html>", "this is no address list"},
		"JSON":                {"{\"cidr\":\"192.0.2.0/24\"}\n", "this is no address list"},
		"a sentence":          {"You have reached your quota, come back tomorrow", "the list is empty"},
		"sentences":           {"# 429\nWell, no\nAgain, no\n", "1 of 1 lines"},
		"columns only":        {"ip,score\nwhat,1\n", "1 of 1 lines"},
		"nothing":             {"", "without even a comment"},
		"white space":         {"\n \r\n\n", "without even a comment"},
		"junk between":        {"192.0.2.1\n192.0.2.2\nwhat\n", "1 of 3 lines are neither address, prefix nor start-end, the first one is line 3"},
		"an endless line":     {strings.Repeat("1", maxLine+10), "longer than 64 KiB"},
		"too many":            {many.String(), "more than 10 entries; raise max_entries"},
		"too many in one":     {"192.0.2.1-192.0.2.254", "more than 10 entries"},
	} {
		set, _, err := Parse(strings.NewReader(c.text), 10)
		if err == nil || !strings.Contains(err.Error(), c.want) || set != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := io.MultiReader(strings.NewReader("192.0.2.1\n"), failing{})
	if _, _, err := Parse(broken, 10); !errors.Is(err, errCut) {
		t.Errorf("half a list is taken: %v", err)
	}
}

var errCut = errors.New("cable cut")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

func TestATenthOfJunkIsTaken(t *testing.T) {
	text := strings.Repeat("192.0.2.1\n", 9) + "what\n"
	if _, r, err := Parse(strings.NewReader(text), 1); err != nil || r.Junk != 1 || r.FirstJunk != 10 {
		t.Error(err, r)
	}
	if _, _, err := Parse(strings.NewReader(text+"what\n"), 1); err == nil {
		t.Error("more than a tenth is taken")
	}
}

// TestTheSetHoldsWhatTheLinesSay draws ranges and asks addresses.
func TestTheSetHoldsWhatTheLinesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type span struct{ first, last byte }
		var spans []span
		var text strings.Builder
		for range rapid.IntRange(1, 6).Draw(t, "n") {
			a, b := rapid.Byte().Draw(t, "a"), rapid.Byte().Draw(t, "b")
			s := span{min(a, b), max(a, b)}
			spans = append(spans, s)
			fmt.Fprintf(&text, "192.0.2.%d-192.0.2.%d\n", s.first, s.last)
		}
		set, _, err := Parse(strings.NewReader(text.String()), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 256 {
			want := slices.ContainsFunc(spans, func(s span) bool { return s.first <= byte(i) && byte(i) <= s.last })
			if got := set.Contains(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})); got != want {
				t.Fatalf("192.0.2.%d: %v of\n%s", i, got, &text)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"192.0.2.1\n", "0.0.0.0/0\n::/0", "1.0.0.0-9.9.9.9", "ip,score\n192.0.2.1,1", "<html>", "; x\n192.0.2.0/24 ; y",
		"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::1%x", "\ufeff\r\n", "1.2.3.4/8,"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, r, err := Parse(strings.NewReader(string(data)), 500)
		if err != nil {
			if set != nil {
				t.Fatal("an error and a list")
			}
			return
		}
		if set.Size() != r.Entries || r.Entries > 500 {
			t.Fatalf("%d entries, %+v", set.Size(), r)
		}
		for p := range set.All() {
			if isSpecial(p) || p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 19 {
				t.Fatalf("%s is in the list", p)
			}
		}
	})
}

// BenchmarkParse reads the longest list that a feed may be by default.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&text, "%d.%d.%d.%d\n", 11+i%80, i/80%256, i/7%256, i%251)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Parse(strings.NewReader(text.String()), 200_000); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAListOfHalfTheWorldIsNotBelieved, though none of its lines is too wide by itself.
func TestAListOfHalfTheWorldIsNotBelieved(t *testing.T) {
	var v4, v6 strings.Builder
	for i := 11; i <= 99; i++ {
		fmt.Fprintf(&v4, "%d.0.0.0/8\n", i)
	}
	for i := range 20_000 {
		fmt.Fprintf(&v6, "%x:%x::/19\n", 0x2000+i/8, i%8*0x2000)
	}
	for _, text := range []string{v4.String(), v6.String()} {
		if _, _, err := Parse(strings.NewReader(text), 1_000_000); err == nil || !strings.Contains(err.Error(), "not believed") {
			t.Errorf("error %v", err)
		}
	}
}
