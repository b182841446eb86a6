package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// every method that a stranger may try
var everyMethod = strings.Fields("INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE WEIRD invite")

func TestStrangersMeetSilence(t *testing.T) {
	g := newGuard(t, &Config{})
	for _, method := range everyMethod {
		for _, i := range []*nat.Interface{outsidePhones, outsideTrunks} {
			v := send(g, noon, i, "192.0.2.66", msg{method: method}.bytes())
			if v.Action != Drop || v.Code != 0 {
				t.Errorf("%s at %s: %s", method, i, says(v))
			}
		}
	}
	for _, status := range []int{100, 200, 404, 603} {
		v := send(g, noon, outsideTrunks, "192.0.2.66", msg{status: status}.bytes())
		wantSays(t, v, "drop stranger")
	}
}

func TestSubjectsMeetTheirFate(t *testing.T) {
	answer := &Config{Strangers: StrangersConfig{Phones: "answer", Trunks: "answer"}}
	registrar := &Config{Phones: PhonesConfig{Registrar: true}}
	reject := &Config{Phones: PhonesConfig{Registrar: true, Unregistered: "reject"}}
	forward := &Config{Phones: PhonesConfig{Registrar: true, Unregistered: "forward"}}
	for _, c := range []struct {
		config *Config
		i      *nat.Interface
		source string
		m      msg
		want   string
	}{
		// who is known
		{&Config{}, outsideTrunks, "203.0.113.20", msg{}, "allow allow"},
		{&Config{}, outsideTrunks, "[::ffff:203.0.113.20]:5099", msg{}, "allow allow"},
		{&Config{}, outsideTrunks, "203.0.113.20", msg{status: 200}, "allow allow"},
		{&Config{}, insideTrunks, "10.0.0.10", msg{method: "OPTIONS"}, "allow allow"},
		{&Config{}, insidePhones, "10.0.0.10", msg{}, "allow allow"},
		{&Config{}, outsidePhones, "198.51.100.7:40122", msg{}, "allow allow"},
		{&Config{}, outsidePhones, "203.0.113.20", msg{}, "drop not-registered"},
		{&Config{}, outsideTrunks, "198.51.100.7", msg{}, "drop unknown-trunk"},
		// a stranger inside is told, except for what is never answered
		{&Config{}, insideTrunks, "10.9.9.9", msg{}, "reject 403 stranger"},
		{&Config{}, insideTrunks, "10.9.9.9", msg{method: "ACK"}, "drop stranger"},
		{&Config{}, insideTrunks, "10.9.9.9", msg{status: 200}, "drop stranger"},
		{&Config{}, insidePhones, "203.0.113.20", msg{}, "reject 403 stranger"},
		// strangers: answer
		{answer, outsideTrunks, "192.0.2.66", msg{}, "reject 403 unknown-trunk"},
		{answer, outsideTrunks, "192.0.2.66", msg{method: "OPTIONS"}, "reject 200 unknown-trunk"},
		{answer, outsideTrunks, "192.0.2.66", msg{method: "ACK"}, "drop unknown-trunk"},
		{answer, outsideTrunks, "192.0.2.66", msg{status: 500}, "drop stranger"},
		{answer, outsidePhones, "192.0.2.66", msg{}, "reject 403 not-registered"},
		{answer, outsidePhones, "192.0.2.66", msg{method: "OPTIONS"}, "reject 200 stranger"},
		{answer, outsidePhones, "192.0.2.66", msg{method: "REGISTER"}, "reject 403 stranger"},
		// phones with a registrar behind them
		{registrar, outsidePhones, "192.0.2.66", msg{method: "REGISTER"}, "allow allow"},
		{registrar, outsidePhones, "192.0.2.66", msg{}, "drop not-registered"},
		{registrar, outsidePhones, "192.0.2.66", msg{method: "BYE"}, "drop stranger"},
		{reject, outsidePhones, "192.0.2.66", msg{method: "MESSAGE"}, "reject 403 not-registered"},
		{reject, outsidePhones, "192.0.2.66", msg{method: "INFO"}, "drop stranger"},
		{forward, outsidePhones, "192.0.2.66", msg{method: "SUBSCRIBE"}, "allow allow"},
		{forward, outsidePhones, "192.0.2.66", msg{method: "OPTIONS"}, "drop stranger"},
		{forward, outsideTrunks, "192.0.2.66", msg{}, "drop unknown-trunk"},
		// what the scan refuses
		{&Config{}, outsideTrunks, "203.0.113.20", msg{extra: "Content-Length: 7\r\n"}, "reject 400 malformed"},
		{&Config{}, outsideTrunks, "203.0.113.20", msg{extra: "Bad Header\r\n"}, "drop malformed"},
		{&Config{}, outsideTrunks, "192.0.2.66", msg{extra: "Content-Length: 7\r\n"}, "drop malformed"},
		{&Config{}, insideTrunks, "10.0.0.99", msg{extra: "Content-Length: 7\r\n"}, "reject 400 malformed"},
		{answer, outsideTrunks, "192.0.2.66", msg{extra: "Content-Length: 7\r\n"}, "reject 400 malformed"},
		{answer, outsideTrunks, "192.0.2.66", msg{method: "ACK", extra: "Content-Length: 7\r\n"}, "drop malformed"},
		{answer, outsideTrunks, "192.0.2.66", msg{status: 200, extra: "Content-Length: 7\r\n"}, "drop malformed"},
		{&Config{}, outsideTrunks, "203.0.113.20", msg{body: strings.Repeat("x", MaxMessageBytes)}, "reject 513 too-large"},
		{&Config{}, outsideTrunks, "192.0.2.66", msg{body: strings.Repeat("x", MaxMessageBytes)}, "drop too-large"},
		{&Config{}, outsidePhones, "198.51.100.7", msg{extra: strings.Repeat("User-Agent: a\r\n", 5)}, "reject 400 malformed"},
	} {
		g := newGuard(t, c.config)
		v := send(g, noon, c.i, c.source, c.m.bytes())
		if says(v) != c.want {
			t.Errorf("%s %s%d from %s: %s, want %s", c.i, c.m.method, c.m.status, c.source, says(v), c.want)
		}
	}
}

