package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"15/minute": {15, time.Minute}, "50/second": {50, time.Second}, " 1 / hour ": {1, time.Hour}, "100/day": {100, 24 * time.Hour},
	} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%q does not survive its own spelling %q", text, got)
		}
	}
	for _, text := range []string{"", "15", "/minute", "0/minute", "-1/minute", "1.5/second", "15/fortnight", "15/Minute", "99999999/second", "15/"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q is %v", text, got)
		} else if !strings.Contains(err.Error(), "minute") && !strings.Contains(err.Error(), "whole number") {
			t.Errorf("%q: the error does not help: %v", text, err)
		}
	}
	for rate, want := range map[string]int{"15/minute": 4, "60/minute": 6, "100/second": 600, "1/day": 4} {
		r, _ := ParseRate(rate)
		if got := r.DefaultBurst(); got != want {
			t.Errorf("burst of %s is %d, want %d", rate, got, want)
		}
	}
}

func TestValidateReportsEveryErrorWithItsPath(t *testing.T) {
	c := Config{
		Strangers: StrangersConfig{Phones: "loud", Rate: "many", Burst: ptr(0)},
		Phones:    PhonesConfig{Unregistered: "maybe"},
		WhiteList: []WhiteEntry{{Range: []string{"192.0.2.0/24"}}, {Range: []string{"nonsense"}, Realms: []string{"phone"}, Exempt: []string{"all"}}},
		BlackList: []BlackEntry{{}},
		DenyUserAgents: []UserAgentConfig{{Match: " "}, {Match: "a", Mode: "glob"}, {Match: "a", Action: "allow"}, {Match: "(", Mode: "regex"},
			{Match: strings.Repeat("x", 300)}},
		RateLimits: []RateLimitConfig{
			{Name: "a", Limits: map[string]string{"INVITE": "1/second"}},
			{Name: "a", Limits: map[string]string{"invite": "1/second", "REGISTER": "often"}, Burst: ptr(0), Action: "allow"},
			{Range: []string{"10.0.0.9-10.0.0.1"}, Action: "tarpit"},
			{Preset: "office:0"}, {Preset: "huge"}, {Preset: "home", Limits: map[string]string{"INVITE": "1/second"}, Burst: ptr(4)},
		},
		Log: LogConfig{MaxEntries: ptr(-1), Per: "week", Classes: []string{"everything"}},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		"policy.strangers.phones: ", "policy.strangers.rate: ", "policy.strangers.burst: ", "phones.unregistered: ",
		"policy.white_list[1].range: ", "policy.white_list[1].realms: ", "policy.white_list[1].exempt: ", "policy.black_list[0].range: ",
		"policy.deny_user_agents[0].match: ", "policy.deny_user_agents[1].mode: ", "policy.deny_user_agents[2].action: ",
		"policy.deny_user_agents[3].match: ", "policy.deny_user_agents[4].match: ",
		"policy.rate_limits[1].name: ", "policy.rate_limits[1].limits.invite: ", "policy.rate_limits[1].limits.REGISTER: ",
		"policy.rate_limits[1].burst: ", "policy.rate_limits[1].action: ",
		"policy.rate_limits[2].range: ", "policy.rate_limits[2].action: ", "policy.rate_limits[2].limits: ",
		"policy.rate_limits[3].preset: ", "policy.rate_limits[4].preset: ", "policy.rate_limits[5].limits: ", "policy.rate_limits[5].burst: ",
		"policy.log.max_entries: ", "policy.log.per: ", "policy.log.classes: ",
	} {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) })
		if i < 0 {
			t.Errorf("nothing about %s", want)
			continue
		}
		lines = slices.Delete(lines, i, i+1)
	}
	if len(lines) > 0 {
		t.Errorf("also: %s", strings.Join(lines, "\n"))
	}
	if _, err := Compile(&c, Data{}); err == nil {
		t.Error("Compile took it")
	}
}

func TestAbsentKeysHaveTheirDefaults(t *testing.T) {
	r := compile(t, &Config{})
	if r.budget.String() != "other 50/second burst 100" || r.answer != [2]bool{} {
		t.Errorf("strangers: %s %v", &r.budget, r.answer)
	}
	if n := len(r.agents.rules); n != len(shippedProducts)+len(shippedScanners) {
		t.Errorf("%d shipped agents", n)
	}
	if n := len(compile(t, &Config{DenyUserAgents: []UserAgentConfig{}}).agents.rules); n != 0 {
		t.Errorf("an empty list has %d", n)
	}
	if r.log.most != 6000 || r.log.per != time.Hour || r.log.classes != [classCount]bool{true, true, true, true, false} {
		t.Errorf("log: %+v", r.log)
	}
	if got := limitTexts(r); got != "shipped * 20/minute burst 20, shipped ACK 20/second burst 120, shipped INVITE 10/minute burst 4, shipped OPTIONS 10/minute burst 4, "+
		"shipped REGISTER 15/minute burst 4, shipped SUBSCRIBE 20/minute burst 20" {
		t.Errorf("absent rate_limits make %s", got)
	}
	if r = compile(t, &Config{RateLimits: []RateLimitConfig{}}); len(r.limits) != 0 {
		t.Errorf("an empty list has %s", limitTexts(r))
	}
}

