package tu

import (
	"regexp"

	"sallyport/sbc/message"
)

// Rules are what an administrator changes in the header fields of a peer's messages, when all else has been written.
// Inbound is what the peer sends, as it leaves on the other side; outbound is what is sent to the peer.
type Rules struct {
	Inbound  []Rule
	Outbound []Rule

	NumbersIn, NumbersOut []Number
	// Form gives the number of a URI the form that the peer wants, after NumbersOut; ok is false where it stays as it is. Nil: all do.
	Form              func(u message.URI) (formed message.URI, ok bool) `json:"-"`
	Naming            Naming
	CodesIn, CodesOut []Code
}

// Rule changes one header field. The first match of a rule's conditions lets it act; all rules are tried in order.
type Rule struct {
	Header string // its full name, as in RFC 3261 §7.3.3
	Action RuleAction
	Method string         // of the request, or of the one that is answered; empty: any
	Match  *regexp.Regexp // against the present value; nil: any, and none
	Value  string         // what is written; with Match, ${1} is its first group (regexp.Expand)
}

// RuleAction is what a rule does.
type RuleAction uint8

// The actions.
const (
	RuleSet     RuleAction = iota // the field has this value, whatever there was
	RuleAdd                       // one more field
	RuleRemove                    // the field goes
	RuleReplace                   // the value is rewritten where it is there
)

// String is the action's name in the configuration.
func (a RuleAction) String() string { return [...]string{"set", "add", "remove", "replace"}[a%4] }

// Number rewrites numbers. Of several for the same party the first that matches counts.
type Number struct {
	Called  bool           // of Request-URI and To; else of From and of the fields that name the caller
	Match   *regexp.Regexp // against the whole number
	Replace string         // ${1} is its first group
}

// Naming says how a peer is told, and tells, who calls. The zero value changes nothing.
type Naming struct {
	From      IdentityForm     // pass, remove (anonymous) or fixed
	FromFixed message.NameAddr // where that is fixed
	// Asserted is the form that the peer has the caller's identity in.
	Asserted      IdentityForm
	AssertedFixed message.NameAddr
	Privacy       IdentityForm // pass; remove: the peer is not trusted with what is to be kept private (RFC 3325)
	STIR          IdentityForm // pass or remove: RFC 8224
	Diversion     DiversionForm
}

// IdentityForm is what becomes of the name of a caller.
type IdentityForm uint8

// The forms.
const (
	IdentityPass      IdentityForm = iota
	IdentityRemove                 // it does not pass
	IdentityFixed                  // one name in the place of all
	IdentityAsserted               // P-Asserted-Identity (RFC 3325)
	IdentityPreferred              // P-Preferred-Identity (RFC 3325)
	IdentityRemote                 // Remote-Party-ID
)

// String is the form's name in the configuration.
func (f IdentityForm) String() string {
	return [...]string{"pass", "remove", "fixed", "p-asserted", "p-preferred", "remote-party-id"}[f%6]
}

// DiversionForm is how a peer tells, and is told, by whom a call was diverted.
type DiversionForm uint8

// The forms.
const (
	DiversionPass    DiversionForm = iota
	DiversionRemove                // not at all
	DiversionField                 // Diversion (RFC 5806)
	DiversionHistory               // History-Info (RFC 7044)
)

// String is the form's name in the configuration.
func (f DiversionForm) String() string {
	return [...]string{"pass", "remove", "diversion", "history-info"}[f%4]
}

// Code puts one final answer in the place of another.
type Code struct{ From, To int }
