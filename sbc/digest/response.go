package digest

import (
	"crypto/md5" // RFC 3261 §22.4 and RFC 8760 §2.1 name it; stronger ones are preferred where they are offered
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
	"unicode"

	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
)

// kind is a hash function, in the order of strength; 0 is one that we do not know.
type kind int

const (
	md5Kind kind = 1 + iota
	sha256Kind
	sha512t256Kind
)

// algorithm reads the name of one. None is MD5 (RFC 7616 §3.3). SHA-512-256 is SHA-512/256 of FIPS 180-4, which has a beginning of its
// own, and not SHA-512 cut short (RFC 7616, erratum 4897).
func algorithm(name string) (k kind, sess bool) {
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return 0, false // ſ is an S to ToUpper, and no part of a token
	}
	if at := len(name) - len("-sess"); at >= 0 && credentials.SameToken(name[at:], "-sess") {
		name, sess = name[:at], true
	}
	switch {
	case name == "" || credentials.SameToken(name, "MD5"):
		k = md5Kind
	case credentials.SameToken(name, "SHA-256"):
		k = sha256Kind
	case credentials.SameToken(name, "SHA-512-256"):
		k = sha512t256Kind
	}
	return k, sess
}

func (k kind) new() hash.Hash {
	switch k {
	case sha256Kind:
		return sha256.New()
	case sha512t256Kind:
		return sha512.New512_256()
	default:
		return md5.New()
	}
}

// hash is that of texts with colons between them, in lower case hexadecimal digits.
func (o *challenge) hash(parts ...string) string {
	h := o.kind.new()
	for i, p := range parts {
		if i > 0 {
			io.WriteString(h, ":")
		}
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// credentials writes the value of the field for a request, whose count has been raised.
func (s *space) credentials(m *message.Message) string {
	uri := quoted(m.URI.String())
	nc := fmt.Sprintf("%08x", s.count)
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`,
		s.user, s.realm, s.nonce, uri, s.response(m.Method, uri, nc, m.Body))
	if s.algorithm != "" {
		// As it was named, and a token (RFC 3261 §25.1), whatever it came as.
		b.WriteString(", algorithm=" + s.algorithm)
	}
	if s.qop != "" {
		fmt.Fprintf(&b, `, cnonce="%s", qop=%s, nc=%s`, s.cnonce, s.qop, nc) // not quoted (RFC 3261 §22.4 item 8, §25.1)
	} else if s.sess {
		fmt.Fprintf(&b, `, cnonce="%s"`, s.cnonce) // without it nobody could tell the key
	}
	if s.hasOpaque {
		b.WriteString(`, opaque="` + s.opaque + `"`)
	}
	if s.userhash {
		b.WriteString(", userhash=true")
	}
	return b.String()
}

// response is what proves the password (RFC 7616 §3.4.1; without qop RFC 2069).
func (s *space) response(method, uri, nc string, body []byte) string {
	a2 := s.hash(method, uri)
	if s.qop == "auth-int" {
		a2 = s.hash(method, uri, s.hash(string(body)))
	}
	if s.qop == "" {
		return s.hash(s.a1.Reveal(), s.nonce, a2)
	}
	return s.hash(s.a1.Reveal(), s.nonce, nc, s.cnonce, s.qop, a2)
}

// quoted is a text as it stands between quotes.
func quoted(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
