package policy

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/gaissmai/bart"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// Action is what a verdict, or a rule, does with a message.
type Action uint8

// The actions. The zero value is the one that harms least.
const (
	Drop   Action = iota // no answer
	Ignore               // no SIP message: a keep-alive or junk; counted apart, held against nobody
	Reject               // one stateless answer with Verdict.Code
	Allow                // goes on to the parser
	actionCount
)

var actionNames = [actionCount]string{"drop", "ignore", "reject", "allow"}

// String is the action's name in the configuration, metrics and logs.
func (a Action) String() string { return actionNames[a] }

// exempt is a set of checks that a white list entry lifts.
type exempt uint8

const (
	exemptLimits exempt = 1 << iota // rate limits and the strangers' budget
	exemptBans                      // bans and the black list
	exemptUserAgents
	exemptCountries
	exemptAll = exemptLimits | exemptBans | exemptUserAgents | exemptCountries
)

var exemptionNames = [...]string{"limits", "bans", "user_agents", "countries"}

// RuleInfo describes one rule of a set for logs and `sbc why`.
type RuleInfo struct {
	Kind    string `json:"kind"` // white-list, black-list, feed, country, message-rule, user-agent, rate-limit
	Path    string `json:"path"` // where it stands: policy.rate_limits[2]
	Name    string `json:"name"` // the name given, or what it matches
	Comment string `json:"comment,omitempty"`
	Shadow  bool   `json:"shadow,omitempty"`
	key     uint64 // names it across reloads
}

// Rules is a compiled Config. It never changes; a reload makes a new one. Debt and counts that belong to its rules are
// kept in State under keys that a rule keeps over reloads: its name, or what it says where it has none.
type Rules struct {
	data          Data
	emergency     []string // numbers
	infos         []RuleInfo
	lists         lists
	agents        agentRules
	shadows       agentRules // the user-agent rules that only count
	alarms        agentRules // those that only raise an alarm
	feeds         []feedRule
	countries     countryRules
	messages      messageRuleSet
	rows          [2]*bart.Table[*limitRow]
	rowsByCountry [2]map[geo.Code]*countryRow // rate limits that name countries
	limits        []limit
	wide          map[int32]bool // rate limits that a rule for one address would stand in place of
	budget        limit          // of all strangers together
	returning     limit          // of all strangers together at whose addresses phones were registered lately
	urgent        limit          // emergency calls of one known peer that nothing stops
	attention     uint64         // first messages of strangers that are looked at in an attentionWindow
	answer        [2]bool
	phones        phonesRules
	log           logRules
	bans          banRules
	generated     []string // Warnings
}

// agentRules is a matcher with what its patterns stand for.
type agentRules struct {
	matcher *agentMatcher
	rules   []int32 // pattern → rule
	deeds   []deed
}

type phonesRules struct {
	registrar    bool
	unregistered Action // Drop, Reject or Allow
}

// limit is one rate of one rule.
type limit struct {
	key      uint64
	rule     int32
	star     bool   // the rule's `*`: every method that it does not list, out of one bucket
	method   Method // unless star
	text     Rate
	rate     float64 // messages a second
	burst    int
	perPhone bool // rate and burst are for each phone behind the address
	deed     deed
	shadow   bool
}

// Compile validates a configuration and turns it into rules that work with d. The errors are those of Config.Validate.
func Compile(c *Config, d Data) (*Rules, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &Rules{wide: map[int32]bool{}, data: d, emergency: c.Emergency}
	r.compileStrangers(c)
	r.compileLists(c)
	r.compileFeeds(c)
	r.compileCountries(c)
	r.compileMessageRules(c)
	r.compileAgents(c)
	r.compileLimits(c)
	r.compileLog(c)
	r.compileBans(c)
	r.generated = r.findWarnings(c)
	return r, nil
}

// Rule describes a rule by the number that a Verdict carries; false for -1 and numbers of another set.
func (r *Rules) Rule(i int32) (RuleInfo, bool) {
	if i < 0 || int(i) >= len(r.infos) {
		return RuleInfo{}, false
	}
	return r.infos[i], true
}

