package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

func TestPresetsAreTheFiguresOfTheManual(t *testing.T) {
	for preset, want := range map[string]string{
		"single-phone": "* 10/minute burst 10, ACK 10/second burst 60, INVITE 20/minute burst 4, OPTIONS 5/minute burst 4, REGISTER 6/minute burst 4, SUBSCRIBE 5/minute burst 20",
		"home":         "* 20/minute burst 20, ACK 20/second burst 120, INVITE 10/minute burst 4, OPTIONS 10/minute burst 4, REGISTER 15/minute burst 4, SUBSCRIBE 20/minute burst 20",
		"office:1":     "* 10/minute burst 10, ACK 10/second burst 60, INVITE 20/minute burst 4, OPTIONS 5/minute burst 4, REGISTER 6/minute burst 4, SUBSCRIBE 5/minute burst 20",
		"office:14": "* 140/minute burst 140, ACK 140/second burst 840, INVITE 280/minute burst 56, OPTIONS 70/minute burst 56, REGISTER 84/minute burst 56, " +
			"SUBSCRIBE 70/minute burst 280",
		"trunk": "* 100/second burst 600, ACK 100/second burst 600, INVITE 50/second burst 300, OPTIONS 10/second burst 60, " +
			"REGISTER 1/second burst 6, SUBSCRIBE 10/second burst 60",
	} {
		r := compile(t, &Config{RateLimits: []RateLimitConfig{{Name: "x", Preset: preset}}})
		if got := strings.ReplaceAll(limitTexts(r), "x ", ""); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", preset, got, want)
		}
	}
}

func TestPresetErrorsSayWhatToWrite(t *testing.T) {
	limits := map[string]string{"INVITE": "1/second"}
	for _, c := range []struct {
		e    RateLimitConfig
		want string
	}{
		{RateLimitConfig{Preset: "office"}, "policy.rate_limits[0].preset: preset \"office\" is unknown; use single-phone, home, office:14"},
		{RateLimitConfig{Preset: "office:"}, "preset \"office:\": write the number of phones"},
		{RateLimitConfig{Preset: "office:0"}, "from 1 to 25000"},
		{RateLimitConfig{Preset: "office:-3"}, "write the number of phones"},
		{RateLimitConfig{Preset: "office:25001"}, "write the number of phones"},
		{RateLimitConfig{Preset: "Home"}, "is unknown"},
		{RateLimitConfig{Preset: "home", Limits: limits}, "policy.rate_limits[0].limits: stands beside preset home"},
		{RateLimitConfig{Preset: "home", Burst: ptr(4)}, "policy.rate_limits[0].burst: stands beside preset home"},
		{RateLimitConfig{}, "policy.rate_limits[0].limits: names no method; write for example { REGISTER: 15/minute }, or preset: home"},
		{RateLimitConfig{Limits: limits, Action: "allow"}, "policy.rate_limits[0].action: \"allow\" is unknown; use drop, reject, ban, alarm"},
	} {
		_, err := Compile(&Config{RateLimits: []RateLimitConfig{c.e}}, Data{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.e, err, c.want)
		}
	}
	for _, action := range []string{"", "drop", "reject", "ban", "alarm"} {
		compile(t, &Config{RateLimits: []RateLimitConfig{{Limits: limits, Action: action}, {Preset: "trunk", Action: action}}})
	}
}

// shipped is a guard with the shipped rules and nothing else.
func shipped(t testing.TB) *Guard {
	return newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: ShippedRateLimits()})
}

func TestTheShippedRuleIsTheOneOfAnAbsentKey(t *testing.T) {
	absent, written := compile(t, &Config{}), compile(t, &Config{RateLimits: ShippedRateLimits()})
	if limitTexts(absent) != limitTexts(written) {
		t.Errorf("%s\n%s", limitTexts(absent), limitTexts(written))
	}
	info := absent.infos[len(absent.infos)-1]
	if info.Path != "the shipped rate_limits" || info.Name != "shipped" || info.Kind != "rate-limit" {
		t.Errorf("%+v", info)
	}
	// Whoever writes it out keeps the debt.
	if absent.limits[0].key != written.limits[0].key {
		t.Error("the shipped rule is another one when it is written out")
	}
	// It binds strangers and phones at the phones' door, and nobody else.
	g := shipped(t)
	for _, c := range []struct {
		source string
		door   *nat.Interface
		want   int
	}{{"192.0.2.66", outsidePhones, 4}, {"198.51.100.7", outsidePhones, 4}, {"203.0.113.20", outsideTrunks, 20}, {"10.0.0.10", insidePhones, 20}} {
		if n := passing(g, noon, c.door, c.source, "REGISTER", 20); n != c.want {
			t.Errorf("%d of 20 REGISTERs from %s pass at %s, want %d", n, c.source, c.door, c.want)
		}
	}
}

