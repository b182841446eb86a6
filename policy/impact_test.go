package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
)

func subjects() []ImpactSubject {
	return []ImpactSubject{
		{Who: "trunk itsp", Source: addrPort("203.0.113.20"), Side: nat.Outside, Realm: nat.Trunks, Vital: true},
		{Who: "node 10.0.0.10:5060", Source: addrPort("10.0.0.10"), Side: nat.Inside, Realm: nat.Trunks, Vital: true},
		{Who: "your own session", Source: addrPort("192.0.2.5"), Side: nat.Outside, Realm: nat.Phones, Vital: true},
		{Who: "phone 204@example.com", Source: addrPort("198.51.100.7:40122"), Side: nat.Outside, Realm: nat.Phones, Agent: "Yealink SIP-T46U", AoR: "204@example.com"},
		{Who: "phone 205@example.com", Source: addrPort("198.51.100.77:40123"), Side: nat.Outside, Realm: nat.Phones, Agent: "eyeBeam release 1102q", AoR: "205@example.com"},
	}
}

func hitText(hits []Hit) (list []string) {
	for _, h := range hits {
		list = append(list, fmt.Sprintf("%s %s %s %s", h.Subject.Who, h.Method, h.Reason, h.Rule))
	}
	return list
}

func TestImpact(t *testing.T) {
	none := func() *Config {
		return &Config{Phones: PhonesConfig{Registrar: true}, DenyUserAgents: []UserAgentConfig{}, RateLimits: []RateLimitConfig{}}
	}
	for name, c := range map[string]struct {
		next func(*Config)
		want []string
	}{
		"nothing": {func(*Config) {}, nil},
		"black list": {func(c *Config) {
			c.BlackList = []BlackEntry{{Range: []string{"203.0.113.0/24"}}, {Range: []string{"198.51.100.7"}, Realms: []string{"trunks"}}}
		},
			[]string{`trunk itsp INVITE black-list policy.black_list[0] rule "203.0.113.0/24"`}},
		"the PBX": {func(c *Config) { c.BlackList = []BlackEntry{{Range: []string{"10.0.0.0/8"}}} },
			[]string{`node 10.0.0.10:5060 INVITE black-list policy.black_list[0] rule "10.0.0.0/8"`}},
		"the administrator": {func(c *Config) { c.BlackList = []BlackEntry{{Range: []string{"192.0.2.0/24"}}} },
			[]string{`your own session REGISTER black-list policy.black_list[0] rule "192.0.2.0/24"`}},
		"everybody, spared": {func(c *Config) {
			c.BlackList, c.WhiteList = []BlackEntry{{Range: []string{"any"}}}, []WhiteEntry{{Range: []string{"any"}}}
		}, nil},
		"their own User-Agent": {func(c *Config) { c.DenyUserAgents = []UserAgentConfig{{Match: "eyeBeam"}} },
			[]string{`phone 205@example.com REGISTER user-agent policy.deny_user_agents[0] rule "eyeBeam"`}},
		"in shadow":             {func(c *Config) { c.DenyUserAgents = []UserAgentConfig{{Match: "eyeBeam", Shadow: true}} }, nil},
		"an alarm":              {func(c *Config) { c.DenyUserAgents = []UserAgentConfig{{Match: "eyeBeam", Action: "alarm"}} }, nil},
		"silence for strangers": {func(c *Config) { c.Phones = PhonesConfig{} }, nil},
	} {
		g := newGuard(t, none())
		registerPhones(g, "198.51.100.77", 1)
		next := none()
		c.next(next)
		before := fmt.Sprint(g.Levels(noon))
		got := hitText(Impact(noon, g, compile(t, next), subjects()))
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
		if after := fmt.Sprint(g.Levels(noon)); after != before {
			t.Errorf("%s: it changes something: %s, was %s", name, after, before)
		}
		// What is refused already is no news.
		g.SetRules(noon, compile(t, next))
		if got = hitText(Impact(noon, g, compile(t, next), subjects())); len(got) != 0 {
			t.Errorf("%s again: %q", name, got)
		}
	}
}

// Nothing that newly lets somebody pass is a hit, and what a rule set does is a hit exactly when Check says so.
func TestImpactAgreesWithCheck(t *testing.T) {
	next := &Config{Phones: PhonesConfig{Registrar: true}, BlackList: []BlackEntry{{Range: []string{"198.51.100.0/26"}}},
		DenyUserAgents: []UserAgentConfig{{Match: "Yealink"}}, RateLimits: []RateLimitConfig{}}
	was := registrar()
	was.DenyUserAgents = []UserAgentConfig{}
	g := newGuard(t, was)
	registerPhones(g, "198.51.100.77", 1)
	hit := map[string]bool{}
	for _, h := range Impact(noon, g, compile(t, next), subjects()) {
		hit[h.Subject.Who] = true
	}
	after := newGuard(t, next)
	registerPhones(after, "198.51.100.77", 1)
	for _, s := range subjects()[3:] {
		m := msg{method: "REGISTER", agent: s.Agent}
		v := send(after, noon, &nat.Interface{Side: s.Side, Realm: s.Realm}, s.Source.String(), m.bytes())
		if v.Refused() != hit[s.Who] {
			t.Errorf("%s: refused %v, a hit %v", s.Who, v.Refused(), hit[s.Who])
		}
	}
}

func TestBanImpact(t *testing.T) {
	g := newGuard(t, &Config{WhiteList: []WhiteEntry{{Range: []string{"198.51.100.77"}, Exempt: []string{"bans"}}}})
	registerPhones(g, "198.51.100.77", 1)
	ban := func(prefix string) Ban { return Ban{Prefix: netip.MustParsePrefix(prefix)} }
	flow, user, trunks, auto := ban("198.51.100.7/32"), ban("198.51.100.7/32"), ban("0.0.0.0/1"), ban("203.0.113.20/32")
	flow.Port, user.AoR, trunks.Realms, auto.Auto = 40122, "204", []nat.Realm{nat.Trunks}, true
	other := flow
	other.Port = 1
	must(t, g.Bans().Add(noon, ban("10.0.0.0/16"))) // is shut out already
	for _, c := range []struct {
		ban  Ban
		want string
	}{
		{ban("198.51.100.0/24"), "[phone 204@example.com INVITE ban ]"}, // 205 is white-listed
		{ban("203.0.113.0/24"), "[trunk itsp INVITE ban ]"},
		{ban("192.0.2.5/32"), "[your own session INVITE ban ]"},
		{ban("10.0.0.0/8"), "[]"},
		{ban("192.0.2.6/32"), "[]"},
		{flow, "[phone 204@example.com INVITE ban ]"},
		{other, "[]"},
		{user, "[phone 204@example.com INVITE ban ]"},
		{trunks, "[]"},
		{auto, "[]"},
		{Ban{}, "[]"},
	} {
		if got := fmt.Sprint(hitText(g.BanImpact(noon.Add(time.Second), c.ban, subjects()))); got != c.want {
			t.Errorf("%s: %s, want %s", c.ban.Target(), got, c.want)
		}
	}
}
