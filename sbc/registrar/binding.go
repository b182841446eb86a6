package registrar

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Limits bound what the Book holds.
type Limits struct {
	Contacts  int // bindings of one address-of-record; 8 where 0
	PerSource int // bindings of one source address (IPv6: one /64), whichever interface; 200 where 0
	Bindings  int // all; 25,000 where 0
}

func (l Limits) contacts() int  { return orElse(l.Contacts, 8) }
func (l Limits) perSource() int { return orElse(l.PerSource, 200) }
func (l Limits) bindings() int  { return orElse(l.Bindings, 25_000) }

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Settings is what the users of this room live by. The assembler owns it; what it changes, the next event sees.
type Settings struct {
	Book   *Book
	Names  *tu.NameKey // tokens, and the ids of relayed requests
	Tags   *tu.TagKey
	Domain string // pbx.domain
	// Outside is the expiry that a phone is told at most; 0: as the PBX says. A phone behind a NAT registers that often.
	Outside time.Duration
	// Inside is the expiry that the PBX is asked for, whatever a phone asks; 0: as the phone says, and no refresh is answered
	// here. Reauthenticate is for how long at most refreshes are answered here after the PBX has accepted one; 0: never.
	Inside, Reauthenticate time.Duration
	// Moves reports whether the PBX must hear of a phone anew: the node that has its binding is gone, or knows us by another
	// address. Nil: never.
	Moves     func(*Binding) bool
	Limits    Limits
	Internal  nat.Ranges
	Hop       func(*Binding) tu.Hop // the way to a phone
	Keepalive time.Duration         // how often a flow is pinged; 0: never
	Decoys    *header.Decoys        // what strangers see in the place of answers that name no user; nil: 403
}

// Binding is one Contact of an address-of-record with the flow that reaches it (RFC 3261 §10, RFC 5626). One that was
// handed out never changes, but for Answered: a refresh makes another one.
type Binding struct {
	AoR       string // user@pbx.domain, as message.URI.AoR has it
	Token     string // user of our Contact towards the PBX
	Instance  string // +sip.instance with its quotes, or empty (RFC 5626 §4.1)
	CallID    string // of the REGISTER, as the phone wrote it
	UserAgent string
	Node      string           // ID of the hop that accepted it
	Contact   message.NameAddr // as the phone wrote it, without expires and q
	Q         string           // q as the phone wrote it, or empty
	CSeq      uint32           // of the REGISTER
	Flow      nat.Flow
	Lost      bool // its connection is gone, or was before a restart

	Since      time.Time // first REGISTER
	Refreshed  time.Time // last one, wherever it was answered
	Expires    time.Time // as the phone was told
	ExpiresPBX time.Time // as the PBX said
	Answered   time.Time // last answer to a keepalive; zero: none yet
	Accepted   time.Time // when the PBX last said so

	Told   netip.AddrPort // our address in the Contact that the node has
	Local  uint32         // refreshes that were answered here
	Passed uint32         // REGISTERs that the PBX accepted

	NAT nat.Kind
	ALG []string // what something on the way edits, a clause each
}

// Target is the Request-URI that reaches the phone: its Contact without what cannot stand there (RFC 3261 §19.1.1, table 1:
// headers and method).
func (b *Binding) Target() message.URI {
	u := b.Contact.URI
	u.Headers = ""
	if _, has := u.Param("method"); has {
		u.Params = without(u.Params, func(name string) bool { return strings.EqualFold(name, "method") })
	}
	return u
}

// Change is what became of a binding. Old nil: it is new; New nil: it is gone; both: flow, expiry or another thing changed.
type Change struct{ Old, New *Binding }

// Grace is how long a binding outlives what the phone was told: a refresh that lost a packet or two is still one.
const Grace = 10 * time.Second

// end is when the binding goes.
func (b *Binding) end() time.Time { return b.Expires.Add(Grace) }