// serial makes every request of a test another one.
var serial int

// passing sends n requests at once and returns how many pass.
func passing(g *Guard, now time.Time, i *nat.Interface, source, method string, n int) (passed int) {
	for range n {
		serial++
		m := msg{method: method, callID: fmt.Sprint(serial, "@far"), branch: fmt.Sprint("z9hG4bK", serial)}
		if send(g, now, i, source, m.bytes()).Action == Allow {
			passed++
		}
	}
	return passed
}

func TestLimitsFollowTheNumberOfPhones(t *testing.T) {
	for _, source := range []string{"198.51.100.77", "2001:db8:7::1"} {
		g := shipped(t)
		a := netip.MustParseAddr(source)
		take := func(now time.Time, n int) int {
			return passing(g, now, outsidePhones, netip.AddrPortFrom(a, 5060).String(), "REGISTER", n)
		}
		if n := take(noon, 50); n != 4 {
			t.Errorf("%s: %d pass before anybody has registered, want 4", source, n)
		}
		// Growth gives room at once; the debt stays.
		registerPhones(g, source, 3)
		if n := take(noon, 50); n != 8 {
			t.Errorf("%s: %d more with 3 phones, want 3 × 4 - 4", source, n)
		}
		registerPhones(g, source, 11)
		if n := take(noon, 100); n != 14*4-12 {
			t.Errorf("%s: %d more with 14 phones, want 14 × 4 - 12", source, n)
		}
		// 14 × 15 a minute come back.
		if n := take(noon.Add(8*time.Second), 100); n != 28 {
			t.Errorf("%s: %d after 8 s, want 14 × 2", source, n)
		}
		// Ten minutes after they have left their room is gone, and not before.
		g.Tick(noon.Add(time.Minute))
		for range 14 {
			g.RemovePhone(a)
		}
		if n := take(noon.Add(10*time.Minute), 100); n != 56 {
			t.Errorf("%s: %d nine minutes after they have left, want 56", source, n)
		}
		g.Tick(noon.Add(12 * time.Minute))
		if n := take(noon.Add(12*time.Minute), 100); n != 4 {
			t.Errorf("%s: %d eleven minutes after they have left, want 4", source, n)
		}
		if n := len(allSites(&g.phones)); n != 0 {
			t.Errorf("%s: %d addresses are still remembered", source, n)
		}
	}
}

// TestPhonesOfOneNetworkShareItsBudget: limits of IPv6 are kept by /64, and so is the number of phones behind them.
func TestPhonesOfOneNetworkShareItsBudget(t *testing.T) {
	g := shipped(t)
	for n := range 10 {
		registerPhones(g, fmt.Sprintf("2001:db8:7::%d", n+1), 1)
	}
	passed := 0
	for n := range 10 {
		passed += passing(g, noon, outsidePhones, fmt.Sprintf("[2001:db8:7::%d]:5060", n+1), "REGISTER", 10)
	}
	if passed != 40 {
		t.Errorf("%d pass, want 10 × 4", passed)
	}
	if n := g.phones.behind(0, netip.MustParseAddr("2001:db8:7:1::1")); n != 0 {
		t.Errorf("%d behind the neighbour's /64", n)
	}
}

