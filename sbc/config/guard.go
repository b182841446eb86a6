package config

import (
	"maps"
	"slices"

	"sallyport/nat"
	"sallyport/policy"
)

// Guard is the policy in the guard's own terms.
func (p *Policy) Guard() *policy.Config {
	out := &policy.Config{
		Emergency: p.Emergency,
		Strangers: policy.StrangersConfig{
			Phones: manner(p.Answer[nat.Phones]), Trunks: manner(p.Answer[nat.Trunks]),
			Rate: p.StrangersRate.String(), Burst: &p.StrangersBurst,
		},
		Phones:    policy.PhonesConfig{Registrar: p.Registrar, Unregistered: p.Unregistered},
		Countries: p.Countries.guard(),
		Bans: policy.BansConfig{
			Points: &p.Bans.Points, Within: p.Bans.Within, First: p.Bans.First, Factor: &p.Bans.Factor, Most: p.Bans.Most,
			Shadow: p.Bans.Shadow,
		},
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
	for _, f := range p.Feeds {
		out.Feeds = append(out.Feeds, policy.FeedConfig{
			Name: f.Name, Realms: realmNames(f.Realms), Shadow: f.Shadow, Comment: f.Comment,
		})
	}
	for i := range p.Messages {
		out.MessageRules = append(out.MessageRules, p.Messages[i].guard())
	}
	if !p.Shipped {
		out.DenyUserAgents = []policy.UserAgentConfig{}
		for _, a := range p.Agents {
			out.DenyUserAgents = append(out.DenyUserAgents, policy.UserAgentConfig(a))
		}
	}
	if !p.ShippedLimits {
		out.RateLimits = []policy.RateLimitConfig{}
		for i := range p.Limits {
			out.RateLimits = append(out.RateLimits, p.Limits[i].guard())
		}
	}
	return out
}

func (w *White) exempt() []string {
	var out []string
	for _, e := range []struct {
		on   bool
		name string
	}{{w.Limits, "limits"}, {w.Bans, "bans"}, {w.UserAgents, "user_agents"}, {w.Countries, "countries"}} {
		if e.on {
			out = append(out, e.name)
		}
	}
	return out
}

func (l *RateLimit) guard() policy.RateLimitConfig {
	out := policy.RateLimitConfig{
		Name: l.Name, Range: texts(l.Range), Realms: realmNames(l.Realms), Preset: l.Preset,
		PerPhone: l.PerPhone, Stack: l.Stack, Action: l.Action, Shadow: l.Shadow, Comment: l.Comment,
	}
	if l.Preset == "" {
		out.Limits = map[string]string{}
	}
	for method, rate := range l.Limits {
		out.Limits[method] = rate.String()
	}
	if l.Burst > 0 {
		out.Burst = &l.Burst
	}
	return out
}

func (g *Geography) guard() policy.CountriesConfig {
	out := policy.CountriesConfig{Mode: "deny", List: g.List, Realms: realmNames(g.Realms), Unknown: "allow", Shadow: g.Shadow}
	if g.Allow {
		out.Mode = "allow"
	}
	if g.Unknown {
		out.Unknown = "deny"
	}
	return out
}

func (m *MessageRule) guard() policy.MessageRuleConfig {
	return policy.MessageRuleConfig{
		Name: m.Name, Range: texts(m.Range), Realms: realmNames(m.Realms), Transports: m.Transports, Methods: m.Methods,
		UserAgent: guardPatterns(m.UserAgent), From: guardPatterns(m.From), To: guardPatterns(m.To),
		RequestURI: guardPatterns(m.URI), CallID: guardPatterns(m.CallID),
		Action: m.Action, Shadow: m.Shadow, Comment: m.Comment,
	}
}

func guardPatterns(list []TextPattern) []policy.PatternConfig {
	var out []policy.PatternConfig
	for _, p := range list {
		out = append(out, policy.PatternConfig(p))
	}
	return out
}

func manner(answer bool) string {
	if answer {
		return "answer"
	}
	return "silent"
}

func texts(list Scopes) []string {
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
