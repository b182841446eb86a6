package config

import (
	"time"

	"sallyport/nat"
	"sallyport/policy/toll"
)

func buildPolicy(d *Document) Policy {
	p := &d.Policy
	out := Policy{
		Registrar: d.registrar(), Unregistered: d.Phones.Unregistered,
		StrangersRate: p.Strangers.Rate, StrangersBurst: p.Strangers.Burst,
		Shipped: isShipped(p.DenyUserAgents), ShippedLimits: areShippedLimits(p.RateLimits),
		Countries: buildGeography(p), Messages: buildMessages(p.MessageRules), Toll: buildToll(p.Calls),
		Bans: Bans{
			Points: p.Bans.Points, Within: p.Bans.Within.Std(), First: p.Bans.First.Std(), Factor: p.Bans.Factor,
			Most: p.Bans.Most.Std(), Shadow: p.Bans.Shadow, Kernel: p.Bans.Kernel,
		},
		Log:       EventLog{Max: p.Log.MaxEntries, Per: unitOf(p.Log.Per), Classes: setOf(p.Log.Classes)},
		Emergency: d.Emergency.Numbers, ReloadGuard: p.ReloadGuard, Recorder: int64(p.Recorder),
		Captures: Captures{p.Capture.Directory, int64(p.Capture.MaxSize), p.Capture.Files, p.Capture.Media},
	}
	out.Answer[nat.Phones] = p.Strangers.Phones == "answer"
	out.Answer[nat.Trunks] = p.Strangers.Trunks == "answer"
	buildLists(p, &out)
	for _, e := range p.DenyUserAgents {
		out.Agents = append(out.Agents, Agent(e))
	}
	for _, e := range p.RateLimits {
		out.Limits = append(out.Limits, RateLimit{
			Name: e.Name, Range: e.Range, Realms: realms(e.Realms), Preset: e.Preset, Limits: e.Limits, Burst: e.Burst,
			PerPhone: e.PerPhone, Stack: e.Stack, Shadow: e.Shadow, Action: e.Action, Comment: e.Comment,
		})
	}
	return out
}

func buildLists(p *PolicySection, out *Policy) {
	for _, e := range p.WhiteList {
		from := setOf(e.Exempt)
		out.White = append(out.White, White{
			Range: e.Range, Realms: realms(e.Realms), Comment: e.Comment,
			Limits: from["limits"], Bans: from["bans"], UserAgents: from["user_agents"], Countries: from["countries"],
		})
	}
	for _, e := range p.BlackList {
		out.Black = append(out.Black, Black{Range: e.Range, Realms: realms(e.Realms), Until: e.Until.Time, Comment: e.Comment})
	}
	for _, e := range p.Feeds {
		out.Feeds = append(out.Feeds, Feed{
			Name: e.Name, URL: e.URL, File: e.File, Every: e.Every.Std(), Realms: realms(e.Realms), MaxEntries: e.MaxEntries,
			Shadow: e.Shadow, Comment: e.Comment,
		})
	}
}

func buildGeography(p *PolicySection) Geography {
	c := &p.Countries
	_, used := p.wantsCountries()
	out := Geography{
		Database: c.Database, Used: used, Allow: c.Mode == "allow", Realms: realms(c.Realms), Unknown: c.Unknown == "deny",
		Shadow: c.Shadow,
	}
	for _, code := range c.List {
		out.List = append(out.List, string(code))
	}
	return out
}

// wantsCountries reports whether anything asks for the country of a source, and the first key that does.
func (p *PolicySection) wantsCountries() (path string, ok bool) {
	if len(p.Countries.List) > 0 {
		return "policy.countries.list", true
	}
	for at, list := range p.scopes() {
		for i, s := range list {
			if s.Country() != "" {
				return index(at, i), true
			}
		}
	}
	return "", false
}

// scopes yields every range of the rules, with its path.
func (p *PolicySection) scopes() func(yield func(string, Scopes) bool) {
	return func(yield func(string, Scopes) bool) {
		for i, e := range p.WhiteList {
			if !yield(index("policy.white_list", i)+".range", e.Range) {
				return
			}
		}
		for i, e := range p.BlackList {
			if !yield(index("policy.black_list", i)+".range", e.Range) {
				return
			}
		}
		for i := range p.MessageRules {
			if !yield(index("policy.message_rules", i)+".range", p.MessageRules[i].Range) {
				return
			}
		}
		for i := range p.RateLimits {
			if !yield(index("policy.rate_limits", i)+".range", p.RateLimits[i].Range) {
				return
			}
		}
	}
}

func buildMessages(list []MessageEntry) []MessageRule {
	var out []MessageRule
	for i := range list {
		e := &list[i]
		out = append(out, MessageRule{
			Name: e.Name, Range: e.Range, Realms: realms(e.Realms), Transports: e.Transports, Methods: e.Methods,
			UserAgent: e.UserAgent.built(), From: e.From.built(), To: e.To.built(), URI: e.RequestURI.built(), CallID: e.CallID.built(),
			Action: e.Action, Shadow: e.Shadow, Capture: e.Capture, Comment: e.Comment,
		})
	}
	return out
}

func (l Patterns) built() []TextPattern {
	var out []TextPattern
	for _, p := range l {
		out = append(out, TextPattern(p))
	}
	return out
}

func buildToll(list []CallEntry) toll.Config {
	var out toll.Config
	for i := range list {
		e := &list[i]
		out.Rules = append(out.Rules, toll.Rule{
			Name: e.Name, Numbers: e.Numbers, From: e.From, Per: e.Per, Concurrent: e.Concurrent, PerMinute: e.PerMinute,
			MinutesPerDay: e.MinutesPerDay, Action: e.Action, Code: e.Code, Shadow: e.Shadow, Comment: e.Comment,
		})
	}
	return out
}

func unitOf(name string) time.Duration {
	for _, u := range rateUnits {
		if u.name == name {
			return u.per
		}
	}
	return time.Hour
}

func setOf(words []string) map[string]bool {
	out := map[string]bool{}
	for _, w := range words {
		out[w] = true
	}
	return out
}
