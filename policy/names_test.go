package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestHostNames(t *testing.T) {
	for text, want := range map[string]string{
		"office.example.com": "office.example.com", "OFFICE.Example.COM.": "office.example.com", "a-b.example.com": "a-b.example.com",
		"face.cafe": "face.cafe", "1.de": "1.de", "10-0-0-1.dyn.example.net": "10-0-0-1.dyn.example.net", "_sip.example.com": "_sip.example.com",
		"x.xn--p1ai": "x.xn--p1ai", strings.Repeat("a.", 120) + "example.com": strings.Repeat("a.", 120) + "example.com",
		// None:
		"": "", ".": "", "any": "", "ayn": "", "pbx": "", "localhost": "", "1.2.3.4": "", "1.2.3.400": "", "1.2.3": "", "10.0.0.l0": "", "10.0.0.x": "",
		"192.0.2.1-192.0.2.9": "", "192.0.2.0/24": "", "a..example.com": "", ".example.com": "", "-a.example.com": "", "a-.example.com": "",
		"a b.example.com": "", "a.example.com:5060": "", "sip:a.example.com": "", "ä.example.com": "", "*.example.com": "",
		strings.Repeat("a", 64) + ".example.com": "", strings.Repeat("a.", 125) + "example.com": "", "2001:db8::1": "", "1.2.3.4-5.6.7.89": "",
	} {
		got, ok := hostName(text)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", text, got, ok, want)
		}
	}
}

func TestNamesOfAConfiguration(t *testing.T) {
	c := &Config{
		WhiteList:    []WhiteEntry{{Range: []string{"b.example.com", "192.0.2.1"}}},
		BlackList:    []BlackEntry{{Range: []string{"C.example.com."}}, {Range: []string{"b.example.com"}}},
		MessageRules: []MessageRuleConfig{{Range: []string{"a.example.com, country:DE"}}, {}},
		RateLimits:   []RateLimitConfig{{Range: []string{"d.example.com"}}, {Range: []string{"not a range"}}, {}},
	}
	if got := NamesOf(c); !slices.Equal(got, []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com"}) {
		t.Error(got)
	}
	if got := NamesOf(&Config{}); len(got) != 0 {
		t.Error(got)
	}
}

// TestNamesWorkByTheirAnswers: a name covers what it is said to mean, and an office that moves takes its rules along.
func TestNamesWorkByTheirAnswers(t *testing.T) {
	c := &Config{
		WhiteList:      []WhiteEntry{{Range: []string{"office.example.com"}, Exempt: []string{"user_agents"}}},
		BlackList:      []BlackEntry{{Range: []string{"foe.example.com"}}},
		MessageRules:   []MessageRuleConfig{{Name: "no chat", Range: []string{"office.example.com"}, Methods: []string{"MESSAGE"}}},
		DenyUserAgents: []UserAgentConfig{{Match: "odd"}},
	}
	names := func(office, foe string) Data {
		d := Data{Names: map[string][]netip.Addr{}}
		for name, a := range map[string]string{"office.example.com": office, "foe.example.com": foe} {
			if a != "" {
				d.Names[name] = []netip.Addr{addrPort(a).Addr()}
			}
		}
		return d
	}
	g := newGuard(t, c)
	for i, step := range []struct {
		d                    Data
		invite, odd, message string
	}{
		{names("", ""), "allow allow", "drop user-agent", "allow allow"},
		{names(phone, ""), "allow white-list", "allow white-list", "drop message-rule"},
		{names("192.0.2.77", phone), "drop black-list", "drop black-list", "drop black-list"},
		{names("192.0.2.77", ""), "allow allow", "drop user-agent", "allow allow"},
	} {
		r, err := Compile(c, step.d)
		if err != nil {
			t.Fatal(err)
		}
		g.SetRules(noon, r)
		branch := func(s string) string { return "z9hG4bK" + s + strings.Repeat("x", i) }
		wantSays(t, send(g, noon, outsidePhones, phone, msg{branch: branch("a")}.bytes()), step.invite)
		wantSays(t, send(g, noon, outsidePhones, phone, msg{branch: branch("b"), agent: "odd"}.bytes()), step.odd)
		wantSays(t, send(g, noon, outsidePhones, phone, msg{branch: branch("c"), method: "MESSAGE"}.bytes()), step.message)
	}
}
