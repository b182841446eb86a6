package route

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func country(t testing.TB, iso string) *Country {
	t.Helper()
	c, ok := CountryOf(iso)
	if !ok {
		t.Fatal(iso)
	}
	return c
}

func TestCountriesAreSound(t *testing.T) {
	if len(countries) < 40 {
		t.Errorf("%d countries", len(countries))
	}
	seen := map[string]bool{}
	for i := range countries {
		c := &countries[i]
		switch {
		case seen[c.ISO] || len(c.ISO) != 2 || strings.ToUpper(c.ISO) != c.ISO:
			t.Errorf("%s: twice, or no code", c.ISO)
		case CallingCode(c.Code) != c.Code:
			t.Errorf("%s: +%s is no calling code", c.ISO, c.Code)
		case c.min < nationalLeast || c.max < c.min || c.max+len(c.Code) > digitsMost:
			t.Errorf("%s: %d to %d digits", c.ISO, c.min, c.max)
		case len(c.intl) == 0 || slices.ContainsFunc(c.intl, func(p string) bool { return len(p) < 2 || !allDigits(p) }):
			t.Errorf("%s: international prefix %v", c.ISO, c.intl)
		case !c.whole && c.trunk == "":
			t.Errorf("%s: no way to dial a national number", c.ISO)
		}
		seen[c.ISO] = true
	}
	if list := Countries(); !slices.IsSorted(list) || len(list) != len(countries) {
		t.Error(list)
	}
	if _, ok := CountryOf("QQ"); ok {
		t.Error("QQ")
	}
}

// TestDialling: what phones dial in their countries, and what it is.
func TestDialling(t *testing.T) {
	for _, tt := range []struct{ iso, dialled, want string }{
		{"DE", "0301234567", "+49301234567"},
		{"DE", "00441632960123", "+441632960123"},
		{"DE", "+441632960123", "+441632960123"},
		{"DE", "+49(0)301234567", "+49301234567"},
		{"DE", "1234567", ""},        // of the same place: nobody knows which
		{"DE", "110", ""},            // an emergency call
		{"DE", "0049112", ""},        // that cannot be had from elsewhere
		{"DE", "115", ""},            //
		{"DE", "01033030123456", ""}, // a carrier is chosen first
		{"DE", "*21*0301234567#", ""},
		{"DE", "00991234567", ""},        // no country has it
		{"DE", "004912345678901234", ""}, // too long
		{"AT", "0112345678", "+43112345678"},
		{"CH", "0443643532", "+41443643532"},
		{"GB", "02079460123", "+442079460123"},
		{"FR", "0142685300", "+33142685300"},
		{"FR", "01426853", ""},
		{"IT", "0612345678", "+390612345678"}, // the zero is part of the number
		{"IT", "3123456789", "+393123456789"},
		{"IT", "+390612345678", "+390612345678"},
		{"IT", "0039612345", "+39612345"},
		{"ES", "912345678", "+34912345678"},
		{"DK", "32123456", "+4532123456"},
		{"DK", "112", ""},
		{"HU", "0612345678", "+3612345678"},
		{"RU", "84951234567", "+74951234567"},
		{"RU", "810493012345", "+493012345"},
		{"US", "2015550123", "+12015550123"},
		{"US", "12015550123", "+12015550123"},
		{"US", "011493012345", "+493012345"},
		{"US", "911", ""},
		{"US", "5550123", ""},
		{"US", "1115550123", ""}, // no area begins with 1
		{"AU", "0212345678", "+61212345678"},
		{"AU", "0011493012345", "+493012345"},
		{"AU", "000", ""},
		{"JP", "0312345678", "+81312345678"},
		{"JP", "010493012345", "+493012345"},
		{"SG", "61234567", "+6561234567"},
		{"BR", "1123456789", ""},
		{"BR", "01123456789", "+551123456789"},
		{"CI", "2721234567", "+2252721234567"},
		{"CI", "+2250123456789", "+2250123456789"}, // a number that begins with a zero
	} {
		if got := country(t, tt.iso).Read(uri("sip", tt.dialled)).E164; got != tt.want {
			t.Errorf("%s: %s is %q, want %q", tt.iso, tt.dialled, got, tt.want)
		}
	}
}

// TestCallingCodes: against a list that is searched from the longest prefix to the shortest.
func TestCallingCodes(t *testing.T) {
	var list []string
	var walk func(at uint16, word string)
	walk = func(at uint16, word string) {
		if callingCodes.ends[at] {
			list = append(list, word)
		}
		for d, next := range callingCodes.nodes[at] {
			if next != 0 {
				walk(next, word+string(rune('0'+d)))
			}
		}
	}
	walk(0, "")
	if len(list) < 210 {
		t.Errorf("%d calling codes", len(list))
	}
	for _, a := range list {
		for _, b := range list {
			if a != b && strings.HasPrefix(b, a) {
				t.Errorf("%s begins with %s", b, a)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.StringMatching(`[0-9]{0,6}[a-z]?`).Draw(t, "number")
		want := ""
		for l := min(3, len(n)); l > 0; l-- {
			if slices.Contains(list, n[:l]) {
				want = n[:l]
				break
			}
		}
		if got := CallingCode(n); got != want {
			t.Fatalf("%s: %q, want %q", n, got, want)
		}
	})
}

// TestEveryFormReadsBack: what a country writes, in whichever form, it dials.
func TestEveryFormReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(countries).Draw(t, "home")
		of := rapid.SampledFrom(countries).Draw(t, "of")
		national := rapid.StringMatching(`[1-9][0-9]{3,12}`).Draw(t, "national")
		if !of.fits(national) {
			return
		}
		e := "+" + of.Code + national
		for _, f := range []Form{FormDialled, FormPlus, FormNational, FormInternational} {
			text := c.Write(e, f)
			if got := c.Read(uri("sip", text)).E164; got != e {
				t.Fatalf("%s writes %s as %s (%s), and reads %q", c.ISO, e, text, f, got)
			}
		}
		if got := "+" + c.Write(e, FormE164); got != e {
			t.Fatalf("%s: %s", e, got)
		}
	})
}