func TestKeepAlivesAndStunAreNobodysFault(t *testing.T) {
	g := newGuard(t, &Config{Strangers: StrangersConfig{Phones: "answer"}})
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
	for _, data := range [][]byte{nil, []byte("\r\n"), []byte("\r\n\r\n"), {0}, make([]byte, 4), []byte("jaK"), stun} {
		wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", data), "ignore")
	}
	if x := g.Explain(noon, netip.MustParseAddr("192.0.2.66")); x.Seen != nil {
		t.Errorf("keep-alives left evidence: %+v", x.Seen)
	}
	if n := g.Counters().Ignored(nat.Outside, nat.Phones, nat.UDP); n != 7 {
		t.Errorf("%d were counted, want 7", n)
	}
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", []byte("\x7fELF junk")), "drop malformed")
}

// TestOrderIsTheReason arms every check that can be armed for one message and disarms them one by one: each time the
// first one left is the reason.
func TestOrderIsTheReason(t *testing.T) {
	any := []string{"any"}
	now, source := noon, "192.0.2.66"
	config := &Config{
		Strangers:      StrangersConfig{Trunks: "answer", Rate: "1/day", Burst: ptr(1)},
		WhiteList:      []WhiteEntry{{Range: any}},
		BlackList:      []BlackEntry{{Range: any}},
		DenyUserAgents: []UserAgentConfig{{Match: "evil"}},
		RateLimits:     []RateLimitConfig{{Range: any, Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)}},
	}
	g := newGuard(t, config)
	g.SetRules(now, compile(t, &Config{Strangers: StrangersConfig{Trunks: "answer", Rate: "1/day", Burst: ptr(1)},
		RateLimits: []RateLimitConfig{{Range: any, Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)}}}))
	wantSays(t, send(g, now, outsideTrunks, source, msg{}.bytes()), "reject 403 unknown-trunk") // empties both buckets
	g.Live().Add("ourtag", netip.MustParseAddr(source))
	ban := Ban{Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	must(t, g.Bans().Add(now, ban))

	full := msg{toTag: "ourtag", agent: "evil"}
	steps := []struct {
		disarm func()
		want   string
	}{
		{func() {}, "allow live-dialog"},
		{func() { g.Live().Remove("ourtag") }, "reject 403 unknown-trunk"}, // the white list exempts from 3 to 9, not from 11
		{func() { config.WhiteList = nil }, "drop black-list"},
		{func() { config.BlackList = nil }, "drop ban"},
		{func() { g.Bans().Remove(ban.Prefix); full.extra = "Content-Length: 7\r\n" }, "drop malformed"},
		{func() { full.extra = "" }, "drop user-agent"},
		{func() { config.DenyUserAgents = []UserAgentConfig{} }, "drop limit-exceeded"},
		{func() { config.RateLimits = nil }, "drop strangers-budget"},
		{func() { config.Strangers.Trunks = "silent" }, "drop unknown-trunk"},
	}
	for n, s := range steps {
		s.disarm()
		g.SetRules(now, compile(t, config))
		if v := send(g, now, outsideTrunks, source, full.bytes()); says(v) != s.want {
			t.Fatalf("step %d: %s, want %s", n, says(v), s.want)
		}
	}
	for n, s := range Order {
		if s.Number != n+1 || s.Name == "" || s.Text == "" {
			t.Errorf("order %d is %+v", n, s)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhiteListExemptsFromWhatItNames(t *testing.T) {
	limits := []RateLimitConfig{{Range: []string{"any"}, Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1)}}
	for _, c := range []struct {
		exempt []string
		spares string // what of: bans, agent, limit
	}{
		{nil, "bans agent limit"},
		{[]string{"bans"}, "bans"},
		{[]string{"user_agents"}, "agent"},
		{[]string{"limits"}, "limit"},
		{[]string{"countries"}, ""},
		{[]string{"limits", "bans"}, "bans limit"},
	} {
		base := Config{DenyUserAgents: []UserAgentConfig{{Match: "evil"}}, RateLimits: limits,
			WhiteList: []WhiteEntry{{Range: []string{"198.51.100.0/24"}, Exempt: c.exempt}}}
		banned := base
		banned.BlackList = []BlackEntry{{Range: []string{"198.51.100.0/24"}}}

		passes := func(v Verdict) bool { return v.Action == Allow }
		g := newGuard(t, &banned)
		bans := passes(send(g, noon, outsidePhones, "198.51.100.7", msg{}.bytes()))
		g = newGuard(t, &base)
		agent := passes(send(g, noon, outsidePhones, "198.51.100.7", msg{agent: "Evil"}.bytes()))
		g = newGuard(t, &base)
		send(g, noon, outsidePhones, "198.51.100.7", msg{}.bytes())
		limit := passes(send(g, noon, outsidePhones, "198.51.100.7", msg{branch: "z9hG4bK2"}.bytes()))

		var spared []string
		for name, on := range map[string]bool{"bans": bans, "agent": agent, "limit": limit} {
			if on {
				spared = append(spared, name)
			}
		}
		if len(spared) != len(strings.Fields(c.spares)) {
			t.Errorf("exempt %v spares %v, want %s", c.exempt, spared, c.spares)
		}
		for _, s := range strings.Fields(c.spares) {
			if !strings.Contains(strings.Join(spared, " "), s) {
				t.Errorf("exempt %v does not spare from %s", c.exempt, s)
			}
		}
	}
}

func TestWhiteListGivesNoIdentity(t *testing.T) {
	g := newGuard(t, &Config{WhiteList: []WhiteEntry{{Range: []string{"192.0.2.66"}}}})
	wantSays(t, send(g, noon, outsideTrunks, "192.0.2.66", msg{}.bytes()), "drop unknown-trunk")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", msg{}.bytes()), "drop not-registered")
	g = newGuard(t, &Config{WhiteList: []WhiteEntry{{Range: []string{"203.0.113.0/24"}, Realms: []string{"trunks"}}}})
	v := send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes())
	wantSays(t, v, "allow white-list")
	if info, ok := g.Rules().Rule(v.Rule); !ok || info.Path != "policy.white_list[0]" {
		t.Errorf("rule is %+v", info)
	}
}

func TestBlackListEntriesEndAndAreScoped(t *testing.T) {
	g := newGuard(t, &Config{BlackList: []BlackEntry{
		{Range: []string{"203.0.113.20"}, Until: noon.Add(time.Hour)},
		{Range: []string{"203.0.113.0/24"}, Until: noon.Add(2 * time.Hour), Realms: []string{"trunks"}},
		{Range: []string{"10.0.0.0-10.0.0.99"}, Realms: []string{"phones"}},
	}})
	for _, c := range []struct {
		after  time.Duration
		i      *nat.Interface
		source string
		want   string
		path   string
	}{
		{0, outsideTrunks, "203.0.113.20", "drop black-list", "policy.black_list[0]"},
		{61 * time.Minute, outsideTrunks, "203.0.113.20", "drop black-list", "policy.black_list[1]"},
		{3 * time.Hour, outsideTrunks, "203.0.113.20", "allow allow", ""},
		{0, insidePhones, "10.0.0.10", "drop black-list", "policy.black_list[2]"},
		{0, insideTrunks, "10.0.0.10", "allow allow", ""},
	} {
		v := send(g, noon.Add(c.after), c.i, c.source, msg{branch: "z9hG4bK" + c.after.String() + c.i.String()}.bytes())
		info, _ := g.Rules().Rule(v.Rule)
		if says(v) != c.want || info.Path != c.path {
			t.Errorf("after %v from %s at %s: %s by %q, want %s by %q", c.after, c.source, c.i, says(v), info.Path, c.want, c.path)
		}
	}
}

func TestTrunksAndNodesMeetOnlyRulesThatNameThem(t *testing.T) {
	once := map[string]string{"OPTIONS": "1/day"}
	g := newGuard(t, &Config{
		DenyUserAgents: []UserAgentConfig{{Match: "friendly-scanner"}},
		RateLimits: []RateLimitConfig{
			{Name: "all", Range: []string{"any"}, Limits: once, Burst: ptr(1)},
			{Name: "itsp", Range: []string{"203.0.113.0/24"}, Limits: once, Burst: ptr(3), Action: "reject"},
		},
	})
	for n := range 20 {
		m := msg{method: "OPTIONS", branch: fmt.Sprintf("z9hG4bK%d", n), agent: "friendly-scanner"}.bytes()
		wantSays(t, send(g, noon, insideTrunks, "10.0.0.10", m), "allow allow")
		want := "allow allow"
		if n >= 3 {
			want = "reject 503 limit-exceeded"
		}
		wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", m), want)
	}
	m := msg{method: "OPTIONS", agent: "friendly-scanner"}.bytes()
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", m), "drop user-agent")
	m = msg{method: "OPTIONS"}.bytes()
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", m), "allow allow")
	m = msg{method: "OPTIONS", branch: "z9hG4bKx"}.bytes()
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", m), "drop limit-exceeded")
}

func TestServerOfResponsesIsJudgedLikeUserAgent(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil", Action: "reject"}}})
	m := msg{status: 200, extra: "Server: Evil/1\r\n"}
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", m.bytes()), "drop user-agent") // never an answer to an answer
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", msg{agent: "Evil"}.bytes()), "reject 403 user-agent")
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", msg{extra: "User-Agent: fine\r\nUser-Agent: evil\r\n"}.bytes()), "reject 403 user-agent")
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", msg{extra: "Server: evil\r\nSubject: evil\r\n"}.bytes()), "allow allow")
}

func TestWarningsAreOneAMinute(t *testing.T) {
	g := newGuard(t, &Config{})
	var warned []int
	for second := range 150 {
		v := send(g, noon.Add(time.Duration(second)*time.Second), insideTrunks, "10.9.9.9", msg{branch: fmt.Sprint("z9hG4bK", second)}.bytes())
		if v.Warn {
			warned = append(warned, second)
		}
	}
	if fmt.Sprint(warned) != "[0 60 120]" {
		t.Errorf("warned at %v", warned)
	}
}

func TestAnswersToStrangersCostTheirBudget(t *testing.T) {
	g := newGuard(t, &Config{Strangers: StrangersConfig{Trunks: "answer", Rate: "1/second", Burst: ptr(10)}})
	answered := 0
	for n := range 1000 {
		source := fmt.Sprintf("192.0.%d.%d", n/250, n%250)
		if v := send(g, noon, outsideTrunks, source, msg{method: "OPTIONS"}.bytes()); v.Action == Reject {
			answered++
		} else {
			wantSays(t, v, "drop strangers-budget")
		}
	}
	if answered != 10 {
		t.Errorf("%d strangers were answered, want the burst of 10", answered)
	}
	// Those who are met with silence cost nothing, and known peers are not strangers.
	wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.66", msg{}.bytes()), "drop not-registered")
	if n := g.Counters().Get(nat.Outside, nat.Trunks, nat.UDP, reason.StrangersBudget, Drop); n != 990 {
		t.Errorf("counted %d", n)
	}
}

func TestShadowRulesCountAndDoNothing(t *testing.T) {
	g := newGuard(t, &Config{
		DenyUserAgents: []UserAgentConfig{{Match: "phone", Shadow: true}, {Match: "evil"}},
		RateLimits: []RateLimitConfig{
			{Name: "real", Range: []string{"any"}, Limits: map[string]string{"INVITE": "10/second"}, Burst: ptr(10)},
			{Name: "tried", Range: []string{"198.51.100.0/24"}, Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(2), Shadow: true},
		},
	})
	for n := range 10 {
		v := send(g, noon, outsidePhones, "198.51.100.7", msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
		wantSays(t, v, "allow allow")
		info, _ := g.Rules().Rule(v.Shadow)
		if want := map[bool]string{true: "tried"}[n >= 2]; info.Name != want {
			t.Errorf("message %d: shadow %q, want %q", n, info.Name, want)
		}
	}
	v := send(g, noon, outsidePhones, "198.51.100.7", msg{agent: "Evil Phone"}.bytes())
	if info, _ := g.Rules().Rule(v.Shadow); info.Name != "phone" {
		// The message is a repeat of the first: judged as such.
		wantSays(t, v, "allow live-dialog")
	}
	v = send(g, noon, outsidePhones, "198.51.100.7", msg{agent: "Evil Phone", branch: "z9hG4bKother"}.bytes())
	wantSays(t, v, "drop user-agent")
	if info, _ := g.Rules().Rule(v.Shadow); info.Name != "phone" {
		t.Errorf("shadow is %q", info.Name)
	}
}
