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
	return appendUser(room[:0], userIn(field))
}

// Names reports whether the raw value of a From or To field names the user of an address of record, user or user@host, and the
// host that it stands at there. Users are read and compared as everywhere in the guard: unescaped, in any case.
func Names(field []byte, aor string) (host []byte, ok bool) {
	user, host := partyIn(field)
	var room [maxUserName]byte
	return host, len(user) > 0 && string(appendUser(room[:0], user)) == foldUser(aor)
}

// userIn finds the user part in the raw value of a From or To field, password and parameters cut.
func userIn(field []byte) []byte {
	user, _ := partyIn(field)
	return user
}

// partyIn finds user and host in the raw value of a From or To field: without password, port and parameters.
func partyIn(field []byte) (user, host []byte) {
	uri := addressIn(field)
	if i := bytes.IndexByte(uri, ':'); i >= 0 {
		uri = uri[i+1:]
	}
	user, host, ok := bytes.Cut(uri, []byte{'@'})
	if !ok {
		return nil, nil // RFC 3261 §19.1.1: no user
	}
	if i := bytes.IndexAny(user, ":;"); i >= 0 {
		user = user[:i]
	}
	if end := bytes.IndexByte(host, ']'); end >= 0 && host[0] == '[' { // RFC 3261 §25.1, IPv6reference
		return trimSpace(user), host[:end+1]
	}
	if end := bytes.IndexAny(host, ":;?, \t"); end >= 0 {
		host = host[:end]
	}
	return trimSpace(user), host
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
	if i := strings.IndexAny(user, ":;"); i >= 0 {
		user = user[:i]
	}
	var room [maxUserName]byte
	return string(appendUser(room[:0], trimSpace([]byte(user))))
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
