// Package reason is the one closed list of reasons why a message or a call went the way it did. Metrics, logs, CDRs
// and `sbc why` use the same words. It imports nothing and every room may import it.
package reason

// Reason is a word of the closed list. Its text is what an administrator greps for.
type Reason string

// The reasons. A verdict carries exactly one; a call that ends normally carries none.
const (
	Allow           Reason = "allow"
	LiveDialog      Reason = "live-dialog"
	WhiteList       Reason = "white-list"
	Malformed       Reason = "malformed"
	TooLarge        Reason = "too-large"
	Ban             Reason = "ban"
	BlackList       Reason = "black-list"
	Country         Reason = "country"
	UserAgent       Reason = "user-agent"
	MessageRule     Reason = "message-rule"
	LimitExceeded   Reason = "limit-exceeded"
	StrangersBudget Reason = "strangers-budget"
	Stranger        Reason = "stranger"
	UnknownTrunk    Reason = "unknown-trunk"
	NotRegistered   Reason = "not-registered"
	Loop            Reason = "loop"
	NoRoute         Reason = "no-route"
	NoPorts         Reason = "no-ports"
	NoCapacity      Reason = "no-capacity"
	NoPBX           Reason = "no-pbx"
	Overload        Reason = "overload"
	Draining        Reason = "draining"
	Leak            Reason = "leak"
	MediaForbidden  Reason = "media-forbidden"
	MediaTimeout    Reason = "media-timeout"
	SessionExpired  Reason = "session-expired"
	RingTimeout     Reason = "ring-timeout"
	Transfer        Reason = "transfer"
	Fraud           Reason = "fraud"
	Internal        Reason = "internal"
	Timeout         Reason = "timeout"
	SignallingLost  Reason = "signalling-lost"
)

// All lists the reasons in the order of the documentation; its index numbers the counters.
var All = [...]Reason{
	Allow, LiveDialog, WhiteList, Malformed, TooLarge, Ban, BlackList, Country, UserAgent, MessageRule, LimitExceeded,
	StrangersBudget, Stranger, UnknownTrunk, NotRegistered, Loop, NoRoute, NoPorts, NoCapacity, NoPBX, Overload,
	Draining, Leak, MediaForbidden, MediaTimeout, SessionExpired, RingTimeout, Transfer, Fraud, Internal, Timeout,
	SignallingLost,
}

// Index is r's position in All, or -1 for a word that is not in the list.
func Index(r Reason) int {
	for i, x := range All {
		if x == r {
			return i
		}
	}
	return -1
}
