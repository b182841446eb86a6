package message

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

var (
	errURIEmpty  = errors.New("URI is empty or has no scheme")
	errURIBytes  = errors.New("URI holds white space, quotes, angle brackets or control characters")
	errURIUser   = errors.New("URI has an empty user part or a second '@'")
	errURIHost   = errors.New("host is neither a domain name nor an IPv4 or bracketed IPv6 address")
	errURIPort   = errors.New("port is not a number from 1 to 65535")
	errURINumber = errors.New("tel URI has no number")
)

// ParseURI reads a URI. SIP and SIPS URIs are taken apart and checked (RFC 3261 §19.1.1); of a tel URI number and
// parameters are told apart (RFC 3966); of others only the scheme is known and User holds the rest. What is returned
// writes itself as it was read, but for the case of the scheme and empty parameters.
func ParseURI(s string) (URI, error) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '"' || c == '<' || c == '>' {
			return URI{}, errURIBytes
		}
	}
	colon := strings.IndexByte(s, ':')
	if colon < 1 || !validScheme(s[:colon]) {
		return URI{}, errURIEmpty
	}
	u := URI{Scheme: lower(s[:colon])}
	rest := s[colon+1:]
	switch u.Scheme {
	case "sip", "sips":
		return u, u.parseSIP(rest)
	case "tel":
		return u, u.parseTel(rest)
	}
	if rest == "" {
		return URI{}, errURIEmpty
	}
	u.User = rest
	return u, nil
}

// validScheme: RFC 3986 §3.1.
func validScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if letter := 'a' <= c && c <= 'z'; !letter && (i == 0 || !isDigit(s[i]) && s[i] != '+' && s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (u *URI) parseTel(rest string) (err error) {
	u.User = rest
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		u.User, u.Params = rest[:i], rest[i:]
	}
	if u.User == "" || strings.ContainsAny(u.User, "@?") {
		return errURINumber
	}
	u.Params, err = normalise(u.Params, keepAll)
	return err
}

func keepAll(param) (bool, error) { return false, nil }

func (u *URI) parseSIP(rest string) (err error) {
	// RFC 3261 §25.1: a user part may hold ';', '?' and '/', but '@' only escaped, so the first '@' ends it.
	if i := strings.IndexByte(rest, '@'); i >= 0 {
		u.User, rest = rest[:i], rest[i+1:]
		if u.User == "" || u.User[0] == ':' {
			return errURIUser
		}
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, u.Headers = rest[:i], rest[i:]
		if u.Headers == "?" {
			u.Headers = ""
		}
	}
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		rest, u.Params = rest[:i], rest[i:]
	}
	if strings.IndexByte(u.Params, '@') >= 0 {
		return errURIUser
	}
	if u.Host, u.Port, err = parseHostPort(rest); err != nil {
		return err
	}
	u.Params, err = normalise(u.Params, keepAll)
	return err
}

// parseHostPort reads hostport (RFC 3261 §25.1); the brackets of an IPv6 address are taken off.
func parseHostPort(s string) (host string, port uint16, err error) {
	digits, colon := "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errURIHost
		}
		host = s[1:end]
		if rest := s[end+1:]; rest != "" {
			if colon = rest[0] == ':'; !colon {
				return "", 0, errURIHost
			}
			digits = rest[1:]
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, errURIHost
		}
	} else {
		host, digits, colon = strings.Cut(s, ":")
		if !validHost(host) {
			return "", 0, errURIHost
		}
	}
	if !colon {
		return host, 0, nil
	}
	port, err = parsePort(digits)
	return host, port, err
}

func parsePort(s string) (uint16, error) {
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) || i >= 5 {
			return 0, errURIPort
		}
		n = n*10 + int(s[i]-'0')
	}
	if n < 1 || n > 65535 {
		return 0, errURIPort
	}
	return uint16(n), nil
}

// validHost accepts domain names (with the underscores that the field uses) and IPv4 addresses. A name whose last
// label is a number must be a dotted quad: other spellings of addresses are refused, not guessed at.
func validHost(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if letter := 'a' <= c && c <= 'z'; letter || isDigit(s[i]) || s[i] == '-' || s[i] == '_' {
			continue
		}
		if s[i] != '.' || i > 0 && s[i-1] == '.' {
			return false
		}
	}
	last := strings.TrimSuffix(s, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if isDigit(last[len(last)-1]) && allDigits(last) {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	}
	return true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// String writes the URI.
func (u URI) String() string { return string(u.Append(make([]byte, 0, 64))) }

// Append writes the URI behind dst.
func (u URI) Append(dst []byte) []byte {
	dst = append(append(dst, u.Scheme...), ':')
	dst = append(dst, u.User...)
	if u.Host != "" {
		if u.User != "" {
			dst = append(dst, '@')
		}
		dst = appendHostPort(dst, u.Host, u.Port)
	}
	return append(append(dst, u.Params...), u.Headers...)
}

// Param looks a URI parameter up by name, in any case. A parameter without a value yields "".
func (u URI) Param(name string) (value string, ok bool) { return findParam(u.Params, name) }

func appendHostPort(dst []byte, host string, port uint16) []byte {
	if strings.IndexByte(host, ':') >= 0 {
		dst = append(append(append(dst, '['), host...), ']')
	} else {
		dst = append(dst, host...)
	}
	if port != 0 {
		dst = strconv.AppendUint(append(dst, ':'), uint64(port), 10)
	}
	return dst
}
