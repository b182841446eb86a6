package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/policy"
	"sallyport/policy/toll"
)

// withPolicy is a valid file with more under policy.
func withPolicy(keys string) string { return strings.Replace(valid, "rate_limits: []", keys, 1) }

// TestPatternForms: a plain text, one mapping or a list.
func TestPatternForms(t *testing.T) {
	contains := func(texts ...string) (out []policy.PatternConfig) {
		for _, text := range texts {
			out = append(out, policy.PatternConfig{Match: text, Mode: "contains"})
		}
		return out
	}
	for text, want := range map[string][]policy.PatternConfig{
		"sipcli":                               contains("sipcli"),
		"0100":                                 contains("0100"),
		"[]":                                   nil,
		"[ a, b ]":                             contains("a", "b"),
		"[ a, { match: b } ]":                  contains("a", "b"),
		"{ match: a }":                         contains("a"),
		"{ match: a, mode: prefix }":           {{Match: "a", Mode: "prefix"}},
		"{ mode: absent }":                     {{Mode: "absent"}},
		"[ { mode: absent }, a ]":              append([]policy.PatternConfig{{Mode: "absent"}}, contains("a")...),
		"[ { match: 'a.*', mode: regex } ]":    {{Match: "a.*", Mode: "regex"}},
		"&p { match: a }, from: *p":            contains("a"),
		"&p a, to: *p":                         contains("a"),
		"{ match: 'a, b' }, methods: [ INFO ]": contains("a, b"),
	} {
		snap := mustParse(t, withPolicy("message_rules: [ { name: x, user_agent: "+text+", transports: [ udp ] } ]"))
		rule := snap.Policy.Guard().MessageRules[0]
		if d := cmp.Diff(want, rule.UserAgent); d != "" {
			t.Errorf("%s:\n%s", text, d)
		}
		if strings.Contains(text, "*p") && len(rule.From)+len(rule.To) != 1 {
			t.Errorf("%s: an alias is not followed", text)
		}
	}
}

