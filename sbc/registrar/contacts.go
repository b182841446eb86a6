package registrar

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// asked is one Contact of a REGISTER.
type asked struct {
	contact  message.NameAddr // without expires and q
	instance string
	q        string
	explicit bool   // it has an expires parameter
	expires  uint32 // seconds, as asked by parameter or header field; 3600 where neither says (RFC 3261 §10.2.1.1)
	token    string
	entry    *entry // the binding that it refreshes, replaces or removes; nil: none
	yields   bool   // a removal of what another Contact of the same request replaces
}

func (a *asked) removal() bool { return a.expires == 0 }

// wish is what a REGISTER asks for.
type wish struct {
	list    []asked
	star    bool
	expires string // the Expires header field, cleaned; empty: absent
}

// unspoken is the expiry of a request that names none, or one that cannot be read, in seconds (RFC 3261 §10.2.1.1: "If …
// malformed … SHOULD be treated as equivalent to 3600").
const unspoken = 3600

// flaw says what is wrong with a REGISTER, with what to do instead.
type flaw string

// contactsMost bounds the Contacts of one REGISTER, removals included: each is compared with each, before anybody has
// said who sends them.
const contactsMost = 32

// read takes the Contacts and expiries of a REGISTER.
func (w *wish) read(m *message.Message, room []asked) flaw {
	usual := uint32(unspoken)
	if v, ok := m.Get("Expires"); ok {
		usual = seconds(v)
		w.expires = strconv.FormatUint(uint64(usual), 10)
	}
	contacts, star, err := m.Contacts()
	switch {
	case err != nil:
		return flaw(err.Error())
	case star:
		// "If a Contact address-of-record … contains '*' … Expires header field … zero … the registrar MUST … 400" (RFC
		// 3261 §10.3 step 6).
		if w.star = true; w.expires != "0" {
			return "Contact: * needs Expires: 0"
		}
		return ""
	}
	if len(contacts) > contactsMost {
		return "more Contacts than any phone has"
	}
	w.list = room
	for i := range contacts {
		a := asked{contact: contacts[i], expires: usual}
		if s := a.contact.URI.Scheme; s != "sip" && s != "sips" || a.contact.URI.Host == "" {
			return "Contact is no SIP URI: a phone is reached by SIP alone"
		}
		a.take()
		w.add(a)
	}
	return ""
}

// add notes a Contact. Of one that is there twice the later counts.
func (w *wish) add(a asked) {
	for i := range w.list {
		if w.list[i].instance == a.instance && sameURI(&w.list[i].contact.URI, &a.contact.URI) {
			w.list[i] = a
			return
		}
	}
	w.list = append(w.list, a)
}

// take picks the parameters out that a registration is about.
func (a *asked) take() {
	if a.contact.Params == "" {
		return
	}
	if v, ok := a.contact.Param("expires"); ok {
		a.explicit, a.expires = true, seconds(v)
	}
	a.q, _ = a.contact.Param("q")
	a.instance, _ = a.contact.Param("+sip.instance")
	a.contact.Params = without(a.contact.Params, func(name string) bool {
		return strings.EqualFold(name, "expires") || strings.EqualFold(name, "q")
	})
}

// seconds reads delta-seconds (RFC 3261 §25.1): too large is the largest, what is no number 3600.
func seconds(s string) uint32 {
	if s == "" {
		return unspoken
	}
	n := uint64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return unspoken
		}
		n = min(n*10+uint64(s[i]-'0'), math.MaxUint32)
	}
	return uint32(n)
}

// active counts the Contacts that are to be bound.
func (w *wish) active() (n int) {
	for i := range w.list {
		if !w.list[i].removal() {
			n++
		}
	}
	return n
}

// assign gives each Contact its token: that of the binding it means, else one that is a function of the phone.
//
// A Contact means the binding with the same Contact; else the one with the same instance; else, where phones have none, the
// one binding that was made with the same Call-ID: its Contact was rewritten since, by the phone that has learnt its
// public address or by a gateway on the way. The token stays, so that the PBX sees one contact all the while.
func (w *wish) assign(book *Book, names *tu.NameKey, aor, callID string, source netip.Addr) {
	bound := book.aors[aor]
	if len(bound) > 0 {
		for i := range w.list {
			w.claim(i, book, bound, func(a *asked, b *Binding) bool { return a.means(b) && (a.instance != "" || b.CallID == callID) })
		}
		for i := range w.list {
			w.claim(i, book, bound, func(a *asked, b *Binding) bool { return a.means(b) && b.Flow.Remote.Addr().Unmap() == source })
		}
		for i := range w.list {
			if w.list[i].instance != "" {
				w.claim(i, book, bound, func(a *asked, b *Binding) bool { return b.Instance == a.instance })
			} else if !w.list[i].removal() {
				w.inherit(i, book, bound, callID)
			}
		}
	}
	for i := range w.list {
		if w.list[i].token == "" {
			w.list[i].token = w.invent(i, book, names, aor, callID, source)
		}
	}
}

