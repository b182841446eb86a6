package credentials

import (
	"slices"
	"strings"

	"sallyport/sbc/scan"
)

// The bounds of a field that is read.
const (
	MaxField  = 4096 // bytes
	MaxParams = 32   // parameters
)

// Params are the parameters of one challenge, or of one set of credentials. Quoted values stand without their quotes, and otherwise
// as they came.
type Params struct {
	Scheme string
	list   []param
}

type param struct{ name, value string }

// Get finds a parameter. Their names have no case.
func (p Params) Get(name string) (string, bool) {
	i := slices.IndexFunc(p.list, func(x param) bool { return strings.EqualFold(x.name, name) })
	if i < 0 {
		return "", false
	}
	return p.list[i].value, true
}

// Is reports whether a parameter is there with this value.
func (p Params) Is(name, value string) bool {
	v, ok := p.Get(name)
	return ok && v == value
}

// Parse reads a header field: a scheme, then parameters with commas between them. In SIP a field holds one challenge (RFC 3261
// §7.3.1: they are never combined), in HTTP several; servers that do as in HTTP are understood. What cannot be read, or names a
// parameter twice ("any given parameter-name MUST NOT appear more than once", §7.3.1), is nothing as a whole.
func Parse(field string) (all []Params) {
	if len(field) > MaxField || HasControl(field) {
		return nil
	}
	for n, s := 0, field; s != ""; n++ {
		if n > MaxParams {
			return nil
		}
		word := token(s)
		rest := trim(s[len(word):])
		if word == "" {
			return nil
		}
		if !strings.HasPrefix(rest, "=") { // a scheme
			all = append(all, Params{Scheme: word})
			word = token(rest)
			if rest = trim(rest[len(word):]); word == "" || !strings.HasPrefix(rest, "=") {
				return nil
			}
		}
		if len(all) == 0 {
			return nil
		}
		value, left, ok := valueOf(trim(rest[1:]))
		p := &all[len(all)-1]
		if _, twice := p.Get(word); !ok || twice {
			return nil
		}
		p.list = append(p.list, param{name: word, value: value})
		if s, ok = comma(left); !ok {
			return nil
		}
	}
	return all
}

// each hands over the parameters behind a scheme, until do has enough. It reports whether they are a list to the end, and were all
// handed over.
func each(field string, do func(name, value string) (more bool)) (whole bool) {
	if len(field) > MaxField || HasControl(field) {
		return false
	}
	for s := trim(field[len(token(field)):]); s != ""; {
		name := token(s)
		rest := trim(s[len(name):])
		if name == "" || !strings.HasPrefix(rest, "=") {
			return false
		}
		value, left, ok := valueOf(trim(rest[1:]))
		if !ok || !do(name, value) {
			return false
		}
		if s, ok = comma(left); !ok {
			return false
		}
	}
	return true
}

// comma cuts what separates two parameters off; empty elements are forgiven. A comma must have something behind it.
func comma(s string) (rest string, ok bool) {
	if s = trim(s); s == "" {
		return "", true
	}
	if s[0] != ',' {
		return "", false
	}
	for s != "" && s[0] == ',' {
		s = trim(s[1:])
	}
	return s, true
}

// valueOf reads a token or a quoted string at the beginning of s.
func valueOf(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value = s
		if end := strings.IndexAny(s, ", \t"); end >= 0 {
			value = s[:end]
		}
		return value, s[len(value):], value != "" && !strings.ContainsAny(value, `"\`)
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[1:i], s[i+1:], true
		}
	}
	return "", "", false
}

// token is the one that s begins with.
func token(s string) string {
	n := 0
	for n < len(s) && scan.IsToken(s[n]) {
		n++
	}
	return s[:n]
}

// trim cuts linear white space off the front.
func trim(s string) string { return strings.TrimLeft(s, " \t") }

// SameToken compares tokens, in which case does not count (RFC 3261 §7.3.1). They have ASCII alone: the long s that Unicode takes for
// an s would be written back as it came, and is no token.
func SameToken(x, token string) bool {
	return len(x) == len(token) && strings.EqualFold(x, token) // such letters have two bytes or more
}

// HasControl reports whether a text holds characters that could end a line, or the message.
func HasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0
}
