package digest

import (
	"errors"
	"slices"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Book is what one user of the core, a call, a subscription or a single request, has sent to peers that may ask for a password, and
// what they have asked for. Their challenges are answered before anybody else hears of them: the same request goes once more, and
// whoever waits for its answer waits for that of the new one.
//
// A nil Book is that of a user whose peers have no account.
type Book struct {
	keys    *Keyring // nil: nothing is known from before
	clients []answerer
	sent    []Asked
	why     error // why the challenge at hand has no answer; nil: it was nobody's to answer
}

// NewBook makes the book of a user; keys may be nil.
func NewBook(keys *Keyring) *Book { return &Book{keys: keys} }

// answerer answers the challenges of a peer in the dialogs of one Call-ID. What another peer of the same leg may know, the next hop,
// is in another account's hands.
type answerer struct {
	callID  string
	account *tu.Account
	at      place // where the request went that began the dialogs, or was the first
	lent    bool  // all it knows is from the Keyring, and has not been taken in this Call-ID yet
	Client
}

// Asked is a request to a peer that may ask for a password. An INVITE stays when it is answered: its ACK has the same credentials.
type Asked struct {
	tu.Send
	tries  int      // challenges it has had
	signed []*space // the credentials it has
	lent   bool     // nobody has asked for them in this Call-ID
	passed bool     // somebody behind the challenge has spoken
	done   bool
}

// maxAsked bounds the requests that are kept: more than a user may have open.
const maxAsked = 64

// Sign gives a request, about to be sent to a peer with an account, the credentials that were asked for, and notes it. One that Again
// has made is noted, and has them.
func (b *Book) Sign(now time.Time, s tu.Send) {
	if b.find(s.Ref) >= 0 {
		return
	}
	a := Asked{Send: s}
	b.sign(now, &a)
	b.keep(a)
}

func (b *Book) sign(now time.Time, a *Asked) {
	x := b.clientOf(a)
	switch {
	case x == nil:
		if list := b.keys.lend(now, &a.Hop); len(list) > 0 {
			x = b.newClient(a)
			x.spaces = list
		}
	case x.lent, a.Msg.To.Tag == "" && x.at != placeOf(&a.Hop): // of this address: the hop before had its own
		x.at, x.spaces, x.lent = placeOf(&a.Hop), b.keys.lend(now, &a.Hop), true
	}
	if x == nil || len(x.spaces) == 0 {
		return
	}
	x.Sign(a.Msg)
	a.signed, a.lent = slices.Clone(x.spaces), x.lent
}

func (b *Book) newClient(a *Asked) *answerer {
	b.clients = append(b.clients, answerer{callID: a.Msg.CallID, account: a.Hop.Peer.Account, at: placeOf(&a.Hop), lent: true})
	return &b.clients[len(b.clients)-1]
}

// keep notes a request. Where there are too many, an answered one goes, else the oldest.
func (b *Book) keep(a Asked) {
	if len(b.sent) >= maxAsked {
		i := max(0, slices.IndexFunc(b.sent, func(x Asked) bool { return x.done }))
		b.sent = slices.Delete(b.sent, i, i+1)
	}
	b.sent = append(b.sent, a)
}

func (b *Book) find(ref tu.Ref) int {
	return slices.IndexFunc(b.sent, func(a Asked) bool { return a.Ref == ref })
}

func (b *Book) clientOf(a *Asked) *answerer {
	for i := range b.clients {
		if x := &b.clients[i]; x.callID == a.Msg.CallID && x.account == a.Hop.Peer.Account {
			return x
		}
	}
	return nil
}

// SignAck gives an ACK what its INVITE had: "UACs creating an ACK message will duplicate all of the Authorization and
// Proxy-Authorization header field values that appeared in the INVITE" (RFC 3261 §22.1).
func (b *Book) SignAck(ack *message.Message) {
	if b == nil {
		return
	}
	for i := len(b.sent) - 1; i >= 0; i-- {
		m := b.sent[i].Msg
		if m.Method == "INVITE" && m.CallID == ack.CallID && m.CSeq == ack.CSeq && m.From.Tag == ack.From.Tag {
			Copy(m, ack)
			return
		}
	}
}

// Heard takes an event; challenged is true for an answer after which the request may go once more: see Answer. All others are the
// user's to hear.
func (b *Book) Heard(now time.Time, ev tu.Event) (a Asked, challenged bool) {
	if b == nil {
		return a, false
	}
	switch ev := ev.(type) {
	case tu.Failed:
		if i := b.find(ev.Ref); i >= 0 {
			b.sent = slices.Delete(b.sent, i, i+1)
		}
	case tu.Answered:
		if i := b.find(ev.Ref); i >= 0 && !b.sent[i].done {
			return b.answered(now, i, ev.Msg)
		}
	}
	return a, false
}

func (b *Book) answered(now time.Time, i int, m *message.Message) (a Asked, challenged bool) {
	p := &b.sent[i]
	if m.Status > 100 && m.Status < 300 && !p.passed {
		p.passed = true
		b.keys.taken(now, &p.Hop, p.signed, p.lent)
		if len(p.signed) > 0 || p.Msg.Method == "INVITE" { // which it has not even asked for any: other methods seldom are
			b.keys.judged(now, &p.Hop, false)
		}
		if x := b.clientOf(p); x != nil && p.lent {
			x.lent = false
		}
	}
	switch {
	case m.Status < 200:
		return a, false
	case m.Status < 300:
		if x := b.clientOf(p); x != nil {
			x.Heard(m)
		}
		if p.Msg.Method == "INVITE" {
			p.done = true
			return a, false
		}
	}
	a = *p
	b.sent = slices.Delete(b.sent, i, i+1)
	b.why = nil
	return a, tu.Challenge(m.Status) || b.amiss(&a, m.Status)
}

// amiss reports whether a refusal may be of credentials that nobody has asked for. Servers ask anew where they do not like them; of one
// that has never taken any it is not known yet whether it does.
func (b *Book) amiss(a *Asked, status int) bool {
	return (status == 400 || status == 403) && a.lent && !b.keys.proven(&a.Hop)
}

// GiveUp says that nobody waits for what was challenged.
func (b *Book) GiveUp() { b.why = ErrGivenUp }

// Answer finds the credentials that a request was challenged for, or takes those away that it had unasked; then it goes Again. False:
// there are none, and the challenge is the answer. A cnonce is 64 random bits or more, as a token.
func (b *Book) Answer(now time.Time, a *Asked, m *message.Message, cnonce string) bool {
	x := b.clientOf(a)
	if !tu.Challenge(m.Status) {
		b.keys.distrusted(now, &a.Hop)
		if x != nil {
			x.spaces, x.lent = nil, false
		}
		return true
	}
	b.keys.refused(now, &a.Hop, a, m)
	if x == nil {
		x = b.newClient(a)
	}
	if b.why = x.Answer(m, a.Msg, a.tries, *a.Hop.Peer.Account, cnonce); b.why != nil {
		if b.Refused() && a.Msg.To.Tag == "" { // within dialogs servers have odd notions of nonces
			b.keys.judged(now, &a.Hop, true)
		}
		return false
	}
	x.lent = false
	a.tries++
	return true
}

// Again is a request once more, with the credentials that Answer has found: "When a UAC resubmits a request with its credentials …, it
// MUST increment the CSeq header field value as it would normally when sending an updated request" (RFC 3261 §22.1).
func (b *Book) Again(now time.Time, a Asked, ref tu.Ref, seq uint32) tu.Send {
	m := *a.Msg
	m.Via, m.CSeq, m.Headers = nil, seq, without(a.Msg.Headers, 2)
	a.Ref, a.Msg, a.signed, a.lent, a.passed = ref, &m, nil, false, false
	b.sign(now, &a)
	b.keep(a)
	return a.Send
}

// GivenUp reports whether the challenge at hand came to a request that nobody waits for.
func (b *Book) GivenUp() bool { return b != nil && errors.Is(b.why, ErrGivenUp) }

// Refused reports whether the challenge at hand has refused user name or password.
func (b *Book) Refused() bool { return b != nil && errors.Is(b.why, ErrRefused) }

// Others is a plan without the hops, from an index on, that ask for the same password as the trunk which has just refused it, or which
// we have none for: each of them would hear, and count, the same guess once more. False: none is left, or no other trunk could cure
// that. A challenge without an answer sends a request on, as a failure does.
func (b *Book) Others(p *tu.Peer, plan []tu.Hop, from int) (rest []tu.Hop, other bool) {
	if p.Kind != tu.KindTrunk {
		return plan, false // nodes have one account
	}
	rest = slices.Clone(plan)
	if p.Account == nil || b.Refused() {
		for i := len(rest) - 1; i >= from; i-- {
			if q := rest[i].Peer; q.Kind == p.Kind && q.Name == p.Name {
				rest = slices.Delete(rest, i, i+1)
			}
		}
	}
	return rest, len(rest) > from
}

// Complaint says what is wrong with the account of a peer whose challenge has no answer; keys names where it is written. Where the peer
// has none, or it had nothing to do with it, it is otherwise.
func (b *Book) Complaint(who, keys, otherwise string) string {
	if b == nil || b.why == nil || b.GivenUp() {
		return otherwise
	}
	return Complaint(b.why, who, keys)
}
