package trunk

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// ask sends a REGISTER to the hop that is asked now.
func (r *Registration) ask(now time.Time, do []tu.Action) []tu.Action {
	r.offer = r.contact(&r.at)
	m := r.request()
	r.login.Sign(m)
	r.seq, r.sent = m.CSeq, m
	r.ref, r.out = tu.Ref(m.CSeq), now
	return append(do, tu.Send{Ref: r.ref, Msg: m, Hop: r.at})
}

// request is the REGISTER, without credentials (RFC 3261 §10.2).
func (r *Registration) request() *message.Message {
	us := message.URI{Scheme: "sip", User: r.cfg.User, Host: r.cfg.Domain}
	m := &message.Message{
		// "The 'userinfo' and '@' components of the SIP URI MUST NOT be present" in the Request-URI, which is the domain's.
		Method: "REGISTER", URI: message.URI{Scheme: "sip", Host: r.cfg.Domain},
		From: message.NameAddr{URI: us, Tag: r.tag}, To: message.NameAddr{URI: us},
		CallID: r.callID, CSeq: r.seq + 1, MaxForwards: 70,
	}
	expires := r.asks
	if !r.leaving.IsZero() {
		expires = 0
	}
	contact := message.NameAddr{URI: r.offer}
	if expires == 0 && r.bound.Host != "" {
		contact.URI = r.bound
	}
	m.Add("Contact", contact.String())
	if old := r.bound; expires > 0 && old.Host != "" && old != r.offer {
		r.stale = old
	}
	if r.alone || r.stale == contact.URI {
		r.stale = message.URI{}
	}
	if r.stale.Host != "" {
		// The place that we were at before is taken back with the same request, or calls would be tried there too (§10.2.2).
		gone := message.NameAddr{URI: r.stale, Params: ";expires=0"}
		m.Add("Contact", gone.String())
	}
	m.Add("Expires", strconv.Itoa(int(expires/time.Second)))
	if r.cfg.GIN {
		// "The SIP-PBX … include a 'Require' header field with a value of 'gin' … [and] a Proxy-Require header field" (RFC 6140
		// §5.2, shortened).
		m.Add("Require", "gin")
		m.Add("Proxy-Require", "gin")
	}
	m.Add("Supported", "path") // RFC 3327 §5.1: a proxy on the way may want to be on the way back
	return m
}

// contact is where a hop of the registrar finds us: at the address that it has told us, else at the one that we know.
func (r *Registration) contact(hop *tu.Hop) message.URI {
	at := hop.Here.Signal
	seen := r.seen
	if r.maybe.hop == hop.ID {
		seen = r.maybe.sight
	}
	if seen.at.IsValid() && seen.face == hop.Here.Interface && seen.at.Addr().Is4() == at.Addr().Is4() {
		at = seen.at
	}
	u := message.URI{Scheme: "sip", User: r.cfg.Contact, Host: at.Addr().String(), Port: at.Port()}
	if u.User == "" {
		u.User = r.cfg.User
	}
	if t := hop.Here.Transport; t != nat.UDP {
		u.Params = ";transport=" + t.Param()
	}
	if r.cfg.GIN {
		// "the Contact … URI parameter 'bnc' … the URI MUST NOT contain a user portion" (RFC 6140 §5.2, shortened).
		u.User, u.Params = "", u.Params+";bnc"
	}
	return u
}

// parsePlace reads an address of a Via.
func parsePlace(host string, port uint16) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return netip.AddrPortFrom(a.Unmap().WithZone(""), port), err
}
