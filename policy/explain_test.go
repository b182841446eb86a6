package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/policy/geo"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata/why")

// TestWhy compares what `sbc why` prints with testdata/why/*.txt.
func TestWhy(t *testing.T) {
	limits := []RateLimitConfig{
		{Name: "remote phones", Realms: []string{"phones"}, Burst: ptr(4), Limits: map[string]string{"REGISTER": "15/minute", "INVITE": "10/minute"}},
		{Name: "tried", Range: []string{"198.51.100.0/24"}, Limits: map[string]string{"INVITE": "1/minute"}, Burst: ptr(1), Shadow: true},
	}
	for _, c := range []struct {
		name    string
		config  Config
		address string
		traffic func(g *Guard)
	}{
		{"limited", Config{RateLimits: limits}, "198.51.100.7", func(g *Guard) {
			for n := range 15 { // fifteen phones come back within two seconds
				data := msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bK", n), agent: "Yealink SIP-T46U"}.bytes()
				data = []byte(strings.ReplaceAll(string(data), "sip:204@", fmt.Sprintf("sip:%d@", 204+n%3)))
				send(g, noon.Add(time.Duration(n)*130*time.Millisecond), outsidePhones, fmt.Sprintf("198.51.100.7:%d", 40000+n), data)
			}
			send(g, noon.Add(1900*time.Millisecond), outsidePhones, phone, msg{branch: "z9hG4bKi"}.bytes())
			send(g, noon.Add(1950*time.Millisecond), outsidePhones, phone, msg{branch: "z9hG4bKj"}.bytes())
			send(g, noon.Add(2*time.Second), outsidePhones, phone, msg{method: "REGISTER", branch: "z9hG4bKk"}.bytes())
		}},
		{"limited-alone", Config{RateLimits: []RateLimitConfig{{Name: "office", Range: []string{"198.51.100.7"}, Limits: map[string]string{"*": "1/minute"}, Burst: ptr(2)}}},
			"198.51.100.7", func(g *Guard) {
				for n := range 5 {
					send(g, noon.Add(time.Duration(n)*500*time.Millisecond), outsidePhones, phone, msg{method: "OPTIONS", branch: fmt.Sprint("z9hG4bK", n)}.bytes())
				}
			}},
		{"trunk", Config{}, "203.0.113.20", func(g *Guard) {
			send(g, noon, outsideTrunks, "203.0.113.20", msg{method: "OPTIONS"}.bytes())
		}},
		{"unknown-trunk", Config{}, "192.0.2.66", func(g *Guard) {
			send(g, noon, outsideTrunks, "192.0.2.66", msg{agent: "Asterisk PBX"}.bytes())
		}},
		{"no-record", Config{}, "192.0.2.66", func(*Guard) {}},
		{"no-record-trunk", Config{}, "203.0.113.20", func(*Guard) {}},
		{"no-record-registrar", Config{Phones: PhonesConfig{Registrar: true}}, "192.0.2.66", func(*Guard) {}},
		{"banned", Config{}, "192.0.2.66", func(g *Guard) {
			must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Until: noon.Add(time.Hour), Reason: "guesses passwords", By: "uid 1000"}))
			send(g, noon.Add(time.Second), outsidePhones, "192.0.2.66", msg{method: "REGISTER"}.bytes())
		}},
		{"black-listed", Config{BlackList: []BlackEntry{{Range: []string{"192.0.2.0/24"}, Comment: "scanners"}}}, "192.0.2.66", func(g *Guard) {
			send(g, noon, outsidePhones, "192.0.2.66", msg{method: "REGISTER"}.bytes())
		}},
		{"user-agent", Config{}, "198.51.100.7", func(g *Guard) {
			send(g, noon, outsidePhones, phone, msg{method: "REGISTER", agent: "eyeBeam release 1102q stamp 51814"}.bytes())
		}},
		{"inside", Config{}, "10.0.0.99", func(g *Guard) {
			send(g, noon, insideTrunks, "10.0.0.99", msg{}.bytes())
		}},
		{"malformed", Config{}, "203.0.113.20", func(g *Guard) {
			send(g, noon, outsideTrunks, "203.0.113.20", msg{extra: "Content-Length: 9\r\n"}.bytes())
		}},
		{"budget", Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/hour", Burst: ptr(1)}}, "192.0.2.66", func(g *Guard) {
			for n := range 3 {
				send(g, noon, outsidePhones, "192.0.2.66", msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bK", n)}.bytes())
			}
		}},
		{"phones-behind", Config{Phones: PhonesConfig{Registrar: true}, RateLimits: limits[:1]}, "198.51.100.77", func(g *Guard) {
			registerPhones(g, "198.51.100.77", 14)
			for n := range 6 { // from ports that come and go, as a NAT deals them out
				data := msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bK", n), agent: "Yealink SIP-T46U"}.bytes()
				send(g, noon.Add(time.Duration(n)*100*time.Millisecond), outsidePhones, fmt.Sprintf("198.51.100.77:%d", 40000+n), data)
			}
		}},
		{"no-record-phone", Config{Phones: PhonesConfig{Registrar: true}}, "2001:db8:7::7", func(g *Guard) { registerPhones(g, "2001:db8:7::7", 1) }},
		{"no-record-forward", Config{Phones: PhonesConfig{Registrar: true, Unregistered: "forward"}}, "192.0.2.66", func(*Guard) {}},
		{"phone-gone", Config{Phones: PhonesConfig{Registrar: true}}, "198.51.100.77", func(g *Guard) {
			registerPhones(g, "198.51.100.77", 1)
			send(g, noon, outsidePhones, "198.51.100.77", msg{}.bytes())
			g.RemovePhone(netip.MustParseAddr("198.51.100.77"))
			send(g, noon.Add(time.Second), outsidePhones, "198.51.100.77", msg{branch: "z9hG4bK2"}.bytes())
		}},
		{"not-registered", Config{Phones: PhonesConfig{Registrar: true}}, "2001:db8::66", func(g *Guard) {
			send(g, noon, outsidePhones, "[2001:db8::66]:5060", msg{}.bytes())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGuard(t, &c.config)
			c.traffic(g)
			x := g.Explain(noon.Add(3*time.Second), netip.MustParseAddr(c.address))
			got := fmt.Sprintf("%sallowed: %v\n", x.Text(time.UTC), x.Allowed)
			path := filepath.Join("testdata", "why", c.name+".txt")
			if *update {
				must(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
			}
			if _, err := json.Marshal(x); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWhyIsTheProduct is the picture of the manual: an office of fourteen phones under a rule made for a household, three of
// them left out.
func TestWhyIsTheProduct(t *testing.T) {
	countries, err := geo.Read(strings.NewReader("198.51.100.0,198.51.100.255,DE\n"), "test")
	must(t, err)
	rules, err := Compile(&Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{
		{Name: "remote phones", Realms: []string{"phones"}, Burst: ptr(4), Limits: map[string]string{"REGISTER": "15/minute", "INVITE": "10/minute"}},
	}}, Data{Countries: countries})
	must(t, err)
	g := newGuard(t, &Config{})
	g.SetPeers(nil)
	g.SetRules(noon, rules)
	registerPhones(g, "198.51.100.7", 14)
	n := 0
	from := func(at time.Duration, method string, user int) {
		n++
		data := msg{method: method, branch: fmt.Sprint("z9hG4bK", n), callID: fmt.Sprint(n), agent: "Yealink SIP-T46U"}.bytes()
		data = []byte(strings.ReplaceAll(string(data), "sip:204@", fmt.Sprintf("sip:%d@", user)))
		send(g, noon.Add(at), outsidePhones, fmt.Sprintf("198.51.100.7:%d", 40000+user-82), data)
	}
	// Three phones try again and again, in the minute that ends now; the others keep their registrations fresh.
	for i := range 26 {
		from(time.Duration(i)*2200*time.Millisecond, "REGISTER", []int{219, 211, 204}[i%3])
	}
	for range 6 {
		from(57*time.Second, "INVITE", 204)
	}
	for i := range 3 {
		from(57*time.Second+time.Duration(112+i)*time.Millisecond, "REGISTER", 204)
	}
	x := g.Explain(noon.Add(58*time.Second), netip.MustParseAddr("198.51.100.7"))
	x.SetRegistered([]string{"201@example.com", "202@example.com", "203@example.com", "205@example.com"})
	got := x.Text(time.UTC)
	path := filepath.Join("testdata", "why", "office.txt")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

func registerPhones(g *Guard, source string, n int) {
	for range n {
		g.AddPhone(netip.MustParseAddr(source))
	}
}

// TestTheSuggestionWouldHaveLetItPass replays the traffic under what `why` proposes.
func TestTheSuggestionWouldHaveLetItPass(t *testing.T) {
	config := Config{RateLimits: []RateLimitConfig{{Name: "all", Burst: ptr(2), Limits: map[string]string{"REGISTER": "2/minute"}}}}
	times := []time.Duration{0, 100, 150, 3000, 3100, 9000, 30_000, 30_100, 30_200, 30_300, 65_000, 66_000, 70_000}
	play := func(g *Guard) (refused int) {
		for n, at := range times {
			m := msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bK", n)}
			if send(g, noon.Add(at*time.Millisecond), outsidePhones, phone, m.bytes()).Action != Allow {
				refused++
			}
		}
		return refused
	}
	g := newGuard(t, &config)
	if play(g) == 0 {
		t.Fatal("nothing was refused")
	}
	x := explainOf(g, noon.Add(71*time.Second), "198.51.100.7")
	if len(x.Passes) != 1 {
		t.Fatalf("suggestions: %v", x.Passes)
	}
	p := x.Passes[0]
	narrow := RateLimitConfig{Name: "phone", Range: []string{"198.51.100.7"}, Burst: &p.Burst, Limits: map[string]string{p.Method: p.Rate}}
	config.RateLimits = append(config.RateLimits, narrow)
	if n := play(newGuard(t, &config)); n != 0 {
		t.Errorf("%+v still refuses %d", p, n)
	}
	if p.Burst > 1 {
		narrow.Burst = ptr(p.Burst - 1)
		config.RateLimits[1] = narrow
		if n := play(newGuard(t, &config)); n == 0 {
			t.Errorf("burst %d would have done: the suggestion is not the smallest", p.Burst-1)
		}
	}
}

func TestExplainChargesNothing(t *testing.T) {
	g := newGuard(t, &Config{
		Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/day", Burst: ptr(1)},
		RateLimits: []RateLimitConfig{{Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)}},
	})
	g.Challenged(noon, addrPort("192.0.2.66"), "")
	for range 50 {
		x := explainOf(g, noon, "192.0.2.66")
		if !x.Allowed || x.Seen != nil {
			t.Fatalf("%+v", x)
		}
	}
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", msg{method: "REGISTER"}.bytes()), "allow allow")
	if x := explainOf(g, noon, "192.0.2.66"); x.Allowed || x.Now.Reason != "limit-exceeded" {
		t.Errorf("%+v", x.Now)
	}
	// What it would meet changes with time and rules, not by asking.
	if x := explainOf(g, noon.Add(24*time.Hour), "192.0.2.66"); !x.Allowed {
		t.Errorf("%+v", x.Now)
	}
}

func TestExplainSpeaksOfTheListenersThatExist(t *testing.T) {
	g := newGuard(t, &Config{})
	meets := func(a string) (list []string) {
		for _, m := range explainOf(g, noon, a).Meets {
			list = append(list, m.Side+"/"+m.Realm+" "+m.Method)
		}
		return list
	}
	if got := fmt.Sprint(meets("192.0.2.66")); got != "[outside/phones REGISTER outside/phones INVITE outside/trunks INVITE]" {
		t.Error(got)
	}
	if got := fmt.Sprint(meets("10.0.0.10")); !strings.Contains(got, "inside/trunks INVITE") {
		t.Error(got)
	}
	g.SetInterfaces([]*nat.Interface{outsideTrunks, insideTrunks})
	if got := fmt.Sprint(meets("192.0.2.66")); got != "[outside/trunks INVITE]" {
		t.Error(got)
	}
}

func TestShadowRulesAreExplained(t *testing.T) {
	g := newGuard(t, &Config{RateLimits: []RateLimitConfig{{Name: "tried", Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1), Shadow: true}}})
	for n := range 4 {
		send(g, noon, outsidePhones, phone, msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
	}
	x := explainOf(g, noon, "198.51.100.7")
	if !x.Allowed || x.Seen.Shadowed != 3 || len(x.Shadows) != 1 || x.Shadows[0] != (ShadowCount{"tried", 3}) || x.Now.Shadow != "tried" {
		t.Errorf("%+v %+v", x.Shadows, x.Now)
	}
	if text := x.Text(time.UTC); !strings.Contains(text, `shadow  rule "tried" would have refused 3 of the 4 messages on record`) {
		t.Error(text)
	}
	// Records know rules by their key: a reload that moves them changes nothing.
	g.SetRules(noon, compile(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "first"}}, RateLimits: []RateLimitConfig{
		{Name: "new", Range: []string{"10.0.0.0/8"}, Limits: map[string]string{"INVITE": "1/day"}},
		{Name: "tried", Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1), Shadow: true}}}))
	if x = explainOf(g, noon, "198.51.100.7"); len(x.Shadows) != 1 || x.Shadows[0].Rule != "tried" {
		t.Errorf("after the reload: %+v", x.Shadows)
	}
}