// limitTexts lists the limits of a rule set.
func limitTexts(r *Rules) string {
	var list []string
	for i := range r.limits {
		list = append(list, r.infos[r.limits[i].rule].Name+" "+r.limits[i].String())
	}
	return strings.Join(list, ", ")
}

func TestTooManyEntriesAreRefused(t *testing.T) {
	c := Config{DenyUserAgents: make([]UserAgentConfig, maxAgents+1), RateLimits: make([]RateLimitConfig, maxLimitRules+1)}
	err := c.Validate()
	for _, want := range []string{"policy.deny_user_agents: has 1001 entries", "policy.rate_limits: has 1001 entries"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestMethodsAreCaseSensitive(t *testing.T) {
	for m := MethodInvite; m < methodCount; m++ {
		if MethodOf([]byte(m.String())) != m || MethodOf([]byte(strings.ToLower(m.String()))) != MethodOther {
			t.Errorf("%s", m)
		}
	}
	if MethodOf(nil) != MethodOther || MethodOf([]byte("other")) != MethodOther {
		t.Error("other")
	}
}

func TestWarnings(t *testing.T) {
	limit := map[string]string{"INVITE": "1/second"}
	for _, c := range []struct {
		name string
		c    Config
		want []string
	}{
		{"shipped", Config{}, []string{
			`the shipped user-agent rules "CiscoSystemsSIP-IPPhone", "Cisco/SPA504G-7.4.9c", "one-X", "eyeBeam" match genuine phones, too; to count one only, ` +
				`write the shipped rules out and add shadow: true to it: { match: "CiscoSystemsSIP-IPPhone", mode: product, shadow: true }`,
			`shipped user-agent rule "eyeBeam release 3006o stamp" never fires: shipped user-agent rule "eyeBeam" stands before it`,
		}},
		{"agents", Config{DenyUserAgents: []UserAgentConfig{{Match: "yealink"}, {Match: "Yealink SIP", Mode: "exact"}, {Match: "x", Mode: "exact"},
			{Match: "x", Mode: "prefix"}, {Match: "xy", Mode: "product"}, {Match: "snom", Shadow: true}}}, []string{
			`policy.deny_user_agents[0] "yealink" matches genuine phones (Yealink SIP-T46U`,
			`policy.deny_user_agents[1] "Yealink SIP" never fires: policy.deny_user_agents[0] "yealink" stands before it`,
			`policy.deny_user_agents[3] "x" matches genuine phones (X-Lite`,
			`policy.deny_user_agents[4] "xy" never fires: policy.deny_user_agents[3] "x" stands before it`,
		}},
		{"limits", Config{DenyUserAgents: []UserAgentConfig{}, RateLimits: []RateLimitConfig{
			{Name: "any", Limits: limit},
			{Name: "again", Limits: limit},
			{Name: "office", Range: []string{"192.0.2.0/24"}, Limits: limit},
			{Name: "halves", Range: []string{"192.0.2.0/25", "192.0.2.128/25"}, Limits: map[string]string{"*": "1/second"}},
			{Name: "stack", Range: []string{"192.0.2.0/24"}, Limits: limit, Stack: true},
			{Name: "trunks", Range: []string{"any"}, Realms: []string{"trunks"}, Limits: map[string]string{"OPTIONS": "1/second"}},
			{Name: "all", Range: []string{"any"}, Limits: map[string]string{"OPTIONS": "2/second"}},
		}}, []string{
			`policy.rate_limits[1] "again": INVITE never decides: policy.rate_limits[0] "any" covers its whole range`,
			`policy.rate_limits[2] "office": INVITE never decides: policy.rate_limits[3] "halves" covers its whole range and is narrower`,
		}},
	} {
		got := compile(t, &c.c).Warnings()
		for _, want := range c.want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, want) }) {
				t.Errorf("%s: no warning %s", c.name, want)
			}
		}
		if c.name != "shipped" && len(got) != len(c.want) {
			t.Errorf("%s: warnings are\n%s", c.name, strings.Join(got, "\n"))
		}
	}
}
