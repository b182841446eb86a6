package geo

import (
	"strings"
	"testing"
)

func TestAssignedCodes(t *testing.T) {
	codes := strings.Fields(assigned)
	if len(codes) != 250 {
		t.Errorf("%d codes, ISO 3166-1 assigns 249, and Kosovo has one", len(codes))
	}
	for i, code := range codes {
		if i > 0 && codes[i-1] >= code {
			t.Errorf("%s does not follow %s", code, codes[i-1])
		}
		for _, text := range []string{code, strings.ToLower(code), " " + code} {
			if c, err := ParseCode(text); err != nil || c.String() != code {
				t.Errorf("%q: %v %v", text, c, err)
			}
		}
		if readCode(code).String() != code || readCode(strings.ToLower(code)).String() != code {
			t.Errorf("%s is not read", code)
		}
	}
}

func TestNoCodes(t *testing.T) {
	for text, want := range map[string]string{"": "two letters", "D": "two letters", "DEU": "two letters", "XX": "two letters",
		"D ": "two letters", "UK": "write GB", "uk": "write GB", "EU": "two letters", "E F": "two letters", "A1": "two letters"} {
		if c, err := ParseCode(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v %v, want %q", text, c, err, want)
		}
	}
	for _, text := range []string{"", "?", "??", "ZZ", "A1", "EU", "AP", "D ", " D", "--", "\x00\x00", "DEU", "E\x00"} {
		if c := readCode(text); c != (Code{}) {
			t.Errorf("%q is read as %v", text, c)
		}
	}
	if (Code{}).String() != "" {
		t.Error("the unknown country has a name")
	}
	if text, err := (Code{'D', 'E'}).MarshalText(); string(text) != "DE" || err != nil {
		t.Error(text, err)
	}
}
