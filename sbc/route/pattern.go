package route

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Compile makes a pattern of the configuration: RE2 against the whole number.
func Compile(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(anchor + pattern + anchorEnd)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w; patterns are RE2 and match the whole number", pattern, err)
	}
	return re, nil
}

const anchor, anchorEnd = `\A(?:`, `)\z`

// written is a pattern as the administrator wrote it.
func written(re *regexp.Regexp) string {
	return strings.TrimSuffix(strings.TrimPrefix(re.String(), anchor), anchorEnd)
}

// Patterns are some patterns of which one must fit. Most numbers are told by how a pattern begins, without its machine.
type Patterns struct{ list []pattern }

type pattern struct {
	re     *regexp.Regexp
	begins string // so does whatever fits
}

// NewPatterns makes patterns of compiled ones.
func NewPatterns(list []*regexp.Regexp) Patterns {
	var p Patterns
	for _, re := range list {
		p.list = append(p.list, pattern{re, beginning(re.String())})
	}
	return p
}

// Len is how many there are.
func (p *Patterns) Len() int { return len(p.list) }

// Match is the first pattern that fits a number as it was dialled or as one of the public network, and which of the two it
// was; -1: none fits.
func (p *Patterns) Match(d Dialled) (i int, as string) {
	for i := range p.list {
		x := &p.list[i]
		if x.fits(d.Text) {
			return i, d.Text
		}
		if d.E164 != "" && d.E164 != d.Text && x.fits(d.E164) {
			return i, d.E164
		}
	}
	return -1, ""
}

func (x *pattern) fits(s string) bool { return strings.HasPrefix(s, x.begins) && x.re.MatchString(s) }

// beginning is the literal text that everything begins with that an expression matches as a whole; "" where it has several.
func beginning(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	text, _ := literal(re)
	return text
}

// literal is what a part of an expression begins with, and whether that is all of it.
func literal(re *syntax.Regexp) (text string, whole bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpBeginLine:
		return "", true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return "", false
		}
		return string(re.Rune), true
	case syntax.OpCapture:
		return literal(re.Sub[0])
	case syntax.OpPlus:
		text, _ = literal(re.Sub[0])
		return text, false
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			t, all := literal(sub)
			if text += t; !all {
				return text, false
			}
		}
		return text, true
	default:
		return "", false
	}
}
