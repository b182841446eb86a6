package config

import (
	"fmt"
	"regexp"

	"sallyport/sbc/route"
)

// maxPattern bounds a regular expression; RE2 runs in linear time, its program still costs memory.
const maxPattern = 1024

// Pattern is an RE2 expression that must match the whole value.
type Pattern struct {
	text string
	re   *regexp.Regexp
}

// UnmarshalText compiles an expression.
func (p *Pattern) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" {
		return badValue("write .* to match everything", "the expression is empty")
	}
	if len(s) > maxPattern {
		return badValue("split it", "the expression is longer than %d characters", maxPattern)
	}
	if _, err := regexp.Compile(s); err != nil {
		return badValue(expressionHint(s), "%s", err.Error())
	}
	re, err := route.Compile(s)
	if err != nil {
		return badValue(expressionHint(s), "%s", err.Error())
	}
	*p = Pattern{text: s, re: re}
	return nil
}

// expressionHint is what to write where an expression does not compile. Numbers begin with a plus, and service codes with a star, which
// mean something else there.
func expressionHint(s string) string {
	if s[0] == '+' || s[0] == '*' {
		return fmt.Sprintf("a %c that is dialled is written \\%c: '\\%s', in single quotes", s[0], s[0], s)
	}
	return "expressions are RE2: no look-around, no back-references"
}

// MarshalText writes the expression as it was written.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// IsZero reports whether no expression was written.
func (p Pattern) IsZero() bool { return p.re == nil }

// String is the expression as it was written.
func (p Pattern) String() string { return p.text }

// Regexp is the compiled expression, anchored at both ends; nil for the zero Pattern.
func (p Pattern) Regexp() *regexp.Regexp { return p.re }
