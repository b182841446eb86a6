package registrar

import (
	"slices"
	"strings"

	"sallyport/nat"
)

// look judges what stands between the phone and us.
func (r *Register) look() {
	m := r.msg
	e := nat.Evidence{
		Source: r.flow.Remote, Transport: r.flow.Transport, ViaHost: m.Via[0].Host, ViaPort: m.Via[0].Port,
		Internal: r.set.Internal, Told: r.authorised(),
	}
	known := false
	for i := range r.wish.list {
		if a := &r.wish.list[i]; !a.removal() {
			e.ContactHost, e.ContactPort = a.contact.URI.Host, a.contact.URI.Port
			known = a.entry != nil
			break
		}
	}
	e.Told = e.Told || known
	if _, host, ok := strings.Cut(m.CallID, "@"); ok {
		e.CallIDHost = host
	}
	r.kind, r.alg = nat.Detect(e)
	if e.Told && !known {
		// What its first message showed, before any answer could tell it where it is, counts still.
		r.alg = union(r.alg, r.set.Book.impressions.get(m.CallID))
	}
}

// impress keeps what a first message showed of the way, until it is sent again with credentials.
func (r *Register) impress() {
	if len(r.alg) > 0 {
		r.set.Book.impressions.put(r.msg.CallID, r.alg)
	}
}

// remember takes over from the binding before what this REGISTER cannot show any more, once the phone has learnt its
// public address: that there is a translator, and what edits SIP as long as the Contact stays.
func (r *Register) remember(b, before *Binding) {
	if b.NAT == nat.KindNone && before.Flow.Remote.Addr() == b.Flow.Remote.Addr() &&
		(before.NAT == nat.KindAddress || before.NAT == nat.KindPort) {
		b.NAT = before.NAT
	}
	if sameURI(&b.Contact.URI, &before.Contact.URI) {
		b.ALG = union(before.ALG, b.ALG)
	}
}

// clausesMost bounds what is said of one phone.
const clausesMost = 6

// union is a and what of b is not in it. Neither is changed.
func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := a[:len(a):len(a)]
	for _, x := range b {
		if len(out) < clausesMost && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
