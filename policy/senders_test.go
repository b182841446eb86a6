package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// as is a request of a user, where msg has always the same one.
func as(user string, m msg) []byte {
	return []byte(strings.Replace(string(m.bytes()), "sip:204@example.com", "sip:"+user, 1))
}

// TestSendersOfAUser: whoever was refused before a registration is found by the user that he names.
func TestSendersOfAUser(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil"}}})
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	send(g, at(1), outsidePhones, "198.51.100.8:7001", as("301@example.com", msg{method: "REGISTER", branch: "z9hG4bKa"}))
	send(g, at(2), outsidePhones, "198.51.100.8:7001", as("301@example.com", msg{agent: "evil", branch: "z9hG4bKb"}))
	send(g, at(3), outsidePhones, "198.51.100.8:7002", as("302@example.com", msg{agent: "evil", branch: "z9hG4bKc"}))
	send(g, at(4), outsidePhones, "[2001:db8:7::9]:7003", as("301@elsewhere.example", msg{method: "REGISTER", branch: "z9hG4bKd"}))
	send(g, at(5), outsideTrunks, "198.51.100.66:7004", as("301@example.com", msg{branch: "z9hG4bKe"}))
	send(g, at(6), insidePhones, "10.0.0.10:5060", as("301@example.com", msg{branch: "z9hG4bKf"}))
	for _, c := range []struct{ user, want string }{
		{"301", "2001:db8:7::/64 7003 REGISTER 301@elsewhere.example 12:00:04 stranger refused; 198.51.100.8 7001 INVITE 301@example.com 12:00:02 user-agent refused"},
		{"301@example.com", "198.51.100.8 7001 INVITE 301@example.com 12:00:02 user-agent refused"},
		{"302", "198.51.100.8 7002 INVITE 302@example.com 12:00:03 user-agent refused"},
		{"30", ""}, {"", ""}, {"303", ""}, {"@example.com", ""},
	} {
		var got []string
		for _, s := range g.Senders(c.user) {
			source := s.Source.String()
			if s.Source.Is6() {
				source += "/64"
			}
			line := fmt.Sprint(source, " ", s.Port, " ", s.Method, " ", s.User, " ", s.At.Format(time.TimeOnly), " ", s.Reason)
			if s.Refused() {
				line += " refused"
			}
			got = append(got, line)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%q: %s\nwant %s", c.user, text, c.want)
		}
	}
}

// TestSendersAreBounded: whoever has a user named from everywhere fills no screen, and shows no bytes of his own.
func TestSendersAreBounded(t *testing.T) {
	g := newGuard(t, &Config{})
	for n := range uint32(40) {
		for range 2 {
			send(g, noon.Add(time.Duration(n)*time.Second), outsidePhones, addr4(0x20000000+n).String(), as("9\u202e@x", msg{branch: fmt.Sprint("z9hG4bK", n)}))
		}
	}
	list := g.Senders("9\u202e")
	if len(list) != sendersMost {
		t.Fatalf("%d sources", len(list))
	}
	for i, s := range list {
		if i > 0 && s.At.After(list[i-1].At) || strings.ContainsAny(s.User, "\u202e") {
			t.Errorf("%+v", s)
		}
	}
}
