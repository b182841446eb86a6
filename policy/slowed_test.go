package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// guessFrom is one wrong password for a user from an address that proves itself.
func guessFrom(g *Guard, now time.Time, n int, user string) bool {
	c := newClient(g, fmt.Sprintf("192.0.2.%d:5070", n), user)
	c.i = overTCP()
	c.n = int(now.Sub(noon)/time.Millisecond) * 2
	nonce := fmt.Sprint("n", n, now)
	g.Challenged(now, addrPort(c.source), nonce)
	if c.register(now, nonce).Action != Allow {
		return false
	}
	c.outcome(now, WrongDigest)
	return true
}

func TestAUserWhoIsAttackedFromEverywhereIsSlowedAndNotLocked(t *testing.T) {
	g := newGuard(t, registrar())
	lines := logOf(g)
	registerPhones(g, "198.51.100.77", 1)
	// One guess an address, so that no address is ever banned.
	passed := 0
	for n := range 200 {
		if guessFrom(g, noon.Add(time.Duration(n)*time.Second/2), n+1, "204") {
			passed++
		}
	}
	// Four until it is noticed, two at once, then six a minute for what is left of the hundred seconds.
	if passed < 12 || passed > 17 {
		t.Errorf("%d guesses passed", passed)
	}
	now := noon.Add(100 * time.Second)
	if list := g.Slowed(now); len(list) != 1 || list[0].User != "204" || list[0].Refused == 0 || !strings.Contains(list[0].Evidence, "from several addresses") {
		t.Fatalf("%+v", list)
	}
	if len(g.Bans().List(now)) != 0 {
		t.Errorf("bans %v", g.Bans().List(now))
	}
	x := explainOf(g, now, "192.0.2.1")
	if x.Account == nil || len(x.Account.Slowed) != 1 || !strings.Contains(x.Text(time.UTC), "slowed  credentials for 204 from strangers, 6 a minute until 12:1") {
		t.Errorf("%s", x.Text(time.UTC))
	}
	// The registered phone and others' users feel nothing; neither do requests without credentials.
	reg := newClient(g, "198.51.100.77:40122", "204")
	for n := range 20 {
		wantSays(t, reg.register(now, fmt.Sprint("x", n)), "allow allow")
		wantSays(t, newClient(g, fmt.Sprintf("192.0.2.7:%d", n+1), "205").register(now, "x"), "allow allow")
		wantSays(t, newClient(g, fmt.Sprintf("192.0.2.8:%d", n+1), "204").register(now, ""), "allow allow")
	}
	told := 0
	for _, l := range *lines {
		if l.Event == EventSlowed && l.User == "204" {
			told++
		}
	}
	if told != 1 || g.BanCounts().Slowed != 1 {
		t.Errorf("told %d times, %+v", told, g.BanCounts())
	}
	// Forged credentials do not use up the pace of those who prove their address.
	calm := now.Add(30 * time.Second)
	for n := range 500 {
		c := newClient(g, fmt.Sprintf("203.0.113.%d:9", n%200), "204")
		c.n = n
		c.register(calm, "forged")
	}
	if !guessFrom(g, calm, 250, "204") {
		t.Error("an honest attempt is refused because of forged ones")
	}
	// It ends by itself.
	later := noon.Add(20 * time.Minute)
	g.Tick(later)
	if len(g.Slowed(later)) != 0 || g.state.conduct.slowed.some.Load() {
		t.Error("it does not end")
	}
}

func TestOneAddressAloneSlowsNobody(t *testing.T) {
	g := newGuard(t, registrar())
	c := newClient(g, "192.0.2.66:5070", "204")
	c.i = overTCP()
	for c.guess(noon) {
	}
	if len(g.Slowed(noon)) != 0 {
		t.Errorf("%+v", g.Slowed(noon))
	}
}

func TestASuccessForgivesTheUser(t *testing.T) {
	g := newGuard(t, registrar())
	for round := range 10 {
		for n := range 3 {
			if !guessFrom(g, noon.Add(time.Duration(round*10+n)*time.Second), round*3+n+1, "204") {
				t.Fatal("refused")
			}
		}
		g.Outcome(noon, Outcome{Source: addrPort("203.0.113.77:5060"), AoR: "204@example.com", Kind: Success, CallID: "ok"})
	}
	if len(g.Slowed(noon.Add(time.Minute))) != 0 {
		t.Errorf("%+v", g.Slowed(noon.Add(time.Minute)))
	}
}

func TestUnslow(t *testing.T) {
	g := newGuard(t, registrar())
	for n := range 5 {
		guessFrom(g, noon.Add(time.Duration(n)*time.Second), n+1, "204")
	}
	if len(g.Slowed(noon)) != 1 || !g.Unslow("204@example.com") || g.Unslow("204") || len(g.Slowed(noon)) != 0 {
		t.Error("unslow")
	}
}

