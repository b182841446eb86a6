package registrar

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sallyport/sbc/credentials"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// accepted takes the PBX's 2xx: now, and only now, the Book changes.
func (r *Register) accepted(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	l := listing{m: ev.Msg}
	l.read()
	hop := &r.hops[ev.Ref-1]
	code, text := 0, ""
	switch {
	case r.wish.star:
		// The PBX has removed all there were, and so do we (RFC 3261 §10.3 step 6).
		for _, b := range slices.Clone(r.set.Book.aors[r.aor]) {
			r.unbind(r.set.Book.tokens[b.Token])
		}
	default:
		for i := range r.wish.list {
			if a := &r.wish.list[i]; !a.yields {
				if c, t := r.bind(now, a, l.granted(a, r.set.asks(a)), hop); c != 0 {
					code, text = c, t
				}
			}
		}
	}
	if code != 0 {
		return r.noCapacity(code, text, do)
	}
	m := r.relayed(ev.Msg)
	dropExpires(m)
	r.list(now, &l, m)
	return r.final(m, do)
}

// listing is what a 2xx says of contacts.
type listing struct {
	m        *message.Message
	contacts []message.NameAddr
	expires  string // the Expires header field
}

func (l *listing) read() {
	l.expires, _ = l.m.Get("Expires")
	if list, star, err := l.m.Contacts(); err == nil && !star {
		l.contacts = list
	}
}

// find is our Contact in the list, by its token: PBXes put their own host and parameters to what they were given.
func (l *listing) find(token string) *message.NameAddr {
	for i := range l.contacts {
		if l.contacts[i].URI.User == token {
			return &l.contacts[i]
		}
	}
	return nil
}

// granted is the PBX's expiry for a Contact, in seconds: that of its entry, else of the header field, else as asked. "The
// 200 (OK) response … MUST contain Contact header field values enumerating all current bindings … each … expires" (RFC 3261
// §10.3 step 8); a PBX that says less is believed to have done what it was asked.
func (l *listing) granted(a *asked, wanted uint32) uint32 {
	if a.removal() {
		return 0
	}
	if c := l.find(a.token); c != nil {
		if v, ok := c.Param("expires"); ok {
			return seconds(v)
		}
	}
	if l.expires != "" {
		return seconds(l.expires)
	}
	return wanted
}

// bind writes what became of a Contact. A code says that there is no room: what the phone is told then, and the text for
// the administrator. The PBX has taken it, and what it sends there meets an unknown token until it forgets.
func (r *Register) bind(now time.Time, a *asked, granted uint32, hop *tu.Hop) (code int, text string) {
	book := r.set.Book
	e := book.tokens[a.token] // it may be another one now than when the request arrived
	switch {
	case e != nil && e.b.AoR != r.aor:
		return 0, ""
	case granted == 0:
		if e != nil {
			r.unbind(e)
		}
		return 0, ""
	case e == nil && r.overtaken(book.departures.get(a.token)):
		return 0, "" // removed by a later REGISTER, whose 2xx was faster
	case e == nil:
		if code, text = r.full(1, 1, 1); code == 0 {
			book.yield(r.aor, r.set.Limits.contacts())
			book.insert(&entry{b: r.binding(now, a, granted, hop, nil), order: r.order, ids: r.names, login: credentials.Login{}.Accepted(tu.Credentials(r.msg)), index: -1})
		}
		return code, text
	case !r.stale(e):
		if limitKey(e.b.Flow.Remote.Addr().Unmap()) != limitKey(r.source) {
			if code, text = r.full(0, 1, 0); code != 0 {
				return code, text
			}
		}
		e.order, e.ids, e.owed, e.login = r.order, r.names, false, e.login.Accepted(tu.Credentials(r.msg))
		e.free()
		book.swap(e, r.binding(now, a, granted, hop, e.b))
	}
	return 0, ""
}

