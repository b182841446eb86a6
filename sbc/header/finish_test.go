package header

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// sheet makes a message of lines: the first is a method and a Request-URI, or a status and a method; the rest are fields. A
// request has a To tag only where its To says so.
func sheet(t testing.TB, text string) *message.Message {
	t.Helper()
	lines := strings.Split(strings.Trim(text, "\n\t "), "\n")
	a, b, _ := strings.Cut(strings.TrimSpace(lines[0]), " ")
	m := &message.Message{
		Method: a, CallID: "id", CSeq: 1, MaxForwards: 70, Via: []message.Via{{Transport: "UDP", Host: "10.0.0.2", Branch: "z9hG4bKx", RPort: 0}},
		From: message.NameAddr{URI: uri(t, "sip:204@example.com"), Tag: "f"}, To: message.NameAddr{URI: uri(t, "sip:030123@example.com")},
	}
	if status, err := strconv.Atoi(a); err == nil {
		m.Status, m.Method, m.Reason, m.MaxForwards, m.To.Tag = status, b, message.Phrase(status), -1, "t"
	} else {
		m.URI = uri(t, b)
	}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(l), ": ")
		var err error
		switch name {
		case "From":
			m.From, err = message.ParseNameAddr(value)
			m.From.Tag = "f"
		case "To":
			m.To, err = message.ParseNameAddr(value)
		case "":
		default:
			m.Add(name, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// shown is a message as sheet reads it, without tags.
func shown(m *message.Message) string {
	var b strings.Builder
	if m.IsRequest() {
		b.WriteString(m.Method + " " + m.URI.String())
	} else {
		b.WriteString(strconv.Itoa(m.Status) + " " + m.Method)
	}
	from, to := m.From, m.To
	from.Tag, to.Tag = "", ""
	b.WriteString("\nFrom: " + from.String() + "\nTo: " + to.String())
	for _, h := range m.Headers {
		b.WriteString("\n" + h.Name + ": " + h.Value)
	}
	return b.String()
}

func lines(text string) string {
	var out []string
	for l := range strings.SplitSeq(text, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

func re(s string) *regexp.Regexp { return regexp.MustCompile(`\A(?:` + s + `)\z`) }

func made(field string, action tu.RuleAction, match, value string) tu.Rule {
	r := tu.Rule{Header: field, Action: action, Value: value}
	if match != "" {
		r.Match = re(match)
		r.Value, _ = Template(value)
	}
	return r
}

func number(of, match, to string) tu.Number {
	template, _ := Template(to)
	return tu.Number{Called: of == "called", Match: re(match), Replace: template}
}

func itsp(r tu.Rules) *tu.Peer {
	return &tu.Peer{Kind: tu.KindTrunk, Name: "itsp", Side: nat.Outside, Rules: &r}
}

func name(s string) message.NameAddr {
	n, err := message.ParseNameAddr(s)
	if err != nil {
		panic(err)
	}
	return n
}

var (
	node  = &tu.Peer{Kind: tu.KindNode, Side: nat.Inside}
	phone = &tu.Peer{Kind: tu.KindPhone, Side: nat.Outside}
)

// effect is a message, and what the last hand makes of it.
type effect struct {
	what     string
	rules    tu.Rules
	inbound  bool // from the trunk to the PBX; else from the PBX to the trunk
	toPhone  bool // from the PBX to a phone, which has the rules
	own      bool // a message of our own
	in, want string
}

func (e *effect) check(t *testing.T) {
	t.Helper()
	out := sheet(t, e.in)
	from, to := node, itsp(e.rules)
	switch {
	case e.inbound:
		from, to = to, from
	case e.toPhone:
		p := *phone
		p.Rules = &e.rules
		to = &p
	}
	in := &message.Message{}
	if e.own {
		in = nil
	}
	before := *out
	Finish(from, to, in, out)
	if got := shown(out); got != lines(e.want) {
		t.Errorf("%s:\n%s\nbecame\n%s\nwant\n%s", e.what, lines(e.in), got, lines(e.want))
	}
	intact(t, &before, out)
}

// failer is what tests, fuzz targets and properties have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// intact checks that what belongs to the leg is as it was.
func intact(t failer, before, after *message.Message) {
	t.Helper()
	if after.Method != before.Method || after.CallID != before.CallID || after.CSeq != before.CSeq || after.MaxForwards != before.MaxForwards ||
		after.From.Tag != before.From.Tag || after.To.Tag != before.To.Tag || !slices.Equal(after.Via, before.Via) ||
		string(after.Body) != string(before.Body) || (after.Status == 0) != (before.Status == 0) {
		t.Fatalf("what belongs to the leg has changed:\n%s\n%s", before, after)
	}
	if (before.To.Tag != "" || !before.IsRequest()) && (before.From != after.From || before.To != after.To || before.URI != after.URI) {
		t.Fatalf("a dialog has other names:\n%s\n%s", before, after)
	}
}

const invite = "INVITE sip:030123@203.0.113.20\nFrom: \"Anna\" <sip:204@example.com>\nTo: <sip:030123@203.0.113.20>\n"

func TestRules(t *testing.T) {
	for _, e := range []effect{
		{what: "set where there is none", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1")}}, in: invite, want: invite + "X-A: 1"},
		{what: "set leaves one, where the first stood", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1")}},
			in: invite + "X-A: 8\nX-B: 2\nX-A: 9", want: invite + "X-A: 1\nX-B: 2"},
		{what: "set with a match that nothing fits", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "7", "1")}},
			in: invite + "X-A: 8", want: invite + "X-A: 8"},
		{what: "a match is against the whole value", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "8", "1")}},
			in: invite + "X-A: 88", want: invite + "X-A: 88"},
		{what: "set with a group", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "a(.*)", "b$1c")}},
			in: invite + "X-A: 8\nX-A: axyz", want: invite + "X-A: bxyzc"},
		{what: "add", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleAdd, "", "1")}}, in: invite + "X-A: 8", want: invite + "X-A: 8\nX-A: 1"},
		{what: "add what may stand there once", rules: tu.Rules{Outbound: []tu.Rule{made("Subject", tu.RuleAdd, "", "1")}},
			in: invite + "Subject: 8", want: invite + "Subject: 8"},
		{what: "remove all", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleRemove, "", "")}}, in: invite + "X-A: 8\nX-B: 2\nX-A: 9",
			want: invite + "X-B: 2"},
		{what: "remove those that fit", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleRemove, "9", "")}}, in: invite + "X-A: 8\nX-A: 9",
			want: invite + "X-A: 8"},
		{what: "replace each that fits", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleReplace, "([0-9])", "<$1>")}},
			in: invite + "X-A: 8\nX-A: ab\nX-A: 9", want: invite + "X-A: <8>\nX-A: ab\nX-A: <9>"},
		{what: "replace where there is none", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleReplace, ".*", "1")}}, in: invite, want: invite},
		{what: "all rules, in order", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1"), made("X-A", tu.RuleReplace, "1", "2"),
			made("X-A", tu.RuleReplace, "1", "3")}}, in: invite, want: invite + "X-A: 2"},
		{what: "another method", rules: tu.Rules{Outbound: []tu.Rule{{Header: "X-A", Method: "BYE", Value: "1"}}}, in: invite, want: invite},
		{what: "a response is of its method", rules: tu.Rules{Outbound: []tu.Rule{{Header: "X-A", Method: "INVITE", Value: "1"}}},
			in: "200 INVITE", want: "200 INVITE\nFrom: <sip:204@example.com>\nTo: <sip:030123@example.com>\nX-A: 1"},
		{what: "inbound is of what the peer sends", inbound: true, rules: tu.Rules{Inbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1")},
			Outbound: []tu.Rule{made("X-B", tu.RuleSet, "", "1")}}, in: invite, want: invite + "X-A: 1"},
		{what: "our own message is not what the peer sends", inbound: true, own: true, rules: tu.Rules{Inbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1")}},
			in: invite, want: invite},
		{what: "our own message is sent to the peer", own: true, rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1")}},
			in: "486 INVITE", want: "486 INVITE\nFrom: <sip:204@example.com>\nTo: <sip:030123@example.com>\nX-A: 1"},
		{what: "From", rules: tu.Rules{Outbound: []tu.Rule{made("From", tu.RuleSet, "", "<sip:+4930@gw.example>")}},
			in:   invite + "Contact: <sip:204@10.0.0.2:5080>",
			want: "INVITE sip:030123@203.0.113.20\nFrom: <sip:+4930@gw.example>\nTo: <sip:030123@203.0.113.20>\nContact: <sip:+4930@10.0.0.2:5080>"},
		{what: "From by its present value", rules: tu.Rules{Outbound: []tu.Rule{made("From", tu.RuleReplace, `.*<sip:(.*)@.*>`, `"X" <sip:+49$1@gw.example>`)}},
			in: invite, want: "INVITE sip:030123@203.0.113.20\nFrom: \"X\" <sip:+49204@gw.example>\nTo: <sip:030123@203.0.113.20>"},
		{what: "To", rules: tu.Rules{Outbound: []tu.Rule{made("To", tu.RuleSet, "", "tel:+4930")}}, in: "MESSAGE sip:1@x",
			want: "MESSAGE sip:1@x\nFrom: <sip:204@example.com>\nTo: <tel:+4930>"},
		{what: "From within a dialog", rules: tu.Rules{Outbound: []tu.Rule{made("From", tu.RuleSet, "", "<sip:+4930@gw.example>")}},
			in: "BYE sip:1@x\nTo: <sip:2@x>;tag=t", want: "BYE sip:1@x\nFrom: <sip:204@example.com>\nTo: <sip:2@x>"},
		{what: "From of a REGISTER", rules: tu.Rules{Inbound: []tu.Rule{made("From", tu.RuleSet, "", "<sip:1@x>")}}, inbound: true,
			in: "REGISTER sip:x\nTo: <sip:2@x>", want: "REGISTER sip:x\nFrom: <sip:204@example.com>\nTo: <sip:2@x>"},
		{what: "a group that is no address", rules: tu.Rules{Outbound: []tu.Rule{made("P-Asserted-Identity", tu.RuleReplace, "(.*)", "<$1")}},
			in: invite + "P-Asserted-Identity: <sip:1@x>", want: invite + "P-Asserted-Identity: <sip:1@x>"},
		{what: "a group that is empty", rules: tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleReplace, "a(.*)", "$1")}},
			in: invite + "X-A: a", want: invite + "X-A: a"},
	} {
		e.check(t)
	}
}