func TestSlowedInShadow(t *testing.T) {
	config := registrar()
	config.Bans.Shadow = true
	g := newGuard(t, config)
	lines := logOf(g)
	for n := range 50 {
		if !guessFrom(g, noon.Add(time.Duration(n)*time.Second/2), n+1, "204") {
			t.Fatal("refused in shadow mode")
		}
	}
	told := 0
	for i := range *lines {
		if (*lines)[i].Message() == "would be slowed" {
			told++
		}
	}
	if told != 1 || len(g.Slowed(noon)) != 0 {
		t.Errorf("told %d times", told)
	}
}

func TestUserName(t *testing.T) {
	for field, want := range map[string]string{
		`<sip:204@example.com>`:                              "204",
		`sip:204@example.com;tag=1`:                          "204",
		`"Bob" <sip:Bob@example.com>;tag=1`:                  "bob",
		`<sip:%32%304@example.com>`:                          "204",
		`<sip:204:secret@example.com>`:                       "204",
		`<sip:204;phone-context=x@example.com>`:              "204",
		`"a <sip:999@evil>" <sip:204@example.com>`:           "204",
		`"a \" <sip:999@evil>" <sip:204@example.com>`:        "204",
		`<sip:204@example.com>;x="<sip:999@evil>"`:           "204",
		`<sip:example.com>`:                                  "",
		`<tel:+4930123>`:                                     "",
		`<sip:@example.com>`:                                 "",
		`"unclosed <sip:204@example.com>`:                    "",
		`<sip:20%`:                                           "",
		`<sip:20%4@example.com>`:                             "20%4",
		`<sip:` + strings.Repeat("u", 100) + `@example.com>`: strings.Repeat("u", maxUserName),
		"<sip:\r\n 204@example.com>":                         "204",
		``:                                                   "",
	} {
		s := Subject{Method: MethodInvite, From: []byte(field), To: []byte("<sip:999@x>")}
		var room [maxUserName]byte
		if got := string(s.userName(&room)); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
		s = Subject{Method: MethodRegister, To: []byte(field), From: []byte("<sip:999@x>")}
		if got := string(s.userName(&room)); got != want {
			t.Errorf("%s in To: %q, want %q", field, got, want)
		}
	}
	for aor, want := range map[string]string{"204": "204", "204@example.com": "204", "sip:Bob@x": "bob", "sips:bob@x": "bob", "%42ob@x": "bob", "bob:pw@x": "bob", "": "", "@x": ""} {
		if got := foldUser(aor); got != want {
			t.Errorf("%s: %q, want %q", aor, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{"für immer": "für immer", "a\x1b[31m\nb": "a?[31m?b", "\xff": "?", "1234567890": "12345678", "1234567ü": "1234567"} {
		if got := plain(text, 8); got != want && !(text == "für immer" && got == "für imm") && !(strings.HasPrefix(text, "a\x1b") && got == "a?[31m?b") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzUserName: whatever a field holds, the name is bounded, and an address of record folds to what is found in a field
// that carries it.
func FuzzUserName(f *testing.F) {
	for _, seed := range []string{`"Bob" <sip:204@example.com>;tag=1`, `<sip:%32%304@x>`, `"\`, `<`, `sip:`, `"<sip:a@b>" <sip:c@d>`, "%", "<sip:%zz@x>"} {
		f.Add([]byte(seed), "204")
	}
	f.Fuzz(func(t *testing.T, field []byte, user string) {
		s := Subject{From: field}
		var room [maxUserName]byte
		if n := len(s.userName(&room)); n > maxUserName {
			t.Errorf("%d bytes", n)
		}
		if strings.ContainsAny(user, "@:;<>\"%\r\n\t ") || user == "" || strings.HasPrefix(user, "sip") {
			return
		}
		s.From = []byte("<sip:" + user + "@example.com>")
		if got := string(s.userName(&room)); got != foldUser(user+"@example.com") {
			t.Errorf("%q in a field, %q as an address of record", got, foldUser(user+"@example.com"))
		}
	})
}

func TestManyUsersAreSlowedWithinBounds(t *testing.T) {
	var u slowedUsers
	g := newGuard(t, registrar())
	u.init(g.state.seed)
	for n := range 3000 {
		u.slow(0, time.Duration(n+1)*time.Second, fmt.Sprint("user", n), "")
	}
	if u.len() != mostSlowed || u.users == nil {
		t.Fatalf("%d users", u.len())
	}
	u.expire(2500 * time.Second)
	if u.len() != 500 {
		t.Errorf("%d users are left", u.len())
	}
}
