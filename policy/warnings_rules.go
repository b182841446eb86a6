package policy

import (
	"fmt"
	"slices"
)

// messageWarnings looks for message rules that never fire because of one before them, and for those that shut genuine
// phones out.
func messageWarnings(c *Config) (warnings []string) {
	for i := range c.MessageRules {
		e := &c.MessageRules[i]
		for j := range i {
			if c.MessageRules[j].covers(e) {
				warnings = append(warnings, fmt.Sprintf("%s never fires: %s stands before it and holds wherever it does",
					messagePath(c, i), messagePath(c, j)))
				break
			}
		}
		if !e.refusesPhones() {
			continue
		}
		if method := e.wholeMethod(); method != "" {
			warnings = append(warnings, fmt.Sprintf("%s refuses every %s, those of registered phones, too; to count only: add shadow: true to it",
				messagePath(c, i), method))
			continue
		}
		spared := sparedAgents(c, i)
		for _, name := range genuineAgents {
			if e.isAbout(name) && !spared(name) {
				warnings = append(warnings, fmt.Sprintf("%s matches genuine phones (%s); to count only: add shadow: true to it",
					messagePath(c, i), name))
				break
			}
		}
	}
	return warnings
}

func messagePath(c *Config, i int) string {
	if name := c.MessageRules[i].Name; name != "" {
		return fmt.Sprintf("policy.message_rules[%d] %q", i, name)
	}
	return fmt.Sprintf("policy.message_rules[%d]", i)
}

// refusesPhones reports whether a rule is in force and refuses what phones anywhere send.
func (e *MessageRuleConfig) refusesPhones() bool {
	d := deedOf(e.Action)
	return !e.Shadow && d != deedAllow && d != deedAlarm && e.anywhere() && coversRealms(e.Realms, []string{"phones"})
}

func (e *MessageRuleConfig) anywhere() bool {
	r, _ := parseRanges(rangeOrAny(e.Range))
	return r.any
}

// bare reports whether a rule looks at nothing but the given part of a message.
func (e *MessageRuleConfig) bare(but int) bool {
	for part, list := range e.conditions() {
		if part != but && len(list) > 0 {
			return false
		}
	}
	return true
}

// wholeMethod is a method that phones cannot do without and the rule refuses whatever else the request says.
func (e *MessageRuleConfig) wholeMethod() string {
	if !e.bare(-1) || len(e.Transports) > 0 {
		return ""
	}
	for _, method := range []string{"REGISTER", "INVITE", "ACK", "BYE", "CANCEL"} {
		if len(e.Methods) == 0 || slices.Contains(e.Methods, method) {
			return method
		}
	}
	return ""
}

// isAbout reports whether a rule holds for a User-Agent whatever else the request says.
func (e *MessageRuleConfig) isAbout(agent string) bool {
	return len(e.UserAgent) > 0 && e.bare(partAgent) && slices.ContainsFunc(e.UserAgent, func(p PatternConfig) bool {
		return p.Mode != "absent" && newAgentMatcher([]agentPattern{compilePattern(p.Match, p.Mode)}).match([]byte(agent)) >= 0
	})
}

// sparedAgents tells the User-Agents that one of the first n message rules lets past, from anywhere and with everything.
func sparedAgents(c *Config, n int) func(agent string) bool {
	return func(agent string) bool {
		return slices.ContainsFunc(c.MessageRules[:n], func(e MessageRuleConfig) bool {
			return e.Action == "allow" && !e.Shadow && e.anywhere() && len(e.Methods)+len(e.Transports) == 0 &&
				coversRealms(e.Realms, []string{"phones"}) && e.isAbout(agent)
		})
	}
}

// covers reports whether a rule decides wherever another one holds. Ranges are only compared by their text.
func (e *MessageRuleConfig) covers(o *MessageRuleConfig) bool {
	if e.Shadow || e.Action == "alarm" || !coversRealms(e.Realms, o.Realms) ||
		!includes(e.Methods, o.Methods) || !includes(e.Transports, o.Transports) {
		return false
	}
	// A range of addresses holds for trunks and nodes, `any` does not.
	if !slices.Equal(rangeOrAny(e.Range), rangeOrAny(o.Range)) && (!e.anywhere() || o.names()) {
		return false
	}
	theirs := o.conditions()
	for part, list := range e.conditions() {
		if len(list) > 0 && !patternsCover(list, theirs[part], part == partAgent && e.Action == "allow" != (o.Action == "allow")) {
			return false
		}
	}
	return true
}

// names reports whether a rule's range names addresses.
func (e *MessageRuleConfig) names() bool {
	r, _ := parseRanges(rangeOrAny(e.Range))
	return len(r.spans)+len(r.names) > 0
}

// includes reports whether a list names all that another one does; an empty one names everything.
func includes(outer, inner []string) bool {
	if len(outer) == 0 || len(inner) == 0 {
		return len(outer) == 0
	}
	return !slices.ContainsFunc(inner, func(s string) bool { return !slices.Contains(outer, s) })
}

// patternsCover reports whether one of the patterns holds wherever one of the others does. Several User-Agents satisfy
// a rule that allows and one that refuses in different ways (apart): then nothing is sure.
func patternsCover(outer, inner []PatternConfig, apart bool) bool {
	if len(inner) == 0 || apart {
		return false
	}
	return !slices.ContainsFunc(inner, func(in PatternConfig) bool {
		return !slices.ContainsFunc(outer, func(out PatternConfig) bool {
			if out.Mode == "absent" || in.Mode == "absent" {
				return out.Mode == in.Mode
			}
			return agentCovers(&UserAgentConfig{Match: out.Match, Mode: out.Mode}, &UserAgentConfig{Match: in.Match, Mode: in.Mode})
		})
	})
}