// TestLineEndsStayOut: not even a value that holds them can break a message in two.
func TestLineEndsStayOut(t *testing.T) {
	for _, evil := range []string{"a\r\nVia: b", "a\nb", "a\rb", "a\x00b", "a\x7fb"} {
		m := sheet(t, invite)
		m.Headers = append(m.Headers, message.Header{Name: "X-In", Value: evil}, message.Header{Name: "X-A", Value: "1"})
		Finish(node, itsp(tu.Rules{Outbound: []tu.Rule{
			made("X-In", tu.RuleReplace, "(?s)(.*)", "x$1"), made("X-A", tu.RuleSet, "", evil), made("From", tu.RuleSet, "", "<sip:"+evil+"@x>"),
		}}), m, m)
		if v, _ := m.Get("X-In"); v != evil { // it came so, and dies where it is written
			t.Errorf("%q was written", v)
		}
		if v, _ := m.Get("X-A"); v != "1" || m.From.URI.User != "204" {
			t.Errorf("%q was written", v)
		}
	}
}

// TestNobodyNamesTheLeg: rules that a configuration could not hold do nothing either.
func TestNobodyNamesTheLeg(t *testing.T) {
	for _, n := range []string{
		"Via", "Route", "Record-Route", "Contact", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type", "Authorization",
		"Proxy-Authenticate", "Require", "RSeq", "RAck", "Session-Expires", "Event", "Expires", "Replaces", "MIME-Version", "Content-ID",
	} {
		if _, ok := Nameable(n); ok {
			t.Errorf("%s can be named", n)
		}
		for _, a := range []tu.RuleAction{tu.RuleSet, tu.RuleAdd, tu.RuleRemove, tu.RuleReplace} {
			m := sheet(t, invite+n+": 1")
			Finish(node, itsp(tu.Rules{Outbound: []tu.Rule{{Header: n, Action: a, Value: "2"}}}), m, m)
			if v, _ := m.Get(n); v != "1" || len(m.Headers) != 1 {
				t.Errorf("%s %s: %v", a, n, m.Headers)
			}
		}
	}
	for _, n := range []string{"From", "To", "Subject", "Allow", "X-Anything", "Identity", "Resource-Priority", "Geolocation", "Alert-Info"} {
		if why, ok := Nameable(n); !ok {
			t.Errorf("%s cannot be named: %s", n, why)
		}
	}
}

