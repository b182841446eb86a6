package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

func (c *checker) policy() {
	p := &c.doc.Policy
	for i, e := range p.WhiteList {
		at := index("policy.white_list", i)
		c.addresses(at+".range", e.Range)
		c.words(at+".realms", e.Realms, true)
		c.words(at+".exempt", e.Exempt, true)
		c.noAny(at+".range", e.Range, "nothing would be checked any more")
	}
	for i, e := range p.BlackList {
		at := index("policy.black_list", i)
		c.addresses(at+".range", e.Range)
		c.words(at+".realms", e.Realms, true)
		c.blocked(at, e)
	}
	c.agents()
	c.rates()
	c.words("policy.log.classes", p.Log.Classes, false)
}

func (c *checker) addresses(path string, r Ranges) {
	if len(r) == 0 {
		c.fail(path, rangeHint, "missing")
	}
}

// blocked warns of a black-listed trunk or node: neither is ever blocked.
func (c *checker) blocked(path string, e BlackEntry) {
	for i := range c.doc.Trunks {
		for _, p := range c.doc.Trunks[i].Peers {
			if p.Address.IsValid() && e.Range.Contains(p.Address.Addr()) {
				c.warn(path, "narrow the range, or remove the trunk", "%s of trunk %q is black-listed", p.Address.Addr(), c.doc.Trunks[i].Name)
			}
		}
	}
	for _, n := range c.doc.PBX.Nodes {
		if n.Address.IsValid() && e.Range.Contains(n.Address.Addr()) {
			c.warn(path, "narrow the range", "the PBX node %s is black-listed", n.Address.Addr())
		}
	}
}

// agents checks the expressions of the rules on User-Agent.
func (c *checker) agents() {
	for i, e := range c.doc.Policy.DenyUserAgents {
		at := index("policy.deny_user_agents", i) + ".match"
		if strings.TrimSpace(e.Match) == "" {
			c.fail(at, "write the User-Agent, or remove the rule", "empty: it would match everything")
			continue
		}
		if _, err := regexp.Compile(e.Match); e.Mode == "regex" && err != nil {
			c.fail(at, "expressions are RE2: no look-around, no back-references", "%s", err)
		}
	}
}

func (c *checker) rates() {
	p, names := &c.doc.Policy, map[string]bool{}
	for i := range p.RateLimits {
		at, e := index("policy.rate_limits", i), &p.RateLimits[i]
		if e.Name == "" {
			c.fail(at+".name", "write name: remote phones; logs and why speak of the rule by its name", "missing")
		}
		if len(e.Name) > 64 || strings.ContainsFunc(e.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			c.fail(at+".name", "use at most 64 printable characters", "%q is not a name", e.Name)
		}
		c.addresses(at+".range", e.Range)
		c.words(at+".realms", e.Realms, true)
		if len(e.Limits) == 0 {
			c.fail(at+".limits", "write limits: { INVITE: 10/minute }", "the rule limits nothing")
		}
		for _, method := range slices.Sorted(maps.Keys(e.Limits)) {
			c.method(join(at+".limits", method), method)
		}
		if e.Name != "" && names[e.Name] {
			c.fail(at+".name", "give one of the two another name; debt is kept by it", "%q is the name of another rule", e.Name)
		}
		names[e.Name] = true
	}
	if len(p.RateLimits) == 0 && !c.from.given("policy.rate_limits") {
		c.warn("policy.rate_limits", "add a rule, or write rate_limits: [] to say that none is meant",
			"absent: sources are not limited one by one, only all strangers together")
	}
}

// method checks a method's name; methods are case-sensitive (RFC 3261 §7.1).
func (c *checker) method(path, method string) {
	if !tokenRE.MatchString(method) {
		c.fail(path, "write a method such as INVITE, or * for all others", "%q is not a method", method)
		return
	}
	if up := strings.ToUpper(method); up != method {
		c.fail(path, "write "+up, "%q is not a method: methods are upper case", method)
	}
}
