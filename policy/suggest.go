package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// Suggestion is the smallest limit that would have let the recorded messages of an address pass.
type Suggestion struct {
	Method string `json:"method"`
	Rate   string `json:"rate"`
	Burst  int    `json:"burst"`
}

// suggest works out a limit for each method that a limit refuses: the rate is the most that came in a minute, the
// burst what that rate alone would not have let through of the messages on record.
func (x *explainer) suggest() {
	var limited [methodCount]bool
	for i := range x.records {
		r := &x.records[i]
		limited[r.method] = limited[r.method] || reason.All[r.cause] == reason.LimitExceeded
	}
	for m := range methodCount {
		if !limited[m] {
			continue
		}
		perMinute := max(1, int(x.pace[m].peak))
		x.out.Passes = append(x.out.Passes, Suggestion{
			Method: m.String(), Rate: Rate{perMinute, time.Minute}.String(), Burst: x.burstFor(m, perMinute),
		})
	}
}

// burstFor is the smallest bucket with which a rate lets every recorded message of a method pass: the most by which
// any run of them outran the rate.
func (x *explainer) burstFor(m Method, perMinute int) int {
	var at []time.Duration
	for i := range x.records {
		if r := &x.records[i]; r.method == m && !r.response {
			at = append(at, r.at)
		}
	}
	slices.Sort(at)
	most := 1.0
	for i := range at {
		for j := i; j < len(at); j++ {
			refilled := (at[j] - at[i]).Minutes() * float64(perMinute)
			most = max(most, float64(j-i+1)-refilled)
		}
	}
	return int(math.Ceil(most - 1e-6))
}

// fixes says what to change so that the address would pass.
func (x *explainer) fixes() {
	now := &x.out.Now
	add := func(format string, args ...any) { x.out.Fix = append(x.out.Fix, fmt.Sprintf(format, args...)) }
	if len(x.out.Last) > 0 && (x.out.Last[0].Reason == reason.Malformed || x.out.Last[0].Reason == reason.TooLarge) {
		add("its last message breaks RFC 3261 (%s): show it to the maker of the device", x.out.Last[0].Reason)
	}
	if x.out.Allowed {
		return
	}
	a := SourcePrefix(x.address).String()
	if x.address.Is4() {
		a = x.address.String()
	}
	switch now.Reason {
	case reason.LimitExceeded:
		x.fixLimit(a, add)
	case reason.StrangersBudget:
		add("raise policy.strangers.rate or burst; or add to policy.white_list: { range: %s, exempt: [limits] }", a)
	case reason.Ban:
		if now.Ban != nil {
			add("sbc bans remove %s", now.Ban.Prefix)
		}
	case reason.BlackList:
		add("take %s out of %s; or add to policy.white_list: { range: %s, exempt: [bans] }", now.Rule.Name, now.Rule.Path, a)
	case reason.UserAgent:
		add("add to policy.white_list: { range: %s, exempt: [user_agents] }", a)
		written := ""
		if !strings.HasPrefix(now.Rule.Path, "policy.") {
			written = " (write the other shipped rules out beside it)"
		}
		add("or count only, in policy.deny_user_agents: { match: %q, shadow: true }%s", now.Rule.Name, written)
	case reason.UnknownTrunk:
		add("if it is a trunk's address, add %s to that trunk's sources", SourcePrefix(x.address))
	case reason.NotRegistered:
		add("let the phone register first; phones.unregistered says what others meet")
	case reason.Stranger:
		x.fixStranger(add)
	default:
		// The guard gives no other reason to a source; those of a call are read in its record.
	}
}

// fixLimit proposes a narrower rule for the address, or to raise the one in force where a narrower one would not help.
func (x *explainer) fixLimit(a string, add func(string, ...any)) {
	limits := map[string]string{}
	burst := 1
	for _, s := range x.out.Passes {
		limits[s.Method] = s.Rate
		burst = max(burst, s.Burst)
	}
	if len(limits) == 0 {
		return
	}
	var parts []string
	for _, m := range sortedKeys(limits) {
		parts = append(parts, m+": "+limits[m])
	}
	text := fmt.Sprintf("limits: { %s }, burst: %d", strings.Join(parts, ", "), burst)
	if x.narrowerHelps() {
		add("add to policy.rate_limits: { name: from %s, range: %s, %s }   (try: shadow: true)", a, a, text)
		return
	}
	add("raise %s: %s", x.out.Now.Rule.Path, text)
}

// narrowerHelps reports whether a rule for this address alone would stand in place of the one that refuses it: not if
// that one stacks, or is as narrow.
func (x *explainer) narrowerHelps() bool {
	i := x.rules.byKey(x.out.Now.Rule.key)
	return i >= 0 && x.rules.wide[i]
}

// fixStranger names the list that the address is missing from.
func (x *explainer) fixStranger(add func(string, ...any)) {
	switch {
	case x.out.Now.Side == nat.Inside.String():
		add("if the PBX sends from it, add %s to pbx.sources", SourcePrefix(x.address))
	case x.rules.phones.registrar:
		add("let the phone register first")
	default:
		add("no phones are served here; a trunk's calls belong to the trunks listener")
	}
}

// usersOf lists the users of refused messages, newest first, without the host.
func usersOf(records []record) []string {
	var users []string
	for i := range records {
		r := &records[i]
		user, _, _ := strings.Cut(printable(r.user[:r.userLen]), "@")
		if r.refused() && user != "" && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	return users
}
