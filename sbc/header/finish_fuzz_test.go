package header

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// fields that rules of the property name: those that mean something, those that no rule may name, and others.
var ruled = []string{
	"From", "To", "P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info", "Privacy", "Identity", "Subject", "X-A", "Allow", "Supported",
	"Via", "Contact", "Call-ID", "CSeq", "Content-Length", "Content-Type", "Max-Forwards", "Require", "Authorization", "Route", "User-Agent",
}

func drawRules(t *rapid.T, label string) tu.Rules {
	value := rapid.SampledFrom([]string{
		"", "1", "<sip:1@x>", "$1", "<$1>", "sip:$1", "$1, $1", "<sip:$1@10.0.0.10;maddr=x>", "a\r\nVia: x", "\x00", `"`, "<", "tel:1", "id;user", "${1}x", "$9", "*", "SIP/2.0/UDP x",
	})
	match := rapid.SampledFrom([]string{"", ".*", "(.*)", "(?s)(.*)", "<sip:(.*)@(.*)>", "[0-9]+", "(x)?.*", "()"})
	compiled := func(s string) *regexp.Regexp {
		if s == "" {
			return nil
		}
		return re(s)
	}
	rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tu.Rule {
		return tu.Rule{
			Header: rapid.SampledFrom(ruled).Draw(t, "field"), Action: tu.RuleAction(rapid.IntRange(0, 3).Draw(t, "action")),
			Method: rapid.SampledFrom([]string{"", "INVITE", "BYE"}).Draw(t, "method"), Match: compiled(match.Draw(t, "match")), Value: value.Draw(t, "value"),
		}
	}), 0, 5)
	numbers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tu.Number {
		return tu.Number{
			Called: rapid.Bool().Draw(t, "called"), Match: re(rapid.SampledFrom([]string{".*", "(.*)", "0(.*)", "[0-9]+"}).Draw(t, "of")),
			Replace: rapid.SampledFrom([]string{"${1}", "+49${1}", "${1}@x", "", "a b", "${1};x=y", "#${1}", "<>", "%"}).Draw(t, "to"),
		}
	}), 0, 2)
	fixed := name(`"X" <sip:+49@x>`)
	return tu.Rules{
		Inbound: rules.Draw(t, label+" in"), Outbound: rules.Draw(t, label+" out"), NumbersIn: numbers.Draw(t, label+" n in"), NumbersOut: numbers.Draw(t, label+" n out"),
		Naming: tu.Naming{
			From: tu.IdentityForm(rapid.IntRange(0, 2).Draw(t, "from")), FromFixed: fixed, Asserted: tu.IdentityForm(rapid.IntRange(0, 5).Draw(t, "asserted")), AssertedFixed: fixed,
			Privacy: tu.IdentityForm(rapid.IntRange(0, 1).Draw(t, "privacy")), STIR: tu.IdentityForm(rapid.IntRange(0, 1).Draw(t, "stir")),
			Diversion: tu.DiversionForm(rapid.IntRange(0, 3).Draw(t, "diversion")),
		},
		CodesIn:  []tu.Code{{From: 603, To: rapid.SampledFrom([]int{486, 200, 401, 481, 999, 0}).Draw(t, "code")}},
		CodesOut: []tu.Code{{From: rapid.SampledFrom([]int{486, 200, 401, 180, 302, 404}).Draw(t, "from code"), To: 480}},
	}
}

// drawMessage is a message as the gate writes it, with fields that a peer may have sent.
func drawMessage(t *rapid.T) *message.Message {
	m := &message.Message{
		Method: rapid.SampledFrom([]string{"INVITE", "BYE", "MESSAGE", "REGISTER"}).Draw(t, "method"), CallID: "id", CSeq: 7, MaxForwards: 70,
		Via:  []message.Via{{Transport: "UDP", Host: "10.0.0.2", Branch: "z9hG4bKx", RPort: 0}},
		From: message.NameAddr{URI: message.URI{Scheme: "sip", User: "204", Host: "example.com"}, Tag: "f"},
		To:   message.NameAddr{URI: message.URI{Scheme: "sip", User: "030", Host: "example.com"}},
	}
	if rapid.Bool().Draw(t, "dialog") {
		m.To.Tag = "t"
	}
	if m.Status = rapid.SampledFrom([]int{0, 0, 0, 180, 200, 302, 401, 404, 486, 603}).Draw(t, "status"); m.Status != 0 {
		m.Reason, m.To.Tag, m.MaxForwards = message.Phrase(m.Status), "t", -1
	} else {
		m.URI = message.URI{Scheme: "sip", User: "030", Host: "203.0.113.20"}
	}
	values := rapid.SampledFrom([]string{
		"<sip:1@x>", `"a, b" <sip:0123;x=y@x;user=phone>;party=called;privacy=full`, "<tel:+49;isub=1>, <sip:2@x>", "<sip:1@x?Privacy=history>;index=1, <sip:2@x;cause=302>;index=1.1",
		"id;user;critical", "none", "<sip:broken", "x", "sip:1@x;reason=user-busy", `<urn:service:sos>`,
	})
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		m.Add(rapid.SampledFrom([]string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info", "Privacy", "Identity", "Subject", "X-A"}).Draw(t, "field"), values.Draw(t, "value"))
	}
	if m.Method == "INVITE" {
		m.Add("Contact", "<sip:204@10.0.0.2:5080>")
	}
	m.Add("Content-Type", "application/sdp")
	m.Body = []byte("v=0\r\n")
	return m
}

// TestNoRuleBreaksAMessage: whatever rules say, what is written can be read again, and what belongs to the leg is as it was.
func TestNoRuleBreaksAMessage(t *testing.T) {
	guard := testGuard()
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		first := itsp(drawRules(t, "trunk"))
		second := *phone
		rules := drawRules(t, "phone")
		second.Rules = &rules
		peers := []*tu.Peer{first, node, &second, nil}
		from, to := rapid.SampledFrom(peers).Draw(t, "from"), rapid.SampledFrom(peers).Draw(t, "to")
		before := *m
		before.Headers = append([]message.Header(nil), m.Headers...)
		var in *message.Message
		if rapid.Bool().Draw(t, "passed") {
			in = m
		}
		Finish(from, to, in, m)
		whole(t, &before, m)
		// And the guard comes last: what a rule wrote of the other side does not leave.
		if guard.Check(nat.Outside, m, nil); strings.Contains(m.String(), "10.0.0.10") {
			t.Fatalf("it shows an address of the PBX:\n%s", m)
		}
	})
}

