package policy

import (
	"slices"

	"sallyport/sbc/reason"
)

// Verdict is what the guard decided of one message.
type Verdict struct {
	Action     Action
	Code       int           // of the stateless answer to a Reject: 200 for a stranger's OPTIONS, 4xx or 503 otherwise
	Reason     reason.Reason // empty with Ignore
	Rule       int32         // which rule of the set decided, for Rules.Rule; -1: none
	Shadow     int32         // a shadow rule that would have refused it; -1: none
	Limit      int32         // which of the rule set's limits was exceeded; -1: none
	Alarm      int32         // a rule with action alarm that it met; -1: none
	Ban        bool          // the rule that decided wants its source banned, as far as the evidence allows
	RetryAfter int           // seconds that a Reject with 503 tells a phone to wait; 0: nothing is said of it
	Warn       bool          // worth a warning in the log; set at most once a minute for each cause
	cause      cause
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
	causeCountry    = causeOf(reason.Country)
	causeMessage    = causeOf(reason.MessageRule)
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
	return Verdict{Action: a, Code: code, Reason: reason.All[c], Rule: -1, Shadow: -1, Limit: -1, Alarm: -1, cause: c}
}

// deed is what a rule does with a message that it is about.
type deed uint8

// The deeds. An alarm lets the message go on to the next check.
const (
	deedDrop deed = iota
	deedReject
	deedBan // drops it, and wants the source banned
	deedAlarm
	deedAllow // past the rules of this step
)

var deedNames = [...]string{"drop", "reject", "ban", "alarm", "allow"}

// deedOf reads a rule's action; empty is drop.
func deedOf(name string) deed { return deed(max(0, slices.Index(deedNames[:], name))) }

// refuse makes the verdict of a rule that refuses.
func (d deed) refuse(code int, c cause) Verdict {
	v := verdict(Drop, 0, c)
	if d == deedReject {
		v.Action, v.Code = Reject, code
	}
	v.Ban = d == deedBan
	return v
}

// because changes the reason.
func (v *Verdict) because(c cause) { v.Reason, v.cause = reason.All[c], c }

// Refused reports whether the message goes no further because of what it is or who sent it.
func (v *Verdict) Refused() bool { return v.Action == Drop || v.Action == Reject }
