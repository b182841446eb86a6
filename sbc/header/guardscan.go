package header

import (
	"bytes"
	"strings"
)

// text is what is looked through: the value of a field, or a body.
type text interface{ string | []byte }

// looks bounds how often a text is looked through. One look finds nothing where nothing is, a second one sees that the repair is
// whole; only two repairs that stand side by side ever need a third.
const looks = 4

// inspect looks for forbidden hosts in a text whatever its grammar, and returns it with our own address in their place.
//
// An address is found wherever it stands, in every spelling that one who receives the message could read as it: see quads and
// hextets, and, where nothing but a host can stand, hostNumber. A name is found where a URI or parameter has its host (behind '@',
// "sip:", "//"; with a dot in it also behind '=', and as the agent of a Warning), so that a user part or a word of text that is
// spelt like a host stays. All of it is found escaped as well, see inspectEscaped.
//
// A text in which nothing is found stays as it is, and costs no allocation.
func inspect[T text](c *check, v T) T {
	if len(v) < 2 {
		return v
	}
	seen := uint8(0)
	for i := range len(v) {
		seen |= marks[v[i]]
	}
	for range looks {
		before := c.hits
		for kind := range kinds {
			if seen&needs[kind] != 0 {
				v = spliced(v, find(c, v, kind))
			}
		}
		if seen&markEscape != 0 {
			v = inspectEscaped(c, v)
		}
		if c.hits == before || !c.g.own[c.side].IsValid() {
			return v
		}
		seen |= markDot | markColon // our own address
	}
	c.stuck = true
	return v
}

// The kinds of hosts, in the order in which they are looked for: the dotted end of an IPv6 address is a part of it.
const (
	kindHost = iota
	kindHextets
	kindQuad
	kinds
)

// needs are the marks without which there is no host of a kind.
var needs = [kinds]uint8{kindHost: markLead | markDot, kindHextets: markColon, kindQuad: markDot}

// find finds the hosts of one kind in a text, and counts those that leak.
func find[T text](c *check, v T, kind int) []splice {
	switch kind {
	case kindHost:
		return hosts(c, v)
	case kindHextets:
		return hextets(c, v)
	default:
		return quads(c, v)
	}
}

// hosts finds names, and numbers that are read as addresses, where a host has its place.
func hosts[T text](c *check, v T) (list []splice) {
	for i := 1; i < len(v); i++ {
		mark := marks[v[i-1]]
		if mark&(markLead|markDot) == 0 || !hostByte[v[i]] {
			continue
		}
		from := i
		if mark&markDot != 0 {
			for from > 0 && hostByte[v[from-1]] {
				from--
			}
		}
		for i < len(v) && hostByte[v[i]] {
			i++
		}
		if from == 0 || !hostPosition(v, from, mark&markDot != 0) {
			continue
		}
		w, leaks := v[from:i], false
		if a, numeric := hostNumber(w); numeric {
			leaks = a.IsValid() && onlyHost(v, from, i) && c.addr(a)
		} else {
			leaks = c.names && c.name(string(w))
		}
		if leaks && c.replace() {
			list = append(list, splice{from, i, c.g.text[c.side]})
		}
	}
	return list
}

// hostPosition reports whether a host may begin at from, in front of a dot or not.
func hostPosition[T text](v T, from int, dotted bool) bool {
	switch v[from-1] {
	case '@':
		return true
	case '/':
		return from >= 2 && v[from-2] == '/'
	case '=':
		return dotted
	case ' ': // warn-code SP warn-agent; the codes of SIP begin with 3 (RFC 3261 §20.43)
		return from >= 4 && digit(v[from-2]) && digit(v[from-3]) && v[from-4] == '3' && (from == 4 || !digit(v[from-5]))
	case ':':
		return (endsFold(v[:from-1], "sip") || endsFold(v[:from-1], "sips")) && !userPart(v, from)
	}
	return false
}

// onlyHost reports whether a number at v[from:to], which is a host's place, can be nothing else: an index or a quality is "=1.2"
// as well, and some write a telephone number without a host behind "sip:".
func onlyHost[T text](v T, from, to int) bool {
	switch v[from-1] {
	case '@', '/':
		return true
	case ':':
		for from < to && digit(v[from]) {
			from++
		}
		return from < to
	}
	return false
}

// userPartMost bounds how far the end of a user part is looked for.
const userPartMost = 512

// userPart reports whether what stands behind "sip:" at i is a user part, which an '@' ends.
func userPart[T text](v T, i int) bool {
	for end := min(len(v), i+userPartMost); i < end; i++ {
		switch v[i] {
		case '@':
			return true
		case '<', '>', ',', '"', ' ', '\t', '\r', '\n':
			return false
		}
	}
	return false
}

// index is where a byte next stands in a text from an index on, or -1.
func index[T text](v T, from int, b byte) int {
	i := -1
	switch v := any(v).(type) {
	case string:
		i = strings.IndexByte(v[from:], b)
	case []byte:
		i = bytes.IndexByte(v[from:], b)
	}
	if i < 0 {
		return -1
	}
	return from + i
}

// endsFold reports whether a text ends in letters, in any case.
func endsFold[T text](v T, letters string) bool {
	from := len(v) - len(letters)
	if from < 0 {
		return false
	}
	for i := range len(letters) {
		if v[from+i]|0x20 != letters[i] {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func hexByte(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

// hostByte tells the bytes of host names and IPv4 addresses.
var hostByte = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_" {
		t[c] = true
	}
	return t
}()

// The marks of a byte: what it may be a part of, or lead to.
const (
	markDot uint8 = 1 << iota
	markColon
	markLead   // a host may stand behind it
	markEscape // an escaped character may begin with it
)

var marks = [256]uint8{
	'.': markDot, ':': markColon | markLead, '@': markLead, '/': markLead, ' ': markLead, // '=' leads to a dotted host only
	'%': markEscape, '\\': markEscape, '&': markEscape,
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
