package policy

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/nat"
)

// TestRulesBySubject holds every kind of rule, alone, against every kind of source: one line for each rule, one column
// for each source. "+" passes, "-" is dropped, a number is the answer; "." is the fate of strangers without the rule.
func TestRulesBySubject(t *testing.T) {
	any := []string{"any"}
	limit := func(action string, ranges ...string) []RateLimitConfig {
		return []RateLimitConfig{{Range: ranges, Limits: map[string]string{"*": "1/day"}, Burst: ptr(1), Action: action}}
	}
	subjects := []struct {
		name   string
		i      *nat.Interface
		source string
	}{
		{"trunk", outsideTrunks, "203.0.113.20"}, {"node", insideTrunks, "10.0.0.10"}, {"phone", outsidePhones, "198.51.100.7"},
		{"stranger at phones", outsidePhones, "192.0.2.66"}, {"stranger at trunks", outsideTrunks, "192.0.2.66"},
		{"stranger inside", insidePhones, "10.9.9.9"},
	}
	for _, c := range []struct {
		name   string
		config Config
		m      msg
		want   string // a column for each subject, for a second message of its kind
	}{
		{"nothing", Config{}, msg{}, "+ + + - - 403"},
		{"nothing, OPTIONS", Config{}, msg{method: "OPTIONS"}, "+ + + - - 403"},
		{"nothing, ACK", Config{}, msg{method: "ACK"}, "+ + + - - -"},
		{"nothing, response", Config{}, msg{status: 200}, "+ + + - - -"},
		{"answer", Config{Strangers: StrangersConfig{Phones: "answer", Trunks: "answer"}}, msg{}, "+ + + 403 403 403"},
		{"answer, OPTIONS", Config{Strangers: StrangersConfig{Phones: "answer", Trunks: "answer"}}, msg{method: "OPTIONS"}, "+ + + 200 200 403"},
		{"answer at phones", Config{Strangers: StrangersConfig{Phones: "answer"}}, msg{}, "+ + + 403 - 403"},
		{"white list", Config{WhiteList: []WhiteEntry{{Range: any}}}, msg{}, "+ + + - - 403"},
		{"black list", Config{BlackList: []BlackEntry{{Range: any}}}, msg{}, "- - - - - -"},
		{"black list at trunks", Config{BlackList: []BlackEntry{{Range: any, Realms: []string{"trunks"}}}}, msg{}, "- - + - - 403"},
		{"black list, white list", Config{BlackList: []BlackEntry{{Range: any}}, WhiteList: []WhiteEntry{{Range: any}}}, msg{}, "+ + + - - 403"},
		{"malformed", Config{}, msg{extra: "Content-Length: 9\r\n"}, "400 400 400 - - 400"},
		{"malformed ACK", Config{}, msg{method: "ACK", extra: "Content-Length: 9\r\n"}, "- - - - - -"},
		{"unreadable", Config{}, msg{extra: "no header\r\n"}, "- - - - - -"},
		{"user agent", Config{}, msg{agent: "friendly-scanner"}, "+ + - - - -"},
		{"user agent, reject", Config{DenyUserAgents: []UserAgentConfig{{Match: "x", Action: "reject"}}}, msg{agent: "x"}, "+ + 403 403 403 403"},
		{"user agent, shadow", Config{DenyUserAgents: []UserAgentConfig{{Match: "x", Shadow: true}}}, msg{agent: "x"}, "+ + + - - 403"},
		{"limit any", Config{RateLimits: limit("", "any")}, msg{}, "+ + - - - -"},
		{"limit any, reject", Config{RateLimits: limit("reject", "any")}, msg{}, "+ + 503 503 503 503"},
		{"limit any, reject, ACK", Config{RateLimits: limit("reject", "any")}, msg{method: "ACK"}, "+ + - - - -"},
		{"limit 0.0.0.0/0 names nobody", Config{RateLimits: limit("", "0.0.0.0/0")}, msg{}, "+ + - - - -"},
		{"limit all three by name", Config{RateLimits: limit("reject", "203.0.113.0/24", "10.0.0.10", "198.51.100.1-198.51.100.9")}, msg{}, "503 503 503 - - 403"},
		{"limit, response", Config{RateLimits: limit("", "203.0.113.0/24")}, msg{status: 200}, "+ + + - - -"},
		{"limit, white list", Config{RateLimits: limit("", "any"), WhiteList: []WhiteEntry{{Range: any, Exempt: []string{"limits"}}}}, msg{}, "+ + + - - 403"},
		{"registrar", Config{Phones: PhonesConfig{Registrar: true}}, msg{method: "REGISTER"}, "+ + + + - 403"},
		{"registrar, INVITE", Config{Phones: PhonesConfig{Registrar: true}}, msg{}, "+ + + - - 403"},
		{"unregistered: reject", Config{Phones: PhonesConfig{Unregistered: "reject"}}, msg{}, "+ + + 403 - 403"},
		{"unregistered: forward", Config{Phones: PhonesConfig{Unregistered: "forward"}}, msg{}, "+ + + + - 403"},
	} {
		var got []string
		for _, s := range subjects {
			g := newGuard(t, &c.config)
			send(g, noon, s.i, s.source, c.m.bytes())
			again := c.m
			again.branch = "z9hG4bKagain"
			v := send(g, noon, s.i, s.source, again.bytes())
			switch v.Action {
			case Allow:
				got = append(got, "+")
			case Drop:
				got = append(got, "-")
			default:
				got = append(got, fmt.Sprint(v.Code))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, strings.Join(got, " "), c.want)
		}
	}
}

// TestForgedTextGivesNoIdentity puts the provider's address everywhere but into the packet's source.
func TestForgedTextGivesNoIdentity(t *testing.T) {
	g := newGuard(t, &Config{})
	text := string(msg{extra: "Via: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bKx;received=203.0.113.20\r\n" +
		"Contact: <sip:itsp@203.0.113.20>\r\nP-Asserted-Identity: <sip:itsp@203.0.113.20>\r\nRecord-Route: <sip:203.0.113.20;lr>\r\n"}.bytes())
	for _, from := range []string{"192.168.1.5:5060", "204@example.com", "100@example.com"} {
		text = strings.ReplaceAll(text, from, "203.0.113.20")
	}
	wantSays(t, send(g, noon, outsideTrunks, "192.0.2.66", []byte(text)), "drop unknown-trunk")
	wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", []byte(text)), "allow allow")
}

// TestEveryTransportMeetsTheSameGate: sipXcom filtered UDP only, and not on every port.
func TestEveryTransportMeetsTheSameGate(t *testing.T) {
	for tr := nat.UDP; tr <= nat.WSS; tr++ {
		g := newGuard(t, busyConfig())
		i := &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: tr}
		wantSays(t, send(g, noon, i, "192.0.2.66", msg{agent: "sipvicious"}.bytes()), "drop user-agent")
		for n := range 5 {
			want := "allow allow"
			if n == 4 {
				want = "drop limit-exceeded"
				if tr.Reliable() {
					want = "reject 503 limit-exceeded" // nothing repeats it there
				}
			}
			wantSays(t, send(g, noon, i, phone, msg{method: "OPTIONS", branch: fmt.Sprint("z9hG4bK", n)}.bytes()), want)
		}
		if n := g.Counters().Get(nat.Outside, nat.Phones, tr, "user-agent", Drop); n != 1 {
			t.Errorf("%s: counted %d", tr, n)
		}
	}
}
