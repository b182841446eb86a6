package policy

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/scan"
)

// Trial is what one message would meet, step by step. Its JSON is the output of `sbc policy test --json`.
type Trial struct {
	Source    netip.AddrPort `json:"source"`
	Country   string         `json:"country,omitempty"`
	Side      string         `json:"side"`
	Realm     string         `json:"realm"`
	Transport string         `json:"transport"`
	Kind      string         `json:"kind"` // stranger | trunk | node | phone
	Name      string         `json:"name,omitempty"`
	Phones    int            `json:"phones,omitempty"` // behind it, now or within the last ten minutes
	Method    string         `json:"method"`
	User      string         `json:"user,omitempty"`
	Agent     string         `json:"user_agent,omitempty"`
	Steps     []Finding      `json:"steps"`
	Action    string         `json:"action"`
	Code      int            `json:"code,omitempty"`
	Retry     int            `json:"retry_after,omitempty"`
	Reason    reason.Reason  `json:"reason"`
	Rule      *RuleInfo      `json:"rule,omitempty"`
	Limit     string         `json:"limit,omitempty"`
	Ban       bool           `json:"ban,omitempty"`    // the rule wants the source banned, as far as the evidence allows
	Shadow    string         `json:"shadow,omitempty"` // a shadow rule that would refuse it
	Alarm     string         `json:"alarm,omitempty"`  // a rule with action alarm that it meets
}

// Finding is what one step of the Order found.
type Finding struct {
	Step
	Found   string `json:"found"`
	Decides bool   `json:"decides,omitempty"`
}

// notReached is the finding of the steps behind the one that decides.
const notReached = "not reached"

// Try walks through all steps for one message without charging, counting or recording anything. What it ends in is what
// Check would say now.
func (g *Guard) Try(now time.Time, p *Packet) Trial {
	var s Subject
	s.readSource(p.Interface, p.Source)
	s.readMessage(p)
	s.Trial = true
	peers, rules := g.directory(), g.rules.Load()
	peers.identify(g.state.age(now), &s)
	g.state.conduct.proofs.see(g.state.age(now), &s)
	t := &trial{now: now, s: &s, r: rules, st: g.state, scanErr: p.ScanErr}
	t.introduce()
	if p.ScanErr != nil {
		switch kind := scan.Classify(p.Data); kind {
		case scan.KeepAlive, scan.Stun:
			t.ignored(kind)
			return t.out
		case scan.None, scan.Message, scan.Junk:
			// As in Check: what is no message is malformed.
		}
	}
	t.v = Decide(now, &s, rules, g.state)
	t.walk()
	t.conclude()
	return t.out
}

// trial is one Try under way.
type trial struct {
	now     time.Time
	s       *Subject
	r       *Rules
	st      *State
	scanErr error
	v       Verdict
	spared  exempt
	answer  bool // it is charged as an answer to a challenge
	out     Trial
}

// introduce says what was sent by whom.
func (t *trial) introduce() {
	s := t.s
	t.out = Trial{
		Source: s.Source, Country: t.r.countryOf(s).String(), Side: s.Side.String(), Realm: s.Realm.String(),
		Transport: s.Transport.String(), Kind: s.Kind().String(), Phones: s.Behind, Method: s.Method.String(),
		User: printable(userOf(s.From)), Agent: printable(trimSpace(s.Agents[0])),
	}
	if s.Peer != nil {
		t.out.Name = s.Peer.Name
	}
	switch {
	case !s.Request:
		t.out.Method = "response"
	case s.Method == MethodOther:
		t.out.Method = "unknown method"
	}
}

func (t *trial) ignored(kind scan.Kind) {
	what := "a keep-alive"
	if kind == scan.Stun {
		what = "a STUN request"
	}
	for _, step := range Order {
		t.out.Steps = append(t.out.Steps, Finding{Step: step, Found: notReached})
	}
	t.out.Steps[5].Found, t.out.Steps[5].Decides = what+" and no SIP: counted, held against nobody", true
	t.out.Action = Ignore.String()
}

// walk asks each step what it finds, until one decides.
func (t *trial) walk() {
	steps := [len(Order)]func() (string, bool){
		t.live, t.white, t.black, t.evidence, t.country, t.sanity, t.content, t.limits, t.budget, t.parser, t.destination,
		t.capacity,
	}
	decided := false
	for i, step := range Order {
		f := Finding{Step: step, Found: notReached}
		if !decided {
			f.Found, decided = steps[i]()
			f.Decides = decided
		}
		t.out.Steps = append(t.out.Steps, f)
	}
}

// conclude takes over the verdict.
func (t *trial) conclude() {
	v, x := &t.v, &t.out
	x.Action, x.Code, x.Reason, x.Ban, x.Retry = v.Action.String(), v.Code, v.Reason, v.Ban, v.RetryAfter
	if info, ok := t.r.Rule(v.Rule); ok {
		x.Rule = &info
	}
	if v.Limit >= 0 {
		x.Limit = t.r.limits[v.Limit].textFor(t.s.Behind)
	}
	x.Shadow, x.Alarm = t.ruleName(v.Shadow), t.ruleName(v.Alarm)
}

func (t *trial) ruleName(i int32) string {
	info, _ := t.r.Rule(i)
	return info.Name
}

// says is a rule that decided, as people know it.
func (t *trial) says(v *Verdict) string {
	info, ok := t.r.Rule(v.Rule)
	if !ok {
		return v.outcome()
	}
	return fmt.Sprintf("%s %s: %s", info.Path, info.name(), v.outcome())
}

// outcome is the verdict in a few words.
func (v *Verdict) outcome() string {
	text := v.Action.String()
	if v.Code != 0 {
		text += fmt.Sprintf(" %d", v.Code)
	}
	if v.Ban {
		text += ", ban"
	}
	return text
}

// tried mentions the rules that only count.
func (t *trial) tried(v *Verdict) string {
	text := ""
	if v.Shadow >= 0 {
		text += fmt.Sprintf("; shadow rule %q would refuse it", t.ruleName(v.Shadow))
	}
	if v.Alarm >= 0 {
		text += fmt.Sprintf("; rule %q raises an alarm", t.ruleName(v.Alarm))
	}
	return text
}

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
		return "ban of " + ban.sentence(), true
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
		return "ban of " + ban.sentence(), true
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
	if !t.s.Credentials || !t.st.answersChallenge(t.now, t.s) {
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
	text := fmt.Sprintf("%s burst %d", t.r.budget.text, t.r.budget.burst)
	if b := t.st.limits.overflow(t.r.budget.key, false); b != nil {
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
