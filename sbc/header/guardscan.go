package header

import (
	"net/netip"
	"strings"
)

// scan looks for forbidden hosts in the value of a field, whatever its grammar: an address literal wherever it stands;
// a host name where a URI or parameter has its host (behind '@', "sip:", "//"; with a dot in it also behind '=', and as
// the agent of a Warning), so that a user part or a word of text that is spelt like a host stays. It returns the value
// with our own address in their place.
func (c *check) scan(v string) string {
	if len(v) < 2 {
		return v
	}
	if c.names || c.v6 {
		v = c.scanNames(v)
	}
	if strings.IndexByte(v, '.') < 0 {
		return v
	}
	return c.scanIPv4(v)
}

// patch is a value under repair.
type patch struct {
	out    []byte
	copied int
}

func (p *patch) put(v string, from, to int, with string) {
	p.out = append(append(p.out, v[p.copied:from]...), with...)
	p.copied = to
}

func (p *patch) done(v string) string {
	if p.copied == 0 {
		return v
	}
	return string(append(p.out, v[p.copied:]...))
}

// scanIPv4 finds dotted quads, also within longer words: "1712-10.0.0.2" shows an address as well as "10.0.0.2" does.
func (c *check) scanIPv4(v string) string {
	var p patch
	for i := 0; i < len(v); {
		if !quadByte(v[i]) {
			i++
			continue
		}
		from := i
		for i < len(v) && quadByte(v[i]) {
			i++
		}
		to := i
		for to > from && v[to-1] == '.' { // a full stop belongs to the text
			to--
		}
		for to > from && v[from] == '.' {
			from++
		}
		if w := v[from:to]; isIPv4(w) && c.host(w) && c.replace() {
			p.put(v, from, to, c.g.text[c.side])
		}
	}
	return p.done(v)
}

func quadByte(c byte) bool { return c >= '0' && c <= '9' || c == '.' }

// isIPv4 reports whether a host has the shape of a dotted quad.
func isIPv4(w string) bool {
	if len(w) < 7 || len(w) > 15 {
		return false
	}
	dots := 0
	for i := range len(w) {
		if !quadByte(w[i]) {
			return false
		}
		if w[i] == '.' {
			dots++
		}
	}
	return dots == 3
}

// scanNames finds host names and IPv6 addresses.
func (c *check) scanNames(v string) string {
	var p patch
	for i := 0; i < len(v); {
		from, to := c.word(v, i)
		if from == to {
			break
		}
		i = to
		w := v[from:to]
		switch {
		case w[0] == '[':
			if c.host(w[1:len(w)-1]) && c.replace() {
				p.put(v, from, to, c.g.text[c.side])
			}
		case strings.IndexByte(w, ':') >= 0:
			if c.host(w) && c.replace() {
				p.put(v, from, to, c.g.own[c.side].String()) // as bare as what it replaces
			}
		case c.names && !isIPv4(w) && hostPosition(v, from, to) && c.name(w) && c.replace():
			p.put(v, from, to, c.g.text[c.side])
		}
	}
	return p.done(v)
}

// word is the next run of bytes that a host could be made of: letters, digits, '.', '-', '_'; or an IPv6 address in
// brackets, which the word includes; or a bare one. It is empty at the end.
func (c *check) word(v string, i int) (from, to int) {
	for ; i < len(v); i++ {
		ch := v[i]
		if c.v6 && (ch == '[' || ch == ':' || hexByte(ch)) {
			if end := ipv6End(v, i); end > i {
				return i, end
			}
		}
		if !hostByte[ch] {
			continue
		}
		for to = i + 1; to < len(v) && hostByte[v[to]]; {
			to++
		}
		return i, to
	}
	return i, i
}

// ipv6End is the end of the IPv6 address that begins at i, in brackets or without, or i if there is none.
func ipv6End(v string, i int) int {
	if v[i] != '[' {
		return bareEnd(v, i)
	}
	if end := bareEnd(v, i+1); end > i+1 && end < len(v) && v[end] == ']' {
		return end + 1
	}
	return i
}

// bareEnd is ipv6End for an address without brackets.
func bareEnd(v string, i int) int {
	if i == len(v) {
		return i
	}
	if i > 0 && (hostByte[v[i-1]] || v[i] == ':' && v[i-1] == ':') {
		return i
	}
	end, colons := i, 0
	for end < len(v) && end-i <= 45 && (v[end] == ':' || v[end] == '.' || hexByte(v[end])) {
		if v[end] == ':' {
			colons++
		}
		end++
	}
	for end > i && v[end-1] == '.' {
		end--
	}
	if colons < 2 || end < len(v) && hostByte[v[end]] && v[end] != '.' {
		return i
	}
	if _, err := netip.ParseAddr(v[i:end]); err != nil {
		return i
	}
	return end
}

// hostPosition reports whether a host stands at v[from:to].
func hostPosition(v string, from, to int) bool {
	if from == 0 {
		return false
	}
	switch v[from-1] {
	case '@':
		return true
	case '/':
		return from >= 2 && v[from-2] == '/'
	case '=':
		return strings.IndexByte(v[from:to], '.') >= 0
	case ' ': // warn-code SP warn-agent
		return from >= 4 && digits(v[from-4:from-1])
	case ':':
		if before := v[:from-1]; !endsFold(before, "sip") && !endsFold(before, "sips") {
			return false
		}
		end := strings.IndexAny(v[from:], "<>,\" \t")
		if end < 0 {
			end = len(v) - from
		}
		return strings.IndexByte(v[from:from+end], '@') < 0 // else it is the user part
	}
	return false
}

func endsFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func hexByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// hostByte tells the bytes of host names and IPv4 addresses.
var hostByte = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_" {
		t[c] = true
	}
	return t
}()

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
