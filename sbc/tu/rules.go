package tu

import "regexp"

// Rules are what an administrator changes in the header fields of a peer's messages, when all else has been written.
type Rules struct {
	Inbound  []Rule // of what the peer sends, as it leaves on the other side
	Outbound []Rule // of what is sent to the peer
}

// Rule changes one header field. The first match of a rule's conditions lets it act; all rules are tried in order.
type Rule struct {
	Header string // its full name, as in RFC 3261 §7.3.3
	Action RuleAction
	Method string         // of the request, or of the one that is answered; empty: any
	Match  *regexp.Regexp // against the present value; nil: any, and none
	Value  string         // what is written; with Match, $1 is its first group
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
