package demo

import (
	"cmp"
	"encoding/hex"

	"github.com/icholy/digest"

	"sallyport/sbc/message"
)

// maxTries bounds how often one request is sent anew with credentials: once, and once more where the nonce was stale.
const maxTries = 3

// login is an agent's side of digest authentication (RFC 3261 §22, RFC 7616) with one server.
type login struct {
	header    string // of the credentials: Authorization or Proxy-Authorization
	challenge *digest.Challenge
	count     int  // how often it was used
	answered  bool // a challenge to the request in progress
}

// challenged takes the challenge of a 401 or 407 and reports whether it is worth an answer: the first one, or one that
// says that our nonce, not our password, is the fault (RFC 7616 §3.3, stale).
func (l *login) challenged(a *Agent, m *message.Message) bool {
	field, header := "WWW-Authenticate", "Authorization"
	switch m.Status {
	case 401:
	case 407:
		field, header = "Proxy-Authenticate", "Proxy-Authorization"
	default:
		return false
	}
	value, ok := m.Get(field)
	if a.Password == "" || !ok {
		return false
	}
	c, err := digest.ParseChallenge(value)
	if err != nil || !digest.CanDigest(c) {
		return false
	}
	if l.answered && !c.Stale {
		return false
	}
	*l = login{header: header, challenge: c, answered: true}
	return true
}

// sign puts credentials into a request; nothing before the first challenge.
func (l *login) sign(a *Agent, m *message.Message) {
	if l.challenge == nil {
		return
	}
	l.count++
	cnonce := a.ids.Block()
	c, err := digest.Digest(l.challenge, digest.Options{
		Method: m.Method, URI: m.URI.String(), Count: l.count, Cnonce: hex.EncodeToString(cnonce[:8]),
		Username: cmp.Or(a.AuthName, a.number()), Password: a.Password,
	})
	if err == nil { // what cannot be computed was refused by challenged
		m.Set(l.header, c.String())
	}
}
