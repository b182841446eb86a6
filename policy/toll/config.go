package toll

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rule is an entry of policy.calls.
type Rule struct {
	Name    string   `yaml:"name"`    // counts are kept by it
	Numbers []string `yaml:"numbers"` // first digits, such as +4990 or 0900; empty: every number
	// From says whose calls: phones, strangers, pbx, the name of a trunk, a user or user@domain. Empty: everybody's but the
	// trunks', whose calls are judged where a rule names them, or counts per trunk.
	From []string `yaml:"from"`

	// Per makes a budget rule: aor, trunk or source. Empty: a destination rule.
	Per           string `yaml:"per"`
	Concurrent    int    `yaml:"concurrent"`      // calls at a time; 0: no bound
	PerMinute     int    `yaml:"per_minute"`      // new calls a minute; 0: no bound
	MinutesPerDay int    `yaml:"minutes_per_day"` // minutes talked in 24 hours; 0: no bound

	Action  string `yaml:"action"` // reject | alarm; empty: reject
	Code    int    `yaml:"code"`   // of the refusal; 0: 403
	Shadow  bool   `yaml:"shadow"`
	Comment string `yaml:"comment"`
}

// Config is policy.calls.
type Config struct{ Rules []Rule }

// The bounds of a rule set. They keep a verdict cheap whatever a file holds.
const (
	rulesMost   = 1_000
	numbersMost = 100_000 // prefixes of all rules together
	digitsMost  = 32      // of one prefix; E.164 numbers have 15
	budgetMost  = 1_000_000
)

// defaultCode refuses without a hint that another number or time would do.
const defaultCode = 403

// Validate reports everything that is wrong at once. Each error begins with the path of its key, such as
// policy.calls[2].numbers.
func (c *Config) Validate() error {
	var errs []error
	fail := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
	}
	if len(c.Rules) > rulesMost {
		fail("policy.calls", "has %d rules, more than %d; rules of one action can share their numbers", len(c.Rules), rulesMost)
	}
	names, numbers := map[string]int{}, 0
	for i := range c.Rules {
		r := &c.Rules[i]
		path := pathOf(i)
		first, used := names[r.Name]
		switch {
		case r.Name == "":
			fail(path+".name", "is empty; give the rule a name: counts are kept by it, and the log tells it")
		case used:
			fail(path+".name", "%q is also the name of policy.calls[%d]; counts are kept by name, choose another", r.Name, first)
		default:
			names[r.Name] = i
		}
		numbers += len(r.Numbers)
		r.validate(path, fail)
	}
	if numbers > numbersMost {
		fail("policy.calls", "names %d numbers, more than %d; shorter prefixes say the same", numbers, numbersMost)
	}
	return errors.Join(errs...)
}

func pathOf(i int) string { return fmt.Sprintf("policy.calls[%d]", i) }

func (r *Rule) validate(path string, fail func(path, format string, args ...any)) {
	for _, n := range r.Numbers {
		if why := badPrefix(n); why != "" {
			fail(path+".numbers", "%q %s; write the first digits of a number, such as +4990 or 0900", n, why)
		}
	}
	for _, w := range r.From {
		if strings.TrimSpace(w) == "" || strings.ContainsAny(w, " \t,") {
			fail(path+".from", "%q is nobody; write phones, strangers, pbx, a trunk's name, a user or user@domain", w)
		}
	}
	if !slices.Contains([]string{"", "reject", "alarm"}, r.Action) {
		fail(path+".action", "%q is not known; write reject or alarm", r.Action)
	}
	if r.Code != 0 && (r.Code < 400 || r.Code > 699) {
		fail(path+".code", "%d is no refusal; write a code from 400 to 699, or leave it out for %d", r.Code, defaultCode)
	}
	if r.Code == 401 || r.Code == 407 || r.Code == 503 {
		fail(path+".code", "%d would be taken for a challenge or an outage; 403 and 603 say no", r.Code)
	}
	r.validateBudget(path, fail)
}

func (r *Rule) validateBudget(path string, fail func(path, format string, args ...any)) {
	bounded := false
	for _, b := range []struct {
		key string
		n   int
	}{{"concurrent", r.Concurrent}, {"per_minute", r.PerMinute}, {"minutes_per_day", r.MinutesPerDay}} {
		if b.n < 0 || b.n > budgetMost {
			fail(path+"."+b.key, "%d is out of range; write 1 to %d, or leave it out for no bound", b.n, budgetMost)
		}
		bounded = bounded || b.n != 0
	}
	switch {
	case !slices.Contains([]string{"", "aor", "trunk", "source"}, r.Per):
		fail(path+".per", "%q is not known; write aor, trunk or source", r.Per)
	case r.Per == "" && bounded:
		fail(path+".per", "is missing: say for whom the budget is, aor, trunk or source")
	case r.Per != "" && !bounded:
		fail(path+".per", "without a budget; add concurrent, per_minute or minutes_per_day, or leave per out to refuse the numbers themselves")
	case r.Per == "" && len(r.Numbers) == 0 && len(r.From) == 0:
		fail(path+".numbers", "is empty, and so is from: the rule would refuse every call; name numbers, or whose calls")
	}
}

// badPrefix says what is wrong with a prefix; empty: nothing.
func badPrefix(text string) string {
	n := Number(text)
	switch {
	case n == "":
		return "has no digits"
	case len(n) > digitsMost:
		return fmt.Sprintf("is longer than %d digits", digitsMost)
	}
	for i := range len(n) {
		if key(n[i]) < 0 || n[i] == '+' && i > 0 {
			return "is no number"
		}
	}
	return ""
}