func TestUnparseableTrafficIsLimited(t *testing.T) {
	bad := msg{extra: "Content-Length: 9\r\n"}
	for _, c := range []struct {
		name   string
		rule   RateLimitConfig
		source string
		want   []string
	}{
		{"phone", RateLimitConfig{Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(2)}, phone,
			[]string{"reject 400 malformed", "reject 400 malformed", "drop limit-exceeded", "drop limit-exceeded"}},
		{"stranger", RateLimitConfig{Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(2)}, "192.0.2.66",
			[]string{"drop malformed", "drop malformed", "drop limit-exceeded"}},
		{"reject is silence", RateLimitConfig{Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(1), Action: "reject"}, phone,
			[]string{"reject 400 malformed", "drop limit-exceeded"}},
		{"ban", RateLimitConfig{Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(1), Action: "ban"}, phone,
			[]string{"reject 400 malformed", "drop limit-exceeded"}},
		{"shadow", RateLimitConfig{Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(1), Shadow: true}, phone,
			[]string{"reject 400 malformed", "reject 400 malformed"}},
		{"the star is about requests", RateLimitConfig{Limits: map[string]string{"*": "1/minute"}, Burst: ptr(1)}, phone,
			[]string{"reject 400 malformed", "reject 400 malformed"}},
	} {
		g := newGuard(t, &Config{RateLimits: []RateLimitConfig{c.rule}})
		for n, want := range c.want {
			v := send(g, noon, outsidePhones, c.source, bad.bytes())
			if says(v) != want {
				t.Errorf("%s: message %d meets %q, want %q", c.name, n, says(v), want)
			}
			if over := strings.Contains(want, "limit"); v.Ban != (over && c.rule.Action == "ban") || over != (v.Limit >= 0) {
				t.Errorf("%s: message %d: %+v", c.name, n, v)
			}
			if c.rule.Shadow && n > 0 && v.Shadow < 0 {
				t.Errorf("%s: message %d is not counted", c.name, n)
			}
		}
		if n := passing(g, noon, outsidePhones, phone, "INVITE", 3); n != 3 && !strings.Contains(c.name, "star") {
			t.Errorf("%s: unparseable traffic was charged to requests: %d of 3 pass", c.name, n)
		}
	}
}

func TestDeedsOfLimits(t *testing.T) {
	rule := func(action string) RateLimitConfig {
		return RateLimitConfig{Name: "x", Limits: map[string]string{"INVITE": "1/minute"}, Burst: ptr(1), Action: action}
	}
	second := func(c *Config, source string) Verdict {
		g := newGuard(t, c)
		passing(g, noon, outsidePhones, source, "INVITE", 1)
		return send(g, noon.Add(10*time.Second), outsidePhones, source, msg{branch: "z9hG4bKsecond"}.bytes())
	}
	for action, want := range map[string]string{"": "drop limit-exceeded", "drop": "drop limit-exceeded", "reject": "reject 503 limit-exceeded",
		"ban": "drop limit-exceeded", "alarm": "allow allow"} {
		v := second(&Config{RateLimits: []RateLimitConfig{rule(action)}}, phone)
		if says(v) != want || v.Ban != (action == "ban") || (v.Alarm >= 0) != (action == "alarm") {
			t.Errorf("%s: %q %+v", action, says(v), v)
		}
	}
	// An alarm stands beside what is enforced, whichever is narrower; it takes nobody's place.
	alarm := rule("alarm")
	alarm.Name, alarm.Range = "y", []string{"198.51.100.7"}
	v := second(&Config{RateLimits: []RateLimitConfig{alarm, rule("")}}, phone)
	if says(v) != "drop limit-exceeded" {
		t.Errorf("an alarm took the place of a limit: %q", says(v))
	}
	loose := rule("")
	loose.Burst = ptr(5)
	if v = second(&Config{RateLimits: []RateLimitConfig{alarm, loose}}, phone); says(v) != "allow allow" || v.Alarm < 0 {
		t.Errorf("no alarm beside a limit that is not exceeded: %+v", v)
	}
	// A rule on trial does nothing, whatever it would do.
	for _, action := range []string{"drop", "reject", "ban", "alarm"} {
		r := rule(action)
		r.Shadow = true
		if v = second(&Config{RateLimits: []RateLimitConfig{r}}, phone); says(v) != "allow allow" || v.Ban || v.Alarm >= 0 || v.Shadow < 0 {
			t.Errorf("shadow %s: %+v", action, v)
		}
	}
}

