package message

import (
	"errors"
	"strings"
)

var (
	errQuote = errors.New("quoted string without an end")
	errParam = errors.New("parameter without a name, or white space inside its value")
)

// param is one parameter of a header field or URI, trimmed. Quoted values keep their quotes.
type param struct {
	name, value string
	assigned    bool // there was a '='
}

// cutParam reads the first parameter of a list; s begins behind its ';'. n is where it ends: at the next ';' or the end
// of s. An empty one has an empty name.
func cutParam(s string) (p param, n int, err error) {
	eq := -1
	for n < len(s) && s[n] != ';' {
		switch s[n] {
		case '=':
			if eq < 0 {
				eq = n
			}
			n++
		case '"':
			q := quotedLen(s[n:])
			if q == 0 {
				return p, 0, errQuote
			}
			n += q
		default:
			n++
		}
	}
	if eq < 0 {
		p.name = trim(s[:n])
	} else {
		p.name, p.value, p.assigned = trim(s[:eq]), trim(s[eq+1:n]), true
	}
	return p, n, p.check()
}

// check refuses what two readers could read differently.
func (p param) check() error {
	if p.name == "" && p.assigned || ambiguous(p.name) {
		return errParam
	}
	if p.value == "" || p.value[0] == '"' && quotedLen(p.value) == len(p.value) {
		return nil
	}
	if ambiguous(p.value) {
		return errParam
	}
	return nil
}

// ambiguous reports whether an unquoted text holds white space, quotes, angle brackets or commas.
func ambiguous(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case ' ', '\t', '"', '<', '>', ',':
			return true
		}
	}
	return false
}

// quotedLen is the length of the quoted string at the beginning of s, or 0 if it does not end (RFC 3261 §25.1).
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// trim cuts linear white space off both ends.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// space is where the first white space of s stands, or -1.
func space(s string) int {
	for i := range len(s) {
		if s[i] == ' ' || s[i] == '\t' {
			return i
		}
	}
	return -1
}

// findParam looks a parameter up by name, in any case. The list is raw, with its leading ';'.
func findParam(list, name string) (value string, ok bool) {
	for at := 0; at < len(list); {
		p, n, err := cutParam(list[at+1:])
		if err != nil {
			return "", false
		}
		if strings.EqualFold(p.name, name) {
			return p.value, true
		}
		at += 1 + n
	}
	return "", false
}

// size is the length of the parameter as it is written.
func (p param) size() int {
	if p.assigned {
		return len(p.name) + 1 + len(p.value)
	}
	return len(p.name)
}

func (p param) append(dst []byte) []byte {
	dst = append(append(dst, ';'), p.name...)
	if p.assigned {
		dst = append(append(dst, '='), p.value...)
	}
	return dst
}

// normalise walks a raw parameter list (with its leading ';', or empty), lets take pick parameters out, and returns
// the others: byte for byte as they arrived if they stand together, else without white space around ';' and '=' and
// without empty elements.
func normalise(list string, take func(param) (bool, error)) (string, error) {
	var buf []byte
	start, end := 0, 0 // until buf is needed, the others are list[start:end]
	for at := 0; at < len(list); {
		p, n, err := cutParam(list[at+1:])
		if err != nil {
			return "", err
		}
		next := at + 1 + n
		taken, err := take(p)
		switch {
		case err != nil:
			return "", err
		case taken || p.name == "":
		case buf == nil && p.size() == n && start == end:
			start, end = at, next
		case buf == nil && p.size() == n && end == at:
			end = next
		default:
			if buf == nil {
				buf = append(make([]byte, 0, len(list)), list[start:end]...)
			}
			buf = p.append(buf)
		}
		at = next
	}
	if buf != nil {
		return string(buf), nil
	}
	return list[start:end], nil
}
