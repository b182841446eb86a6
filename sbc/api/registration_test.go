package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func (f *fake) Registrations(_ context.Context, aor string) ([]Registration, error) {
	switch aor {
	case "":
		return sampleRegistrations(), nil
	case "201", "201@example.com":
		return sampleRegistrations()[:2], nil
	case "many":
		return make([]Registration, 1000), nil
	case "broken":
		return nil, errors.New("the disk is on fire")
	}
	return nil, nil
}

// sampleRegistrations are two phones of one user, one of which an ALG edits, and one whose connection is gone.
func sampleRegistrations() []Registration {
	return []Registration{
		{
			AoR: "201@example.com", Contact: "<sip:201@192.168.77.20:5060>", Token: "k7p2m9q4w8x3z5t6", Flow: "udp 198.51.100.7:40122",
			Interface: "udp 203.0.113.10:5060", Node: "10.0.0.10:5060", UserAgent: "Yealink SIP-T46U", NAT: "address and port",
			Since: start.Add(-time.Hour), Refreshed: start.Add(-17 * time.Second), Expires: start.Add(43 * time.Second),
			ExpiresPBX: start.Add(52 * time.Minute), Keepalive: "options 25s", Answered: start.Add(-12 * time.Second),
			Calls: []string{"c-1", "c-2"}, Media: []string{"c-1: said 192.168.77.20:4000, heard from 198.51.100.7:61002"},
		},
		{
			AoR: "201@example.com", Contact: "<sip:201@198.51.100.8:1024>", Token: "a1b2c3d4e5f6g7h8", Flow: "udp 198.51.100.8:1024",
			Interface: "udp 203.0.113.10:5060", Node: "10.0.0.10:5060", NAT: "address",
			ALG:   []string{"Contact names the public address, Via the private one", "Call-ID was cut"},
			Since: start, Refreshed: start, Expires: start.Add(3 * time.Hour), ExpiresPBX: start.Add(72 * time.Hour), Keepalive: "options 25s",
		},
		{
			AoR: "evil\x1b[2J@example.com", Contact: "<sip:x@y>", Token: "z", Flow: "tls 198.51.100.9:5061", Lost: true,
			Interface: "tls 203.0.113.10:5061", NAT: "none", UserAgent: "a\nb", Keepalive: "none", Since: start, Refreshed: start, Expires: start,
		},
	}
}

func TestRegistrationsAsPrinted(t *testing.T) {
	zone, list := time.FixedZone("CET", 3600), sampleRegistrations()
	golden(t, "registrations", RegistrationsText(list, start))
	golden(t, "registration", RegistrationsFull(list, start, zone))
	if got := RegistrationsText(nil, start); got != "no phone is registered\n" {
		t.Errorf("%q", got)
	}
	s := sampleStatus()
	s.Phones = PhoneGauge{Now: 12, High: 40, Lost: 1, Most: 25000}
	golden(t, "status_phones", s.Text(zone))
	c := sampleCall()
	c.Trunk, c.AoR = "", "201@example.com"
	golden(t, "call_phone", c.Text(start.Add(time.Minute), zone))
	golden(t, "calls_phone", CallsText([]Call{c}, start.Add(time.Minute), zone))
	for _, text := range []string{RegistrationsText(list, start), RegistrationsFull(list, start, zone)} {
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, " \n") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\n\r") {
				t.Errorf("%q", line)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 43*time.Second + 900*time.Millisecond: "43 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 m", 52 * time.Minute: "52 m",
		119 * time.Minute: "119 m", 2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 d", 80 * time.Hour: "3 d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
		if got := left(start.Add(d), start); d > 0 && got != want || d == 0 && got != "over" {
			t.Errorf("%v left: %q", d, got)
		}
		if got := ago(start.Add(-d), start); got != want+" ago" {
			t.Errorf("%v ago: %q", d, got)
		}
	}
	if left(time.Time{}, start) != "-" || ago(time.Time{}, start) != "-" || ago(start.Add(time.Second), start) != "0 s ago" {
		t.Error("no time at all, or one to come")
	}
}

func TestRegistrationsOverTheSocket(t *testing.T) {
	c, ctx := running(t, Options{Control: newFake(), UID: OwnUID()}), t.Context()
	want := sampleRegistrations()
	for i := range want {
		want[i].Media = nil // in brief
	}
	all, err := c.Registrations(ctx)
	if err != nil || cmp.Diff(want, all) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(want, all))
	}
	for _, aor := range []string{"201", "201@example.com"} {
		one, err := c.RegistrationsOf(ctx, aor)
		if err != nil || cmp.Diff(sampleRegistrations()[:2], one) != "" {
			t.Errorf("%s: %v\n%s", aor, err, cmp.Diff(sampleRegistrations()[:2], one))
		}
	}
	if many, err := c.RegistrationsOf(ctx, "many"); err != nil || len(many) != maxOfOneAoR {
		t.Errorf("%d, %v", len(many), err)
	}
	_, err = c.RegistrationsOf(ctx, "no/body?@x")
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusNotFound || e.What != `no registration of "no/body?@x"` || !strings.Contains(e.Hint, "sbc why no/body?@x") {
		t.Errorf("%v", err)
	}
	if _, err = c.RegistrationsOf(ctx, "broken"); err == nil || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("%v", err)
	}
}