// TestRetryAfterIsForPhones: 503 with Retry-After tells a provider to stop sending anybody's calls.
func TestRetryAfterIsForPhones(t *testing.T) {
	c := &Config{RateLimits: []RateLimitConfig{
		{Range: []string{"any", "0.0.0.0-223.255.255.255"}, Limits: map[string]string{"INVITE": "6/minute", "OPTIONS": "1/day"}, Burst: ptr(1), Action: "reject"},
	}, Strangers: StrangersConfig{Phones: "answer", Trunks: "answer"}}
	g := newGuard(t, c)
	for _, s := range []struct {
		door   *nat.Interface
		source string
		method string
		want   int
	}{
		{outsidePhones, phone, "INVITE", 6}, {outsidePhones, phone, "OPTIONS", 3600},
		{outsidePhones, "192.0.2.66", "OPTIONS", 3600},
		{outsideTrunks, "203.0.113.20", "INVITE", 0}, {insidePhones, "10.0.0.10", "INVITE", 0},
	} {
		send(g, noon, s.door, s.source, msg{method: s.method, branch: "z9hG4bKa"}.bytes())
		v := send(g, noon.Add(4*time.Second), s.door, s.source, msg{method: s.method, branch: "z9hG4bKb"}.bytes())
		if says(v) != "reject 503 limit-exceeded" || v.RetryAfter != s.want {
			t.Errorf("%s from %s at %s: %q, Retry-After %d, want %d", s.method, s.source, s.door, says(v), v.RetryAfter, s.want)
		}
		if s.want > 0 && s.want < 3600 {
			at := noon.Add(4*time.Second + time.Duration(s.want)*time.Second)
			wantSays(t, send(g, at, s.door, s.source, msg{method: s.method, branch: "z9hG4bKc"}.bytes()), "allow allow")
		}
	}
}

// allSites lists what the table of phones remembers.
func allSites(p *phones) (list []netip.Prefix) {
	for i := range p.heads {
		for x := p.heads[i].Load(); x != nil; x = x.next.Load() {
			list = append(list, x.at)
		}
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return list
}

// TestWhatPhonesMaySend: what a preset does not name is limited, too; what belongs to a call is not charged.
func TestWhatPhonesMaySend(t *testing.T) {
	for preset, want := range map[string]int{"single-phone": 10, "home": 20, "office:3": 30} {
		for _, method := range []string{"MESSAGE", "PUBLISH", "REFER", "NOTIFY", "INFO", "register", "WEIRD"} {
			g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{{Preset: preset}}})
			if n := passing(g, noon, outsidePhones, phone, method, 100); n != want {
				t.Errorf("%s: %d of 100 %s pass, want %d", preset, n, method, want)
			}
			if n := passing(g, noon, outsidePhones, phone, "REGISTER", 1); n != 1 {
				t.Errorf("%s: after %s no REGISTER passes", preset, method)
			}
		}
	}
}

// TestWhatBelongsToACallIsNotCharged with what a preset does not name.
func TestWhatBelongsToACallIsNotCharged(t *testing.T) {
	g := shipped(t)
	a := addrPort(phone).Addr()
	g.Live().Add("our1", a)
	passing(g, noon, outsidePhones, phone, "MESSAGE", 100) // all is used up
	for _, method := range []string{"BYE", "PRACK", "UPDATE", "INFO", "NOTIFY", "REFER", "INVITE", "MESSAGE"} {
		for n := range 100 {
			m := msg{method: method, toTag: "our1", callID: "call", branch: fmt.Sprint("z9hG4bK", method, n)}
			wantSays(t, send(g, noon, outsidePhones, phone, m.bytes()), "allow live-dialog")
		}
	}
	g.Live().AddInvite("early", "z9hG4bKinvite", a)
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "CANCEL", callID: "early", branch: "z9hG4bKinvite"}.bytes()), "allow live-dialog")
	wantSays(t, send(g, noon, outsidePhones, phone, msg{method: "CANCEL", callID: "other", branch: "z9hG4bKother"}.bytes()), "drop limit-exceeded")
}

// TestABusyPhonePublishes: four PUBLISHes a call and a call a minute, the NOTIFYs that keep its NAT open, and a look for messages.
func TestABusyPhonePublishes(t *testing.T) {
	g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{{Preset: "single-phone"}}})
	for minute := range 60 {
		at := noon.Add(time.Duration(minute) * time.Minute)
		if n := passing(g, at, outsidePhones, phone, "PUBLISH", 4); n != 4 {
			t.Fatalf("minute %d: %d of 4 PUBLISHes pass", minute, n)
		}
		for quarter := range 4 {
			if passing(g, at.Add(time.Duration(quarter)*15*time.Second), outsidePhones, phone, "NOTIFY", 1) != 1 {
				t.Fatalf("minute %d: a NOTIFY is refused", minute)
			}
		}
	}
}
