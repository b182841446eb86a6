package policy

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"sallyport/nat"
)

// maxMessageRules bounds the message rules; maxPatterns the patterns of one condition.
const (
	maxMessageRules = 1_000
	maxPatterns     = 100
)

// ruleSet is a set of message rules by their numbers.
type ruleSet [(maxMessageRules + 63) / 64]uint64

func (s *ruleSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *ruleSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// The parts of a message that rules look at.
const (
	partAgent = iota
	partFrom
	partTo
	partURI
	partCallID
	parts
)

// messageRuleSet is the compiled message rules. Each part of a message is searched once for the patterns of all rules
// together, which gives the set of rules that it satisfies; what is left when the sets have been met, rule by rule in the
// order of the file, is asked for its regular expressions and its range.
type messageRuleSet struct {
	rules      []messageRule
	words      int // of a ruleSet that are in use
	methods    [methodCount]ruleSet
	realms     [2]ruleSet
	transports [8]ruleSet
	named      ruleSet // whose range names addresses: trunks and nodes meet these only
	allows     ruleSet
	parts      [parts]partMatcher
}

// partMatcher is what all rules say of one part of a message.
type partMatcher struct {
	used    bool
	free    ruleSet // rules that say nothing of it
	absent  ruleSet // rules that want it absent
	maybe   ruleSet // rules with regular expressions, which are asked last
	literal setMatcher
}

// messageRule is what is not in the sets.
type messageRule struct {
	rule      int32
	deed      deed
	shadow    bool
	addresses addressRange
	regexes   [parts][]foldedRegexp
}

func (r *Rules) compileMessageRules(c *Config) {
	m := &r.messages
	m.words = (len(c.MessageRules) + 63) / 64
	var patterns [parts][]agentPattern
	var owners [parts][]int
	for i := range c.MessageRules {
		e := &c.MessageRules[i]
		rule := messageRule{deed: deedOf(e.Action), shadow: e.Shadow}
		rule.addresses, _ = parseRanges(rangeOrAny(e.Range))
		rule.addresses = rule.addresses.resolve(r.data)
		rule.rule = r.addInfo(RuleInfo{Kind: "message-rule", Path: fmt.Sprintf("policy.message_rules[%d]", i),
			Name: orDefault(e.Name, e.says()), Comment: e.Comment, Shadow: e.Shadow}, orDefault(e.Name, fmt.Sprintf("%+v", *e)))
		m.sort(i, e, &rule)
		for part, list := range e.conditions() {
			into := &m.parts[part]
			if len(list) == 0 {
				into.free.add(i)
				continue
			}
			into.used = true
			for _, p := range list {
				switch compiled := compilePattern(p.Match, p.Mode); compiled.mode {
				case agentAbsent:
					into.absent.add(i)
				case agentRegex:
					into.maybe.add(i)
					rule.regexes[part] = append(rule.regexes[part], foldedRegexp{compiled.re})
				default:
					patterns[part] = append(patterns[part], compiled)
					owners[part] = append(owners[part], i)
				}
			}
		}
		m.rules = append(m.rules, rule)
	}
	for part := range m.parts {
		m.parts[part].literal = newSetMatcher(patterns[part], owners[part])
	}
}

// sort puts a rule into the sets that say where it holds.
func (m *messageRuleSet) sort(i int, e *MessageRuleConfig, rule *messageRule) {
	for method := range m.methods {
		if len(e.Methods) == 0 || slices.Contains(e.Methods, methodNames[method]) {
			m.methods[method].add(i)
		}
	}
	for _, realm := range realmsOf(e.Realms) {
		m.realms[realm].add(i)
	}
	for t := nat.UDP; t <= nat.WSS; t++ {
		if len(e.Transports) == 0 || slices.ContainsFunc(e.Transports, func(name string) bool { return strings.EqualFold(name, t.String()) }) {
			m.transports[t].add(i)
		}
	}
	if len(rule.addresses.spans) > 0 {
		m.named.add(i)
	}
	if rule.deed == deedAllow {
		m.allows.add(i)
	}
}

// conditions are the patterns of a rule by the part that they look at.
func (e *MessageRuleConfig) conditions() [parts][]PatternConfig {
	return [parts][]PatternConfig{e.UserAgent, e.From, e.To, e.RequestURI, e.CallID}
}

// partNames are the keys of the parts.
var partNames = [parts]string{"user_agent", "from", "to", "request_uri", "call_id"}

// says is what a rule without a name is called.
func (e *MessageRuleConfig) says() string {
	var words []string
	if len(e.Methods) > 0 {
		words = append(words, strings.Join(e.Methods, ", "))
	}
	for part, list := range e.conditions() {
		for _, p := range list {
			text := p.Match
			if p.Mode == "absent" {
				text = "absent"
			}
			words = append(words, partNames[part]+" "+text)
		}
	}
	if len(words) == 0 {
		words = append(words, namesInShort(rangeOrAny(e.Range)))
	}
	return strings.Join(words, ", ")
}

// messageRules is the first half of step 7: rules on what a request says. It reports whether one refused the message, and
// whether one let it past the user-agent rules. Shadow rules and alarms are passed on the way to the first rule that
// decides.
func (r *Rules) messageRules(s *Subject, v *Verdict) (refused, allowed bool) {
	m := &r.messages
	if len(m.rules) == 0 || !s.Request {
		return false, false
	}
	var left ruleSet
	m.candidates(s, &left)
	for word := range m.words {
		for rest := left[word]; rest != 0; rest &= rest - 1 {
			rule := &m.rules[word*64+bits.TrailingZeros64(rest)]
			if !r.holdsFor(rule, s) || !m.regexesHold(word*64+bits.TrailingZeros64(rest), s) {
				continue
			}
			switch {
			case rule.shadow && rule.deed != deedAllow && rule.deed != deedAlarm:
				v.wouldRefuse(rule.rule)
			case rule.shadow:
			case rule.deed == deedAlarm:
				v.alarm(rule.rule)
			case rule.deed == deedAllow:
				if v.Rule < 0 {
					v.Rule = rule.rule
				}
				return false, true
			default:
				before := *v
				*v = rule.deed.refuse(403, causeMessage)
				v.Rule, v.Shadow, v.Alarm = rule.rule, before.Shadow, before.Alarm
				return true, false
			}
		}
	}
	return false, false
}

// candidates are the rules that hold as far as sets can tell.
func (m *messageRuleSet) candidates(s *Subject, left *ruleSet) {
	for i := range m.words {
		left[i] = m.methods[s.Method][i] & m.realms[s.Realm][i] & m.transports[s.Transport][i]
		if s.Kind().system() {
			left[i] &= m.named[i]
		}
	}
	for part := range m.parts {
		p := &m.parts[part]
		if !p.used || *left == (ruleSet{}) {
			continue
		}
		var hold ruleSet
		if part == partAgent {
			m.agents(s, &hold)
		} else {
			p.search(s.part(part), &hold)
			if plain := plainSpelling(part, s.part(part)); plain != nil {
				p.literal.search(trimSpace(*plain), &hold)
				plains.Put(plain)
			}
		}
		for i := range m.words {
			left[i] &= p.free[i] | p.maybe[i] | hold[i]
		}
	}
}

// part is a part of a message other than its User-Agent.
func (s *Subject) part(part int) []byte {
	switch part {
	case partFrom:
		return s.From
	case partTo:
		return s.To
	case partURI:
		return s.URI
	case partCallID:
		return s.CallID
	}
	return nil
}

// search finds the rules whose literal patterns, or wish for absence, a value satisfies.
func (p *partMatcher) search(value []byte, hold *ruleSet) {
	if value = trimSpace(value); len(value) == 0 {
		*hold = p.absent
		return
	}
	p.literal.search(value, hold)
}

// agents finds the rules that the User-Agent fields satisfy. Several of them are no honest phone: a rule that refuses is
// satisfied by any of them, a rule that allows only by all.
func (m *messageRuleSet) agents(s *Subject, hold *ruleSet) {
	p := &m.parts[partAgent]
	seen := false
	var every ruleSet
	for _, agent := range s.Agents {
		if agent = trimSpace(agent); len(agent) == 0 {
			continue
		}
		var one ruleSet
		p.literal.search(agent, &one)
		for i := range m.words {
			hold[i] |= one[i]
			if seen {
				one[i] &= every[i]
			}
		}
		every, seen = one, true
	}
	if !seen {
		*hold = p.absent
		return
	}
	for i := range m.words {
		hold[i] &^= m.allows[i] &^ every[i]
	}
}

// holdsFor reports whether a rule's range holds the source. Countries bind no trunk and no node.
func (r *Rules) holdsFor(rule *messageRule, s *Subject) bool {
	system := s.Kind().system()
	if rule.addresses.any && !system {
		return true
	}
	a := s.Source.Addr()
	for _, span := range rule.addresses.spans {
		if span.contains(a) && !(system && span.whole()) {
			return true
		}
	}
	return !system && len(rule.addresses.countries) > 0 && rule.addresses.holdsCountry(r.countryOf(s))
}

// regexesHold asks the regular expressions of a rule in the parts where no literal pattern of it holds.
func (m *messageRuleSet) regexesHold(i int, s *Subject) bool {
	rule := &m.rules[i]
	for part := range rule.regexes {
		if len(rule.regexes[part]) > 0 && !m.partHolds(i, part, s) {
			return false
		}
	}
	return true
}

// partHolds is one part of a rule with regular expressions, asked in full.
func (m *messageRuleSet) partHolds(i, part int, s *Subject) bool {
	p, rule := &m.parts[part], &m.rules[i]
	holds := func(value []byte) bool {
		if len(trimSpace(value)) == 0 {
			return p.absent.has(i) // no expression is satisfied by nothing
		}
		var literal ruleSet
		p.search(value, &literal)
		return literal.has(i) || slices.ContainsFunc(rule.regexes[part], func(x foldedRegexp) bool { return x.match(value) })
	}
	if part != partAgent {
		if holds(s.part(part)) {
			return true
		}
		plain := plainSpelling(part, s.part(part))
		if plain == nil {
			return false
		}
		defer plains.Put(plain)
		return holds(*plain)
	}
	some, all, seen := false, true, false
	for _, agent := range s.Agents {
		if len(trimSpace(agent)) == 0 {
			continue
		}
		one := holds(agent)
		some, all, seen = some || one, all && one, true
	}
	switch {
	case !seen:
		return p.absent.has(i)
	case m.allows.has(i):
		return all
	}
	return some
}
