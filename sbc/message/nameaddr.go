package message

import (
	"errors"
	"strings"
)

var (
	errDisplay  = errors.New("display name with a comma or quotation mark that is not within a quoted string")
	errBracket  = errors.New("angle bracket without its other half")
	errTrailing = errors.New("text behind the URI that is no parameter")
	errBare     = errors.New("URI with a comma or question mark that is not in angle brackets")
	errTag      = errors.New("tag is not a token, or occurs twice")
	errList     = errors.New("empty element in a list of addresses")
	errStar     = errors.New("'*' beside other values of Contact")
)

// ParseNameAddr reads the value of From, To, one Contact, one Route (RFC 3261 §20.10):
// [display name] <URI> parameters, or URI parameters. White space around the URI in its brackets is forgiven.
func ParseNameAddr(s string) (NameAddr, error) {
	n := NameAddr{}
	s = trim(s)
	spec, params, err := n.split(s)
	if err != nil {
		return NameAddr{}, err
	}
	if n.URI, err = ParseURI(spec); err != nil {
		return NameAddr{}, err
	}
	n.Params, err = normalise(params, func(p param) (bool, error) {
		if !strings.EqualFold(p.name, "tag") {
			return false, nil
		}
		if n.Tag != "" || !ValidToken(p.value) {
			return true, errTag
		}
		n.Tag = p.value
		return true, nil
	})
	if err != nil {
		return NameAddr{}, err
	}
	return n, nil
}

// split finds display name, URI and parameters.
func (n *NameAddr) split(s string) (spec, params string, err error) {
	open := 0
	if strings.HasPrefix(s, `"`) {
		if open = quotedLen(s); open == 0 {
			return "", "", errQuote
		}
	}
	if i := strings.IndexByte(s[open:], '<'); i >= 0 {
		n.Display = trim(s[:open+i])
		// RFC 3261 §25.1 wants tokens here; other characters are common and harmless, but a comma or a stray
		// quotation mark makes two readers see two things.
		if open > 0 && len(n.Display) != open || open == 0 && strings.ContainsAny(n.Display, "\",;>") {
			return "", "", errDisplay
		}
		spec = s[open+i+1:]
		end := strings.IndexByte(spec, '>')
		if end < 0 {
			return "", "", errBracket
		}
		spec, params = trim(spec[:end]), trim(spec[end+1:])
	} else {
		if open > 0 {
			return "", "", errBracket
		}
		spec = s
		if end := strings.IndexByte(s, ';'); end >= 0 {
			spec, params = trim(s[:end]), s[end:]
		}
		// RFC 3261 §20: a URI with comma, question mark or semicolon must stand in angle brackets.
		if strings.ContainsAny(spec, ",?") {
			return "", "", errBare
		}
	}
	if params != "" && params[0] != ';' {
		return "", "", errTrailing
	}
	return spec, params, nil
}

// ParseNameAddrs reads a comma-separated list. Commas in quoted strings and angle brackets do not separate.
func ParseNameAddrs(s string) ([]NameAddr, error) { return appendNameAddrs(nil, s) }

func appendNameAddrs(list []NameAddr, s string) ([]NameAddr, error) {
	for {
		end, err := elementLen(s)
		if err != nil {
			return nil, err
		}
		one := trim(s[:end])
		if one == "" {
			return nil, errList
		}
		n, err := ParseNameAddr(one)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		if end == len(s) {
			return list, nil
		}
		s = s[end+1:]
	}
}

// elementLen is where the first element of a comma-separated list ends.
func elementLen(s string) (int, error) {
	for i := 0; i < len(s); {
		switch s[i] {
		case ',':
			return i, nil
		case '"':
			n := quotedLen(s[i:])
			if n == 0 {
				return 0, errQuote
			}
			i += n
		case '<':
			n := strings.IndexByte(s[i:], '>')
			if n < 0 {
				return 0, errBracket
			}
			i += n
		default:
			i++
		}
	}
	return len(s), nil
}

// String writes the value.
func (n NameAddr) String() string { return string(n.Append(make([]byte, 0, 96))) }

// Append writes the value behind dst; the URI always in angle brackets.
func (n NameAddr) Append(dst []byte) []byte {
	if n.Display != "" {
		dst = append(append(dst, n.Display...), ' ')
	}
	dst = append(n.URI.Append(append(dst, '<')), '>')
	if n.Tag != "" {
		dst = append(append(dst, ";tag="...), n.Tag...)
	}
	return append(dst, n.Params...)
}

// Param looks a header parameter up by name, in any case; a quoted value keeps its quotes. The tag is found too.
func (n NameAddr) Param(name string) (value string, ok bool) {
	if strings.EqualFold(name, "tag") {
		return n.Tag, n.Tag != ""
	}
	return findParam(n.Params, name)
}

// Contacts reads all Contact fields (RFC 3261 §20.10). star means that the one value was "*".
func (m *Message) Contacts() (list []NameAddr, star bool, err error) {
	for i := range m.Headers {
		if m.Headers[i].Name != "Contact" {
			continue
		}
		if star || m.Headers[i].Value == "*" && list != nil {
			return nil, false, errStar
		}
		if star = m.Headers[i].Value == "*"; star {
			continue
		}
		if list, err = appendNameAddrs(list, m.Headers[i].Value); err != nil {
			return nil, false, err
		}
	}
	return list, star, nil
}

// NameAddrs reads all fields of a name as one list: Route, Record-Route, P-Asserted-Identity. No field: no list.
func (m *Message) NameAddrs(name string) (list []NameAddr, err error) {
	for i := range m.Headers {
		if m.Headers[i].Name != name {
			continue
		}
		if list, err = appendNameAddrs(list, m.Headers[i].Value); err != nil {
			return nil, err
		}
	}
	return list, nil
}
