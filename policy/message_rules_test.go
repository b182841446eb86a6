package policy

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gaissmai/bart"
	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/userpart"
)

// patternHolds is what the manual says of one pattern.
func patternHolds(p PatternConfig, value string) bool {
	value = naiveFold(value)
	want := foldASCII(strings.TrimSpace(p.Match))
	if p.Mode == "absent" || value == "" {
		return p.Mode == "absent" && value == ""
	}
	return naiveAgents([]UserAgentConfig{{Match: want, Mode: p.Mode}}, value) == 0
}

// naiveFold is a value on one line, without outer white space.
func naiveFold(value string) string {
	return strings.Trim(regexp.MustCompile(`[\r\n][ \t\r\n]*`).ReplaceAllString(value, " "), " \t")
}

// naiveRule says whether a message rule holds, condition by condition.
func naiveRule(e *MessageRuleConfig, d Data, s *Subject) bool {
	r, _ := parseRanges(rangeOrAny(e.Range))
	a := s.Source.Addr()
	inSpan := slices.ContainsFunc(r.spans, func(x span) bool { return x.contains(a) && !(x.whole() && s.Kind().system()) })
	byAny := (r.any || r.holdsCountry(d.Countries.Country(a)) && !private(a)) && !s.Kind().system()
	if !inSpan && !byAny || !slices.Contains(realmsOf(e.Realms), s.Realm) ||
		len(e.Methods) > 0 && !slices.Contains(e.Methods, s.Method.String()) ||
		len(e.Transports) > 0 && !slices.Contains(e.Transports, s.Transport.String()) {
		return false
	}
	holds := func(list []PatternConfig, value []byte) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(p PatternConfig) bool { return patternHolds(p, string(value)) })
	}
	either := func(list []PatternConfig, uri []byte) bool {
		return holds(list, uri) || holds(list, []byte(userpart.Plain(string(uri))))
	}
	if !either(e.From, s.From) || !either(e.To, s.To) || !either(e.RequestURI, s.URI) || !holds(e.CallID, s.CallID) {
		return false
	}
	var agents []string
	for _, agent := range s.Agents {
		if naiveFold(string(agent)) != "" {
			agents = append(agents, string(agent))
		}
	}
	if len(e.UserAgent) == 0 || len(agents) == 0 {
		return holds(e.UserAgent, nil)
	}
	no := func(agent string) bool { return !holds(e.UserAgent, []byte(agent)) }
	if e.Action == "allow" {
		return !slices.ContainsFunc(agents, no)
	}
	return slices.ContainsFunc(agents, func(agent string) bool { return !no(agent) })
}

// naiveRules is the first half of step 7 as the manual has it.
func naiveRules(c *Config, d Data, s *Subject) (said string) {
	shadow, alarm, name := "", "", func(i int) string { return c.MessageRules[i].Name }
	for i := range c.MessageRules {
		e := &c.MessageRules[i]
		switch {
		case !s.Request || !naiveRule(e, d, s):
		case e.Shadow && (e.Action == "alarm" || e.Action == "allow"):
		case e.Shadow:
			if shadow == "" {
				shadow = name(i)
			}
		case e.Action == "alarm":
			if alarm == "" {
				alarm = name(i)
			}
		default:
			return fmt.Sprint(orDefault(e.Action, "drop"), name(i), "/", shadow, "/", alarm)
		}
	}
	return fmt.Sprint("/", shadow, "/", alarm)
}

func compiledRules(r *Rules, s *Subject) string {
	v := fresh()
	refused, allowed := r.messageRules(s, &v)
	name := func(i int32) string { info, _ := r.Rule(i); return info.Name }
	said := ""
	switch {
	case refused && v.Ban:
		said = "ban"
	case refused:
		said = v.Action.String()
	case allowed:
		said = "allow"
	}
	return fmt.Sprint(said, name(v.Rule), "/", name(v.Shadow), "/", name(v.Alarm))
}

