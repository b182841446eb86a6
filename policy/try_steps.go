package policy

import (
	"fmt"
	"math"
	"strings"

	"sallyport/nat"
)

// fresh is a verdict that a step may fill in.
func fresh() Verdict { return verdict(Allow, 0, causeAllow) }

func (t *trial) live() (string, bool) {
	if t.st.isLive(t.now, t.s) {
		return fmt.Sprintf("belongs to a live dialog or transaction of %s, or repeats what was admitted from there: allow", t.s.Source.Addr()), true
	}
	return "no live dialog or transaction of this address, no repeat", false
}

func (t *trial) white() (string, bool) {
	v := fresh()
	t.spared = t.r.whiteList(t.s, &v)
	if t.r.isEmergency(t.s) {
		if !t.r.isUrgent(t.now, t.s, t.st) {
			return fmt.Sprintf("an emergency call of a known peer, but over %s: a call like any other", t.r.urgent.quota(t.s.Behind)), false
		}
		t.spared |= exemptLimits | exemptCountries
		return "an emergency call of a known peer: exempt from limits, countries", false
	}
	if t.spared == 0 {
		return "no entry", false
	}
	var from []string
	for i, name := range exemptionNames {
		if t.spared&(1<<i) != 0 {
			from = append(from, name)
		}
	}
	info, _ := t.r.Rule(v.Rule)
	return fmt.Sprintf("%s %q: exempt from %s", info.Path, info.Name, strings.Join(from, ", ")), false
}

const sparedText = "spared by the white list"

func (t *trial) black() (string, bool) {
	if t.spared&exemptBans != 0 {
		return sparedText, false
	}
	v := fresh()
	if t.r.blackList(t.now, t.s, &v) || t.r.fed(t.s, &v) {
		v = finish(t.s, v)
		return t.says(&v) + t.tried(&v), true
	}
	if ban, _ := t.st.bans.binding(t.now, t.s); ban != nil && !ban.Auto {
		return "ban of " + ban.sentence(t.now.Location()), true
	}
	return "no ban, no entry" + t.tried(&v), false
}

func (t *trial) evidence() (string, bool) {
	if t.spared&exemptBans != 0 {
		return sparedText, false
	}
	ban, alarm := t.st.bans.binding(t.now, t.s)
	switch {
	case ban != nil:
		return "ban of " + ban.sentence(t.now.Location()), true
	case alarm:
		return fmt.Sprintf("banned by evidence, but a %s: alarm only", t.s.Kind()), false
	case t.st.distrusted(t.now, t.s):
		return "evidence against this port or this user holds for the moment: drop", true
	}
	return "no ban", false
}

func (t *trial) country() (string, bool) {
	name := t.out.Country
	switch {
	case name != "":
	case private(t.s.Source.Addr()):
		name = "a private address"
	case t.r.data.Countries == nil:
		name = "no country database"
	default:
		name = "country unknown"
	}
	if t.spared&exemptCountries != 0 {
		return name + ": " + sparedText, false
	}
	v := fresh()
	if t.r.foreign(t.s, &v) {
		v = finish(t.s, v)
		return name + ": " + t.says(&v), true
	}
	return name + t.tried(&v), false
}

func (t *trial) sanity() (string, bool) {
	v := fresh()
	if !insane(t.s, &v) {
		return fmt.Sprintf("%d bytes, well-formed", t.s.Size), false
	}
	why := fmt.Sprintf("%d bytes of at most %d", t.s.Size, MaxMessageBytes)
	if t.scanErr != nil {
		why = t.scanErr.Error()
	}
	if v.become(t.v); v.Limit >= 0 {
		return fmt.Sprintf("%s; %s: %s", why, t.limitText(v.Limit), v.outcome()), true
	}
	return why + ": " + t.v.outcome(), true
}

