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
	cause  cause
}

// cause is a reason by its number: its position in reason.All.
type cause uint8

// The causes that the guard knows.
var (
	causeAllow      = causeOf(reason.Allow)
	causeLive       = causeOf(reason.LiveDialog)
	causeWhite      = causeOf(reason.WhiteList)
	causeMalformed  = causeOf(reason.Malformed)
	causeTooLarge   = causeOf(reason.TooLarge)
	causeBan        = causeOf(reason.Ban)
	causeBlack      = causeOf(reason.BlackList)
	causeAgent      = causeOf(reason.UserAgent)
	causeLimit      = causeOf(reason.LimitExceeded)
	causeBudget     = causeOf(reason.StrangersBudget)
	causeStranger   = causeOf(reason.Stranger)
	causeTrunk      = causeOf(reason.UnknownTrunk)
	causeRegistered = causeOf(reason.NotRegistered)
)

func causeOf(r reason.Reason) cause {
	i := reason.Index(r)
	if i < 0 {
		panic("policy: reason " + string(r) + " is not in the closed list")
	}
	return cause(i)
}

// verdict makes a verdict without rule, shadow or limit.
func verdict(a Action, code int, c cause) Verdict {
	return Verdict{Action: a, Code: code, Reason: reason.All[c], Rule: -1, Shadow: -1, Limit: -1, cause: c}
}

// because changes the reason.
func (v *Verdict) because(c cause) { v.Reason, v.cause = reason.All[c], c }

// Refused reports whether the message goes no further because of what it is or who sent it.
func (v *Verdict) Refused() bool { return v.Action == Drop || v.Action == Reject }
