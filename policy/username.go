package policy

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport/sbc/userpart"
)

// maxUserName is how much of a user's name is compared, in bytes after unescaping.
const maxUserName = 48

// userName is the user that a request speaks for: of the To of a REGISTER (RFC 3261 §10.2), of the From of all others. It
// is unescaped (RFC 3261 §19.1.4) and folded to lower case, as exchanges compare it, so that no other spelling of the
// name gets past; the room is the caller's. It is read from the raw field and may be empty.
func (s *Subject) userName(room *[maxUserName]byte) []byte {
	field := s.From
	if s.Method == MethodRegister {
		field = s.To
	}
	user, _ := Party(field)
	return appendUser(room[:0], user)
}

// Party finds whom the raw value of a From or To field names: the user as it is written there, without password and parameters
// (userpart.Bare), and the host without port. It is the one reader of such fields in front of the parser, for the guard, captures and
// replays, and has no opinion on what it cannot read: it finds what it finds, or nothing. A URI without a user has a host alone (RFC
// 3261 §19.1.1), another than a SIP one neither.
func Party(field []byte) (user, host []byte) {
	uri := addressIn(field)
	var scheme []byte
	if i := bytes.IndexByte(uri, ':'); i >= 0 {
		scheme, uri = uri[:i], uri[i+1:]
	}
	user, host, ok := bytes.Cut(uri, []byte{'@'})
	switch {
	case ok:
		user = trimSpace(userpart.Bare(user))
	case bytes.EqualFold(scheme, []byte("sip")), bytes.EqualFold(scheme, []byte("sips")):
		user, host = nil, uri
	default:
		return nil, nil
	}
	if end := bytes.IndexByte(host, ']'); end >= 0 && host[0] == '[' { // RFC 3261 §25.1, IPv6reference
		return user, host[:end+1]
	}
	if end := bytes.IndexAny(host, ":;?, \t"); end >= 0 {
		host = host[:end]
	}
	return user, host
}

// Names reports whether the raw value of a From or To field names the user of an address of record, user or user@host, and the
// host that it stands at there. Users are read and compared as everywhere in the guard: unescaped, in any case.
func Names(field []byte, aor string) (host []byte, ok bool) {
	user, host := Party(field)
	if len(user) == 0 {
		return nil, false
	}
	var room [maxUserName]byte
	return host, string(appendUser(room[:0], user)) == foldUser(aor)
}

// Person is whom the raw value of a From field names, for people to read: user@host, or the host where there is no user, or what a URI
// of another scheme has. Escapes are in one form, so that one person is read as one. A password is never shown.
func Person(field []byte) string {
	var room [maxUser]byte
	return printable(person(&room, field))
}

// person is Person as it is kept in a record: what finds no room is cut off.
func person(room *[maxUser]byte, field []byte) []byte {
	user, host := Party(field)
	out := room[:0]
	switch {
	case len(user) > 0:
		var wide [9 * maxUser]byte // a character has three bytes at most, on either side
		out = append(out, clip(userpart.Append(wide[:0], clip(user, 3*maxUser)), maxUser)...)
		out = append(out, clip([]byte{'@'}, maxUser-len(out))...)
	case len(host) == 0:
		if host = addressIn(field); bytes.IndexByte(host, ':') >= 0 {
			_, host, _ = bytes.Cut(host, []byte{':'})
		}
		if i := bytes.IndexAny(host, ";?@"); i >= 0 {
			host = host[:i]
		}
	}
	return append(out, clip(host, maxUser-len(out))...)
}

// addressIn finds the URI in a name-addr or addr-spec (RFC 3261 §20.10): a "<" within a quoted display name opens none, and
// neither does one behind the address.
func addressIn(field []byte) []byte {
	field = trimSpace(field)
	if len(field) > 0 && field[0] == '"' {
		i := 1
		for i < len(field) && field[i] != '"' {
			if field[i] == '\\' {
				i++
			}
			i++
		}
		field = field[min(i+1, len(field)):]
	}
	if i := bytes.IndexByte(field, '<'); i >= 0 {
		field = field[i+1:]
		if i = bytes.IndexByte(field, '>'); i >= 0 {
			field = field[:i]
		}
		return trimSpace(field)
	}
	return field
}

// appendUser appends a name unescaped and folded, up to the capacity of the room.
func appendUser(room, user []byte) []byte {
	for i := 0; i < len(user) && len(room) < cap(room); {
		var c byte
		c, i = userpart.Char(user, i)
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		room = append(room, c)
	}
	return room
}

// foldUser is the user part of an address of record, user or user@host, in the form that userName has.
func foldUser(aor string) string {
	aor = strings.TrimPrefix(strings.TrimPrefix(aor, "sips:"), "sip:")
	user, _, _ := strings.Cut(aor, "@")
	var room [maxUserName]byte
	return string(appendUser(room[:0], trimSpace([]byte(userpart.Bare(user)))))
}

// plain makes a text that is kept and shown harmless: printable, one line, at most so many bytes.
func plain(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