// TestRulesAreBounded: no list of rules makes a message that its receiver would not read.
func TestRulesAreBounded(t *testing.T) {
	var r tu.Rules
	for range 64 {
		r.Outbound = append(r.Outbound, made("X-A", tu.RuleAdd, "", "1"), made("X-B", tu.RuleSet, "", "1"), made("X-A", tu.RuleReplace, "(.+)", "$1$1"))
	}
	m := sheet(t, invite)
	for range 90 {
		m.Add("X-C", "1")
	}
	Finish(node, itsp(r), m, m)
	if parseRaw([]byte(strings.ReplaceAll(written(t, m), "\n", "\r\n"))) == nil && len(written(t, m)) < 16<<10 {
		t.Error("it cannot be read")
	}
	if len(m.Headers) > fieldsMost {
		t.Errorf("%d fields", len(m.Headers))
	}
	for _, h := range m.Headers {
		if len(h.Value) > valueMost {
			t.Errorf("%d bytes", len(h.Value))
		}
	}
}

func TestTemplate(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "$1": "${1}", "$1x": "${1}x", "a$12b": "a${12}b", "${3}4": "${3}4", "$$1": "$$1", "$$$1": "$$${1}", "$0": "${0}", "$": "$", "$x": "$x",
	} {
		if got, _ := Template(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	for in, want := range map[string]int{"$1$3$2": 3, "x": 0, "$$9": 0, "$99999999": 9999, "${2}": 2} {
		if _, got := Template(in); got != want {
			t.Errorf("%s: %d", in, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	out := tu.Rules{NumbersOut: []tu.Number{
		number("called", "0([1-9][0-9]+)", "+49$1"), number("called", "0.*", "never"), number("calling", "[0-9]{3}", "+4930555$0"),
		number("calling", `\+4940(.*)`, "0$1"),
	}}
	for _, e := range []effect{
		{what: "called and calling", rules: out, in: invite + "Contact: <sip:204@198.51.100.5:5080>",
			want: "INVITE sip:+4930123@203.0.113.20\nFrom: \"Anna\" <sip:+4930555204@example.com>\nTo: <sip:+4930123@203.0.113.20>\nContact: <sip:+4930555204@198.51.100.5:5080>"},
		{what: "not in the other direction", rules: out, inbound: true, in: invite, want: invite},
		{what: "the first that matches", rules: out, in: "INVITE sip:00123@x\nTo: <sip:00123@x>\nFrom: <sip:2040@x>",
			want: "INVITE sip:never@x\nFrom: <sip:2040@x>\nTo: <sip:never@x>"},
		{what: "fields that name the caller", rules: out,
			in: invite + `P-Asserted-Identity: "A, B" <sip:204@x;user=phone>, <tel:205;isub=1>
				P-Preferred-Identity: <sip:206@x>
				Remote-Party-ID: <sip:207@x>;party=calling
				Diversion: <sip:208;ext=9@x>;reason=no-answer
				History-Info: <sip:209@x>;index=1
				X-Number: 210`,
			want: `INVITE sip:+4930123@203.0.113.20
				From: "Anna" <sip:+4930555204@example.com>
				To: <sip:+4930123@203.0.113.20>
				P-Asserted-Identity: "A, B" <sip:+4930555204@x;user=phone>, <tel:+4930555205;isub=1>
				P-Preferred-Identity: <sip:+4930555206@x>
				Remote-Party-ID: <sip:+4930555207@x>;party=calling
				Diversion: <sip:+4930555208;ext=9@x>;reason=no-answer
				History-Info: <sip:209@x>;index=1
				X-Number: 210`},
		{what: "what is there for the eye", rules: out, in: "INVITE tel:0(30)1-2.3\nFrom: <sip:%2B49-40-5@x>\nTo: <sip:030.123;phone-context=+49@x>",
			want: "INVITE tel:+4930123\nFrom: <sip:05@x>\nTo: <sip:+4930123;phone-context=+49@x>"},
		{what: "a digit is one however it is written", rules: out, in: "INVITE sip:%30301@x\nFrom: <sip:20%34@x>\nTo: <sip:0%3301@x>",
			want: "INVITE sip:+49301@x\nFrom: <sip:+4930555204@x>\nTo: <sip:+49301@x>"},
		{what: "nobody has no number", rules: tu.Rules{NumbersOut: []tu.Number{number("calling", ".*", "+49")}},
			in:   "INVITE sip:1@x\nFrom: \"Anonymous\" <sip:anonymous@anonymous.invalid>\nTo: <sip:1@x>",
			want: "INVITE sip:1@x\nFrom: \"Anonymous\" <sip:anonymous@anonymous.invalid>\nTo: <sip:1@x>"},
		{what: "what is no user", rules: tu.Rules{NumbersOut: []tu.Number{number("called", "(.*)", "$1@evil.example;x")}}, in: invite, want: invite},
		{what: "a key is escaped", rules: tu.Rules{NumbersOut: []tu.Number{number("called", "0(.*)", "*31#$1")}}, in: "INVITE sip:030@x\nTo: <sip:1@x>",
			want: "INVITE sip:*31%2330@x\nFrom: <sip:204@example.com>\nTo: <sip:1@x>"},
		{what: "within a dialog the names stay", rules: out, in: "UPDATE sip:030@x\nTo: <sip:030@x>;tag=t\nP-Asserted-Identity: <sip:204@x>",
			want: "UPDATE sip:030@x\nFrom: <sip:204@example.com>\nTo: <sip:030@x>\nP-Asserted-Identity: <sip:+4930555204@x>"},
		{what: "in responses too", rules: out, in: "200 INVITE\nP-Asserted-Identity: <sip:204@x>",
			want: "200 INVITE\nFrom: <sip:204@example.com>\nTo: <sip:030123@example.com>\nP-Asserted-Identity: <sip:+4930555204@x>"},
		{what: "from the provider", inbound: true, rules: tu.Rules{NumbersIn: []tu.Number{number("calling", "00(.*)", "+$1"), number("called", `\+4930555(.*)`, "$1")}},
			in:   "INVITE sip:+4930555204@10.0.0.10\nFrom: <sip:0049401@x>\nTo: <sip:+4930555204@x>\nIdentity: eyJ",
			want: "INVITE sip:204@10.0.0.10\nFrom: <sip:+49401@x>\nTo: <sip:204@x>"}, // its signature would not verify
	} {
		e.check(t)
	}
}

func TestCodes(t *testing.T) {
	const names = "\nFrom: <sip:204@example.com>\nTo: <sip:030123@example.com>"
	r := tu.Rules{CodesIn: []tu.Code{{From: 603, To: 486}}, CodesOut: []tu.Code{{From: 503, To: 480}, {From: 302, To: 404}, {From: 480, To: 404}, {From: 401, To: 403}, {From: 200, To: 404}, {From: 500, To: 481}}}
	for _, e := range []effect{
		{what: "what the peer gets", rules: r, in: "503 INVITE", want: "480 INVITE" + names},
		{what: "of our own too", own: true, rules: r, in: "503 INVITE", want: "480 INVITE" + names},
		{what: "what the peer answers", inbound: true, rules: r, in: "603 INVITE", want: "486 INVITE" + names},
		{what: "not the other way", rules: r, in: "603 INVITE", want: "603 INVITE" + names},
		{what: "of a list the first", rules: r, in: "480 INVITE", want: "404 INVITE" + names},
		{what: "who is not redirected is sent nowhere", rules: r, in: "302 INVITE\nContact: <sip:1@x>", want: "404 INVITE" + names},
		{what: "a challenge stays", rules: r, in: "401 INVITE", want: "401 INVITE" + names},
		{what: "a success stays", rules: r, in: "200 INVITE", want: "200 INVITE" + names},
		{what: "no dialog ends that goes on", rules: r, in: "500 INVITE", want: "500 INVITE" + names},
		{what: "a request has none", rules: r, in: invite, want: invite},
	} {
		e.check(t)
	}
	m := sheet(t, "503 INVITE")
	if Finish(node, itsp(r), m, m); m.Reason != "Temporarily Unavailable" {
		t.Error(m.Reason)
	}
}

// TestFinishCostsNothing: a peer without rules pays for none.
func TestFinishCostsNothing(t *testing.T) {
	in := sheet(t, invite+"P-Asserted-Identity: <sip:204@x>\nPrivacy: id\nDiversion: <sip:1@x>;privacy=full")
	plain := sheet(t, invite+"P-Asserted-Identity: <sip:204@x>\nSubject: x")
	for _, to := range []*tu.Peer{nil, node, {Kind: tu.KindTrunk}, phone} {
		m := in
		if to == phone {
			m = plain
		}
		if n := testing.AllocsPerRun(100, func() { Finish(node, to, m, m); Finish(to, node, m, m); Finish(nil, to, nil, m) }); n != 0 && to != nil {
			t.Errorf("%v: %v allocations", to.Kind, n)
		}
	}
}

func BenchmarkFinish(b *testing.B) {
	plain := sheet(b, invite+"P-Asserted-Identity: <sip:204@x>\nSubject: x\nAllow: INVITE\nSupported: histinfo")
	peer := itsp(tu.Rules{Outbound: []tu.Rule{made("X-A", tu.RuleSet, "", "1"), made("Subject", tu.RuleReplace, "(.*)", "y$1")}})
	for name, to := range map[string]*tu.Peer{"none": node, "two": peer} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := *plain
				m.Headers = append(make([]message.Header, 0, 8), plain.Headers...)
				Finish(node, to, plain, &m)
			}
		})
	}
}