// TestMessageRuleDefaults: a rule that says little is about everybody but trunks and nodes, and drops.
func TestMessageRuleDefaults(t *testing.T) {
	got := mustParse(t, withPolicy("message_rules: [ { name: x, methods: [ MESSAGE ] } ]")).Policy.Guard().MessageRules[0]
	want := policy.MessageRuleConfig{
		Name: "x", Range: []string{"any"}, Realms: []string{"phones", "trunks"}, Methods: []string{"MESSAGE"}, Action: "drop",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestShippedLimits: the shipped rule counts where nothing is said, and the guard is told so.
func TestShippedLimits(t *testing.T) {
	for text, want := range map[string]struct {
		shipped bool
		rules   int
	}{
		"rate_limits: []": {false, 0},
		"bans: { }":       {true, 1},
		"white_list: []":  {true, 1},
		"rate_limits: [ { name: a, range: any, preset: home } ]":                                            {false, 1},
		"rate_limits: [ { name: shipped, range: any, realms: [ phones ], preset: home, per_phone: true } ]": {true, 1}, // written out
	} {
		snap, report := parseText("f", []byte(withPolicy(text)), Flags{})
		if snap == nil || len(report.Warnings) > 0 {
			t.Fatal(report.String())
		}
		guard := snap.Policy.Guard()
		if p := &snap.Policy; p.ShippedLimits != want.shipped || len(p.Limits) != want.rules || (guard.RateLimits == nil) != want.shipped {
			t.Errorf("%s: shipped %v, %d rules, the guard gets %v", text, p.ShippedLimits, len(p.Limits), guard.RateLimits)
		}
	}
	var want policy.RateLimitConfig
	for _, want = range policy.ShippedRateLimits() {
	}
	got := mustParse(t, withPolicy("bans: {}")).Policy.Limits[0]
	if d := cmp.Diff(want, got.guard(), cmp.Transformer("action", func(c policy.RateLimitConfig) string {
		c.Action = strings.TrimPrefix(c.Action, "drop") // the guard's default
		return fmt.Sprintf("%+v", c)
	})); d != "" {
		t.Error(d)
	}
}

// TestCommandLineLimits: the rule of the command line stands in front of what the file says, or of the shipped rule where it
// says nothing; that it hides some of it nobody is warned of.
func TestCommandLineLimits(t *testing.T) {
	f := parseFlags(t, "--limit", "INVITE=10/minute", "--limit", "unparseable=5/minute")
	for text, want := range map[string]string{
		"bans: {}":        "command line, shipped",
		"rate_limits: []": "command line",
		"rate_limits: [ { name: mine, range: 192.0.2.0/24, preset: trunk } ]": "command line, mine",
	} {
		snap, report := parseText("f", []byte(withPolicy(text)), f)
		if snap == nil || len(report.Warnings) > 0 {
			t.Fatalf("%s: %s", text, report.String())
		}
		var names []string
		for _, l := range snap.Policy.Guard().RateLimits {
			names = append(names, l.Name)
		}
		if got := strings.Join(names, ", "); got != want || snap.Policy.ShippedLimits {
			t.Errorf("%s: %s, want %s; shipped %v", text, got, want, snap.Policy.ShippedLimits)
		}
	}
}

// TestWarningsOfTheGuard: what it says of a rule of the file is a warning at that rule; of a rule that nobody wrote, a note.
func TestWarningsOfTheGuard(t *testing.T) {
	const hidden = `policy.rate_limits[1] "shipped": INVITE never decides: policy.rate_limits[0] "command line" covers its whole range`
	const written = "rate_limits: [ { name: shipped, range: any, realms: [ phones ], preset: home, per_phone: true } ]"
	for _, c := range []struct{ keys, text, warning, note string }{
		{"bans: {}", hidden, "", `f:6:9: policy.rate_limits: the shipped rule "shipped": INVITE never decides: policy.rate_limits[0] "command line" covers its whole range`},
		{written, hidden, `f:6:26: policy.rate_limits[1]: "shipped": INVITE never decides: policy.rate_limits[0] "command line" covers its whole range`, ""},
		{"bans: {}", `policy.deny_user_agents[0] "x" matches genuine phones; count only`,
			"f:6:9: policy.deny_user_agents[0]: \"x\" matches genuine phones\n  hint: count only", ""},
		{"bans: {}", `shipped user-agent rule "x" matches genuine phones; count only`, "",
			"f:6:9: policy.deny_user_agents: shipped user-agent rule \"x\" matches genuine phones\n  hint: count only"},
		{"bans: {}", `shipped user-agent rule "x" never fires: rule "y" stands before it`, "", ""},
	} {
		report, doc, from := newReport(), Default(), newOrigin("f")
		decode([]byte(withPolicy(c.keys)), doc, from, &report)
		f := parseFlags(t, "--limit", "INVITE=10/minute")
		f.apply(doc, from, &report)
		(&checker{doc: doc, from: from, report: &report}).guardWarning(c.text)
		if w, n := report.list(report.Warnings, ""), report.list(report.Notes, ""); w != c.warning || n != c.note {
			t.Errorf("%s: warning %q, note %q", c.text, w, n)
		}
	}
}

func TestOtherListsOnTheCommandLine(t *testing.T) {
	f := parseFlags(t, "--white-list", "office.example.com,192.0.2.0/28", "--white-list", "10.1.1.1", "--block-ua", "Dialler")
	snap, report := parseText("f", []byte(withPolicy("white_list: [ 192.0.2.99 ], deny_user_agents: []")), f)
	if snap == nil || len(report.Warnings) > 0 {
		t.Fatal(report.String())
	}
	guard := snap.Policy.Guard()
	var white []string
	for _, w := range guard.WhiteList {
		white = append(white, w.Range...)
		if len(w.Exempt) != 4 {
			t.Errorf("%s is exempt from %v only", w.Range, w.Exempt)
		}
	}
	if got := strings.Join(white, " "); got != "office.example.com 192.0.2.0/28 10.1.1.1" {
		t.Error(got)
	}
	want := []policy.UserAgentConfig{{Match: "Dialler", Mode: "contains", Action: "drop"}}
	if d := cmp.Diff(want, guard.DenyUserAgents); d != "" {
		t.Error(d)
	}
	_, report = parseText("f", []byte(valid), parseFlags(t, "--white-list", "country:DE", "--internal", "office.example.com"))
	for _, want := range []string{
		"--white-list: policy.white_list[0].range[0]: countries need a database", `--internal: internal_ranges: "office.example.com" is a name`,
	} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("%s is not said:\n%s", want, report.String())
		}
	}
}