// means reports whether a Contact is the one of a binding. Without an instance two phones may have one Contact, behind two
// NATs with the same private addresses: then Call-ID or source tells, in this order.
func (a *asked) means(b *Binding) bool {
	return (a.instance == "" || a.instance == b.Instance) && sameURI(&a.contact.URI, &b.Contact.URI)
}

// claim gives Contact i the binding that fits, if no other Contact has it. A removal yields to a Contact that replaces it: the
// PBX would read "remove it, add it" of one and the same.
func (w *wish) claim(i int, book *Book, bound []*Binding, fits func(*asked, *Binding) bool) {
	a := &w.list[i]
	if a.token != "" {
		return
	}
	for _, b := range bound {
		if !fits(a, b) {
			continue
		}
		if other := w.holder(b.Token); other != nil {
			if !other.removal() || a.removal() {
				continue
			}
			other.yields = true
		}
		a.token, a.entry = b.Token, book.tokens[b.Token]
		return
	}
}

// inherit gives Contact i the one binding of the same Call-ID without an instance that no other Contact means.
func (w *wish) inherit(i int, book *Book, bound []*Binding, callID string) {
	fits := func(_ *asked, b *Binding) bool { return b.Instance == "" && b.CallID == callID }
	n := 0
	for _, b := range bound {
		if fits(nil, b) {
			if other := w.holder(b.Token); other == nil || other.removal() {
				n++
			}
		}
	}
	if n == 1 {
		w.claim(i, book, bound, fits)
	}
}

// holder is the Contact that has a token and does not yield it.
func (w *wish) holder(token string) *asked {
	for i := range w.list {
		if w.list[i].token == token && !w.list[i].yields {
			return &w.list[i]
		}
	}
	return nil
}

// invent makes a token: of AoR and instance, or of AoR, Contact and source address. Where that is another binding's
// already, the Call-ID tells the two apart.
func (w *wish) invent(i int, book *Book, names *tu.NameKey, aor, callID string, source netip.Addr) string {
	a := &w.list[i]
	parts := []string{aor, a.instance}
	if a.instance == "" {
		parts = []string{aor, a.contact.URI.String(), source.String()}
	}
	token := names.Token(parts...)
	for n := 0; book.tokens[token] != nil || w.holder(token) != nil; n++ {
		token = names.Token(append(parts, callID, strconv.Itoa(i), strconv.Itoa(n))...)
	}
	return token
}

// sameURI compares two SIP URIs (RFC 3261 §19.1.4).
func sameURI(a, b *message.URI) bool {
	if *a == *b {
		return true
	}
	if a.Scheme != b.Scheme || a.Port != b.Port || a.Headers != b.Headers || !userpart.Equal(a.User, b.User) || !sameHost(a.Host, b.Host) {
		return false
	}
	return a.Params == b.Params || sameParams(a, b) && sameParams(b, a)
}

func sameHost(a, b string) bool {
	return strings.EqualFold(a, b) || message.PlainHost(a) == message.PlainHost(b)
}

// sameParams reports whether every parameter of a has its equal in b, or may be missing there.
func sameParams(a, b *message.URI) bool {
	for p := range params(a.Params) {
		name, value, _ := strings.Cut(p, "=")
		other, has := b.Param(name)
		if has && !strings.EqualFold(value, other) {
			return false
		}
		if !has {
			// "A user, ttl, or method uri-parameter appearing in only one URI never matches", nor maddr or transport.
			switch strings.ToLower(name) {
			case "user", "ttl", "method", "maddr", "transport":
				return false
			}
		}
	}
	return true
}

// params yields the parameters of a raw list. A ';' within quotes does not end one.
func params(list string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for list != "" {
			list = list[1:]
			end, quoted := 0, false
			for ; end < len(list) && (quoted || list[end] != ';'); end++ {
				switch list[end] {
				case '"':
					quoted = !quoted
				case '\\':
					if quoted && end+1 < len(list) {
						end++
					}
				}
			}
			if p := list[:end]; p != "" && !yield(p) {
				return
			}
			list = list[end:]
		}
	}
}

// without drops parameters of a raw list by name. Of the usual lists, where those stand at one end, what is left is a part
// of the list and costs nothing.
func without(list string, drop func(name string) bool) string {
	at, start, end := 0, 0, 0 // until buf is needed, what is left is list[start:end]
	var buf []byte
	for p := range params(list) {
		i := at + strings.Index(list[at:], p) // behind its ';', and behind those of empty parameters
		at = i + len(p)
		name, _, _ := strings.Cut(p, "=")
		switch {
		case drop(strings.TrimSpace(name)):
		case buf != nil:
			buf = append(append(buf, ';'), p...)
		case start == end:
			start, end = i-1, at
		case end == i-1:
			end = at
		default:
			buf = append(append(append(make([]byte, 0, len(list)), list[start:end]...), ';'), p...)
		}
	}
	if buf != nil {
		return string(buf)
	}
	return list[start:end]
}
