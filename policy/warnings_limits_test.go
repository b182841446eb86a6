package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestWarningsOfRateLimits(t *testing.T) {
	limit := map[string]string{"INVITE": "1/second"}
	for _, c := range []struct {
		name  string
		rules []RateLimitConfig
		want  []string
	}{
		{"presets", []RateLimitConfig{
			{Name: "homes", Preset: "home"},
			{Name: "again", Preset: "single-phone"},
			{Name: "office", Range: []string{"192.0.2.0/24"}, Preset: "office:14", PerPhone: true},
			{Name: "registers", Range: []string{"192.0.2.0/24"}, Limits: map[string]string{"REGISTER": "1/second", "unparseable": "1/second"}},
		}, []string{
			`policy.rate_limits[1] "again" never decides: policy.rate_limits[0] "homes" covers its whole range and is before it in the file`,
			`policy.rate_limits[3] "registers": REGISTER never decides: policy.rate_limits[2] "office" covers its whole range and is before it in the file`,
		}},
		{"the star and unparseable", []RateLimitConfig{
			{Name: "all", Limits: map[string]string{"*": "1/second"}},
			{Name: "both", Limits: map[string]string{"INVITE": "1/second", "unparseable": "1/minute"}},
		}, []string{`policy.rate_limits[1] "both": INVITE never decides: policy.rate_limits[0] "all"`}},
		{"alarms, stacks and trials are in nobody's way", []RateLimitConfig{
			{Name: "alarm", Limits: limit, Action: "alarm"},
			{Name: "stack", Limits: limit, Stack: true},
			{Name: "trial", Limits: limit, Shadow: true},
			{Name: "decides", Limits: limit},
			{Name: "alarm, later", Limits: limit, Action: "alarm"},
			{Name: "ban", Range: []string{"192.0.2.1"}, Limits: limit, Action: "ban"},
		}, nil},
		{"countries", []RateLimitConfig{
			{Name: "any", Limits: limit},
			{Name: "germany", Range: []string{"country:DE"}, Limits: limit},
			{Name: "germany again", Range: []string{"country:DE"}, Limits: limit},
			{Name: "both", Range: []string{"country:DE", "country:FR"}, Limits: limit},
			{Name: "net", Range: []string{"192.0.2.0/24"}, Limits: limit},
			{Name: "net or germany", Range: []string{"192.0.2.0/25", "country:DE"}, Limits: limit},
		}, []string{
			`policy.rate_limits[2] "germany again": INVITE never decides: policy.rate_limits[1] "germany"`,
		}},
		{"names change", []RateLimitConfig{
			{Name: "any", Limits: limit},
			{Name: "name", Range: []string{"office.example.com"}, Limits: limit},
			{Name: "name again", Range: []string{"office.example.com"}, Limits: limit},
		}, nil},
		{"per_phone at trunks", []RateLimitConfig{{Name: "x", Realms: []string{"trunks"}, Limits: limit, PerPhone: true}}, []string{
			`policy.rate_limits[0] "x": per_phone multiplies nothing, because phones register at realm phones; leave it out`,
		}},
		{"a trunk's preset for nobody", []RateLimitConfig{{Name: "x", Preset: "trunk"}, {Name: "y", Range: []string{"203.0.113.20"}, Preset: "trunk"}}, []string{
			`policy.rate_limits[0] "x": preset trunk binds no trunk here`,
		}},
		{"realms apart", []RateLimitConfig{
			{Name: "p", Realms: []string{"phones"}, Preset: "home"}, {Name: "t", Realms: []string{"trunks"}, Preset: "home"},
			{Name: "b", Preset: "home"},
		}, nil},
	} {
		var got []string
		for _, w := range compile(t, &Config{DenyUserAgents: []UserAgentConfig{}, RateLimits: c.rules}).Warnings() {
			if strings.HasPrefix(w, "policy.rate_limits") && !strings.Contains(w, "database") {
				got = append(got, w)
			}
		}
		for _, want := range c.want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, want) }) {
				t.Errorf("%s: no warning %s", c.name, want)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: warnings are\n%s", c.name, strings.Join(got, "\n"))
		}
	}
}
