package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/cdr"
)

// Guard is the policy in the guard's own terms.
func (p *Policy) Guard() *policy.Config {
	out := &policy.Config{
		Strangers: policy.StrangersConfig{
			Phones: manner(p.Answer[nat.Phones]), Trunks: manner(p.Answer[nat.Trunks]),
			Rate: p.StrangersRate.String(), Burst: &p.StrangersBurst,
		},
		Phones:     policy.PhonesConfig{Registrar: p.Registrar, Unregistered: p.Unregistered},
		RateLimits: []policy.RateLimitConfig{},
		Log: policy.LogConfig{
			MaxEntries: &p.Log.Max, Per: unitName(p.Log), Classes: append([]string{}, slices.Sorted(maps.Keys(p.Log.Classes))...),
		},
	}
	for i := range p.White {
		w := &p.White[i]
		out.WhiteList = append(out.WhiteList, policy.WhiteEntry{
			Range: texts(w.Range), Realms: realmNames(w.Realms), Exempt: w.exempt(), Comment: w.Comment,
		})
	}
	for _, b := range p.Black {
		out.BlackList = append(out.BlackList, policy.BlackEntry{
			Range: texts(b.Range), Realms: realmNames(b.Realms), Until: b.Until, Comment: b.Comment,
		})
	}
	if !p.Shipped {
		out.DenyUserAgents = []policy.UserAgentConfig{}
		for _, a := range p.Agents {
			out.DenyUserAgents = append(out.DenyUserAgents, policy.UserAgentConfig(a))
		}
	}
	for i := range p.Limits {
		out.RateLimits = append(out.RateLimits, p.Limits[i].guard())
	}
	return out
}

func (w *White) exempt() []string {
	var out []string
	for _, e := range []struct {
		on   bool
		name string
	}{{w.Limits, "limits"}, {w.Bans, "bans"}, {w.UserAgents, "user_agents"}} {
		if e.on {
			out = append(out, e.name)
		}
	}
	return out
}

func (l *RateLimit) guard() policy.RateLimitConfig {
	out := policy.RateLimitConfig{
		Name: l.Name, Range: texts(l.Range), Realms: realmNames(l.Realms), Limits: map[string]string{},
		Stack: l.Stack, Action: l.Action, Shadow: l.Shadow, Comment: l.Comment,
	}
	for method, rate := range l.Limits {
		out.Limits[method] = rate.String()
	}
	if l.Burst > 0 {
		out.Burst = &l.Burst
	}
	return out
}

func manner(answer bool) string {
	if answer {
		return "answer"
	}
	return "silent"
}

func texts(list Ranges) []string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.String()
	}
	return out
}

func realmNames(on [2]bool) []string {
	var out []string
	for r, yes := range on {
		if yes {
			out = append(out, nat.Realm(r).String())
		}
	}
	return out
}

func unitName(l EventLog) string {
	for _, u := range rateUnits {
		if u.per == l.Per {
			return u.name
		}
	}
	return ""
}

// rooms lets the rooms that work by the configuration judge their parts. It runs on a document that is right otherwise.
func (c *checker) rooms() {
	built := buildPolicy(c.doc)
	rules, err := policy.Compile(built.Guard())
	for _, e := range parts(err) {
		path, what, _ := strings.Cut(e.Error(), ": ")
		c.fail(path, "", "%s", what)
	}
	if rules != nil {
		for _, w := range rules.Warnings() {
			c.guardWarning(w)
		}
	}
	// Its errors read "keep 1h: give at least …".
	for _, e := range parts(buildCDR(&c.doc.CDR).Validate()) {
		what, hint, _ := strings.Cut(e.Error(), ": ")
		key, value, _ := strings.Cut(what, " ")
		c.fail("cdr."+key, hint, "%s does not work", value)
	}
}

// guardWarning places a warning of the guard: those on rules of the file begin with the path of the rule, those on the
// shipped list are notes, since nobody wrote it.
func (c *checker) guardWarning(text string) {
	if rest, ok := strings.CutPrefix(text, "policy."); ok {
		path, what, _ := strings.Cut(rest, " ")
		what, hint, _ := strings.Cut(what, "; ")
		c.warn("policy."+strings.TrimSuffix(path, ":"), hint, "%s", what)
		return
	}
	if what, hint, ok := strings.Cut(text, "; "); ok { // without a hint there is nothing to be done
		c.report.note(c.from.problem("policy.deny_user_agents", what, hint))
	}
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
