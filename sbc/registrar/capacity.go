package registrar

import (
	"fmt"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// judge reports whether the Book has room for what is asked.
func (r *Register) judge() (code int, text string) {
	fresh, moving, gone := 0, 0, 0
	for i := range r.wish.list {
		a := &r.wish.list[i]
		switch {
		case a.yields:
		case a.entry == nil && !a.removal():
			fresh++
		case a.entry == nil:
		case a.removal():
			gone++
		case limitKey(a.entry.b.Flow.Remote.Addr().Unmap()) != limitKey(r.source):
			moving++
		}
	}
	if n, most := r.wish.active(), r.set.Limits.contacts(); n > most {
		return 403, fmt.Sprintf("%d contacts in one REGISTER, no more than %d are taken (phones.registration.contacts)", n, most)
	}
	aor := 0
	if r.vouched() {
		aor = fresh - gone
	}
	return r.full(aor, fresh+moving, fresh-gone)
}

// full reports whether the Book has no room for so many more bindings of this address-of-record, of this source, and in
// all, with the answer and what to tell the administrator.
//
// Too many Contacts of one address-of-record: 403, "the request SHOULD NOT be repeated" (RFC 3261 §21.4.4), for it would
// fare no better until another phone goes. It is said to those alone who show credentials or are registered: to a stranger
// it would tell that the address-of-record exists. Too many phones behind one address: 503 without Retry-After, which a
// phone takes for a passing failure (§21.5.4), as it is when others expire. Too many in all: 503 with Retry-After, for that
// is a condition of the whole SBC.
func (r *Register) full(aor, source, all int) (code int, text string) {
	book, most := r.set.Book, r.set.Limits
	if n := book.living(r.aor); aor > 0 && n+aor > most.contacts() {
		return 403, fmt.Sprintf("%s has no more than %d contacts (phones.registration.contacts)", r.aor, most.contacts())
	}
	if n := book.fromSource(r.source); source > 0 && n+source > most.perSource() {
		return 503, fmt.Sprintf("no more than %d contacts behind %s (phones.registration.per_source)", most.perSource(), r.source)
	}
	if n := book.Len(); all > 0 && n+all > most.bindings() {
		return whole503, fmt.Sprintf("no more than %d contacts in all", most.bindings())
	}
	return 0, ""
}

// living is how many bindings of an address-of-record lead somewhere.
func (b *Book) living(aor string) (n int) {
	for _, x := range b.aors[aor] {
		if !b.yields(x) {
			n++
		}
	}
	return n
}

// yields reports whether a binding gives way to others: its connection is gone, or an outage alone has kept it.
func (b *Book) yields(x *Binding) bool {
	_, held := b.Held(x.Token)
	return x.Lost || held
}

// yield makes room for one more binding of an address-of-record: those whose connection is gone give way, the oldest first.
// A phone that reconnects under a new Contact each time would else be refused for its own dead ones.
func (b *Book) yield(aor string, most int) {
	for i := 0; len(b.aors[aor]) >= most && i < len(b.aors[aor]); {
		if x := b.aors[aor][i]; b.yields(x) {
			b.remove(b.tokens[x.Token])
		} else {
			i++
		}
	}
}

// whole503 is a 503 for a condition of the whole SBC.
const whole503 = -503

// vouched reports whether the sender knows more than a name: it shows credentials, or is registered where it speaks from.
func (r *Register) vouched() bool {
	return r.authorised() || r.set.Book.Speaks(r.aor, r.flow) != nil
}

// authorised reports whether the request carries credentials, right or wrong.
func (r *Register) authorised() bool {
	if _, has := r.msg.Get("Authorization"); has {
		return true
	}
	_, has := r.msg.Get("Proxy-Authorization")
	return has
}

// noCapacity refuses what full found.
func (r *Register) noCapacity(code int, text string, do []tu.Action) []tu.Action {
	var extra []message.Header
	if code == whole503 {
		code = 503
		extra = append(extra, r.retryAfter())
	}
	do = r.note(code, reason.NoCapacity, text, do)
	r.said = said{code: code, why: reason.NoCapacity, phrase: cut(text)}
	return r.refuseWith(code, "", do, extra...)
}