// TestCountriesInUse: the snapshot says whether anything asks for a country; without a database that is an error, at the
// key that asks.
func TestCountriesInUse(t *testing.T) {
	for text, at := range map[string]string{
		"":                          "",
		"white_list: [ a.example ]": "",
		"countries: { list: DE }":   "policy.countries.list",
		"black_list: [ 192.0.2.1, 'country:DE' ]":                                     "policy.black_list[1].range[0]",
		"white_list: [ 'country:DE' ]":                                                "policy.white_list[0].range[0]",
		"rate_limits: [ { name: a, range: [ any, 'country:DE' ], preset: home } ]":    "policy.rate_limits[0].range[1]",
		"message_rules: [ { name: a, range: 'country:DE', action: alarm, from: b } ]": "policy.message_rules[0].range[0]",
	} {
		_, report := parseText("f", []byte(withPolicy(text)), Flags{})
		if at == "" != report.OK() || at != "" && report.Errors[0].Path != at {
			t.Errorf("%s: %s, want an error at %s", text, report.String(), at)
		}
		const database = "database: /usr/share/tor/geoip"
		named := strings.Replace(text, "countries: { ", "countries: { "+database+", ", 1)
		if named == text {
			named = strings.TrimPrefix(text+", countries: { "+database+" }", ", ")
		}
		snap := mustParse(t, withPolicy(named))
		if g := snap.Policy.Countries; g.Used != (at != "") || g.Database != "/usr/share/tor/geoip" {
			t.Errorf("%s: used %v, database %q", named, g.Used, g.Database)
		}
	}
}

// TestNoDatabaseNoError: the machine is asked about the one file that is named.
func TestDatabaseFiles(t *testing.T) {
	for file, want := range map[string]string{
		"/usr/share/tor/geoip": "", "/etc/ssl/private/tls.key": "permission denied", "/none": "file does not exist",
		"geoip": "is not an absolute path",
	} {
		_, report := parseText("f", []byte(withPolicy("countries: { database: "+file+" }")), Flags{})
		if want == "" != report.OK() || !strings.Contains(report.String(), want) {
			t.Errorf("%s: %s", file, report.String())
		}
		if want != "" && !strings.HasPrefix(report.Errors[0].String(), "f:6:34: policy.countries.database: ") {
			t.Errorf("%s: at %s", file, report.Errors[0])
		}
	}
}

// TestTollRules: what the toll room gets, which judges its part by itself.
func TestTollRules(t *testing.T) {
	snap := mustParse(t, withPolicy(`calls: [ { name: a, numbers: 0900, from: [ phones, itsp ] }, { name: b, per: aor, concurrent: 2, shadow: true } ]`))
	want := toll.Config{Rules: []toll.Rule{
		{Name: "a", Numbers: []string{"0900"}, From: []string{"phones", "itsp"}, Action: "reject", Code: 403},
		{Name: "b", Per: "aor", Concurrent: 2, Action: "reject", Code: 403, Shadow: true},
	}}
	if d := cmp.Diff(want, snap.Policy.Toll); d != "" {
		t.Error(d)
	}
	if _, err := toll.Compile(&snap.Policy.Toll); err != nil {
		t.Error(err)
	}
	var many strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&many, "{ name: r%d, numbers: [ %d ] }, ", i, i)
	}
	_, report := parseText("f", []byte(withPolicy("calls: [ "+many.String()+" ]")), Flags{})
	if len(report.Errors) != 1 || !strings.HasPrefix(report.Errors[0].String(), "f:6:18: policy.calls: ") || report.Errors[0].Hint == "" {
		t.Error(report.String())
	}
}

