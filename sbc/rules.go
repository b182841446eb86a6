package sbc

import (
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
)

// policyConfig is the configuration in the guard's terms.
func policyConfig(p *config.Policy) *policy.Config {
	burst := p.StrangersBurst
	out := &policy.Config{
		Strangers: policy.StrangersConfig{
			Phones: manner(p.Answer[nat.Phones]), Trunks: manner(p.Answer[nat.Trunks]), Rate: p.StrangersRate.String(),
			Burst: &burst,
		},
		DenyUserAgents: []policy.UserAgentConfig{},
		Log:            policy.LogConfig{MaxEntries: &p.Log.Max, Per: unit(p.Log.Per), Classes: []string{}},
	}
	for _, w := range p.White {
		out.WhiteList = append(out.WhiteList, policy.WhiteEntry{
			Range: texts(w.Range), Realms: realms(w.Realms), Exempt: exemptions(&w), Comment: w.Comment,
		})
	}
	for _, b := range p.Black {
		out.BlackList = append(out.BlackList, policy.BlackEntry{
			Range: texts(b.Range), Realms: realms(b.Realms), Until: b.Until, Comment: b.Comment,
		})
	}
	for _, u := range p.Agents {
		out.DenyUserAgents = append(out.DenyUserAgents, policy.UserAgentConfig{
			Match: u.Match, Mode: u.Mode, Action: u.Action, Shadow: u.Shadow, Comment: u.Comment,
		})
	}
	for _, l := range p.Limits {
		rule := policy.RateLimitConfig{
			Name: l.Name, Range: texts(l.Range), Realms: realms(l.Realms), Limits: map[string]string{}, Stack: l.Stack,
			Action: l.Action, Shadow: l.Shadow, Comment: l.Comment,
		}
		for method, r := range l.Limits {
			rule.Limits[method] = r.String()
		}
		if l.Burst > 0 {
			rule.Burst = &l.Burst
		}
		out.RateLimits = append(out.RateLimits, rule)
	}
	for class, on := range p.Log.Classes {
		if on {
			out.Log.Classes = append(out.Log.Classes, class)
		}
	}
	return out
}

func manner(answer bool) string {
	if answer {
		return "answer"
	}
	return "silent"
}

func exemptions(w *config.White) []string {
	out := []string{}
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

func realms(on [2]bool) []string {
	var out []string
	for r, yes := range on {
		if yes {
			out = append(out, nat.Realm(r).String())
		}
	}
	return out
}

func texts(list config.Ranges) []string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.String()
	}
	return out
}

// guardPeers is who the guard knows: trunks at their realm outside, nodes and the PBX's other sources inside.
func (w *world) guardPeers() []policy.Peer {
	var out []policy.Peer
	one := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	for i := range w.snap.Trunks {
		t := &w.snap.Trunks[i]
		add := func(p netip.Prefix) {
			out = append(out, policy.Peer{
				Prefix: p, Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: t.Name,
			})
		}
		for _, p := range t.Peers {
			add(one(p.Address.Addr()))
		}
		for _, p := range t.Sources {
			add(p)
		}
	}
	for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
		for _, n := range w.snap.PBX.Nodes {
			out = append(out, policy.Peer{
				Prefix: one(n.Address.Addr()), Kind: policy.Node, Side: nat.Inside, Realm: realm, Name: n.Address.String(),
			})
		}
		for _, p := range w.snap.PBX.Sources {
			out = append(out, policy.Peer{Prefix: p, Kind: policy.Node, Side: nat.Inside, Realm: realm, Name: pbxName})
		}
	}
	return out
}

// unit names a duration of policy.log.per.
func unit(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case 24 * time.Hour:
		return "day"
	default:
		return "hour"
	}
}

// Remarks are what `sbc check` says of a valid configuration's rules: which shadows which, and which meet genuine phones.
func Remarks(snap *config.Snapshot) ([]string, error) {
	rules, err := policy.Compile(policyConfig(&snap.Policy))
	if err != nil {
		return nil, err
	}
	return rules.Warnings(), nil
}
