package demo

import (
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"

	"sallyport/sbc/message"
)

// Registrar is what makes an agent a stand-in PBX for phones: users with passwords, digest challenges, and the contacts
// that they registered (RFC 3261 §10.3, §22). Its fields are set before the agent runs; its methods must run on the agent's
// goroutine.
//
// As sipXcom does, it binds a nonce to the Call-ID and From-tag that it was issued for: a retry under other ids is
// challenged anew.
type Registrar struct {
	Domain  string
	Users   map[string]string // by user: the password
	Expires time.Duration     // granted at most; 0: an hour
	Min     time.Duration     // granted at least: 423 below; 0: as asked
	Fresh   int               // how often a nonce may be used before it is stale; 0: for ever
	Calls   bool              // INVITEs from our own domain are challenged, too
	Heard   func(Visit)       // each REGISTER that was answered

	contacts map[string][]Contact
	nonces   map[string]*nonce
	order    []string // of nonces, oldest first
}

// Contact is one place where a user can be reached.
type Contact struct {
	URI     message.URI
	Params  string
	Expires time.Time
	CallID  string
	CSeq    uint32
}

// Visit is one REGISTER as the registrar saw it.
type Visit struct {
	User    string
	Code    int
	Contact string // its first Contact; empty: none
}

// nonce is one challenge.
type nonce struct {
	callID, tag string
	count       int // the highest that was used
}

// The bounds of a registrar.
const (
	maxNonces   = 4096
	maxContacts = 16 // of a user
)

// Contacts are where a user can be reached, latest first.
func (r *Registrar) Contacts(user string, now time.Time) []Contact {
	live := slices.DeleteFunc(r.contacts[user], func(c Contact) bool { return !c.Expires.After(now) })
	if len(live) == 0 {
		delete(r.contacts, user)
		return nil
	}
	r.contacts[user] = live
	out := slices.Clone(live)
	slices.Reverse(out)
	return out
}

// register answers a REGISTER.
func (r *Registrar) register(a *Agent, m *message.Message) *message.Message {
	user := m.To.URI.User
	resp := r.authorised(a, m, user, 401)
	if resp == nil {
		resp = r.bind(a, m, user)
	}
	if r.Heard != nil {
		v := Visit{User: user, Code: resp.Status}
		v.Contact, _ = m.Get("Contact")
		r.Heard(v)
	}
	return resp
}

// admit answers an INVITE that may not pass; nil: it may.
func (r *Registrar) admit(a *Agent, m *message.Message) *message.Message {
	if !r.Calls || !strings.EqualFold(m.From.URI.Host, r.Domain) {
		return nil
	}
	return r.authorised(a, m, m.From.URI.User, 407)
}

// authorised is the answer to a request whose sender is not known to be the user: a challenge, or a refusal; nil: it is he.
func (r *Registrar) authorised(a *Agent, m *message.Message, user string, code int) *message.Message {
	header := "Authorization"
	if code == 407 {
		header = "Proxy-Authorization"
	}
	value, ok := m.Get(header)
	if !ok {
		return r.challenge(a, m, code, false)
	}
	c, err := digest.ParseCredentials(value)
	if err != nil {
		return message.Reply(m, 400, "")
	}
	n := r.nonces[c.Nonce]
	if n == nil || n.callID != m.CallID || n.tag != m.From.Tag || c.Nc <= n.count || r.Fresh > 0 && n.count >= r.Fresh {
		return r.challenge(a, m, code, true)
	}
	n.count = c.Nc
	password, known := r.Users[user]
	want, err := digest.Digest(&digest.Challenge{Realm: r.Domain, Nonce: c.Nonce, QOP: []string{"auth"}, Algorithm: "MD5"}, digest.Options{
		Method: m.Method, URI: c.URI, Count: c.Nc, Cnonce: c.Cnonce, Username: c.Username, Password: password,
	})
	if err != nil || !known || c.Username != user || c.Realm != r.Domain || subtle.ConstantTimeCompare([]byte(want.Response), []byte(c.Response)) == 0 {
		return message.Reply(m, 403, "")
	}
	return nil
}

func (r *Registrar) challenge(a *Agent, m *message.Message, code int, stale bool) *message.Message {
	b := a.ids.Block()
	value := hex.EncodeToString(b[:])
	if r.nonces == nil {
		r.nonces = map[string]*nonce{}
	}
	if len(r.order) >= maxNonces {
		delete(r.nonces, r.order[0])
		r.order = slices.Delete(r.order, 0, 1)
	}
	r.nonces[value] = &nonce{callID: m.CallID, tag: m.From.Tag}
	r.order = append(r.order, value)
	field := "WWW-Authenticate"
	if code == 407 {
		field = "Proxy-Authenticate"
	}
	resp := message.Reply(m, code, "")
	c := digest.Challenge{Realm: r.Domain, Nonce: value, QOP: []string{"auth"}, Algorithm: "MD5", Stale: stale}
	resp.Add(field, c.String())
	return resp
}

// bind takes the contacts of an authorised REGISTER (RFC 3261 §10.3).
func (r *Registrar) bind(a *Agent, m *message.Message, user string) *message.Message {
	list, star, err := m.Contacts()
	asked := registerExpires
	if v, ok := m.Get("Expires"); ok {
		n, _ := strconv.Atoi(v)
		asked = time.Duration(n) * time.Second
	}
	live := r.Contacts(user, a.now)
	slices.Reverse(live)
	if star {
		list = nil
		for i := range live {
			list = append(list, message.NameAddr{URI: live[i].URI})
		}
	}
	switch {
	case err != nil || star && asked != 0:
		return message.Reply(m, 400, "")
	case len(list) > maxContacts:
		return message.Reply(m, 403, "")
	}
	for i := range list {
		want := asked
		if v, ok := list[i].Param("expires"); ok {
			n, _ := strconv.Atoi(v)
			want = time.Duration(n) * time.Second
		}
		if want > 0 && want < r.Min {
			resp := message.Reply(m, 423, "")
			resp.Add("Min-Expires", strconv.Itoa(int(r.Min/time.Second)))
			return resp
		}
		at := slices.IndexFunc(live, func(c Contact) bool { return c.URI == list[i].URI })
		if at >= 0 {
			// §10.3 step 7: "if it is not [higher], the update MUST be aborted".
			if live[at].CallID == m.CallID && m.CSeq <= live[at].CSeq {
				return message.Reply(m, 500, "")
			}
			live = slices.Delete(live, at, at+1)
		}
		if want > 0 {
			live = append(live, Contact{
				URI: list[i].URI, Params: list[i].Params, Expires: a.now.Add(min(want, r.most())), CallID: m.CallID, CSeq: m.CSeq,
			})
		}
	}
	if r.contacts == nil {
		r.contacts = map[string][]Contact{}
	}
	r.contacts[user] = live[max(0, len(live)-maxContacts):]
	return r.listing(a, m, user)
}

func (r *Registrar) most() time.Duration {
	if r.Expires > 0 {
		return r.Expires
	}
	return registerExpires
}

// listing is the 200 with all contacts of a user.
func (r *Registrar) listing(a *Agent, m *message.Message, user string) *message.Message {
	resp := message.Reply(m, 200, "")
	for _, c := range r.Contacts(user, a.now) {
		left := int(c.Expires.Sub(a.now) / time.Second)
		resp.Add("Contact", message.NameAddr{URI: c.URI, Params: ";expires=" + strconv.Itoa(left)}.String())
	}
	return resp
}