// TestAnswersAreBounded: whatever phones wrote and however many they are, the client can read the answer about them all.
func TestAnswersAreBounded(t *testing.T) {
	long := strings.Repeat("ü&", 8000)
	r := sampleRegistrations()[0]
	r.Contact, r.UserAgent, r.AoR = long, long, long
	for range 1000 {
		r.ALG, r.Calls, r.Media = append(r.ALG, long), append(r.Calls, "012345678901"), append(r.Media, long)
	}
	one, err := bindings([]Registration{r}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(one)
	if err != nil || len(b)*25_000 > 3*maxAnswer { // nobody has 25,000 phones that all write to the bound
		t.Errorf("%d bytes a binding, %v", len(b), err)
	}
	ordinary, _ := bindings(sampleRegistrations()[:1], nil)
	if b, _ = json.Marshal(ordinary); len(b)*25_000 > maxAnswer/2 {
		t.Errorf("%d bytes an ordinary binding: 25,000 do not fit", len(b))
	}
	if none, err := bindings(nil, nil); err != nil || cmp.Diff([]Registration{}, none) != "" {
		t.Errorf("no bindings are %v, %v", none, err)
	}
	if _, err := bindings(nil, errors.New("x")); err == nil {
		t.Error("an error is lost")
	}
	rapid.Check(t, func(t *rapid.T) {
		s, n := rapid.String().Draw(t, "text"), rapid.IntRange(0, 40).Draw(t, "n")
		got := clipped(s, n)
		if len(got) > n+len("…") || !utf8.ValidString(got) || !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) && len(s) > n {
			t.Fatalf("%q at %d: %q", s, n, got)
		}
	})
}

// samplePhone has everything that can be said.
func samplePhone() Phone {
	return Phone{
		AoR: "201@example.com", Recording: start.Add(-time.Hour), Bindings: sampleRegistrations()[:2],
		Register: &Registering{
			At: start.Add(-time.Minute), Source: "udp 198.51.100.7:40122", UserAgent: "Yealink\x07", Node: "10.0.0.10:5060", Code: 200, Phrase: "OK",
		},
		Challenged: start.Add(-2 * time.Minute), Wrong: 3, WrongAt: start.Add(-10 * time.Minute), WrongFrom: "198.51.100.9:5060",
		Calls: []Spoken{
			{ID: "c-2", Direction: "outbound", Other: "+4930123", Start: start},
			{ID: "c-1", Direction: "inbound", Other: "100", Start: start.Add(-time.Minute), Code: 200, EndedBy: "caller", Duration: 12.4},
			{ID: "c-0", Direction: "inbound", Other: "999", Start: start.Add(-time.Hour), Code: 503, Reason: "no-pbx", EndedBy: "sbc"},
		},
	}
}

func TestWhyOfAPhoneAsPrinted(t *testing.T) {
	zone, p := time.FixedZone("CET", 3600), samplePhone()
	w, err := p.Why("201", start, zone)
	if err != nil || !w.Allowed || w.Subject != "201" || !json.Valid(w.Detail) {
		t.Errorf("%v %+v", err, w)
	}
	golden(t, "why_phone", w.Text)
	refused := samplePhone()
	refused.Guard = []string{"198.51.100.7: BANNED until 19:10 (wrong password)"}
	if w, _ = refused.Why("201", start, zone); w.Allowed {
		t.Error("a phone that the guard refuses is allowed")
	}
	golden(t, "why_phone_banned", w.Text)
	broke := samplePhone()
	for range 2 * maxClauses {
		broke.Budgets = append(broke.Budgets, `rule "each": aor 201@example.com: 4 of 4 calls at a time`)
	}
	if w, _ = broke.Why("201", start, zone); !w.Allowed || strings.Count(w.Text, "4 of 4 calls at a time") != maxClauses ||
		!strings.Contains(w.Text, "budget ") {
		t.Errorf("what rules on calls say\n%s", w.Text)
	}
	lost := Phone{AoR: "x@example.com", Bindings: sampleRegistrations()[2:]}
	if w, _ = lost.Why("x", start, zone); w.Allowed {
		t.Error("a phone whose connection is gone is allowed")
	}
	golden(t, "why_phone_lost", w.Text)
}

