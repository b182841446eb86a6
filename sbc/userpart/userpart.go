// Package userpart reads the user part of a SIP URI (RFC 3261 §19.1.1) as whoever is called by it does: characters that stand
// there escaped (§19.1.4, §25.1), and telephone numbers, in which some are there for the eye alone (RFC 3966 §5.1.1). It owns the canonical
// form of users, by which one person is one (§10.3).
//
// It is a leaf, so that the guard before the parser, the rules on numbers and the routes behind it all take the same text for
// the same user: what one of them read in another way would be a way past it. It takes no URI apart, knows no country and
// judges nobody.
package userpart

import "strings"

// Text is bytes as they came, or a string.
type Text interface{ ~string | ~[]byte }

// Char is the character of a text at i, and where the next one begins: "an escaped character is equivalent to the character" for
// all who compare (RFC 3261 §19.1.4). A "%" that no two hexadecimal digits follow is itself a character, with next = i+1.
func Char[T Text](s T, i int) (c byte, next int) {
	c = s[i]
	if c != '%' || i+2 >= len(s) {
		return c, i + 1
	}
	hi, lo := Hex(s[i+1]), Hex(s[i+2])
	if hi < 0 || lo < 0 {
		return c, i + 1
	}
	return byte(hi<<4 | lo), i + 3
}

// Plain is a text with all its escapes resolved.
func Plain(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	return string(AppendPlain(make([]byte, 0, len(s)), s))
}

// AppendPlain appends a text with all its escapes resolved.
func AppendPlain[T Text](dst []byte, s T) []byte {
	for i := 0; i < len(s); {
		var c byte
		c, i = Char(s, i)
		dst = append(dst, c)
	}
	return dst
}

// Hex is the value of a hexadecimal digit of either case; -1: it is none.
func Hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Number is a user part without parameters as a telephone number: an optional "+", digits, "*" and "#", without what is there for
// the eye (RFC 3966 §5.1.1: "-", ".", "(", ")"). It reports false for what is none, as a name, "" or "+" alone.
func Number(user string) (number string, ok bool) {
	if dialled(user) {
		return user, user != "" && user != "+"
	}
	out := make([]byte, 0, len(user))
	for i := 0; i < len(user); {
		var c byte
		c, i = Char(user, i)
		switch {
		case c == '-', c == '.', c == '(', c == ')':
		case '0' <= c && c <= '9', c == '*', c == '#', c == '+' && len(out) == 0:
			out = append(out, c)
		default:
			return "", false
		}
	}
	return string(out), len(out) > 1 || len(out) == 1 && out[0] != '+'
}

// dialled reports whether there is nothing in a text but what is dialled.
func dialled(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && c != '*' && c != '#' && (c != '+' || i > 0) {
			return false
		}
	}
	return true
}
