package digest

import (
	"strings"

	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
)

// Bounds of what a peer may ask with. A realm's own texts come back in every request of a dialog.
const (
	maxFields = 8 // header fields of a response that are read
	maxValue  = credentials.MaxField
	maxText   = 1024 // of a nonce or an opaque
	maxName   = 255  // of a realm, a user name, a password
)

// challenge is one Digest challenge. Quoted texts stand as they came, escapes included: "the value of the quoted-string … without the
// surrounding quotes" is what is hashed (RFC 7616 §3.4), and what goes back.
type challenge struct {
	proxy     bool // of a Proxy-Authenticate
	realm     string
	nonce     string
	opaque    string
	hasOpaque bool
	algorithm string // as it came; empty: none was named, which is MD5
	kind      kind
	sess      bool
	qop       string // what we answer with: auth, auth-int, or empty (RFC 2069)
	unusable  bool   // it asks for a protection that we do not know
	stale     bool
	userhash  bool
}

// challenges reads those of a 401 or 407. What is no Digest, or no challenge, is left out.
func challenges(m *message.Message) (list []challenge) {
	name, proxy := "", false
	switch m.Status {
	case 401: // of a user agent server or registrar (RFC 3261 §22.2)
		name = "WWW-Authenticate"
	case 407: // of a proxy (§22.3)
		name, proxy = "Proxy-Authenticate", true
	default:
		return nil
	}
	fields := 0
	for i := range m.Headers {
		h := &m.Headers[i]
		if h.Name != name {
			continue
		}
		if fields++; fields > maxFields {
			break
		}
		for _, p := range credentials.Parse(h.Value) {
			if o, ok := read(p); ok {
				o.proxy = proxy
				list = append(list, o)
			}
		}
	}
	return list
}

// read makes a challenge of its parameters; without a realm or a nonce it is none.
func read(p credentials.Params) (o challenge, ok bool) {
	if !strings.EqualFold(p.Scheme, "Digest") {
		return o, false
	}
	o.realm, ok = p.Get("realm")
	if !ok || len(o.realm) > maxName {
		return o, false
	}
	if o.nonce, ok = p.Get("nonce"); !ok || o.nonce == "" || len(o.nonce) > maxText {
		return o, false
	}
	if o.opaque, o.hasOpaque = p.Get("opaque"); len(o.opaque) > maxText {
		return o, false
	}
	o.algorithm, _ = p.Get("algorithm")
	o.kind, o.sess = algorithm(o.algorithm)
	stale, _ := p.Get("stale")
	o.stale = strings.EqualFold(stale, "true")
	userhash, _ := p.Get("userhash")
	o.userhash = strings.EqualFold(userhash, "true")
	if list, named := p.Get("qop"); named {
		o.protection(list)
	}
	return o, true
}

// protection chooses the quality of protection: auth, for what a body is when it leaves is not ours to promise; auth-int where that
// is all there is. "Unrecognized options MUST be ignored" (RFC 7616 §3.3).
func (o *challenge) protection(list string) {
	for t := range strings.SplitSeq(list, ",") {
		switch t = strings.TrimSpace(t); {
		case strings.EqualFold(t, "auth"):
			o.qop = "auth"
			return
		case strings.EqualFold(t, "auth-int"):
			o.qop = "auth-int"
		}
	}
	o.unusable = o.qop == ""
}

// name is the realm as it is meant: without the escapes of its spelling.
func (o *challenge) name() string {
	if !strings.Contains(o.realm, `\`) {
		return o.realm
	}
	var b strings.Builder
	for i := 0; i < len(o.realm); i++ {
		if o.realm[i] == '\\' && i+1 < len(o.realm) {
			i++
		}
		b.WriteByte(o.realm[i])
	}
	return b.String()
}

// sameSpace reports whether two challenges are of one protection space.
func (o challenge) sameSpace(x challenge) bool { return o.proxy == x.proxy && o.realm == x.realm }

// same reports whether two challenges have the same answers.
func (o challenge) same(x challenge) bool {
	o.stale = x.stale
	return o == x
}

// strength orders challenges of a realm; 0: we have no answer. An algorithm counts before the protection.
func (o challenge) strength() int {
	if o.kind == 0 || o.unusable {
		return 0
	}
	n := 3 * int(o.kind)
	switch o.qop {
	case "auth":
		return n + 2
	case "":
		return n + 1
	default:
		return n // auth-int
	}
}

// strongest is the best challenge of the realm of one; of equals the first: servers name what they like best first (RFC 8760 §2.3).
func strongest(list []challenge, of challenge) challenge {
	best := of
	for _, o := range list {
		if o.sameSpace(of) && o.strength() > best.strength() {
			best = o
		}
	}
	return best
}

// nextNonce is that of an Authentication-Info.
func nextNonce(value string) (nonce string, ok bool) {
	if len(value) > maxValue {
		return "", false
	}
	for _, p := range credentials.Parse("Info " + value) { // it has no scheme
		nonce, ok = p.Get("nextnonce")
	}
	return nonce, ok && nonce != "" && len(nonce) <= maxText
}
