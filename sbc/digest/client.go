package digest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Why a challenge has no answer.
var (
	// ErrForeign: no challenge is of a realm of the account.
	ErrForeign = errors.New("the challenge is of a realm that these credentials are not for")
	// ErrRefused: the realm has had our answer and asks again. The password is wrong.
	ErrRefused = errors.New("the credentials were refused")
	// ErrUnknown: no challenge is there, or none of a scheme, algorithm and quality of protection that we know.
	ErrUnknown = errors.New("no challenge of a kind that we can answer (Digest with MD5, SHA-256 or SHA-512-256)")
	// ErrGivenUp: nobody waits any more for what was challenged.
	ErrGivenUp = errors.New("the request was given up")
)

const (
	maxSpaces = 4 // realms that ask for credentials of one request
	maxTries  = 4 // of one request: a realm each, or a stale nonce
)

// Client knows what one peer has asked for. It belongs to one goroutine at a time; it never keeps a password as it is, but with an
// algorithm that is no -sess the hash of it and the realm is as good.
type Client struct{ spaces []*space }

// space is a protection space (RFC 3261 §22.1): a realm, and the way that it is asked to let us in. Those who have it from a Keyring
// have one together: the count of a nonce is that of all requests with it.
type space struct {
	challenge
	user   string // as it is written: the name, or its hash
	a1     tu.Password
	cnonce string
	count  uint32 // requests signed with this nonce
	lasts  bool   // another call than the one that was asked has been let in by it
}

// Answer takes a 401 or 407 to a request of ours: sent, as it went, with the credentials that it had. Tries is how many challenges
// this one request has had before. With nil, Sign writes the credentials asked for; else the request has failed, and the error
// wraps ErrForeign, ErrRefused or ErrUnknown with the realm that is meant. A cnonce is 64 random bits or more, as a token.
//
// "A UAC MUST NOT re-attempt requests with the credentials that have just been rejected (though the request may be retried if the
// nonce was stale)" (RFC 3261 §22.2).
func (c *Client) Answer(challenge, sent *message.Message, tries int, a tu.Account, cnonce string) error {
	offered := challenges(challenge)
	if len(offered) == 0 {
		return ErrUnknown
	}
	why, done := error(nil), false
	for i, o := range offered {
		if slices.ContainsFunc(offered[:i], o.sameSpace) {
			continue
		}
		if err := c.answer(strongest(offered[i:], o), sent, tries, a, cnonce); err == nil {
			done = true
		} else if why == nil || errors.Is(err, ErrRefused) {
			why = err
		}
	}
	if done && !errors.Is(why, ErrRefused) { // others that were asked too are not ours to answer; whether that does is the peer's to say
		return nil
	}
	return why
}

// answer takes the challenge of one realm.
func (c *Client) answer(o challenge, sent *message.Message, tries int, a tu.Account, cnonce string) error {
	named := func(err error) error { return fmt.Errorf("%w: realm %q", err, o.name()) }
	switch {
	case !slices.Contains(a.Realms, o.name()):
		return named(ErrForeign)
	case o.strength() == 0:
		return named(ErrUnknown)
	case tries > 0 && carries(sent, o) && !o.stale || tries >= maxTries:
		c.forget(o)
		return named(ErrRefused)
	}
	i := slices.IndexFunc(c.spaces, func(s *space) bool { return s.sameSpace(o) })
	switch {
	case i < 0 && len(c.spaces) >= maxSpaces:
		return named(ErrUnknown)
	case i < 0:
		i = len(c.spaces)
		c.spaces = append(c.spaces, nil)
	case c.spaces[i].same(o):
		return nil // the next answer has the next count
	}
	c.spaces[i] = newSpace(o, a, cnonce)
	return nil
}

// newSpace begins the answers to a nonce. That of -sess is bound to the first cnonce, so there is one for all (RFC 7616 §3.4.2).
func newSpace(o challenge, a tu.Account, cnonce string) *space {
	s := &space{challenge: o, user: quoted(a.Username), cnonce: cnonce}
	a1 := o.hash(a.Username, o.realm, a.Password.Reveal())
	if o.sess {
		a1 = o.hash(a1, o.nonce, cnonce)
	}
	s.a1 = tu.NewPassword(a1) // it is as good
	if o.userhash {
		s.user = o.hash(a.Username, o.realm) // RFC 7616 §3.4.4
	}
	return s
}

