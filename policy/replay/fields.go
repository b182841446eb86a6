package replay

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/scan"
)

// contact is one Contact of a REGISTER or its answer.
type contact struct {
	uri     string        // user@host:port, without scheme and parameters
	expires time.Duration // -1: not said
}

// The bounds of what is read of one message.
const (
	contactsMost = 16
	textMost     = 128 // bytes of a URI, nonce apart
)

// fields are what a replay reads of a message besides the View.
type fields struct {
	contacts []contact
	star     bool          // Contact: *
	expires  time.Duration // -1: none
	nonce    string        // of the first challenge
	stale    bool
}

// fieldsOf reads the header fields that a View does not hold (RFC 3261 §20.10, §20.19, §20.44; RFC 7616 §3.3).
func fieldsOf(v *scan.View) (f fields) {
	f.expires = -1
	for at := v.FirstField; ; {
		name, value, next, ok := v.Field(at)
		if !ok {
			return f
		}
		at = next
		switch text := v.Bytes(value); strings.ToLower(string(v.Bytes(name))) {
		case "contact", "m":
			f.addContacts(string(text))
		case "expires":
			f.expires = seconds(string(text))
		case "www-authenticate", "proxy-authenticate":
			if f.nonce == "" {
				f.nonce = param(string(text), "nonce")
			}
			f.stale = f.stale || strings.EqualFold(param(string(text), "stale"), "true")
		}
	}
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

// address is a URI without scheme and parameters.
func address(uri string) string {
	uri, _, _ = strings.Cut(strings.TrimSpace(uri), ";")
	uri, _, _ = strings.Cut(uri, "?")
	if scheme, rest, ok := strings.Cut(uri, ":"); ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")) {
		uri = rest
	}
	return uri[:min(len(uri), textMost)]
}

// party is the address in a From or To.
func party(value []byte) string {
	c, _ := contactOf(string(value))
	return c.uri
}

// param finds a parameter of a challenge, without quotes.
func param(text, name string) string {
	for at := 0; ; {
		i := indexFold(text[at:], name)
		if i < 0 {
			return ""
		}
		at += i + len(name)
		before := byte(',')
		if at > len(name) {
			before = text[at-len(name)-1]
		}
		rest := strings.TrimLeft(text[at:], " \t")
		if !strings.HasPrefix(rest, "=") || !bytes.ContainsRune([]byte(", \t\r\n"), rune(before)) {
			continue // cnonce, nextnonce
		}
		rest = strings.TrimLeft(rest[1:], " \t")
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, _, _ := strings.Cut(quoted, `"`)
			return value
		}
		return rest[:until(rest, ", \t\r\n")]
	}
}

// indexFold finds an ASCII word in any case.
func indexFold(s, word string) int {
	for i := 0; i+len(word) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(word)], word) {
			return i
		}
	}
	return -1
}

func until(s, any string) int {
	if i := strings.IndexAny(s, any); i >= 0 {
		return i
	}
	return len(s)
}
