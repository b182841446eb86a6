package policy

import "sallyport/sbc/reason"

// Verdict is what the guard decided of one message.
type Verdict struct {
	Action Action
	Code   int           // of the stateless answer to a Reject: 200 for a stranger's OPTIONS, 4xx or 503 otherwise
	Reason reason.Reason // empty with Ignore
	Rule   int32         // which rule of the set decided, for Rules.Rule; -1: none
	Shadow int32         // a shadow rule that would have refused it; -1: none
	Limit  int32         // which of the rule set's limits was exceeded; -1: none
	Warn   bool          // worth a warning in the log; set at most once a minute for each cause
}

// Refused reports whether the message goes no further because of what it is or who sent it.
func (v *Verdict) Refused() bool { return v.Action == Drop || v.Action == Reject }

var allowed = Verdict{Action: Allow, Reason: reason.Allow, Rule: -1, Shadow: -1, Limit: -1}