// stale reports that a binding was written for a later REGISTER of the same sequence than this one, whose 2xx was overtaken:
// it came later and has the higher number (RFC 3261 §10.3 step 7). The number alone says nothing: some phones begin anew
// with their old Call-ID, and the PBX has taken that. Between sequences the PBX's answers count in their order.
func (r *Register) stale(e *entry) bool {
	return r.overtaken(mark{e.order, e.b.CallID, e.b.CSeq})
}

// mark is the place of a REGISTER among others.
type mark struct {
	order  uint64 // by arrival
	callID string
	cseq   uint32
}

func (r *Register) overtaken(by mark) bool {
	return by.order > r.order && by.cseq > r.msg.CSeq && by.callID == r.msg.CallID
}

func (r *Register) unbind(e *entry) {
	if !r.stale(e) {
		r.set.Book.departures.put(e.b.Token, mark{r.order, r.msg.CallID, r.msg.CSeq})
		r.set.Book.remove(e)
	}
}

// binding is the new state of a Contact; old is what it replaces, or nil.
func (r *Register) binding(now time.Time, a *asked, granted uint32, hop *tu.Hop, old *Binding) *Binding {
	b := &Binding{
		AoR: r.aor, Token: a.token, Instance: a.instance, CallID: r.msg.CallID, Node: hop.ID, Contact: a.contact, Q: a.q,
		CSeq: r.msg.CSeq, Flow: r.flow, Since: now, Refreshed: now, Accepted: now, Told: hop.Here.Signal, Passed: 1,
		Expires:    now.Add(r.set.told(a, granted)),
		ExpiresPBX: now.Add(time.Duration(granted) * time.Second),
		NAT:        r.kind, ALG: r.alg,
	}
	b.UserAgent, _ = r.msg.Get("User-Agent")
	if old == nil {
		return b
	}
	b.Since, b.Local, b.Passed = old.Since, old.Local, old.Passed+1
	if old.Flow == b.Flow {
		b.Answered = old.Answered
	}
	r.remember(b, old)
	return b
}

// list writes the phone's own Contacts into its 200, as it wrote them.
func (r *Register) list(now time.Time, l *listing, m *message.Message) {
	least := time.Duration(-1)
	for _, b := range r.set.Book.aors[r.aor] {
		if !r.own(b) || !r.current(b, l) {
			continue
		}
		left := max(b.Expires.Sub(now).Truncate(time.Second), time.Second)
		if least < 0 || left < least {
			least = left
		}
		m.Headers = append(m.Headers, message.Header{Name: "Contact", Value: b.towardsPhone(left)})
	}
	if least > 0 {
		// Old phones read the header field alone.
		m.Add("Expires", strconv.FormatInt(int64(least/time.Second), 10))
	}
}

// own reports whether a binding of the address-of-record is this phone's: it was made by the same sequence of REGISTERs, or
// from the same flow, which no two phones share. The others' addresses are nobody else's business.
func (r *Register) own(b *Binding) bool {
	return b.CallID == r.msg.CallID || b.Flow == r.flow && !b.Lost
}

// current reports whether the PBX still has a binding: one just written, or one that it lists.
func (r *Register) current(b *Binding, l *listing) bool {
	if l.find(b.Token) != nil {
		return true
	}
	for i := range r.wish.list {
		if a := &r.wish.list[i]; a.token == b.Token && !a.yields && !a.removal() {
			return true
		}
	}
	return false
}

// towardsPhone is the Contact in a 200: "an expires parameter indicating the remaining time" (RFC 3261 §10.2.4).
func (b *Binding) towardsPhone(left time.Duration) string {
	v := b.Contact.Append(make([]byte, 0, 192))
	if b.Q != "" {
		v = append(append(v, ";q="...), b.Q...)
	}
	return string(strconv.AppendInt(append(v, ";expires="...), int64(left/time.Second), 10))
}