// forget drops what a realm has refused: later requests do not offer it again by themselves.
func (c *Client) forget(o challenge) {
	c.spaces = slices.DeleteFunc(c.spaces, func(s *space) bool { return s.sameSpace(o) })
}

// Realms are those whose challenges were answered, each once.
func (c *Client) Realms() (names []string) {
	for _, s := range c.spaces {
		if n := s.name(); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Sign writes the credentials of every realm that has asked, in the place of those that are there. Later requests to the same peer
// have them before they are asked: "it should incorporate credentials for that realm in all subsequent requests that contain the same
// Call-ID" (RFC 3261 §22.3); what holds beyond that is a Keyring's affair. The method, Request-URI and body must be those that
// are sent. A client that nobody has asked changes nothing.
func (c *Client) Sign(m *message.Message) {
	if c == nil || len(c.spaces) == 0 {
		return
	}
	m.Headers = without(m.Headers, len(c.spaces))
	for _, s := range c.spaces {
		s.count++
		m.Add(s.field(), s.credentials(m))
	}
}

// without is a list of its own without credentials, with room for more.
func without(list []message.Header, room int) []message.Header {
	kept := make([]message.Header, 0, len(list)+room)
	for _, h := range list {
		if !credential(h.Name) {
			kept = append(kept, h)
		}
	}
	return kept
}

// credential reports whether a header field is one of credentials.
func credential(name string) bool { return name == "Authorization" || name == "Proxy-Authorization" }

// Copy gives a request the credentials of another one: "UACs creating an ACK message will duplicate all of the Authorization and
// Proxy-Authorization header field values that appeared in the INVITE to which the ACK corresponds" (RFC 3261 §22.1).
func Copy(from, to *message.Message) {
	own := false // a list of its own: the message may be one of several copies
	for i := range from.Headers {
		if h := from.Headers[i]; credential(h.Name) {
			if !own {
				to.Headers, own = without(to.Headers, 2), true
			}
			to.Headers = append(to.Headers, h)
		}
	}
}

// Heard takes a 2xx: "if the nextnonce field is present the client SHOULD use it … for its next request" (RFC 7616 §3.5). It names
// no realm, so it counts where only one can be meant.
func (c *Client) Heard(m *message.Message) {
	if c == nil || len(c.spaces) == 0 || m.Status < 200 || m.Status > 299 {
		return
	}
	for _, way := range [...]struct {
		field string
		proxy bool
	}{{"Authentication-Info", false}, {"Proxy-Authentication-Info", true}} {
		value, ok := m.Get(way.field)
		if !ok {
			continue
		}
		next, ok := nextNonce(value)
		if !ok {
			continue
		}
		var only *space
		for _, s := range c.spaces {
			if s.proxy == way.proxy {
				if only != nil {
					only = nil
					break
				}
				only = s
			}
		}
		if only != nil && !only.sess && only.nonce != next { // the key of a session is bound to its first nonce
			only.nonce, only.count = next, 0
		}
	}
}

// Realms are the names that a 401 or 407 challenges in, each once.
func Realms(m *message.Message) (names []string) {
	for _, o := range challenges(m) {
		if n := o.name(); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// carries reports whether a request has credentials for the realm of a challenge.
func carries(m *message.Message, o challenge) bool {
	for i := range m.Headers {
		h := &m.Headers[i]
		if h.Name != o.field() || len(h.Value) > maxValue {
			continue
		}
		for _, p := range credentials.Parse(h.Value) {
			if p.Is("realm", o.realm) {
				return true
			}
		}
	}
	return false
}

// field is where the credentials for a challenge stand.
func (o *challenge) field() string {
	if o.proxy {
		return "Proxy-Authorization"
	}
	return "Authorization"
}

// Check says what of an account cannot be written into credentials, or would be read in two ways.
func Check(a tu.Account) error {
	switch {
	case a.Username == "":
		return errors.New("the user name is empty; give the one of the account")
	case strings.ContainsAny(a.Username, "\"\\:"):
		return errors.New(`the user name holds a quote, a backslash or a colon; digest authentication has no way to write it`)
	case credentials.HasControl(a.Username) || credentials.HasControl(a.Password.Reveal()):
		return errors.New("user name or password holds a control character; is there a second line in the file?")
	case len(a.Username) > maxName || len(a.Password.Reveal()) > maxName:
		return fmt.Errorf("user name or password is longer than %d bytes", maxName)
	}
	return nil
}
