package policy

import (
	"fmt"
	"net/netip"
	"time"

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
		User: Person(s.From), Agent: printable(trimSpace(s.Agents[0])),
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