// protected are the fields that no rule touches.
func protected(m *message.Message) (out []message.Header) {
	for _, h := range m.Headers {
		if _, may := Nameable(h.Name); !may && h.Name != "Contact" {
			out = append(out, h)
		}
	}
	return out
}

func whole(t failer, before, m *message.Message) {
	t.Helper()
	intact(t, before, m)
	if was, is := protected(before), protected(m); len(was) != len(is) {
		t.Fatalf("%v became %v", was, is)
	} else {
		for i := range was {
			if was[i] != is[i] {
				t.Fatalf("%v became %v", was, is)
			}
		}
	}
	raw, err := m.Append(nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, m)
	}
	again := parseRaw(raw)
	if again == nil {
		t.Fatalf("cannot be read:\n%s", raw)
	}
	if again.From != m.From || again.To != m.To || again.CallID != m.CallID || again.CSeq != m.CSeq || len(again.Via) != 1 || string(again.Body) != string(m.Body) ||
		len(again.Headers) != len(m.Headers) || again.Status != m.Status {
		t.Fatalf("reads as another message:\n%s\n%s", raw, again)
	}
	if code := m.Status; code != before.Status && (code < 400 || code > 699 || !MayRecode(before.Status)) {
		t.Fatalf("%d became %d", before.Status, code)
	}
}

// FuzzFinish: rules, as a configuration may have them, on whatever message a peer sends.
func FuzzFinish(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(written(f, sheet(f, invite+"Privacy: id\nP-Asserted-Identity: <sip:1@x>\nDiversion: <sip:2@x>;reason=x")), "\n", "\r\n")), "P-Asserted-Identity", "<sip:(.*)@.*>", "<sip:+49$1@y>", uint8(3), uint8(0))
	f.Add([]byte(strings.ReplaceAll(written(f, sheet(f, "603 INVITE\nReason: SIP;cause=603")), "\n", "\r\n")), "Reason", "(.*)", "$1$1", uint8(0), uint8(255))
	f.Add([]byte(strings.ReplaceAll(written(f, sheet(f, invite+"History-Info: <sip:1@x>;index=1, <sip:2@x;cause=302>;index=1.1")), "\n", "\r\n")), "From", "", "\"X\" <sip:1@y>", uint8(0), uint8(90))
	f.Fuzz(func(t *testing.T, raw []byte, field, match, value string, action, forms uint8) {
		m := parseRaw(raw)
		if m == nil || len(raw) > 4<<10 || len(m.Via) != 1 || len(m.Headers) > 60 {
			return
		}
		r := tu.Rule{Header: message.CanonicalName(field), Action: tu.RuleAction(action % 4), Value: value}
		if r.Header == "" || !message.ValidToken(r.Header) {
			return
		}
		if match != "" {
			c, err := regexp.Compile(`\A(?:` + match + `)\z`)
			if err != nil {
				return
			}
			r.Match = c
			r.Value, _ = Template(value)
		}
		fixed := name("<sip:+49@x>")
		rules := tu.Rules{
			Inbound: []tu.Rule{r}, Outbound: []tu.Rule{r}, CodesOut: []tu.Code{{From: 603, To: 486}}, NumbersOut: []tu.Number{{Called: true, Match: re("(.*)"), Replace: "9${1}"}},
			Naming: tu.Naming{
				From: tu.IdentityForm(forms % 3), FromFixed: fixed, Asserted: tu.IdentityForm(forms / 3 % 6), AssertedFixed: fixed, Privacy: tu.IdentityForm(forms / 18 % 2),
				Diversion: tu.DiversionForm(forms / 36 % 4),
			},
		}
		before := *m
		before.Headers = append([]message.Header(nil), m.Headers...)
		Finish(itsp(rules), itsp(rules), m, m)
		for _, h := range m.Headers {
			if strings.ContainsAny(h.Value, "\r\n\x00") {
				t.Fatalf("%q", h)
			}
		}
		intact(t, &before, m)
		if b, err := m.Append(nil); err == nil && parseRaw(b) == nil && len(b) < 16<<10 {
			t.Fatalf("cannot be read:\n%s", b)
		} else if err != nil {
			if _, ere := before.Append(nil); ere == nil {
				t.Fatalf("cannot be written: %v\n%s", err, m)
			}
		}
	})
}
