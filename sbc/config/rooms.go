package config

import (
	"errors"
	"strings"

	"sallyport/policy"
	"sallyport/policy/toll"
	"sallyport/sbc/cdr"
)

// rooms lets the rooms that work by the configuration judge their parts. It runs on a document that is right otherwise.
func (c *checker) rooms() {
	built := buildPolicy(c.doc)
	rules, err := policy.Compile(built.Guard(), policy.Data{})
	c.refused(err)
	if rules != nil {
		for _, w := range rules.Warnings() {
			c.guardWarning(w)
		}
	}
	tolls, err := toll.Compile(&built.Toll)
	c.refused(err)
	if tolls != nil {
		for _, w := range tolls.Warnings() {
			c.guardWarning(w)
		}
	}
	limits := map[string]string{}
	for method, r := range c.doc.PBX.Limits {
		limits[method] = r.String()
	}
	c.refused(policy.ValidateBudgets(limits))
	// Its errors read "keep 1h: give at least …".
	for _, e := range parts(buildCDR(&c.doc.CDR).Validate()) {
		what, hint, _ := strings.Cut(e.Error(), ": ")
		key, value, _ := strings.Cut(what, " ")
		c.fail("cdr."+key, hint, "%s does not work", value)
	}
}

// refused places the errors of rooms that begin with the path of their key, and may end with what to do.
func (c *checker) refused(err error) {
	for _, e := range parts(err) {
		path, what, _ := strings.Cut(e.Error(), ": ")
		what, hint, _ := strings.Cut(what, "; ")
		c.fail(path, hint, "%s", what)
	}
}

// guardWarning places a warning of the guard: those on rules of the file begin with the path of the rule, those on shipped
// rules are notes, since nobody wrote them.
func (c *checker) guardWarning(text string) {
	path, what := "policy.deny_user_agents", text
	written := strings.HasPrefix(text, "policy.")
	if written {
		path, what, _ = strings.Cut(text, " ")
		path = strings.TrimSuffix(path, ":")
		if c.isShippedLimit(path) {
			path, what, written = "policy.rate_limits", `the shipped rule `+what, false
		}
	}
	what, hint, found := strings.Cut(what, "; ")
	switch {
	case written:
		c.warn(path, hint, "%s", what)
	case found || path != "policy.deny_user_agents": // that one shipped name covers another is nothing to be done about
		c.report.note(c.from.problem(path, what, hint))
	}
}

// isShippedLimit reports whether a path is that of the shipped rate limit, which stands behind that of the command line.
func (c *checker) isShippedLimit(path string) bool {
	last := len(c.doc.Policy.RateLimits) - 1
	return last >= 0 && within(path, index("policy.rate_limits", last)) && !c.from.given("policy.rate_limits") &&
		areShippedLimits(c.doc.Policy.RateLimits[last:])
}

// parts takes a joined error apart.
func parts(err error) []error {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &joined):
		return joined.Unwrap()
	}
	return []error{err}
}

func buildCDR(s *CDRSection) cdr.Config {
	return cdr.Config{
		Directory: s.Directory, Format: s.Format, Rotate: s.Rotate.Std(), Keep: s.Keep.Std(), MaxSize: int64(s.MaxSize),
	}
}