func drawPatterns(t *rapid.T, label string) (list []PatternConfig) {
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 3}).Draw(t, label) {
		p := PatternConfig{Mode: rapid.SampledFrom(append([]string{""}, patternModeNames[:]...)).Draw(t, "mode")}
		switch p.Mode {
		case "absent":
		case "regex":
			p.Match = rapid.SampledFrom([]string{"a+", "a.*b", "(a|b)*", "b c?", ".*/.*", "a|c"}).Draw(t, "regex")
		default:
			p.Match = rapid.SampledFrom([]string{"a", "ab", "aba", "b", "bab", "a/b", "a b", "A", "aB/", "bb"}).Draw(t, "match")
		}
		list = append(list, p)
	}
	return list
}

func TestCompiledMessageRulesEqualNaiveOnes(t *testing.T) {
	d := Data{Countries: world(t)}
	value := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "A", "B", "/", " ", "\t", "\r\n ", "ab", "aba"}), 0, 6),
		func(parts []string) []byte { return []byte(strings.Join(parts, "")) })
	rapid.Check(t, func(t *rapid.T) {
		c := &Config{RateLimits: []RateLimitConfig{}}
		for i := range rapid.SampledFrom([]int{1, 2, 3, 5, 66}).Draw(t, "rules") {
			e := MessageRuleConfig{Name: fmt.Sprint("r", i), Action: rapid.SampledFrom([]string{"", "drop", "reject", "ban", "alarm", "allow"}).Draw(t, "action"),
				Shadow: rapid.IntRange(0, 3).Draw(t, "shadow") == 0, UserAgent: drawPatterns(t, "agents"), From: drawPatterns(t, "from"),
				To: drawPatterns(t, "to"), RequestURI: drawPatterns(t, "uri"), CallID: drawPatterns(t, "id"),
				Realms:  rapid.SampledFrom([][]string{nil, nil, {"phones"}, {"trunks"}}).Draw(t, "realms"),
				Methods: rapid.SampledFrom([][]string{nil, nil, {"INVITE"}, {"MESSAGE", "other"}, {"INVITE", "MESSAGE"}}).Draw(t, "methods"),
				Range:   rapid.SampledFrom([][]string{nil, nil, {"any"}, {"192.0.2.0/24"}, {"country:DE"}, {"any", "203.0.113.20"}, {"0.0.0.0/0"}}).Draw(t, "range"),
			}
			e.Transports = rapid.SampledFrom([][]string{nil, nil, nil, {"udp"}, {"tcp", "tls"}}).Draw(t, "transports")
			if e.checkAny() {
				c.MessageRules = append(c.MessageRules, e)
			}
		}
		r, err := Compile(c, d)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			s := &Subject{Request: rapid.IntRange(0, 9).Draw(t, "request") > 0, Method: rapid.SampledFrom([]Method{MethodInvite, MethodMessage, MethodOther, MethodBye}).Draw(t, "method"),
				Realm: rapid.SampledFrom([]nat.Realm{nat.Phones, nat.Trunks}).Draw(t, "realm"), Transport: rapid.SampledFrom([]nat.Transport{nat.UDP, nat.TCP, nat.TLS}).Draw(t, "transport"),
				Source: addrPort(rapid.SampledFrom([]string{"192.0.2.1", "203.0.113.20", "198.51.100.4", "1.1.1.1"}).Draw(t, "source")),
				Peer:   rapid.SampledFrom([]*Peer{nil, nil, {Kind: Phone}, {Kind: Trunk}}).Draw(t, "peer"),
				From:   value.Draw(t, "from"), To: value.Draw(t, "to"), URI: value.Draw(t, "uri"), CallID: value.Draw(t, "id")}
			for i := range rapid.IntRange(0, 2).Draw(t, "agents") {
				s.Agents[i] = value.Draw(t, "agent")
			}
			if got, want := compiledRules(r, s), naiveRules(c, d, s); got != want {
				t.Fatalf("%q, want %q: %q by %+v", got, want, []string{string(s.From), string(s.To), string(s.URI), string(s.CallID), string(s.Agents[0]), string(s.Agents[1])}, c.MessageRules)
			}
		}
	})
}

// checkAny reports whether a drawn rule is a valid one.
func (e *MessageRuleConfig) checkAny() bool {
	return (&Config{MessageRules: []MessageRuleConfig{*e}}).Validate() == nil
}

