package policy

import (
	"fmt"
	"strings"

	"sallyport/nat"
	"sallyport/policy/geo"
)

func (c *Config) validateFeeds(p *problems) {
	checkCount(p, "policy.feeds", len(c.Feeds), maxFeeds)
	names := map[string]int{}
	for i, e := range c.Feeds {
		path := fmt.Sprintf("policy.feeds[%d]", i)
		if e.Name == "" {
			p.add(path+".name", "is missing; a feed's last good copy is kept under its name")
		} else if first, used := names[e.Name]; used {
			p.add(path+".name", "%q is also the name of policy.feeds[%d]; choose another", e.Name, first)
		}
		names[e.Name] = i
		checkRealms(p, path+".realms", e.Realms)
	}
}

func (c *Config) validateCountries(p *problems) {
	e := &c.Countries
	checkWord(p, "policy.countries.mode", e.Mode, "deny", "allow")
	checkWord(p, "policy.countries.unknown", e.Unknown, "allow", "deny")
	checkRealms(p, "policy.countries.realms", e.Realms)
	for _, text := range e.List {
		if _, err := geo.ParseCode(text); err != nil {
			p.add("policy.countries.list", "%w", err)
		}
	}
	if len(e.List) == 0 && (e.Mode == "allow" || e.Unknown == "deny") {
		p.add("policy.countries.list", "is empty; name the countries to allow, or leave mode and unknown out")
	}
}

func (c *Config) validateMessageRules(p *problems) {
	checkCount(p, "policy.message_rules", len(c.MessageRules), maxMessageRules)
	names := map[string]int{}
	for i := range c.MessageRules {
		e := &c.MessageRules[i]
		path := fmt.Sprintf("policy.message_rules[%d]", i)
		if first, used := names[e.Name]; used && e.Name != "" {
			p.add(path+".name", "%q is also the name of policy.message_rules[%d]; choose another", e.Name, first)
		}
		names[e.Name] = i
		if len(e.Range) > 0 {
			checkRange(p, path+".range", e.Range)
		}
		checkRealms(p, path+".realms", e.Realms)
		checkWord(p, path+".action", e.Action, "allow", "drop", "reject", "ban", "alarm")
		e.checkConditions(p, path)
	}
}

// checkConditions checks what a rule looks at. One without any condition would refuse everything.
func (e *MessageRuleConfig) checkConditions(p *problems, path string) {
	conditions := len(e.Methods) + len(e.Transports)
	for _, method := range e.Methods {
		if method != methodNames[MethodOther] && MethodOf([]byte(method)) == MethodOther {
			p.add(path+".methods", "%q is not a method; use upper case (INVITE, MESSAGE, …), or other for all that are in no RFC", method)
		}
	}
	for _, name := range e.Transports {
		if !isTransport(name) {
			p.add(path+".transports", "%q is unknown; use udp, tcp, tls, ws, wss", name)
		}
	}
	for part, list := range e.conditions() {
		conditions += len(list)
		key := path + "." + partNames[part]
		checkCount(p, key, len(list), maxPatterns)
		for _, pattern := range list {
			checkPattern(p, key, pattern, patternModeNames[:])
		}
	}
	if conditions == 0 && len(e.Range) == 0 {
		p.add(path, "has no condition and would hold for every request; name methods, user_agent, from, to, request_uri, call_id or a range")
	}
}

func isTransport(name string) bool {
	for t := nat.UDP; t <= nat.WSS; t++ {
		if strings.EqualFold(t.String(), name) {
			return true
		}
	}
	return false
}

// checkPattern checks one pattern; the path is that of the key that holds it.
func checkPattern(p *problems, path string, pattern PatternConfig, modes []string) {
	checkWord(p, path+".mode", pattern.Mode, modes...)
	switch {
	case pattern.Mode == "absent":
		if pattern.Match != "" {
			p.add(path+".match", "stands beside mode absent, which compares nothing; leave match out")
		}
	case strings.TrimSpace(pattern.Match) == "":
		p.add(path+".match", "is empty and would match everything; write the name to deny")
	case len(pattern.Match) > maxAgentText:
		p.add(path+".match", "is longer than %d bytes", maxAgentText)
	case pattern.Mode == "regex":
		if _, err := compileAgentRegexp(pattern.Match); err != nil {
			p.add(path+".match", "%w", err)
		}
	}
}
