package config

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	checkValues[Pattern](t, []valueCase{
		{text: "112", want: "112"},
		{text: `^\+?[0-9]{2,15}$`, want: `^\+?[0-9]{2,15}$`},
		{text: "a|b", want: "a|b"},
		{text: "", bad: "empty", hint: ".*"},
		{text: "(", bad: "missing closing", hint: "RE2"},
		{text: "a)(b", bad: "unexpected )", hint: "RE2"},
		{text: `(.)\1`, bad: "invalid escape", hint: "RE2"},
		{text: "+49.*", bad: "missing argument", hint: `a + that is dialled is written \+: '\+49.*'`},
		{text: "*21#", bad: "missing argument", hint: `'\*21#'`},
		{text: "(?=x)", bad: "Perl syntax", hint: "RE2"},
		{text: strings.Repeat("a", 1025), bad: "longer", hint: "split"},
		{text: "((a{1000}){1000}){1000}", bad: "invalid repeat count", hint: "RE2"},
	})
}

func TestPatternMatchesTheWholeValue(t *testing.T) {
	for _, c := range []struct {
		expr, value string
		want        bool
	}{
		{"112", "112", true},
		{"112", "1120", false},
		{"112", "0112", false},
		{"a|b", "b", true},
		{"a|b", "ab", false},
		{"112", "112\n", false},
		{"(?m)^112$", "112\n9", false},
		{`^\+?[0-9]{2,15}$`, "+4930123", true},
		{`^\+?[0-9]{2,15}$`, "anna", false},
	} {
		var p Pattern
		if err := p.UnmarshalText([]byte(c.expr)); err != nil {
			t.Fatal(err)
		}
		if got := p.Regexp().MatchString(c.value); got != c.want {
			t.Errorf("%s on %q: %v", c.expr, c.value, got)
		}
	}
}