func (t *trial) content() (string, bool) {
	v := fresh()
	said, allowed := t.r.messageRules(t.s, &v)
	switch {
	case said:
	case allowed:
		return t.says(&v) + t.tried(&v), false
	case t.spared&exemptUserAgents != 0:
		return "no message rule; user agents: " + sparedText + t.tried(&v), false
	case t.r.userAgents(t.s, &v):
		said = true
	}
	if !said {
		return "no rule matches" + t.tried(&v), false
	}
	if v.Action == Reject && !t.r.mayAnswer(t.now, t.s, t.st) {
		v.Action = Drop
	}
	v = finish(t.s, v)
	return t.says(&v) + t.tried(&v), true
}

// limitText is one limit with what is left of it.
func (t *trial) limitText(i int32) string {
	m := &t.r.limits[i]
	left, shared := t.st.limits.level(t.st.age(t.now), m.key, m.size(t.s.Behind), t.s.Key, t.s.reserved())
	text := fmt.Sprintf("%s %s, %.1f left", t.r.infos[m.rule].name(), m.textFor(t.s.Behind), math.Floor(left*10)/10)
	if shared {
		text += " (shared: the table of sources is full)"
	}
	switch {
	case m.shadow:
		text += " (shadow)"
	case m.deed == deedAlarm:
		text += " (alarm)"
	}
	return text
}

func (t *trial) limits() (string, bool) {
	switch {
	case t.spared&exemptLimits != 0:
		return sparedText, false
	case !t.s.Request:
		return "responses are not limited", false
	case t.answers():
		t.answer = true
		return "answers a challenge that was passed to it: charged beside the request that was challenged", false
	}
	set := t.r.limitsFor(t.s, t.s.Method)
	var texts []string
	for i := range set.all {
		texts = append(texts, t.limitText(i))
	}
	if len(texts) == 0 {
		return "no rule limits it", false
	}
	text := strings.Join(texts, "; ")
	if t.v.Limit < 0 {
		return text, false
	}
	return text + ": " + t.v.outcome(), true
}

// answers reports whether the request is charged as an answer to a challenge.
func (t *trial) answers() bool {
	if !t.s.Credentials || !t.s.Proven || !t.st.answersChallenge(t.now, t.s) {
		return false
	}
	c := t.st.charging(t.now, t.s, t.r, t.s.Method)
	c.budget = t.takesBudget()
	return c.answers()
}

// takesBudget reports whether the strangers' budget pays for the message.
func (t *trial) takesBudget() bool {
	if t.s.Kind() != Stranger || t.s.Side != nat.Outside {
		return false
	}
	end := t.r.strangersFate(t.now, t.s, t.st)
	return end.Action != Drop
}

func (t *trial) budget() (string, bool) {
	switch {
	case t.s.Kind() != Stranger || t.s.Side != nat.Outside:
		return "no stranger outside", false
	case t.spared&exemptLimits != 0:
		return sparedText, false
	case t.answer:
		return "paid beside, like the limits", false
	case !t.takesBudget():
		return "silence costs nothing", false
	}
	budget := t.r.budgetOf(t.s.Behind)
	text := budget.quota(1)
	if t.s.Behind > 0 {
		text = "of those whose phones were registered lately: " + text
	}
	if b := t.st.limits.overflow(budget.key, false); b != nil {
		text += fmt.Sprintf(", %.1f left", math.Floor(b.left(t.st.age(t.now))*10)/10)
	}
	if t.v.cause == causeBudget {
		return text + ": " + t.v.outcome(), true
	}
	return text, false
}

func (t *trial) parser() (string, bool) {
	if t.v.Refused() {
		return "nothing: step 11 refuses it before it is parsed", false
	}
	return "not judged here: the parser takes it next", false
}

func (t *trial) destination() (string, bool) {
	if t.v.Refused() {
		return string(t.v.Reason) + ": " + t.v.outcome(), true
	}
	if t.s.Kind() == Stranger {
		return "a stranger's " + t.out.Method + " goes on", false
	}
	return "known here: goes on", false
}

func (t *trial) capacity() (string, bool) {
	return "not judged here: asked when a call is routed", false
}
