package policy

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gaissmai/bart"
	"golang.org/x/time/rate"

	"sallyport/nat"
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
	Kind    string `json:"kind"` // white-list, black-list, user-agent, rate-limit
	Path    string `json:"path"` // where it stands: policy.rate_limits[2]
	Name    string `json:"name"` // the name given, or what it matches
	Comment string `json:"comment,omitempty"`
	Shadow  bool   `json:"shadow,omitempty"`
	key     uint64 // names it across reloads
}

// Rules is a compiled Config. It never changes; a reload makes a new one. Debt and counts that belong to its rules are
// kept in State under keys that a rule keeps over reloads: its name, or what it says where it has none.
type Rules struct {
	infos     []RuleInfo
	white     [2]*bart.Table[whiteValue]  // by realm
	black     [2]*bart.Table[[]blackItem] // by realm
	agents    agentRules
	shadows   agentRules // the user-agent rules that only count
	rows      [2]*bart.Table[*limitRow]
	limits    []limit
	wide      map[int32]bool // rate limits that a rule for one address would stand in place of
	budget    limit          // of all strangers together
	answer    [2]bool
	phones    phonesRules
	log       logRules
	generated []string // Warnings
}

// whiteValue is what all white list entries that cover a prefix say together.
type whiteValue struct {
	exempt exempt
	rule   int32
}

// blackItem is one black list entry that covers a prefix.
type blackItem struct {
	until time.Time
	rule  int32
}

// agentRules is a matcher with what its patterns stand for.
type agentRules struct {
	matcher *agentMatcher
	rules   []int32 // pattern → rule
	actions []Action
}

type phonesRules struct {
	registrar    bool
	unregistered Action // Drop, Reject or Allow
}

// limit is one rate of one rule.
type limit struct {
	key    uint64
	rule   int32
	star   bool   // the rule's `*`: every method that it does not list, out of one bucket
	method Method // unless star
	text   Rate
	rate   rate.Limit
	burst  int
	action Action
	shadow bool
}

// Compile validates a configuration and turns it into rules. The errors are those of Config.Validate.
func Compile(c *Config) (*Rules, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &Rules{wide: map[int32]bool{}}
	r.compileStrangers(c)
	r.compileLists(c)
	r.compileAgents(c)
	r.compileLimits(c)
	r.compileLog(c)
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
	r.budget = limit{key: keyOf("strangers"), rule: -1, text: text, rate: rate.Limit(text.PerSecond()), burst: burst}
	r.phones.registrar = c.Phones.Registrar
	switch c.Phones.Unregistered {
	case "reject":
		r.phones.unregistered = Reject
	case "forward":
		r.phones.unregistered = Allow
	}
}

func (r *Rules) compileLists(c *Config) {
	for realm := range r.white {
		r.white[realm] = new(bart.Table[whiteValue])
		r.black[realm] = new(bart.Table[[]blackItem])
	}
	for i, e := range c.WhiteList {
		name := strings.Join(e.Range, ", ")
		rule := r.addInfo(RuleInfo{Kind: "white-list", Path: fmt.Sprintf("policy.white_list[%d]", i), Name: name,
			Comment: e.Comment}, name)
		value := whiteValue{exempt: exemptionsOf(e.Exempt), rule: rule}
		eachPrefix(e.Range, e.Realms, func(realm nat.Realm, p netip.Prefix) {
			r.white[realm].Modify(p, func(old whiteValue, there bool) (whiteValue, bool) {
				if there {
					return whiteValue{old.exempt | value.exempt, old.rule}, false
				}
				return value, false
			})
		})
	}
	for i, e := range c.BlackList {
		name := strings.Join(e.Range, ", ")
		rule := r.addInfo(RuleInfo{Kind: "black-list", Path: fmt.Sprintf("policy.black_list[%d]", i), Name: name,
			Comment: e.Comment}, name)
		eachPrefix(e.Range, e.Realms, func(realm nat.Realm, p netip.Prefix) {
			old, _ := r.black[realm].Get(p)
			r.black[realm].Insert(p, append(slices.Clip(old), blackItem{e.Until, rule}))
		})
	}
	r.inherit()
}

// inherit gives every prefix of the lists what wider entries say, so that one look-up finds all.
func (r *Rules) inherit() {
	for realm := range r.white {
		white, black := new(bart.Table[whiteValue]), new(bart.Table[[]blackItem])
		for p, v := range r.white[realm].All() {
			for _, wider := range r.white[realm].Supernets(p) {
				v.exempt |= wider.exempt
			}
			white.Insert(p, v)
		}
		for p := range r.black[realm].All() {
			var items []blackItem
			for _, wider := range r.black[realm].Supernets(p) { // narrowest first, p itself included
				items = append(items, wider...)
			}
			black.Insert(p, items)
		}
		r.white[realm], r.black[realm] = white, black
	}
}

func (r *Rules) compileAgents(c *Config) {
	list := c.DenyUserAgents
	if list == nil {
		list = ShippedUserAgents()
	}
	var patterns [2][]agentPattern
	for i, e := range list {
		path := fmt.Sprintf("policy.deny_user_agents[%d]", i)
		if c.DenyUserAgents == nil {
			path = "the shipped deny_user_agents"
		}
		mode := agentModeOf(e.Mode)
		rule := r.addInfo(RuleInfo{Kind: "user-agent", Path: path, Name: e.Match, Comment: e.Comment, Shadow: e.Shadow},
			mode.String()+"\x00"+e.Match)
		p := agentPattern{mode: mode, text: foldASCII(strings.TrimSpace(e.Match))}
		if mode == agentRegex {
			p.re, _ = compileAgentRegexp(e.Match)
		}
		set, n := &r.agents, 0
		if e.Shadow {
			set, n = &r.shadows, 1
		}
		patterns[n] = append(patterns[n], p)
		set.rules = append(set.rules, rule)
		set.actions = append(set.actions, actionOf(e.Action))
	}
	r.agents.matcher = newAgentMatcher(patterns[0])
	r.shadows.matcher = newAgentMatcher(patterns[1])
}

// eachPrefix calls f for every realm and prefix of an entry. The ranges have been validated.
func eachPrefix(ranges, realms []string, f func(nat.Realm, netip.Prefix)) {
	parsed, _ := parseRanges(ranges)
	for _, realm := range realmsOf(realms) {
		for _, p := range parsed.prefixes() {
			f(realm, p)
		}
	}
}

// realmsOf reads a list of realms; empty means all.
func realmsOf(names []string) []nat.Realm {
	if len(names) == 0 {
		return []nat.Realm{nat.Phones, nat.Trunks}
	}
	var realms []nat.Realm
	for _, r := range []nat.Realm{nat.Phones, nat.Trunks} {
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

func agentModeOf(name string) agentMode {
	return agentMode(max(0, slices.Index(agentModeNames[:], name)))
}

func actionOf(name string) Action {
	if name == "reject" {
		return Reject
	}
	return Drop
}

func orDefault(value, absent string) string {
	if value == "" {
		return absent
	}
	return value
}