func TestMessageRulesOfTheManual(t *testing.T) {
	c := &Config{
		Phones: PhonesConfig{Registrar: true, Unregistered: "reject"},
		MessageRules: []MessageRuleConfig{
			{Name: "no messages", Methods: []string{"MESSAGE"}, Realms: []string{"phones"}},
			{Name: "our phones", UserAgent: []PatternConfig{{Match: "Yealink", Mode: "prefix"}}, Action: "allow"},
			{Name: "no name", UserAgent: []PatternConfig{{Mode: "absent"}}, Methods: []string{"REGISTER", "INVITE"}, Action: "reject"},
			{Name: "itsp", Range: []string{"203.0.113.20"}, From: []PatternConfig{{Match: "anonymous"}}, Action: "reject"},
			{Name: "dialler", From: []PatternConfig{{Match: "sip:1000@"}}, To: []PatternConfig{{Match: "sip:00.*@.*", Mode: "regex"}, {Match: "<sip:900"}}, Action: "ban"},
			{Name: "look", CallID: []PatternConfig{{Match: "strange", Mode: "prefix"}}, Action: "alarm"},
			{Name: "try", RequestURI: []PatternConfig{{Match: "sip:100@example.com", Mode: "exact"}}, Methods: []string{"SUBSCRIBE"}, Shadow: true},
		},
		DenyUserAgents: []UserAgentConfig{{Match: "old firmware"}, {Match: "watched", Action: "alarm"}, {Match: "scanner", Action: "ban"}},
	}
	g := newGuard(t, c)
	for i, step := range []struct {
		i                *nat.Interface
		source           string
		m                msg
		want, rule, what string
	}{
		{outsidePhones, phone, msg{method: "MESSAGE", agent: "Yealink"}, "drop message-rule", "no messages", ""},
		{outsideTrunks, "203.0.113.20", msg{method: "MESSAGE"}, "allow allow", "", ""},
		{outsidePhones, phone, msg{agent: "Yealink SIP-T46U old firmware"}, "allow allow", "our phones", ""},
		{outsidePhones, phone, msg{agent: "x Yealink old firmware"}, "drop user-agent", "old firmware", ""},
		{outsidePhones, phone, msg{}, "reject 403 message-rule", "no name", ""},
		{outsidePhones, phone, msg{method: "OPTIONS"}, "allow allow", "", ""},
		{outsidePhones, "192.0.2.66", msg{method: "REGISTER", extra: "User-Agent:  \r\n"}, "reject 403 message-rule", "no name", ""},
		{outsidePhones, "192.0.2.66", msg{method: "REGISTER", agent: "a phone"}, "allow allow", "", ""},
		{outsideTrunks, "203.0.113.20", msg{}, "allow allow", "", ""},
		{outsideTrunks, "203.0.113.20", msg{callID: "strange-1"}, "allow allow", "", ""},
		{outsidePhones, phone, msg{callID: "strange-2", agent: "p"}, "allow allow", "", "alarm look"},
		{outsidePhones, phone, msg{agent: "watched"}, "allow allow", "", "alarm watched"},
		{outsidePhones, phone, msg{agent: "a scanner"}, "drop user-agent", "scanner", "ban"},
		{outsidePhones, phone, msg{method: "SUBSCRIBE", agent: "p"}, "allow allow", "", "shadow try"},
	} {
		step.m.branch = fmt.Sprint("z9hG4bKm", i)
		v := send(g, noon, step.i, step.source, step.m.bytes())
		name := func(i int32) string { info, _ := g.Rules().Rule(i); return info.Name }
		what := ""
		switch {
		case v.Ban:
			what = "ban"
		case v.Alarm >= 0:
			what = "alarm " + name(v.Alarm)
		case v.Shadow >= 0:
			what = "shadow " + name(v.Shadow)
		}
		if says(v) != step.want || name(v.Rule) != step.rule || what != step.what {
			t.Errorf("%d: %q %q %q, want %q %q %q", i, says(v), name(v.Rule), what, step.want, step.rule, step.what)
		}
	}
}

