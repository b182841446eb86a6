package digest

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Keyring keeps what peers have let us in by, from one call to the next: a nonce that they go on taking spares each new call the round
// trip of a challenge. "UAs SHOULD cache the credentials for a given value of the To header field and 'realm' and attempt to re-use these
// values on the next request for that destination. UAs MAY cache credentials in any way they would like" (RFC 3261 §22.2); of proxies, "if a
// UA is configured with the realm of its local outbound proxy, … then the UA MAY cache credentials for that realm across dialogs" (§22.3).
// Realms of an account are configured, or those of the registrar that has accepted it.
//
// What an address has asked for goes to that address, of that peer, with that account, in a realm that the account still has, and
// nowhere else. It is kept once it has let a request pass, for ten minutes, until the address asks anew. A peer that takes no nonce
// twice is found out by two that were in vain, and is spared for an hour.
//
// There is one in the program. It belongs to whoever has the core's turn.
type Keyring struct {
	// Judged, where it is set, hears what a peer makes of our account, whoever asked with it: that it has refused user name or password
	// of a request that begins something, or has let one in. It is called within the Step of a user, and must not act upon others.
	Judged func(now time.Time, p *tu.Peer, refused bool)

	by    map[place]*login
	stamp uint64 // of the last use
}

// place is an address of a peer.
type place struct {
	kind      tu.Kind
	peer      string
	iface     uint16
	transport nat.Transport
	remote    netip.AddrPort
}

func placeOf(h *tu.Hop) place {
	return place{kind: h.Peer.Kind, peer: h.Peer.Name, iface: h.Flow.Interface, transport: h.Flow.Transport, remote: h.Flow.Remote}
}

// login is what a place lets us in by.
type login struct {
	account tu.Account
	keys    []key
	proven  bool      // it has taken some unasked
	vain    int       // nonces in a row that were good for the call they were given, and for no other
	rests   time.Time // until when it is offered none
	used    uint64
}

type key struct {
	*space
	since time.Time
}

// The bounds of what is kept.
const (
	keptFor   = 10 * time.Minute // servers forget nonces sooner or later; whoever stands at that address by then learns nothing of use
	spareFor  = time.Hour        // a peer that takes no nonce twice
	vainMost  = 2
	maxPlaces = 4096
)

// NewKeyring makes one that knows nothing.
func NewKeyring() *Keyring { return &Keyring{by: map[place]*login{}} }

// lend is what a place may be offered before it asks.
func (k *Keyring) lend(now time.Time, h *tu.Hop) (list []*space) {
	if k == nil {
		return nil
	}
	l := k.by[placeOf(h)]
	switch {
	case l == nil, !l.account.Same(h.Peer.Account), now.Before(l.rests):
		return nil
	}
	k.stamp++
	l.used = k.stamp
	for _, x := range l.keys {
		if now.Sub(x.since) < keptFor && h.Peer.Account.Answers(x.name()) {
			list = append(list, x.space)
		}
	}
	return list
}

// taken hears that a place has let a request with these credentials pass; lent: they were those of an earlier call.
func (k *Keyring) taken(now time.Time, h *tu.Hop, signed []*space, lent bool) {
	if k == nil || len(signed) == 0 {
		return
	}
	at := placeOf(h)
	l := k.by[at]
	if l == nil || !l.account.Same(h.Peer.Account) {
		k.makeRoom()
		l = &login{account: *h.Peer.Account}
		k.by[at] = l
	}
	k.stamp++
	l.used = k.stamp
	for _, s := range signed {
		if lent {
			s.lasts, l.proven, l.vain, l.rests = true, true, 0, time.Time{}
		}
		i := slices.IndexFunc(l.keys, func(x key) bool { return x.sameSpace(s.challenge) })
		switch {
		case i < 0 && len(l.keys) < maxSpaces:
			l.keys = append(l.keys, key{s, now})
		case i >= 0 && now.Sub(l.keys[i].since) >= keptFor:
			l.keys[i] = key{s, now}
		}
	}
}

// refused hears that a place does not take these credentials any more: its challenge asks for others.
func (k *Keyring) refused(now time.Time, h *tu.Hop, a *Asked, m *message.Message) {
	if k == nil {
		return
	}
	l := k.by[placeOf(h)]
	if l == nil {
		return
	}
	for _, o := range challenges(m) {
		i := slices.IndexFunc(l.keys, func(x key) bool { return x.sameSpace(o) })
		if i < 0 || !slices.Contains(a.signed, l.keys[i].space) {
			continue // it has been heard of that nonce
		}
		if a.lent && !l.keys[i].lasts {
			l.vain++ // many bind a nonce to the call that it was given
		}
		l.keys = slices.Delete(l.keys, i, i+1)
	}
	if l.vain >= vainMost {
		l.spare(now)
	}
}

// judged tells what has become of our account.
func (k *Keyring) judged(now time.Time, h *tu.Hop, refused bool) {
	if k != nil && k.Judged != nil {
		k.Judged(now, h.Peer, refused)
	}
}

// proven reports whether a place has ever taken credentials unasked.
func (k *Keyring) proven(h *tu.Hop) bool {
	if k == nil {
		return false
	}
	l := k.by[placeOf(h)]
	return l != nil && l.proven
}

// distrusted hears that a place has refused, and not asked anew, what it was offered unasked for the first time.
func (k *Keyring) distrusted(now time.Time, h *tu.Hop) {
	if k == nil {
		return
	}
	if l := k.by[placeOf(h)]; l != nil {
		l.spare(now)
	}
}

func (l *login) spare(now time.Time) { l.keys, l.vain, l.rests = nil, 0, now.Add(spareFor) }

// makeRoom drops the place that was used least recently where there are too many.
func (k *Keyring) makeRoom() {
	if len(k.by) < maxPlaces {
		return
	}
	var oldest place
	first := uint64(1<<64 - 1)
	for at, l := range k.by {
		if l.used < first {
			oldest, first = at, l.used
		}
	}
	delete(k.by, oldest)
}

// Retain keeps what is of accounts and addresses that there still are; account is that of a peer at an address, nil: it is none of the
// peer's, or has no account.
func (k *Keyring) Retain(account func(kind tu.Kind, peer string, remote netip.AddrPort) *tu.Account) {
	for at, l := range k.by {
		if a := account(at.kind, at.peer, at.remote); a == nil || !l.account.Same(a) {
			delete(k.by, at)
		}
	}
}