// rejected passes the PBX's refusal.
func (r *Register) rejected(now time.Time, far *message.Message, do []tu.Action) []tu.Action {
	if tu.Challenge(far.Status) {
		r.impress()
		r.set.Book.names.put(r.msg.CallID, r.names)
		r.set.Decoys.Keep(far)
		if r.authorised() && !r.said.stale {
			r.disown()
		}
		return r.final(r.relayed(far), do)
	}
	r.disown()
	text := "the PBX's answer to REGISTER of " + r.aor
	if far.Status == 423 && r.tooBrief(far) {
		text = fmt.Sprintf("the PBX wants %d s at least: set phones.registration.inside to that; it is asked for so much from now on", r.set.Book.least)
	}
	do = r.note(far.Status, "", text, do)
	if shown, ok := r.disguised(now, far); ok {
		far = shown
	}
	return r.final(r.relayed(far), do)
}

// relayed makes of the PBX's response the phone's: status, phrase, and what may pass. Contact, Path, Service-Route and Server
// are not among that.
func (r *Register) relayed(far *message.Message) *message.Message {
	m := message.Reply(r.msg, far.Status, far.Reason)
	m.Headers = slices.Grow(m.Headers, len(far.Headers)+2)
	header.Copy(header.PBXToPhone, far, m, header.Hosts{
		RequestURI: r.set.Domain, From: r.set.Domain, To: r.set.Domain, Identity: r.set.Domain,
	})
	header.Finish(nil, r.peer, far, m)
	return m
}

// dropExpires takes the PBX's Expires out of a 200: it is about another lifetime.
func dropExpires(m *message.Message) { m.Remove("Expires") }

// final answers the phone and ends.
func (r *Register) final(m *message.Message, do []tu.Action) []tu.Action {
	r.phase = ended
	r.delist()
	m.To.Tag = r.ids.Tag() // RFC 3261 §8.2.6.2
	return append(do, tu.Respond{Tx: r.tx, Side: r.side, Msg: m}, tu.End{})
}

// refuse is a final answer of our own.
func (r *Register) refuse(code int, why reason.Reason, phrase string, do []tu.Action, extra ...message.Header) []tu.Action {
	if code == 503 && (why == reason.NoPBX || why == reason.Overload || why == reason.Draining) {
		extra = append(extra, r.retryAfter()) // conditions of the whole SBC, and those alone
	}
	r.said = said{code: code, phrase: phrase, why: why}
	return r.refuseWith(code, phrase, do, extra...)
}

func (r *Register) refuseWith(code int, phrase string, do []tu.Action, extra ...message.Header) []tu.Action {
	m := message.Reply(r.msg, code, phrase)
	m.Headers = append(m.Headers, extra...)
	header.Finish(nil, r.peer, nil, m)
	return r.final(m, do)
}

// retryAfter asks for patience, each phone for another one: thousands that heard the same would come back together.
func (r *Register) retryAfter() message.Header {
	wait := r.ids.Between(retryFrom, retryTo) / time.Second
	return message.Header{Name: "Retry-After", Value: strconv.Itoa(int(wait))}
}

// later refuses for the moment: each phone hears another time.
func (r *Register) later(ev tu.Routed, do []tu.Action) []tu.Action {
	do = r.note(orElse(ev.Code, 503), ev.Why, fmt.Sprintf("the PBX comes back, and takes so many a second (pbx.pace): told to come in %d s", ev.Wait), do)
	wait := message.Header{Name: "Retry-After", Value: strconv.Itoa(ev.Wait)}
	return r.refuse(orElse(ev.Code, 503), ev.Why, "", do, wait)
}

const (
	retryFrom = 10 * time.Second
	retryTo   = 30 * time.Second
)

// exhausted answers when no node does.
func (r *Register) exhausted(why reason.Reason, do []tu.Action) []tu.Action {
	r.vouch()
	return r.refuse(503, why, "", r.note(503, why, "", do))
}

// note leaves evidence on the source.
func (r *Register) note(code int, why reason.Reason, text string, do []tu.Action) []tu.Action {
	n := tu.Note{Source: r.flow.Remote, Side: r.side, Method: "REGISTER", Code: code, Why: why, Text: text}
	if r.peer != nil {
		n.Realm = r.peer.Realm
	}
	return append(do, n)
}
