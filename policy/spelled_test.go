package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// spelledUsers are ways to write 204, one each for whoever reads a user.
var spelledUsers = []string{"204", "%3204", "%32%30%34", "204:secret", "204;isub=1", "%32%304;isub=1:secret", "204%3Bisub=1", "204%3bx", "204%00", "204%00x"}

// TestASpelledUserIsBanned: no spelling of his name is a way past the ban of a user.
func TestASpelledUserIsBanned(t *testing.T) {
	for n, user := range spelledUsers {
		for _, aor := range []string{"204@example.com", "%3204@example.com", "sip:204;isub=1@example.com"} {
			g := newGuard(t, &Config{})
			must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("198.51.100.7/32"), AoR: aor}))
			m := msg{branch: fmt.Sprint("z9hG4bK", n)}
			if v := send(g, noon, outsidePhones, phone, as(user+"@example.com", m)); says(v) != "drop ban" {
				t.Errorf("%s is %s, where %s is banned", user, says(v), aor)
			}
			if v := send(g, noon, outsidePhones, phone, as("2040@example.com", m)); says(v) != "allow allow" {
				t.Errorf("another one is %s, where %s is banned", says(v), aor)
			}
		}
	}
}

// TestASpelledUserMeetsTheRule: nor past a message rule on who calls or is called, in any mode; and a rule may be about an escape itself.
func TestASpelledUserMeetsTheRule(t *testing.T) {
	for _, p := range []PatternConfig{
		{Match: "sip:204@"}, {Match: `"Bob" <sip:204@example.com>;tag=far1`, Mode: "exact"}, {Match: `"bob" <sip:204@`, Mode: "prefix"}, {Match: `.*sip:20[0-9]@.*`, Mode: "regex"},
	} {
		g := newGuard(t, &Config{MessageRules: []MessageRuleConfig{{Name: "nobody", From: []PatternConfig{p}}}})
		for n, c := range []struct{ user, want string }{
			{"204", "drop message-rule"}, {"%3204", "drop message-rule"}, {"%32%30%34", "drop message-rule"}, {"%3204%30", "allow allow"}, {"%2532%30%34", "allow allow"},
		} {
			v := send(g, noon, outsidePhones, phone, as(c.user+"@example.com", msg{branch: fmt.Sprint("z9hG4bK", n), callID: fmt.Sprint(n)}))
			if says(v) != c.want {
				t.Errorf("%s meets %+v: %s, want %s", c.user, p, says(v), c.want)
			}
		}
	}
	g := newGuard(t, &Config{MessageRules: []MessageRuleConfig{
		{Name: "called", RequestURI: []PatternConfig{{Match: "sip:100@"}}, Methods: []string{"INFO"}},
		{Name: "to", To: []PatternConfig{{Match: "<sip:100@", Mode: "prefix"}}, Methods: []string{"MESSAGE"}},
		{Name: "escapes", From: []PatternConfig{{Match: "%32"}}, Methods: []string{"OPTIONS"}},
		{Name: "the Call-ID is no URI", CallID: []PatternConfig{{Match: "a1"}}},
	}})
	for n, c := range []struct{ method, old, with, want string }{
		{"INFO", "INFO sip:100@", "INFO sip:%31%300@", "drop message-rule"},
		{"MESSAGE", "To: <sip:100@", "To: <sip:%31%300@", "drop message-rule"},
		{"OPTIONS", "sip:204@", "sip:%3204@", "drop message-rule"},
		{"OPTIONS", "c1@far", "a%31@far", "allow allow"},
	} {
		text := strings.Replace(string(msg{method: c.method, branch: fmt.Sprint("z9hG4bK", n)}.bytes()), c.old, c.with, 1)
		if v := send(g, noon, outsidePhones, phone, []byte(text)); says(v) != c.want {
			t.Errorf("%s with %s: %s, want %s", c.method, c.with, says(v), c.want)
		}
	}
}

// TestASpelledUserIsOnRecordAsOne: whoever asks for a user is told of all spellings, and reads one, without the password.
func TestASpelledUserIsOnRecordAsOne(t *testing.T) {
	for n, user := range spelledUsers[:8] {
		g := newGuard(t, &Config{})
		at := noon.Add(time.Duration(n) * time.Second)
		send(g, at, outsidePhones, "192.0.2.66:5070", as(user+"@example.com:5060", msg{}))
		for _, asked := range []string{"204", "%3204", "204@Example.com", "%32%30%34@example.com"} {
			if list := g.Senders(asked); len(list) != 1 || list[0].User != "204@example.com" {
				t.Errorf("%s, asked for as %s: %+v", user, asked, list)
			}
		}
		for _, asked := range []string{"2040", "204@example.org", "20"} {
			if list := g.Senders(asked); len(list) != 0 {
				t.Errorf("%s, asked for as %s: %+v", user, asked, list)
			}
		}
		if x := explainOf(g, at, "192.0.2.66"); len(x.Last) != 1 || x.Last[0].User != "204@example.com" {
			t.Errorf("%s: %+v", user, x.Last)
		}
	}
}

// TestABanIsFoundUnderAnOldKey: programs before kept what they took for another user under another key.
func TestABanIsFoundUnderAnOldKey(t *testing.T) {
	ban := Ban{Prefix: netip.MustParsePrefix("198.51.100.7/32"), AoR: "204%3Bisub=1@example.com", Auto: true}
	for key, want := range map[string]bool{
		"auto 198.51.100.7/32 0 204": true, "auto 198.51.100.7/32 0 204;isub=1": true, "hand 198.51.100.7/32 0 204": false, "auto 198.51.100.8/32 0 204": false, "x": false,
	} {
		if got := ban.IsUnder(key); got != want {
			t.Errorf("under %q: %v", key, got)
		}
	}
	if ban.AoR = "a%0Ab%20c"; ban.Key() != "auto 198.51.100.7/32 0 a%0Ab%20c" {
		t.Errorf("the key is %q", ban.Key())
	}
	if ban.AoR = ""; ban.IsUnder("auto 198.51.100.7/32 0 204") || !ban.IsUnder("auto 198.51.100.7/32 0") {
		t.Error("a ban of everybody has one key")
	}
}

// FuzzPerson: whatever stands in a field, what people read is short, printable and without a password.
func FuzzPerson(f *testing.F) {
	for _, s := range []string{`"x" <sip:204:secret@example.com:5060>;tag=1`, "sip:%00%0d%0a;x@[::1]", "<tel:+49;ext=1>", "sip:a:b:c@@d", "<<>>", "%"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		text := Person(field)
		if len(text) > maxUser || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q is shown as %q", field, text)
		}
		if user, host := Party(field); len(user) > 0 && len(host) > 0 && !strings.ContainsAny(string(user), ":%@") {
			before, _, _ := strings.Cut(text, "@")
			if strings.Contains(before, ":") {
				t.Fatalf("%q is shown as %q", field, text)
			}
		}
	})
}
