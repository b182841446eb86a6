package replay

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"sallyport/policy"
	"sallyport/sbc/credentials"
	"sallyport/sbc/scan"
	"sallyport/sbc/userpart"
)

// contact is one Contact of a REGISTER or its answer.
type contact struct {
	uri     string        // user@host:port, without scheme and parameters
	expires time.Duration // -1: not said
}

// The bounds of what is read of one message.
const (
	contactsMost = 16
	textMost     = 128 // bytes of a URI
)

// fields are what a replay reads of a message besides the View.
type fields struct {
	contacts    []contact
	star        bool          // Contact: *
	expires     time.Duration // -1: none
	credentials []string      // the fields that carry them, for whomever (RFC 3261 §22.2, §22.3)
	nonces      []string      // of challenges, one a field
	stale       bool          // one of them finds fault with an old nonce alone
	over        bool          // the subscription is terminated
}

// fieldsOf reads the header fields that a View does not hold (RFC 3261 §20.7, §20.10, §20.19, §20.28, §20.44; RFC 6665 §8.2.3).
func fieldsOf(v *scan.View) (f fields) {
	f.expires = -1
	var room [longestName]byte
	for at := v.FirstField; ; {
		name, value, next, ok := v.Field(at)
		if !ok {
			return f
		}
		at = next
		text := v.Bytes(value)
		switch string(folded(v.Bytes(name), room[:0])) {
		case "contact", "m":
			f.addContacts(string(text))
		case "expires":
			f.expires = seconds(string(text))
		case "authorization", "proxy-authorization":
			f.credentials = append(f.credentials, unfolded(text))
		case "www-authenticate", "proxy-authenticate":
			challenge := unfolded(text)
			f.nonces = append(f.nonces, credentials.Remembered(challenge))
			f.stale = f.stale || credentials.Stale(challenge)
		case "subscription-state":
			state, _, _ := bytes.Cut(text, []byte(";"))
			f.over = bytes.EqualFold(bytes.TrimSpace(state), []byte("terminated"))
		}
	}
}

// longestName is the length of the longest name that fieldsOf knows.
const longestName = len("proxy-authorization")

// folded is a name in lower case, as far as the room goes.
func folded(name, room []byte) []byte {
	if len(name) > cap(room) {
		return nil
	}
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		room = append(room, c)
	}
	return room
}

// unfolded is a value in one line, as the parser of messages has it.
func unfolded(value []byte) string {
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	return string(scan.Unfold(value))
}

func seconds(text string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return -1
	}
	return time.Duration(n) * time.Second
}

// addContacts splits a Contact field at the commas that stand outside of quotes and brackets.
func (f *fields) addContacts(text string) {
	if strings.TrimSpace(text) == "*" {
		f.star = true
		return
	}
	quoted, bracket, from := false, false, 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) {
			switch c := text[i]; {
			case quoted && c == '\\':
				i++
				continue
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '<':
				bracket = true
			case c == '>':
				bracket = false
			}
			if quoted || bracket || text[i] != ',' {
				continue
			}
		}
		if from > len(text) {
			return
		}
		if c, ok := contactOf(text[from:min(i, len(text))]); ok && len(f.contacts) < contactsMost {
			f.contacts = append(f.contacts, c)
		}
		from = i + 1
	}
}

// contactOf reads one element: "name" <uri;params>;expires=60, or uri;expires=60.
func contactOf(text string) (c contact, ok bool) {
	c.expires = -1
	var uri, params string
	if open := strings.IndexByte(unquoted(text), '<'); open >= 0 {
		uri, params, _ = strings.Cut(text[open+1:], ">")
	} else {
		uri, params, _ = strings.Cut(text, ";")
	}
	for p := range strings.SplitSeq(params, ";") {
		if name, value, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "expires") {
			c.expires = seconds(value)
		}
	}
	c.uri = address(uri)
	return c, c.uri != ""
}

// unquoted blanks quoted strings out, length unchanged.
func unquoted(text string) string {
	if strings.IndexByte(text, '"') < 0 {
		return text
	}
	b, quoted := []byte(text), false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			quoted = !quoted
		case quoted && b[i] == '\\' && i+1 < len(b):
			b[i], b[i+1] = ' ', ' '
			i++
		case quoted:
			b[i] = ' '
		}
	}
	return string(b)
}

// address is the URI of a Contact without scheme and parameters, its user in one spelling.
func address(uri string) string {
	uri = strings.TrimSpace(uri)
	if scheme, rest, ok := strings.Cut(uri, ":"); ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")) {
		uri = rest
	}
	user, host, whole := strings.Cut(uri, "@") // a user may have ";" and "?", an "@" only escaped (RFC 3261 §25.1)
	if !whole {
		user, host = "", uri
	}
	if end := strings.IndexAny(host, ";?"); end >= 0 {
		host = host[:end]
	}
	if whole {
		host = string(userpart.Append(nil, user)) + "@" + host
	}
	return host[:min(len(host), textMost)]
}

// person is whom a From or To names, as far as a replay keeps it.
func person(value []byte) (user, host string) {
	u, h := policy.Party(value)
	u = u[:min(len(u), textMost)]
	return string(u), string(h[:min(len(h), textMost-len(u))])
}
