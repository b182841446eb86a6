package sdp

import (
	"net/netip"
	"slices"
	"strings"
)

// DropCandidates takes ICE out (RFC 8839: candidates, credentials, options), so that the peers fall back to the
// addresses of c= and m=, and then everything that Conceal takes out.
func (s *Session) DropCandidates() {
	s.filter(func(l line, _ bool) bool {
		name, _ := l.attribute()
		return iceAttribute(name)
	})
	s.Conceal()
}

// Conceal takes out every line besides o=, c=, m=, a=rtcp and ICE that could show an address, a host, a person or a
// product: u=, e=, p=, i= and k= lines, attributes that are made to carry addresses or names (RFC 4570 source-filter,
// 6947 altc, 7006 ccap, 4975 path, 8866 tool), and any attribute with an address literal in it, known or not. What
// SetOrigin and SetMedia write stays.
func (s *Session) Conceal() {
	s.filter(func(l line, inMedia bool) bool {
		if name, _ := l.attribute(); strings.EqualFold(name, "rtcp") || iceAttribute(name) {
			return !inMedia && strings.EqualFold(name, "rtcp") // RFC 3605 §2.1: a=rtcp is a stream's
		}
		return l.reveals()
	})
}

// filter removes the lines that match.
func (s *Session) filter(match func(l line, inMedia bool) bool) {
	s.head = slices.DeleteFunc(s.head, func(l line) bool { return match(l, false) })
	for i := range s.media {
		s.media[i] = slices.DeleteFunc(s.media[i], func(l line) bool { return match(l, true) })
	}
}

// reveals reports whether a line says more about the other side than a stream needs.
func (l line) reveals() bool {
	switch l.text[0] {
	case 'u', 'e', 'p', 'i', 'k':
		return true
	case 'a':
		name, value := l.attribute()
		switch strings.ToLower(name) {
		case "tool", "source-filter", "altc", "ccap", "path", "control":
			return true
		case "fmtp", "rtpmap", "fingerprint", "crypto", "extmap", "rtcp-fb":
			return false // numbers and keys, some of which look like addresses
		}
		return hasLiteral(value)
	}
	return false
}

// iceAttribute reports whether an attribute is part of ICE.
func iceAttribute(name string) bool {
	switch strings.ToLower(name) {
	case "candidate", "remote-candidates", "end-of-candidates":
		return true
	}
	return hasFold(name, "ice-")
}

// hasLiteral reports whether an address stands in s as a word of its own, with or without a port or brackets.
func hasLiteral(s string) bool {
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && isWord(s[j]) {
			j++
		}
		if j-i >= 2 && isLiteral(s[i:j]) {
			return true
		}
		i = j + 1
	}
	return false
}

// isWord reports whether c may stand in an address, a host name or a port.
func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == ':' || c == '-' || c == '_'
}

// isLiteral reports whether a word is an address, or one with a name before or a port behind it and a colon between.
func isLiteral(w string) bool {
	w = strings.Trim(w, ".-_")
	if strings.Count(w, ":") >= 2 {
		if _, err := netip.ParseAddr(w); err == nil {
			return true
		}
	}
	for part := range strings.SplitSeq(w, ":") {
		if strings.Count(part, ".") == 3 {
			if _, err := netip.ParseAddr(part); err == nil {
				return true
			}
		}
	}
	return false
}
