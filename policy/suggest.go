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
		limited[r.method] = limited[r.method] || reason.All[r.cause] == reason.LimitExceeded && !r.malformed
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
		if r := &x.records[i]; r.method == m && !r.response && !r.malformed {
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
	if len(x.records) > 0 && (x.records[0].malformed || x.records[0].cause == causeTooLarge) {
		why := reason.Malformed
		if x.records[0].cause == causeTooLarge {
			why = reason.TooLarge
		}
		add("its last message breaks RFC 3261 (%s): show it to the maker of the device", why)
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
		if now.Realm == nat.Phones.String() && x.peers.phones.behind(x.st.age(x.now), x.address) > 0 {
			add("strangers whose phones were registered lately share a budget of their own, as large as that of all others; it is used up, too")
		}
		add("raise policy.strangers.rate or burst; or add to policy.white_list: { range: %s, exempt: [limits] }", a)
	case reason.Ban:
		if now.Ban != nil {
			add("sbc bans remove %s", now.Ban.Prefix)
		}
	case reason.BlackList, reason.Country, reason.MessageRule:
		x.fixRule(a, add)
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

// fixRule says what to do about a rule of steps 3, 5 and 7 that names the address, its country or what it says.
func (x *explainer) fixRule(a string, add func(string, ...any)) {
	rule := x.out.Now.Rule
	switch rule.Kind {
	case "feed":
		add("ask those who keep %q to take it out; or add to policy.white_list: { range: %s, exempt: [bans] }", rule.Name, a)
	case "country":
		add("add to policy.white_list: { range: %s, exempt: [countries] }; or change %s", a, rule.Path)
	case "message-rule":
		add("add before %s: { range: %s, action: allow }; or count only: add shadow: true to %q", rule.Path, a, rule.Name)
	default:
		add("take %s out of %s; or add to policy.white_list: { range: %s, exempt: [bans] }", rule.Name, rule.Path, a)
	}
}

// fixLimit proposes a narrower rule for the address, or to raise the one in force where a narrower one would not help.
func (x *explainer) fixLimit(a string, add func(string, ...any)) {
	if len(x.out.Passes) == 0 {
		return
	}
	if !x.narrowerHelps() {
		add("raise %s: %s", x.out.Now.Rule.Path, x.limitsText(x.dividend()))
		return
	}
	name, text := "from "+a, x.limitsText(1)
	if phones, ok := x.office(); ok {
		name, text = "office-"+a, fmt.Sprintf("preset: office:%d", phones)
	}
	beside := ""
	if !strings.HasPrefix(x.out.Now.Rule.Path, "policy.") {
		beside = ", and write the shipped rule out beside it: " + shippedLimitsText
	}
	add("add to policy.rate_limits: { name: %s, range: %s, %s }%s   (try: shadow: true)", name, a, text, beside)
}

// limitsText are the smallest limits that would have let the recorded messages pass, for each of so many phones.
func (x *explainer) limitsText(phones int) string {
	limits, burst := map[string]string{}, 1
	for _, s := range x.out.Passes {
		r, _ := ParseRate(s.Rate)
		r.Count = (r.Count + phones - 1) / phones
		limits[s.Method] = r.String()
		burst = max(burst, (s.Burst+phones-1)/phones)
	}
	var parts []string
	for _, m := range sortedKeys(limits) {
		parts = append(parts, m+": "+limits[m])
	}
	return fmt.Sprintf("limits: { %s }, burst: %d", strings.Join(parts, ", "), burst)
}

// dividend is by how many phones the rule that refuses the address multiplies what it says.
func (x *explainer) dividend() int {
	rule := x.rules.byKey(x.out.Now.Rule.key)
	for i := range x.rules.limits {
		if m := &x.rules.limits[i]; m.rule == rule && m.perPhone {
			s := x.subject(nat.Outside, nat.Phones)
			return max(1, s.Behind)
		}
	}
	return 1
}

// mostPerPhone is up to how many times an office's share a suggestion goes. Beyond it a phone is broken, or somebody floods,
// and a number of phones that nobody has would hide that.
const mostPerPhone = 4

// office is the size of the office that an address with registered phones is: as many phones as there are, or as many as it
// takes to let the recorded messages pass.
func (x *explainer) office() (phones int, ok bool) {
	s := x.subject(nat.Outside, nat.Phones)
	if s.Behind == 0 || x.out.Now.Side != nat.Outside.String() || x.out.Now.Realm != nat.Phones.String() {
		return 0, false
	}
	for _, p := range x.out.Passes {
		if _, listed := singlePhone[p.Method]; !listed {
			return 0, false
		}
	}
	phones = s.Behind
	for m := range methodCount {
		q, listed := singlePhone[m.String()]
		if !listed || x.pace[m].peak == 0 {
			continue
		}
		r, burst := q.read()
		perMinute := max(1, int(x.pace[m].peak))
		rates := int(math.Ceil(float64(perMinute) / (r.PerSecond() * 60)))
		phones = max(phones, rates, (x.burstFor(m, perMinute)+burst-1)/burst)
	}
	return phones, phones <= mostPerPhone*s.Behind
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
