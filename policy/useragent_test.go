package policy

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naiveAgents says what the documentation says, one pattern after the other.
func naiveAgents(list []UserAgentConfig, value string) int32 {
	value = strings.Trim(regexp.MustCompile(`[ \t]*(\r|\n)[ \t\r\n]*`).ReplaceAllStringFunc(value, func(s string) string {
		return s[:strings.IndexAny(s, "\r\n")] + " "
	}), " \t")
	value = foldASCII(value)
	for i, e := range list {
		want := foldASCII(strings.TrimSpace(e.Match))
		hit := false
		switch e.Mode {
		case "", "contains":
			hit = strings.Contains(value, want)
		case "exact":
			hit = value == want
		case "prefix":
			hit = strings.HasPrefix(value, want)
		case "product":
			rest, found := strings.CutPrefix(value, want)
			hit = found && (rest == "" || strings.ContainsRune("/ \t", rune(rest[0])))
		case "regex":
			hit = regexp.MustCompile("(?is)^(?:" + e.Match + ")$").MatchString(value)
		}
		if hit {
			return int32(i)
		}
	}
	return -1
}

func matcherOf(list []UserAgentConfig) *agentMatcher {
	r, err := Compile(&Config{DenyUserAgents: list}, Data{})
	if err != nil {
		panic(err)
	}
	return r.agents.matcher
}

func TestCompiledAgentsEqualNaiveOnes(t *testing.T) {
	texts := []string{"a", "ab", "aba", "b", "bab", "a/b", "a b", "abc", "c", "A", "aB/", "b a", "bb", "abab"}
	regexes := []string{"a+", "a.*b", "(a|b)*", "b c?", ".*/.*", "a|c"}
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.Custom(func(t *rapid.T) UserAgentConfig {
			mode := rapid.SampledFrom(agentModeNames[:]).Draw(t, "mode")
			if mode == "regex" {
				return UserAgentConfig{Mode: mode, Match: rapid.SampledFrom(regexes).Draw(t, "match")}
			}
			return UserAgentConfig{Mode: mode, Match: rapid.SampledFrom(texts).Draw(t, "match")}
		})
		list := rapid.SliceOfN(entry, 0, 8).Draw(t, "list")
		m := matcherOf(append([]UserAgentConfig{}, list...))
		if len(list) == 0 {
			m = matcherOf([]UserAgentConfig{})
		}
		for range 10 {
			value := strings.Join(rapid.SliceOfN(rapid.SampledFrom(
				[]string{"a", "b", "c", "A", "B", "/", " ", "\t", "\r\n ", "ab", "aba"}), 0, 8).Draw(t, "value"), "")
			if got, want := m.match([]byte(value)), naiveAgents(list, value); got != want {
				t.Fatalf("%q against %v: %d, want %d", value, list, got, want)
			}
		}
	})
}

func TestShippedAgentsAreCaughtInEverySpelling(t *testing.T) {
	r := compile(t, &Config{})
	denied := func(agent string) bool { return r.agents.matcher.match([]byte(agent)) >= 0 }
	for _, name := range append(append([]string{}, shippedProducts...), shippedScanners...) {
		for _, agent := range []string{name, strings.ToUpper(name), strings.ToLower(name), " " + name + "\t", name + " 1.0",
			name + "/1.0", "\r\n " + name + "\r\n 1.0"} {
			if !denied(agent) {
				t.Errorf("%q passes", agent)
			}
		}
	}
	for _, name := range shippedScanners {
		if !denied("Mozilla "+name+"x") || !denied("x"+name) {
			t.Errorf("%q inside a word passes", name)
		}
	}
}

func TestHonestAgentsPassTheShippedList(t *testing.T) {
	r := compile(t, &Config{})
	for _, agent := range append([]string{
		"", " ", "Alone-X", "zone-X", "one-Xtra", "MyeyeBeam", "eyeBeamer", "pplsipper", "sipclient", "sipcli2", "UsaAirports",
		"Cisco/SPA504G-7.5.7", "Cisco/SPA504G-7.4.9cc", "VaxSIPUserAgent2", "friendly scanner", "Friendly",
	}, genuineAgents[4:]...) {
		if i := r.agents.matcher.match([]byte(agent)); i >= 0 {
			t.Errorf("%q is caught by %q", agent, r.infos[r.agents.rules[i]].Name)
		}
	}
}

func TestRegexSeesTheWholeValueAnchored(t *testing.T) {
	m := matcherOf([]UserAgentConfig{{Match: "evil|bad", Mode: "regex"}, {Match: "x", Mode: "exact"}})
	for agent, want := range map[string]int32{"evil": 0, "BAD": 0, "evil phone": -1, "not evil": -1, "x": 1, "X ": 1, "xx": -1} {
		if got := m.match([]byte(agent)); got != want {
			t.Errorf("%q: %d, want %d", agent, got, want)
		}
	}
	// Long values are still searched by literals to their end.
	long := []byte(strings.Repeat("a", 5000) + "evil")
	if matcherOf([]UserAgentConfig{{Match: "evil"}}).match(long) != 0 {
		t.Error("padding hides a name")
	}
	if matcherOf([]UserAgentConfig{{Match: "a*", Mode: "regex"}}).match(long) != 0 {
		t.Error("a regular expression sees the first part only")
	}
}

func FuzzAgents(f *testing.F) {
	for _, seed := range []string{"", "friendly-scanner", "eyeBeam release 3006o stamp 17551", "\r\n\t SIPVicious", "one-X/2", "\x00\xff"} {
		f.Add(seed)
	}
	list := append(ShippedUserAgents(), UserAgentConfig{Match: ".*[0-9]{4}", Mode: "regex"}, UserAgentConfig{Match: "b", Mode: "prefix"},
		UserAgentConfig{Match: "\xff", Mode: "contains"}, UserAgentConfig{Match: "exactly", Mode: "exact"})
	m := matcherOf(list)
	f.Fuzz(func(t *testing.T, value string) {
		got := m.match([]byte(value))
		if len(value) < maxRegexInput {
			if want := naiveAgents(list, value); got != want {
				t.Errorf("%q: %d, want %d", value, got, want)
			}
		}
	})
}
