package digest

import (
	"slices"
	"strings"

	"sallyport/sbc/message"
)

// params are the parameters of one challenge, or of one set of credentials. Quoted values stand without their quotes, and otherwise
// as they came.
type params struct {
	scheme string
	list   []param
}

type param struct{ name, value string }

// get finds a parameter. Their names have no case.
func (p params) get(name string) (string, bool) {
	i := slices.IndexFunc(p.list, func(x param) bool { return strings.EqualFold(x.name, name) })
	if i < 0 {
		return "", false
	}
	return p.list[i].value, true
}

// is reports whether a parameter is there with this value.
func (p params) is(name, value string) bool {
	v, ok := p.get(name)
	return ok && v == value
}

// parse reads a header field: a scheme, then parameters with commas between them. In SIP a field holds one challenge (RFC 3261
// §7.3.1: they are never combined), in HTTP several; servers that do as in HTTP are understood. What cannot be read, or names a
// parameter twice ("any given parameter-name MUST NOT appear more than once", §7.3.1), is nothing as a whole.
func parse(s string) (all []params) {
	if len(s) > maxValue || control(s) {
		return nil
	}
	for n := 0; s != ""; n++ {
		if n > maxParams {
			return nil
		}
		word := token(s)
		rest := trim(s[len(word):])
		if word == "" {
			return nil
		}
		if !strings.HasPrefix(rest, "=") { // a scheme
			all = append(all, params{scheme: word})
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
		if _, twice := p.get(word); !ok || twice {
			return nil
		}
		p.list = append(p.list, param{name: word, value: value})
		if s, ok = comma(left); !ok {
			return nil
		}
	}
	return all
}

// Nonce is that of a challenge or of credentials (RFC 7616 §3.3, §3.4). It is plain where nobody can read another one there: what has
// two, or an escape in one that some resolve and others compare as it stands, or is no list of parameters, is not.
func Nonce(field string) (nonce string, plain bool) {
	plain = each(field, func(name, value string) (more bool) {
		if !strings.EqualFold(name, "nonce") {
			return true
		}
		if nonce != "" || strings.Contains(value, `\`) {
			return false
		}
		nonce = value
		return true
	})
	return nonce, plain
}

// Usernames are those of credentials as they stand between their quotes (RFC 7616 §3.4, §3.4.4): one, unless who wrote them wants them
// read in two ways. Credentials that are no list of parameters to the end are not whole: behind that anything may be read. Those of
// another scheme have none.
func Usernames(field string) (names []string, whole bool) {
	field = trim(field)
	if scheme := token(field); scheme != "" && !sameToken(scheme, "Digest") {
		return nil, true
	}
	whole = each(field, func(name, value string) bool {
		if sameToken(name, "username") || sameToken(name, "username*") {
			names = append(names, value)
		}
		return true
	})
	return names, whole
}

// each hands over the parameters behind a scheme, until do has enough. It reports whether they are a list to the end, and were all
// handed over.
func each(field string, do func(name, value string) (more bool)) (whole bool) {
	if len(field) > maxValue || control(field) {
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
	for n < len(s) && message.ValidToken(s[n:n+1]) {
		n++
	}
	return s[:n]
}

// trim cuts linear white space off the front.
func trim(s string) string { return strings.TrimLeft(s, " \t") }

// control reports whether a text holds characters that could end a line, or the message.
func control(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0
}

// quoted is a text as it stands between quotes.
func quoted(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