// TestATrunkMeetsRulesThatNameIt: a rule for anybody, or for the trunk's country, passes it over.
func TestATrunkMeetsRulesThatNameIt(t *testing.T) {
	for ranges, want := range map[string]string{"": "allow allow", "any": "allow allow", "country:FR": "allow allow", "0.0.0.0/0": "allow allow",
		"203.0.113.0/24": "drop message-rule", "any, 203.0.113.20": "drop message-rule", "itsp.example.com": "drop message-rule", "192.0.2.1": "allow allow"} {
		c := &Config{MessageRules: []MessageRuleConfig{{Methods: []string{"INVITE"}}}}
		if ranges != "" {
			c.MessageRules[0].Range = []string{ranges}
		}
		g := newGuard(t, c)
		g.SetRules(noon, compileWith(t, c, Data{Countries: world(t), Names: map[string][]netip.Addr{"itsp.example.com": {addrPort("203.0.113.20").Addr()}}}))
		if v := send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes()); says(v) != want {
			t.Errorf("%q: %s, want %s", ranges, says(v), want)
		}
	}
}

func TestMessageRulesAreValidated(t *testing.T) {
	p := func(match, mode string) []PatternConfig { return []PatternConfig{{match, mode}} }
	c := &Config{MessageRules: []MessageRuleConfig{
		{},
		{Name: "a", Methods: []string{"invite"}, Transports: []string{"sctp"}, Action: "deny", Realms: []string{"x"}, Range: []string{"1"}},
		{Name: "a", UserAgent: p("", ""), From: p("x", "absent"), To: p("(", "regex"), RequestURI: p("x", "like"), CallID: p(strings.Repeat("x", 300), "")},
		{Name: "b", UserAgent: make([]PatternConfig, 101)},
	}}
	err := c.Validate()
	for _, want := range []string{
		"policy.message_rules[0]: has no condition", "policy.message_rules[1].methods: \"invite\" is not a method", "policy.message_rules[1].transports: \"sctp\"",
		"policy.message_rules[1].action: ", "policy.message_rules[1].realms: ", "policy.message_rules[1].range: ", "policy.message_rules[2].name: \"a\" is also",
		"policy.message_rules[2].user_agent.match: is empty", "policy.message_rules[2].from.match: stands beside mode absent",
		"policy.message_rules[2].to.match: error parsing regexp", "policy.message_rules[2].request_uri.mode: \"like\"", "policy.message_rules[2].call_id.match: is longer",
		"policy.message_rules[3].user_agent: has 101 entries",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	many := &Config{MessageRules: make([]MessageRuleConfig, maxMessageRules+1)}
	if err := many.Validate(); err == nil || !strings.Contains(err.Error(), "policy.message_rules: has 1001 entries") {
		t.Error("1001 rules are taken")
	}
	good := &Config{MessageRules: []MessageRuleConfig{{Methods: []string{"other"}}, {Range: []string{"192.0.2.1"}}, {Transports: []string{"UDP", "wss"}}}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMessageRuleWarnings(t *testing.T) {
	p := func(match, mode string) []PatternConfig { return []PatternConfig{{match, mode}} }
	for name, c := range map[string]struct {
		rules []MessageRuleConfig
		want  string
	}{
		"never fires":          {[]MessageRuleConfig{{Name: "a", UserAgent: p("zz", "")}, {UserAgent: p("zzz", "prefix"), Methods: []string{"INVITE"}}}, `policy.message_rules[1] never fires: policy.message_rules[0] "a" stands before it`},
		"behind a method":      {[]MessageRuleConfig{{Methods: []string{"MESSAGE", "INFO"}}, {Methods: []string{"INFO"}, From: p("x", "")}}, "policy.message_rules[1] never fires"},
		"fires elsewhere":      {[]MessageRuleConfig{{Methods: []string{"MESSAGE"}, Realms: []string{"phones"}}, {Methods: []string{"MESSAGE"}}}, ""},
		"fires for trunks":     {[]MessageRuleConfig{{Methods: []string{"MESSAGE"}}, {Methods: []string{"MESSAGE"}, Range: []string{"203.0.113.20"}}}, ""},
		"behind a shadow":      {[]MessageRuleConfig{{Methods: []string{"MESSAGE"}, Shadow: true}, {Methods: []string{"MESSAGE"}}}, ""},
		"behind an alarm":      {[]MessageRuleConfig{{Methods: []string{"MESSAGE"}, Action: "alarm"}, {Methods: []string{"MESSAGE"}}}, ""},
		"behind an allow":      {[]MessageRuleConfig{{UserAgent: p("zz", ""), Action: "allow"}, {UserAgent: p("zz", "")}}, ""},
		"other part":           {[]MessageRuleConfig{{From: p("zz", "")}, {To: p("zz", "")}}, ""},
		"absent twice":         {[]MessageRuleConfig{{From: p("", "absent")}, {From: p("", "absent"), To: p("x", "")}}, "policy.message_rules[1] never fires"},
		"genuine":              {[]MessageRuleConfig{{UserAgent: p("snom", "")}}, "policy.message_rules[0] matches genuine phones (snomD785/10.1.148.1)"},
		"genuine, counted":     {[]MessageRuleConfig{{UserAgent: p("snom", ""), Shadow: true}}, ""},
		"genuine, told":        {[]MessageRuleConfig{{UserAgent: p("snom", ""), Action: "alarm"}}, ""},
		"genuine, spared":      {[]MessageRuleConfig{{UserAgent: p("snomD", "prefix"), Action: "allow"}, {UserAgent: p("snom", "")}}, ""},
		"genuine, spared late": {[]MessageRuleConfig{{UserAgent: p("snom", "")}, {UserAgent: p("snomD", "prefix"), Action: "allow"}}, "policy.message_rules[0] matches genuine"},
		"genuine, one office":  {[]MessageRuleConfig{{UserAgent: p("snom", ""), Range: []string{"192.0.2.0/24"}}}, ""},
		"genuine, and more":    {[]MessageRuleConfig{{UserAgent: p("snom", ""), From: p("x", "")}}, ""},
		"every REGISTER":       {[]MessageRuleConfig{{Name: "x", Methods: []string{"REGISTER"}}}, `policy.message_rules[0] "x" refuses every REGISTER, those of registered phones, too`},
		"every UDP":            {[]MessageRuleConfig{{Transports: []string{"udp"}}}, ""},
	} {
		c := struct {
			Config
			want string
		}{Config{DenyUserAgents: []UserAgentConfig{}, MessageRules: c.rules}, c.want}
		got := strings.Join(compile(t, &c.Config).Warnings(), "\n")
		if (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// An allow rule spares the shipped list, too.
	c := &Config{MessageRules: []MessageRuleConfig{{UserAgent: []PatternConfig{{Match: "eyeBeam", Mode: "prefix"}}, Action: "allow"}}}
	if got := strings.Join(compile(t, c).Warnings(), "\n"); strings.Contains(got, "\"eyeBeam\" match") || !strings.Contains(got, "\"one-X\" match genuine") {
		t.Error(got)
	}
	c = &Config{DenyUserAgents: []UserAgentConfig{{Match: "snom", Action: "alarm"}, {Match: "snom"}, {Match: "snomD", Action: "ban"}}}
	got := strings.Join(compile(t, c).Warnings(), "\n")
	if strings.Contains(got, "[0] \"snom\" matches") || !strings.Contains(got, "[1] \"snom\" matches") || !strings.Contains(got, "[2] \"snomD\" matches") ||
		!strings.Contains(got, "[2] \"snomD\" never fires: policy.deny_user_agents[1]") || strings.Contains(got, "[1] \"snom\" never") {
		t.Error(got)
	}
}

// manyRules are as many message rules as there may be, of every kind.
func manyRules() *Config {
	c := &Config{}
	for i := range maxMessageRules {
		e := MessageRuleConfig{Name: fmt.Sprint("rule ", i), From: []PatternConfig{{Match: fmt.Sprintf("sip:%d@", i+100_000)}}}
		switch i % 4 {
		case 1:
			e.UserAgent = []PatternConfig{{Match: fmt.Sprintf("phone %d", i), Mode: "product"}}
		case 2:
			e.CallID = []PatternConfig{{Match: fmt.Sprintf(".*%d", i), Mode: "regex"}}
		case 3:
			e.Range, e.From = []string{fmt.Sprintf("192.0.2.%d", i%256), "country:FR"}, []PatternConfig{{Match: ".*nobody.*", Mode: "regex"}}
		}
		c.MessageRules = append(c.MessageRules, e)
	}
	return c
}

func BenchmarkMessageRules(b *testing.B) {
	for name, c := range map[string]*Config{"none": {}, "one": {MessageRules: manyRules().MessageRules[:1]}, "a thousand": manyRules()} {
		b.Run(name, func(b *testing.B) {
			r := compile(b, c)
			s := &Subject{Request: true, Method: MethodInvite, Source: addrPort("198.51.100.4"), From: []byte(`"Bob" <sip:204@example.com>;tag=far1`),
				To: []byte("<sip:100@example.com>"), URI: []byte("sip:100@example.com"), CallID: []byte("c1@far")}
			s.Agents[0] = []byte("Yealink SIP-T46U 108.86.0.45")
			b.ReportAllocs()
			for b.Loop() {
				v := Verdict{Rule: -1, Shadow: -1, Alarm: -1}
				if refused, allowed := r.messageRules(s, &v); refused || allowed {
					b.Fatal("a rule holds")
				}
			}
		})
	}
}

func TestRulesOfStepsThreeToSevenAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	c := manyRules()
	c.WhiteList, c.BlackList = []WhiteEntry{{Range: []string{"country:US"}}}, []BlackEntry{{Range: []string{"203.0.113.0/24", "country:FR"}, Until: noon}}
	c.Feeds, c.Countries = []FeedConfig{{Name: "a"}}, CountriesConfig{List: []string{"FR"}, Unknown: "allow"}
	c.DenyUserAgents = []UserAgentConfig{{Match: "[0-9]+", Mode: "regex"}, {Match: "x", Action: "alarm"}, {Match: "y", Shadow: true}}
	r := compileWith(t, c, Data{Countries: world(t), Feeds: map[string]*bart.Lite{"a": feedOf("203.0.113.9/32")}})
	base := Subject{Request: true, Method: MethodInvite, Source: addrPort("192.0.2.4"), From: []byte("\"folded\r\n name\" <sip:204@example.com>;tag=far1"),
		To: []byte("<sip:100@example.com>"), URI: []byte("sip:100@example.com"), CallID: []byte("c1@far")}
	base.Agents[0], base.Agents[1] = []byte("Yealink\r\n SIP-T46U"), []byte("another")
	var s Subject
	n := testing.AllocsPerRun(200, func() {
		s = base
		v := verdict(Allow, 0, causeAllow)
		r.whiteList(&s, &v)
		if r.blackList(noon, &s, &v) || r.fed(&s, &v) || r.foreign(&s, &v) {
			t.Fatal("refused")
		}
		if refused, _ := r.messageRules(&s, &v); refused || r.userAgents(&s, &v) {
			t.Fatal("refused")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMessageRules(f *testing.F) {
	p := func(match, mode string) []PatternConfig { return []PatternConfig{{match, mode}} }
	c := &Config{RateLimits: []RateLimitConfig{}, MessageRules: []MessageRuleConfig{
		{Name: "r0", UserAgent: p("scan", ""), From: p("one-x", "product"), Action: "alarm"}, {Name: "r1", From: p("", "absent"), Shadow: true},
		{Name: "r2", From: p("<sip:1", "prefix"), CallID: p("[a-f0-9]+@.*", "regex")}, {Name: "r3", UserAgent: p("", "absent"), To: p("x", "exact"), Action: "reject"},
		{Name: "r4", UserAgent: []PatternConfig{{"can", "contains"}, {"a.*", "regex"}}, Action: "allow"}, {Name: "r5", RequestURI: p("sip:*", "prefix")},
	}}
	r := compile(f, c)
	f.Add("friendly-scanner", "", "one-x <sip:1@x>", "x", "sip:1@x", "abc@x")
	f.Add("", "\r\n can", "<sip:1", "", "", "\x00")
	f.Fuzz(func(t *testing.T, a, b, from, to, uri, id string) {
		s := &Subject{Request: true, Method: MethodInvite, Source: addrPort("192.0.2.1"), From: []byte(from), To: []byte(to), URI: []byte(uri), CallID: []byte(id)}
		s.Agents[0], s.Agents[1] = []byte(a), []byte(b)
		for _, text := range []string{a, b, from, to, uri, id} {
			if len(text) > maxRegexInput/2 {
				return
			}
		}
		if got, want := compiledRules(r, s), naiveRules(c, Data{}, s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
