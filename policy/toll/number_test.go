package toll

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNumber(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"0900123":                          "0900123",
		"+4990012345":                      "+4990012345",
		"004990012345":                     "+4990012345",
		"0004990012345":                    "+4990012345",
		"+004990012345":                    "+4990012345",
		"00":                               "+",
		"0":                                "0",
		"+49-900.(12) 345":                 "+4990012345",
		"+49 (0)30":                        "+49030",
		"0900/123":                         "0900123",
		"tel:+881600":                      "+881600",
		"TEL:00881600":                     "+881600",
		"sip:0900@example.com":             "0900",
		"sips:0900@example.com":            "0900",
		"0900;phone-context=+49":           "0900",
		"0900:secret":                      "0900",
		"%30%39%30%30":                     "0900",
		"%2B49900":                         "+49900",
		"%2b49900":                         "+49900",
		"%2D0900":                          "0900",
		"0900%3Bx=y":                       "0900",
		"0900%":                            "0900%",
		"0900%4":                           "0900%4",
		"0900%zz":                          "0900%zz",
		"*21#":                             "*21#",
		"alice":                            "alice",
		"0900alice":                        "0900alice",
		"tel:":                             "tel",
		strings.Repeat("1", 1000):          strings.Repeat("1", numberMost),
		strings.Repeat("-", 1000) + "0900": "0900",
	} {
		if got := Number(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestEverySpellingIsOneNumber: whatever a caller puts between the digits, the prefix is found.
func TestEverySpellingIsOneNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[1-9][0-9]{4,14}`).Draw(t, "digits")
		var in strings.Builder
		in.WriteString(rapid.SampledFrom([]string{"+", "00", "000", "%2B", "%2b", "tel:+", "tel:00", "%300"}).Draw(t, "lead"))
		for _, c := range digits {
			in.WriteString(rapid.SampledFrom([]string{"", "", "-", ".", "(", ")", " ", "%20", "%2d"}).Draw(t, "separator"))
			if rapid.IntRange(0, 4).Draw(t, "escape") == 0 {
				in.WriteString("%3")
			}
			in.WriteRune(c)
		}
		in.WriteString(rapid.SampledFrom([]string{"", ";phone-context=+1", ";npdi", ":x", "@example.com"}).Draw(t, "tail"))
		if len(in.String()) > numberMost {
			t.Skip("too long")
		}
		if got := Number(in.String()); got != "+"+digits {
			t.Errorf("%q: %q, want +%s", in.String(), got, digits)
		}
	})
}

func TestNumberOfDigitsDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Number("0900123456"); Number("+4990012345") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTheTreeAgreesWithPrefixes compares it with the plain way.
func TestTheTreeAgreesWithPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[+0-3*#][0-3]{0,4}`)
		lists := rapid.SliceOfN(rapid.SliceOfN(prefix, 0, 4), 1, 6).Draw(t, "rules")
		var tree tree
		for i, list := range lists {
			for _, p := range list {
				tree.add(p, i)
			}
		}
		number := rapid.StringMatching(`[+0-3*#][0-3]{0,6}x?[0-3]?`).Draw(t, "number")
		longest := map[int32]int{}
		tree.walk(number, longest)
		for i, list := range lists {
			want := 0
			for _, p := range list {
				if strings.HasPrefix(number, p) {
					want = max(want, len(p))
				}
			}
			if longest[int32(i)] != want {
				t.Errorf("%q, rule %d %v: %d, want %d", number, i, list, longest[int32(i)], want)
			}
		}
	})
}

func FuzzNumber(f *testing.F) {
	for _, seed := range []string{"", "0900", "%30%39", "tel:+1-2", "sip:a@b", "%", "%0", "00", "+", "\x00\xff", "0900;x", "sips:sips:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n := Number(in)
		if len(n) > numberMost {
			t.Errorf("%q: %d bytes", in, len(n))
		}
		if strings.HasPrefix(n, "00") || strings.HasPrefix(n, "+0") && len(n) > 1 && strings.HasPrefix(n, "+00") {
			t.Errorf("%q: %q begins with zeros", in, n)
		}
		if strings.ContainsAny(n, "-.() ;@") {
			t.Errorf("%q: %q has what no number has", in, n)
		}
		var tr tree
		tr.add("0900", 0)
		tr.walk(n, map[int32]int{})
	})
}
