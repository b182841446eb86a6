package policy

import (
	"hash/maphash"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/sbc/credentials"
)

// OutcomeKind is what a room behind the parser found out about a request.
type OutcomeKind uint8

// The outcomes.
const (
	// Success is a 2xx of the PBX to a REGISTER that carried credentials.
	Success OutcomeKind = iota
	// WrongDigest is a 401, 403 or 407 to a request that carried credentials, stale=true excepted (RFC 7616 §3.3).
	WrongDigest
	// UnknownUser is a 404, 480 or 403 of the PBX to a stranger's request.
	UnknownUser
	// Nowhere is an INVITE from outside that no route leads on.
	Nowhere
)

// outcomes are the guard's words for judgements.
var outcomes = map[credentials.Judgement]OutcomeKind{
	credentials.Accepted: Success, credentials.WrongDigest: WrongDigest, credentials.UnknownUser: UnknownUser, credentials.Nowhere: Nowhere,
}

// OutcomeOf is a judgement as the guard is told it; false: there is nothing to tell.
func OutcomeOf(j credentials.Judgement) (OutcomeKind, bool) {
	kind, known := outcomes[j]
	return kind, known
}

// Outcome is what became of a request that the guard let on. CallID and CSeq are those of the request as it was
// received: they tell a repeat from another try, and tie the outcome to the challenge that the request answered.
type Outcome struct {
	Source    netip.AddrPort
	Side      nat.Side
	Realm     nat.Realm
	Transport nat.Transport
	AoR       string // user@host of the To of a REGISTER, of the From of others
	Kind      OutcomeKind
	CallID    string
	CSeq      uint32
}

// Outcome takes note of what became of a request: a success forgives what counted against its source and its user, the
// others count against them. It may be called from any goroutine and never waits for anything but short locks.
func (g *Guard) Outcome(now time.Time, o Outcome) {
	a := o.Source.Addr().Unmap().WithZone("")
	r := g.rules.Load()
	if r.bans.points == 0 || o.Side == nat.Inside || !a.IsValid() {
		return
	}
	who := offender{place: place{true, o.Side, o.Realm, o.Transport}, source: netip.AddrPortFrom(a, o.Source.Port()),
		kind: g.directory().standing(g.state.age(now), a), aor: plain(o.AoR, maxAoR), user: []byte(foldUser(o.AoR))}
	if o.Kind == Success {
		g.forgive(&who)
		return
	}
	if o.Kind != WrongDigest {
		if who.kind != Stranger {
			return // a phone may dial a wrong number, a provider may know numbers that we have given up
		}
		who.user = nil
	}
	c, age := &g.state.conduct, g.state.age(now)
	fresh := c.proofs.account(age, who.source, o.CallID, o.CSeq)
	who.proven = fresh || o.Transport.Reliable()
	id := maphash.String(g.state.seed, o.CallID)
	if first := c.isNew(age, who.kind != Stranger, SourceKey(a), id, o.CSeq); !first && !(fresh && o.Kind == WrongDigest) {
		// Each request with an answer is another guess, even under a Call-ID and CSeq that were used before.
		return
	}
	who.spared = r.exemptions(o.Realm, a)&exemptBans != 0
	g.offend(now, r, &who, [...]offence{WrongDigest: wrongDigest, UnknownUser: unknownUser, Nowhere: nowhere}[o.Kind])
}

// forgive forgets what counts against a source and the user that has just proven to be himself.
func (g *Guard) forgive(o *offender) {
	c := &g.state.conduct
	key, exact := SourceKey(o.source.Addr()).As16(), o.source.Addr().As16()
	name, port := c.nameKey(o.user), uint64(o.source.Port())
	for known := range c.scores {
		for _, k := range [...]scoreKey{
			{key, 0, unitAddress}, {exact, port, unitPort}, {exact, port, unitFlow}, {key, name, unitUser}, {id: name, unit: unitName},
		} {
			c.scores[known].with(0, time.Minute, k, false, (*score).clear)
		}
	}
}
