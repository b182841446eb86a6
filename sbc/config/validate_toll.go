package config

import (
	"regexp"
	"slices"
	"strings"

	"sallyport/policy/toll"
)

// Words of `from` in policy.calls besides trunks and users.
var callers = []string{"phones", "strangers", "pbx"}

var (
	prefixRE = regexp.MustCompile(`^(\+|\+?[0-9*#]{1,32})$`)
	// Six digits hold them all, with a prefix for an outside line.
	emergencyRE = regexp.MustCompile(`^[0-9*#]{2,6}$`)
	userRE      = regexp.MustCompile(`^[^\s@<>"]{1,64}(@[^\s@<>"]{1,253})?$`)
)

// calls checks the rules on who may call what.
func (c *checker) calls() {
	names := ruleNames{}
	for i := range c.doc.Policy.Calls {
		at, e := index("policy.calls", i), &c.doc.Policy.Calls[i]
		names.check(c, at, e.Name, "premium", "what was called is counted by it")
		c.words(at+".from", e.From, false)
		c.words(at+".numbers", e.Numbers, false)
		c.callers(at+".from", e.From)
		for j, n := range e.Numbers {
			if !prefixRE.MatchString(toll.Number(n)) {
				c.fail(index(at+".numbers", j), "write how the number begins as it is dialled, such as +4990, 0900 or 00881", "%q is not the beginning of a number", n)
			}
		}
		c.budget(at, e)
		if e.Action == "alarm" && c.from.given(at+".code") {
			c.warn(at+".code", "remove it", "an alarm refuses nothing")
		}
	}
}

// emergency checks the numbers that nothing stops: exact ones, for a prefix would let whole countries pass.
func (c *checker) emergency() {
	c.words("emergency.numbers", c.doc.Emergency.Numbers, false)
	for i, n := range c.doc.Emergency.Numbers {
		if !emergencyRE.MatchString(n) {
			c.fail(index("emergency.numbers", i), "write it as it is dialled, such as 112", "%q is not an emergency number", n)
		}
	}
}

// budget checks that a rule either bounds what each caller may use, or says whose calls or which numbers it refuses.
func (c *checker) budget(at string, e *CallEntry) {
	bounded := e.Concurrent+e.PerMinute+e.MinutesPerDay > 0
	switch {
	case bounded && e.Per == "":
		c.fail(at+".per", "write per: aor (a user of the PBX), trunk, or source (an address)", "missing: for whom are the bounds?")
	case !bounded && e.Per != "":
		c.fail(at+".per", "add concurrent, per_minute or minutes_per_day; or remove it to refuse the calls themselves", "bounds nothing")
	case !bounded && len(e.Numbers)+len(e.From) == 0:
		c.fail(at, "give it numbers or from; or per with concurrent, per_minute or minutes_per_day", "would refuse every call")
	}
	if e.Code == 401 || e.Code == 407 || e.Code == 503 {
		c.fail(at+".code", "write 403, or 603", "%d would be taken for a challenge or an outage", e.Code)
	}
}

func (c *checker) callers(path string, list Words) {
	for i, w := range list {
		at := index(path, i)
		isTrunk := slices.ContainsFunc(c.doc.Trunks, func(t TrunkEntry) bool { return t.Name == w })
		switch {
		case slices.Contains(callers, w) && isTrunk:
			c.warn(at, "give the trunk another name", "%q is a trunk's name too; here it means what the word says", w)
		case slices.Contains(callers, w) || isTrunk:
		case slices.Contains(callers, strings.ToLower(w)):
			c.fail(at, "write "+strings.ToLower(w), "%q is not written so", w)
		case !userRE.MatchString(w):
			c.fail(at, "write phones, strangers, pbx, the name of a trunk, a user, or user@domain", "%q is none of those who call", w)
		}
	}
}