// Limit is the text of a limit by the number that a Verdict carries: "REGISTER 15/minute burst 4", or "".
func (r *Rules) Limit(i int32) string {
	if i < 0 || int(i) >= len(r.limits) {
		return ""
	}
	return r.limits[i].String()
}

// keyOf is the key of a rule, 0 for none. Numbers change with a reload, keys do not.
func (r *Rules) keyOf(rule int32) uint64 {
	if rule < 0 {
		return 0
	}
	return r.infos[rule].key
}

// byKey finds a rule again by its key, -1 if this set has none of that name.
func (r *Rules) byKey(key uint64) int32 {
	for i := range r.infos {
		if r.infos[i].key == key {
			return int32(i)
		}
	}
	return -1
}

// Rules lists all rules in the order of the file.
func (r *Rules) Rules() []RuleInfo { return slices.Clone(r.infos) }

func (r *Rules) addInfo(info RuleInfo, says string) int32 {
	info.key = keyOf(info.Kind, says)
	r.infos = append(r.infos, info)
	return int32(len(r.infos) - 1)
}

// keyOf names a rule or a limit by what it says, so that it is found again after a reload.
func keyOf(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

func (r *Rules) compileStrangers(c *Config) {
	s := &c.Strangers
	r.answer[nat.Phones] = s.Phones == "answer"
	r.answer[nat.Trunks] = s.Trunks == "answer"
	text, _ := ParseRate(orDefault(s.Rate, defaultStrangersRate))
	burst := defaultStrangersBurst
	if s.Burst != nil {
		burst = *s.Burst
	}
	r.budget = limit{key: keyOf("strangers"), rule: -1, text: text, rate: text.PerSecond(), burst: burst}
	r.returning = r.budget
	r.returning.key = keyOf("strangers", "returning")
	r.urgent = urgentLimit
	r.attention = max(attentionMost, uint64(attentionShare*r.budget.rate*attentionWindow.Seconds()))
	r.phones.registrar = c.Phones.Registrar
	switch c.Phones.Unregistered {
	case "reject":
		r.phones.unregistered = Reject
	case "forward":
		r.phones.unregistered = Allow
	}
}

func (r *Rules) compileAgents(c *Config) {
	list := c.DenyUserAgents
	if list == nil {
		list = ShippedUserAgents()
	}
	sets := [...]*agentRules{&r.agents, &r.shadows, &r.alarms}
	var patterns [len(sets)][]agentPattern
	for i := range list {
		e := &list[i]
		path := fmt.Sprintf("policy.deny_user_agents[%d]", i)
		if c.DenyUserAgents == nil {
			path = "the shipped deny_user_agents"
		}
		p := compilePattern(e.Match, e.Mode)
		rule := r.addInfo(RuleInfo{Kind: "user-agent", Path: path, Name: e.Match, Comment: e.Comment, Shadow: e.Shadow},
			p.mode.String()+"\x00"+e.Match)
		does, n := deedOf(e.Action), 0
		switch {
		case does == deedAlarm && !e.Shadow:
			n = 2
		case e.Shadow:
			n = 1
		}
		patterns[n] = append(patterns[n], p)
		sets[n].rules = append(sets[n].rules, rule)
		sets[n].deeds = append(sets[n].deeds, does)
	}
	for n := range sets {
		sets[n].matcher = newAgentMatcher(patterns[n])
	}
}

// bothRealms is read only.
var bothRealms = []nat.Realm{nat.Phones, nat.Trunks}

// realmsOf reads a list of realms; empty means all.
func realmsOf(names []string) []nat.Realm {
	if len(names) == 0 {
		return bothRealms
	}
	var realms []nat.Realm
	for _, r := range bothRealms {
		if slices.Contains(names, r.String()) {
			realms = append(realms, r)
		}
	}
	return realms
}

func exemptionsOf(names []string) exempt {
	if len(names) == 0 {
		return exemptAll
	}
	var e exempt
	for i, name := range exemptionNames {
		if slices.Contains(names, name) {
			e |= 1 << i
		}
	}
	return e
}

func orDefault(value, absent string) string {
	if value == "" {
		return absent
	}
	return value
}
