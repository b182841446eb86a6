package config

import (
	"regexp"
	"slices"
	"strings"
)

// messages checks the rules on what requests say.
func (c *checker) messages() {
	names := ruleNames{}
	for i := range c.doc.Policy.MessageRules {
		at, e := index("policy.message_rules", i), &c.doc.Policy.MessageRules[i]
		names.check(c, at, e.Name, "no messages", "counts are kept by it")
		c.addresses(at+".range", e.Range)
		c.words(at+".realms", e.Realms, true)
		c.words(at+".transports", e.Transports, false)
		c.words(at+".methods", e.Methods, false)
		for j, method := range e.Methods {
			switch method {
			case "*":
				c.fail(index(at+".methods", j), "leave the key out for every method", "%q is not a method", method)
			case "other": // those of no RFC
			default:
				c.method(index(at+".methods", j), method)
			}
		}
		patterns := 0
		for _, f := range e.fields() {
			patterns += len(f.list)
			c.patterns(at+"."+f.key, f.list)
		}
		if patterns+len(e.Methods)+len(e.Transports) == 0 && e.Range.isAnywhere() {
			c.warn(at, "give it methods, user_agent, from, to, request_uri, call_id, transports or a range",
				"names nothing: it is about every request%s", of(e.Realms))
		}
	}
}

// of says of which listeners.
func of(realms []string) string {
	if len(realms) == 1 {
		return " at outside." + realms[0]
	}
	return ""
}

// conditions are the patterns for one part of a message.
type conditions struct {
	key  string
	list Patterns
}

func (e *MessageEntry) fields() []conditions {
	return []conditions{
		{"user_agent", e.UserAgent}, {"from", e.From}, {"to", e.To}, {"request_uri", e.RequestURI}, {"call_id", e.CallID},
	}
}

func (c *checker) patterns(path string, list Patterns) {
	for i, p := range list {
		at := index(path, i)
		switch {
		case p.Mode == "absent" && p.Match != "":
			c.fail(at+".match", "remove it, or choose another mode", "stands beside mode absent, which asks for a missing or empty field")
		case p.Mode == "absent":
		case strings.TrimSpace(p.Match) == "":
			c.fail(at+".match", "write what to look for, or { mode: absent } for a field that is missing or empty", "empty: it would match everything")
		case slices.Contains(list[:i], p):
			c.fail(at, "remove it", "%q stands here twice", p.Match)
		default:
			c.text(at+".match", p.Match, p.Mode)
		}
	}
}

// longestText bounds what a rule compares with.
const longestText = 256

// text checks what a rule compares with a part of a message.
func (c *checker) text(path, match, mode string) {
	if len(match) > longestText {
		c.fail(path, "keep what tells it from others", "longer than %d bytes", longestText)
		return
	}
	if _, err := regexp.Compile(match); mode == "regex" && err != nil {
		c.fail(path, "expressions are RE2: no look-around, no back-references", "%s", err)
	}
}

// agents checks the expressions of the rules on User-Agent.
func (c *checker) agents() {
	for i, e := range c.doc.Policy.DenyUserAgents {
		at := index("policy.deny_user_agents", i) + ".match"
		if strings.TrimSpace(e.Match) == "" {
			c.fail(at, "write the User-Agent, or remove the rule; a missing one is met by policy.message_rules: { user_agent: { mode: absent } }",
				"empty: it would match everything")
			continue
		}
		c.text(at, e.Match, e.Mode)
	}
}
