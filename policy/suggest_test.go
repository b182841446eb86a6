package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// fixOf is the last line of what `why` proposes for an address.
func fixOf(g *Guard, now time.Time, a string) string {
	x := explainOf(g, now, a)
	if len(x.Fix) == 0 {
		return ""
	}
	return x.Fix[len(x.Fix)-1]
}

func TestFixesOfLimits(t *testing.T) {
	const source = "198.51.100.77"
	fast := RateLimitConfig{Name: "x", Limits: map[string]string{"REGISTER": "6/minute"}, Burst: ptr(2)}
	with := func(change func(*RateLimitConfig)) []RateLimitConfig {
		e := fast
		change(&e)
		return []RateLimitConfig{e}
	}
	for _, c := range []struct {
		name   string
		rules  []RateLimitConfig
		phones int
		n      int
		method string
		want   string
	}{
		{"a stranger", with(func(*RateLimitConfig) {}), 0, 9, "REGISTER",
			"add to policy.rate_limits: { name: from 198.51.100.77, range: 198.51.100.77, limits: { REGISTER: 9/minute }, burst: 9 }   (try: shadow: true)"},
		{"an office", with(func(*RateLimitConfig) {}), 14, 9, "REGISTER",
			"add to policy.rate_limits: { name: office-198.51.100.77, range: 198.51.100.77, preset: office:14 }   (try: shadow: true)"},
		{"an office that needs more", with(func(*RateLimitConfig) {}), 5, 60, "REGISTER",
			"add to policy.rate_limits: { name: office-198.51.100.77, range: 198.51.100.77, preset: office:13 }   (try: shadow: true)"},
		{"a flood from an office", with(func(*RateLimitConfig) {}), 2, 60, "REGISTER",
			"add to policy.rate_limits: { name: from 198.51.100.77, range: 198.51.100.77, limits: { REGISTER: 60/minute }, burst: 50 }   (try: shadow: true)"},
		{"a method that no preset has", with(func(e *RateLimitConfig) { e.Limits = map[string]string{"MESSAGE": "6/minute"} }), 14, 9, "MESSAGE",
			"add to policy.rate_limits: { name: from 198.51.100.77, range: 198.51.100.77, limits: { MESSAGE: 9/minute }, burst: 9 }   (try: shadow: true)"},
		{"the shipped rule", ShippedRateLimits(), 0, 9, "REGISTER",
			"add to policy.rate_limits: { name: from 198.51.100.77, range: 198.51.100.77, limits: { REGISTER: 9/minute }, burst: 9 }, and write the shipped " +
				"rule out beside it: { name: shipped, realms: [phones], preset: home, per_phone: true }   (try: shadow: true)"},
		{"as narrow already", with(func(e *RateLimitConfig) { e.Range = []string{source} }), 3, 9, "REGISTER",
			"raise policy.rate_limits[0]: limits: { REGISTER: 9/minute }, burst: 9"},
		{"for each phone", with(func(e *RateLimitConfig) { e.Range, e.PerPhone = []string{source}, true }), 4, 30, "REGISTER",
			"raise policy.rate_limits[0]: limits: { REGISTER: 8/minute }, burst: 8"},
		{"stacking", with(func(e *RateLimitConfig) { e.Stack = true }), 4, 9, "REGISTER",
			"raise policy.rate_limits[0]: limits: { REGISTER: 9/minute }, burst: 9"},
	} {
		config := Config{Phones: PhonesConfig{Registrar: true, Unregistered: "forward"}, RateLimits: c.rules}
		rules := compile(t, &config)
		if c.name == "the shipped rule" {
			config.RateLimits = nil
			rules = compile(t, &config)
		}
		g := newGuard(t, &config)
		g.SetRules(noon, rules)
		registerPhones(g, source, c.phones)
		passing(g, noon, outsidePhones, source, c.method, c.n)
		if got := fixOf(g, noon, source); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// TestTheOfficeOfASuggestionIsLargeEnough replays the traffic under the preset that `why` proposes.
func TestTheOfficeOfASuggestionIsLargeEnough(t *testing.T) {
	config := &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{{Name: "all", Burst: ptr(2),
		Limits: map[string]string{"REGISTER": "2/minute", "INVITE": "100/minute"}}}}
	play := func(c *Config) (*Guard, int) {
		g := newGuard(t, c)
		registerPhones(g, "198.51.100.77", 6)
		refused := 0
		for n := range 60 {
			method := "REGISTER"
			if n%4 == 0 {
				method = "INVITE"
			}
			refused += 1 - passing(g, noon.Add(time.Duration(n*n)*30*time.Millisecond), outsidePhones, "198.51.100.77", method, 1)
		}
		return g, refused
	}
	g, refused := play(config)
	fix := fixOf(g, noon.Add(2*time.Minute), "198.51.100.77")
	_, rest, found := strings.Cut(fix, "preset: ")
	if refused == 0 || !found {
		t.Fatalf("%d refused, fix %q", refused, fix)
	}
	preset, _, _ := strings.Cut(rest, " ")
	config.RateLimits = append(config.RateLimits, RateLimitConfig{Name: "office", Range: []string{"198.51.100.77"}, Preset: preset})
	if _, refused = play(config); refused != 0 {
		t.Errorf("%s still refuses %d", preset, refused)
	}
}

// TestUnparseableTrafficSuggestsNothing: what is no SIP says nothing of how much SIP a source sends.
func TestUnparseableTrafficSuggestsNothing(t *testing.T) {
	g := newGuard(t, &Config{RateLimits: []RateLimitConfig{{Name: "garbage", Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(1)}}})
	for n := range 9 {
		send(g, noon, outsidePhones, phone, msg{branch: fmt.Sprint("z9hG4bK", n), extra: "Content-Length: 9\r\n"}.bytes())
	}
	x := g.Explain(noon, netip.MustParseAddr("198.51.100.7"))
	if len(x.Passes) != 0 || x.Seen.Reasons["limit-exceeded"] != 8 {
		t.Errorf("%+v %+v", x.Passes, x.Seen)
	}
}

func TestTimesToWaitAreReadable(t *testing.T) {
	for s, want := range map[float64]string{0: "0 s", 0.2: "1 s", 44: "44 s", 119: "119 s", 120: "2 min", 200: "3 min 20 s", 3600: "1 h", 18_720: "5 h 12 min",
		86_400: "1 d", 183_600: "2 d 3 h"} {
		if got := seconds(s); got != want {
			t.Errorf("%v s is %q, want %q", s, got, want)
		}
	}
}