// TestWhyAPhoneIsNotRegistered: each way to fail has its own advice.
func TestWhyAPhoneIsNotRegistered(t *testing.T) {
	advised := map[string]int{}
	for _, tt := range []struct {
		last *Registering
		says string
		fix  string
	}{
		{nil, "no REGISTER of it was let in since 2027-01-31 18:00:00", "server or outbound proxy"},
		{&Registering{Code: 401, Phrase: "Unauthorized", Node: "n"}, "401 Unauthorized by n", "challenge"},
		{&Registering{Code: 403, Phrase: "Forbidden"}, "403 Forbidden", "the PBX refuses it"},
		{&Registering{Code: 404, Phrase: "Not Found"}, "404 Not Found", "does not know this user"},
		{&Registering{Code: 423, Phrase: "Interval Too Brief"}, "423", "shorter registration"},
		{&Registering{Code: 408}, "408", "sbc pbx"},
		{&Registering{Code: 503, Reason: "no-pbx"}, "503  (no-pbx)", "sbc pbx"},
		{&Registering{}, "no answer yet", "has not answered yet"},
		{&Registering{Code: 200, Phrase: "OK"}, "200 OK", "expired or was given up"},
	} {
		p := Phone{AoR: "201@example.com", Recording: start, Register: tt.last}
		w, err := p.Why("201@example.com", start, time.UTC)
		if err != nil || w.Allowed {
			t.Errorf("%v, allowed %v", err, w.Allowed)
		}
		if !strings.Contains(w.Text, "NOT REGISTERED") || !strings.Contains(w.Text, tt.says) || !strings.Contains(w.Text, tt.fix) {
			t.Errorf("%+v:\n%s\nwant %q and %q", tt.last, w.Text, tt.says, tt.fix)
		}
		_, fix, _ := strings.Cut(w.Text, "\nfix")
		advised[fix]++
	}
	if len(advised) != 8 { // 408 and 503 share theirs
		t.Errorf("%d different pieces of advice: %v", len(advised), advised)
	}
}

// TestAWrongPasswordIsToldFromNone: after a 401 it matters whether the phone has answered the challenge.
func TestAWrongPasswordIsToldFromNone(t *testing.T) {
	p := Phone{AoR: "201@example.com", Recording: start, Register: &Registering{At: start, Code: 401}, Wrong: 1, WrongAt: start}
	if fix := p.fixRegister(); !strings.Contains(fix, "did not accept the password") {
		t.Errorf("signed: %q", fix)
	}
	p.WrongAt = start.Add(-time.Hour)
	if fix := p.fixRegister(); !strings.Contains(fix, "does not answer the PBX's challenge") {
		t.Errorf("unsigned: %q", fix)
	}
}

// TestKeepaliveAsPrinted: an answer that is missing alarms only where one is due.
func TestKeepaliveAsPrinted(t *testing.T) {
	for _, c := range []struct {
		keepalive string
		age       time.Duration
		answered  time.Time
		want      string
	}{
		{"none", time.Hour, time.Time{}, "none"},
		{"options 25s", 30 * time.Second, time.Time{}, "options 25s, not answered yet"},
		{"options 25s", time.Minute, time.Time{}, "options 25s, never answered"},
		{"options 25s", time.Minute, start.Add(-7 * time.Second), "options 25s, answered 7 s ago"},
		{"crlf 25s", time.Minute, time.Time{}, "crlf 25s, never answered, which phones need not"},
		{"ping 25s", time.Hour, time.Time{}, "ping 25s"},
		{"options", 0, time.Time{}, "options, never answered"},
	} {
		r := Registration{Keepalive: c.keepalive, Since: start.Add(-c.age), Answered: c.answered}
		if got := r.keepalive(start); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestWhyOfAPhoneIsBounded(t *testing.T) {
	p := samplePhone()
	long := strings.Repeat("x", 16<<10)
	for range 1000 {
		p.Bindings = append(p.Bindings, Registration{Contact: long, UserAgent: long, ALG: []string{long}})
		p.Calls, p.Guard = append(p.Calls, Spoken{ID: "c", Other: long}), append(p.Guard, long)
	}
	p.Register.UserAgent, p.Register.Phrase = long, long
	w, err := p.Why("201", start, time.UTC)
	if err != nil || len(w.Text) > 256<<10 || len(w.Detail) > 512<<10 {
		t.Errorf("%v: %d bytes of text, %d of detail", err, len(w.Text), len(w.Detail))
	}
	if len(p.Bindings) != 1002 || len(p.Calls) != 1003 {
		t.Error("the answer has changed its source")
	}
}