// TestSmallerKeys: what the assembler gets of keys that no room validates.
func TestSmallerKeys(t *testing.T) {
	text := withPolicy("bans: { kernel: true }, reload_guard: 100, recorder: 1MiB")
	text = strings.Replace(text, "pbx: { domain", "log: { security_size: 64KiB }\npbx: { limits: { INVITE: 5/second }, domain", 1)
	snap := mustParse(t, text)
	if p := &snap.Policy; !p.Bans.Kernel || p.ReloadGuard != 100 || p.Recorder != 1<<20 {
		t.Errorf("%+v", p)
	}
	if snap.Log.SecuritySize != 64<<10 || snap.PBX.Limits["INVITE"].String() != "5/second" {
		t.Errorf("%+v %+v", snap.Log, snap.PBX.Limits)
	}
	def := mustParse(t, valid)
	if p := &def.Policy; p.Bans.Kernel || p.ReloadGuard != 10 || p.Recorder != 16<<20 || def.Log.SecuritySize != 100<<20 || def.PBX.Limits != nil {
		t.Errorf("%+v", p)
	}
}

func TestDiffOfRules(t *testing.T) {
	const file = `white_list: [ office.example.com ],
  feeds: [ { name: a, url: "https://a.example/x" } ],
  message_rules: [ { name: m, methods: [ MESSAGE ] } ],
  countries: { database: /usr/share/tor/geoip, list: [ DE ] },
  rate_limits: [ { name: r, range: any, preset: home } ],
  calls: [ { name: c, numbers: 0900 } ]`
	for _, c := range []struct{ old, new, want string }{
		{"https://a.example/x", "https://a.example/y", `~ policy.feeds[a].url: "https://a.example/x" → "https://a.example/y" (live)`},
		{"methods: [ MESSAGE ]", "user_agent: x", "~ policy.message_rules[m].methods: [MESSAGE] → [] (live)\n" +
			"~ policy.message_rules[m].user_agent: [] → [{ match: x, mode: contains }] (live)"},
		{"list: [ DE ]", "list: [ de, AT ]", "~ policy.countries.list: [DE] → [DE, AT] (live)"},
		{"list: [ DE ]", "list: DE, realms: phones", ""},
		{"preset: home", `preset: "office:3"`, `~ policy.rate_limits[r].preset: home → office:3 (live)`},
		{"preset: home", "preset: home, per_phone: true", `~ policy.rate_limits[r].per_phone: false → true (live)`},
		{"numbers: 0900", "numbers: 0900, code: 603", "~ policy.calls[c].code: 403 → 603 (live)"},
		{"numbers: 0900", "numbers: 0900, name: c", ""},
		{"office.example.com", "office.example.com, 192.0.2.1", "+ policy.white_list[192.0.2.1]: { range: [192.0.2.1], realms: [phones, trunks], " +
			"exempt: [limits, bans, user_agents, countries] } (live)"},
		{"calls:", "bans: { points: 30, kernel: true }, calls:", "~ policy.bans.points: 20 → 30 (live)\n~ policy.bans.kernel: false → true (restart)"},
		{"calls:", "recorder: 0, calls:", "~ policy.recorder: 16MiB → 0B (restart)"},
	} {
		next := strings.Replace(file, c.old, c.new, 1)
		if c.want == "" {
			if snap, _ := parseText("f", []byte(withPolicy(next)), Flags{}); snap != nil {
				t.Errorf("%s is accepted", c.new)
			}
			continue
		}
		if got := render(Diff(mustParse(t, withPolicy(file)), mustParse(t, withPolicy(next)))); !sameDiff(got, c.want) {
			t.Errorf("%s → %s:\n%s\nwant:\n%s", c.old, c.new, got, c.want)
		}
	}
}

// sameDiff compares diffs without regard to quotes around texts with colons.
func sameDiff(got, want string) bool {
	return strings.ReplaceAll(got, `"`, "") == strings.ReplaceAll(want, `"`, "")
}
