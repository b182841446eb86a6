package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The bounds of a rule set. They keep compiling and matching cheap whatever a file holds.
const (
	maxRules      = 500_000 // entries of one list of ranges
	maxFeeds      = 32
	maxAgents     = 1_000 // user-agent rules
	maxLimitRules = 1_000 // rate limit rules
	maxAgentText  = 256   // bytes of one user-agent pattern
)

// problems collects everything that is wrong with a configuration, each with the path of its key.
type problems struct{ errs []error }

func (p *problems) add(path string, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
}

// Validate checks the whole configuration and reports every error at once, each beginning with the path of its key,
// such as policy.rate_limits[2].range.
func (c *Config) Validate() error {
	var p problems
	c.validateStrangers(&p)
	c.validateLists(&p)
	c.validateFeeds(&p)
	c.validateCountries(&p)
	c.validateMessageRules(&p)
	c.validateUserAgents(&p)
	c.validateLimits(&p)
	c.validateLog(&p)
	c.validateBans(&p)
	return errors.Join(p.errs...)
}

func (c *Config) validateStrangers(p *problems) {
	s := &c.Strangers
	checkWord(p, "policy.strangers.phones", s.Phones, "silent", "answer")
	checkWord(p, "policy.strangers.trunks", s.Trunks, "silent", "answer")
	if s.Rate != "" {
		if _, err := ParseRate(s.Rate); err != nil {
			p.add("policy.strangers.rate", "%w", err)
		}
	}
	if s.Burst != nil && (*s.Burst < 1 || *s.Burst > mostRate) {
		p.add("policy.strangers.burst", "must lie between 1 and %d; leave the key out for %d", mostRate, defaultStrangersBurst)
	}
	checkWord(p, "phones.unregistered", c.Phones.Unregistered, "drop", "reject", "forward")
}

func (c *Config) validateLists(p *problems) {
	checkCount(p, "policy.white_list", len(c.WhiteList), maxRules)
	for i := range c.WhiteList {
		e := &c.WhiteList[i]
		checkEntry(p, "policy.white_list", i, e.Range, e.Realms)
		for _, x := range e.Exempt {
			checkWord(p, entryPath("policy.white_list", i)+".exempt", x, exemptionNames[:]...)
		}
	}
	checkCount(p, "policy.black_list", len(c.BlackList), maxRules)
	for i := range c.BlackList {
		e := &c.BlackList[i]
		checkEntry(p, "policy.black_list", i, e.Range, e.Realms)
	}
}

// checkEntry checks one entry of a list. A list may be long: a path is put together only where something is wrong.
func checkEntry(p *problems, list string, i int, ranges, realms []string) {
	if _, err := parseRanges(ranges); err != nil {
		p.add(entryPath(list, i)+".range", "%w", err)
	}
	if len(realms) > 0 {
		checkRealms(p, entryPath(list, i)+".realms", realms)
	}
}

// entryPath is the path of an entry: policy.black_list[7].
func entryPath(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func (c *Config) validateUserAgents(p *problems) {
	checkCount(p, "policy.deny_user_agents", len(c.DenyUserAgents), maxAgents)
	for i, e := range c.DenyUserAgents {
		path := fmt.Sprintf("policy.deny_user_agents[%d]", i)
		checkAction(p, path+".action", e.Action)
		checkPattern(p, path, PatternConfig{e.Match, e.Mode}, agentModeNames)
	}
}

func (c *Config) validateLimits(p *problems) {
	checkCount(p, "policy.rate_limits", len(c.RateLimits), maxLimitRules)
	names := make(map[string]int, len(c.RateLimits))
	for i, e := range c.RateLimits {
		path := fmt.Sprintf("policy.rate_limits[%d]", i)
		if first, used := names[e.Name]; used && e.Name != "" {
			p.add(path+".name", "%q is also the name of policy.rate_limits[%d]; debt is kept by name, choose another", e.Name, first)
		}
		names[e.Name] = i
		if len(e.Range) > 0 {
			checkRange(p, path+".range", e.Range)
		}
		checkRealms(p, path+".realms", e.Realms)
		checkAction(p, path+".action", e.Action)
		if e.Burst != nil && (*e.Burst < 1 || *e.Burst > mostRate) {
			p.add(path+".burst", "must lie between 1 and %d; a bucket of 0 lets nothing pass", mostRate)
		}
		e.checkQuotas(p, path)
	}
}

// checkQuotas checks what a rule allows: its preset, or its own limits.
func (e *RateLimitConfig) checkQuotas(p *problems, path string) {
	if e.Preset == "" {
		checkMethods(p, path+".limits", e.Limits)
		return
	}
	if _, _, err := parsePreset(e.Preset); err != nil {
		p.add(path+".preset", "%w", err)
	}
	if len(e.Limits) > 0 {
		p.add(path+".limits", "stands beside preset %s, which has limits of its own; leave one of the two out", e.Preset)
	}
	if e.Burst != nil {
		p.add(path+".burst", "stands beside preset %s, which has bursts of its own; write limits and burst, or the preset alone", e.Preset)
	}
}

// checkMethods checks the limits of one rule.
func checkMethods(p *problems, path string, limits map[string]string) {
	if len(limits) == 0 {
		p.add(path, "names no method; write for example { REGISTER: 15/minute }, or preset: home")
	}
	for _, method := range sortedKeys(limits) {
		if _, ok := limitMethod(method); !ok {
			p.add(path+"."+method, "is not a method; use upper case (INVITE, REGISTER, …) \"*\" for every method not listed, or unparseable for what is no SIP")
		}
		if _, err := ParseRate(limits[method]); err != nil {
			p.add(path+"."+method, "%w", err)
		}
	}
}

func (c *Config) validateLog(p *problems) {
	if c.Log.MaxEntries != nil && (*c.Log.MaxEntries < 0 || *c.Log.MaxEntries > mostRate) {
		p.add("policy.log.max_entries", "must lie between 0, which writes no security lines, and %d", mostRate)
	}
	if c.Log.Per != "" {
		if _, err := parseUnit(c.Log.Per); err != nil {
			p.add("policy.log.per", "%w", err)
		}
	}
	for _, class := range c.Log.Classes {
		checkWord(p, "policy.log.classes", class, logClassNames[:]...)
	}
}

func checkCount(p *problems, path string, n, most int) {
	if n > most {
		p.add(path, "has %d entries; at most %d are read", n, most)
	}
}

func checkRange(p *problems, path string, texts []string) {
	if _, err := parseRanges(texts); err != nil {
		p.add(path, "%w", err)
	}
}

func checkRealms(p *problems, path string, realms []string) {
	for _, r := range realms {
		checkWord(p, path, r, "phones", "trunks")
	}
}

// checkWord refuses a word that is not in a closed list. The empty word is an absent key.
func checkWord(p *problems, path, word string, allowed ...string) {
	if word != "" && !slices.Contains(allowed, word) {
		p.add(path, "%q is unknown; use %s", word, strings.Join(allowed, ", "))
	}
}

func checkAction(p *problems, path, action string) {
	checkWord(p, path, action, "drop", "reject", "ban", "alarm")
}

// compileAgentRegexp compiles a user-agent pattern: RE2, any case, against the whole value.
func compileAgentRegexp(pattern string) (*regexp.Regexp, error) {
	// Compiled once by itself, so that an unbalanced parenthesis cannot escape from the group around it.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	return regexp.Compile("(?is)^(?:" + pattern + ")$")
}
