package trunk

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// shortly is a log without its times, which are tested by themselves.
func (p *play) shortly() string {
	var out []string
	for _, line := range p.log {
		if _, what, _ := strings.Cut(line, " "); what != "registering, " && what != "unregistered, " {
			out = append(out, what)
		}
	}
	return strings.Join(out, "\n")
}

func refuse(code int, fields ...string) func(*message.Message, string) tu.Event {
	return func(m *message.Message, _ string) tu.Event { return reply(m, code, "", fields...) }
}

// TestRegistrationWays: what becomes of each answer.
func TestRegistrationWays(t *testing.T) {
	const s, m = time.Second, time.Minute
	two := registrationConfig(registrarHop("203.0.113.20:5060", 1), registrarHop("203.0.113.21:5060", 2))
	for _, tt := range []struct {
		name   string
		cfg    RegistrationConfig
		answer func(m *message.Message, hop string) tu.Event
		until  time.Duration
		want   string
		last   string // the answer as it is told
		next   [2]time.Duration
	}{
		{"a wrong password is tried slowly", registrationConfig(), refuse(401, challengeMD5), 9 * m,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 600 signed\nrefused, 401 Unauthorized (password refused)",
			"", [2]time.Duration{10 * m, 16 * m}},
		{"403 with credentials is a wrong password", registrationConfig(), func(m *message.Message, _ string) tu.Event {
			if tu.Signed(m) {
				return reply(m, 403, "")
			}
			return reply(m, 401, "", challengeMD5)
		}, 9 * m, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 600 signed\nrefused, 403 Forbidden (password refused?)",
			"", [2]time.Duration{10 * m, 16 * m}},
		{"403 without is a refusal", registrationConfig(), refuse(403), 20 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 403 Forbidden",
			"", [2]time.Duration{30 * s, 62 * s}},
		{"a stale nonce is answered anew", registrationConfig(), func(m *message.Message, _ string) tu.Event {
			v, _ := m.Get("Authorization")
			switch {
			case strings.Contains(v, "fresh"):
				return accept(m, 600)
			case v != "":
				return reply(m, 401, "", strings.Replace(challengeMD5, "abc", "fresh", 1)+", stale=true")
			}
			return reply(m, 401, "", challengeMD5)
		}, 5 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 600 signed\n" +
			"REGISTER 3 to 203.0.113.20:5060 expires 600 signed\nregistered, 200 OK", "", [2]time.Duration{480 * s, 542 * s}},
		{"the realm of somebody else", func() RegistrationConfig {
			c := registrationConfig()
			c.Account = &tu.Account{Username: "login", Password: tu.NewPassword("s3cret"), Realms: []string{"other"}}
			return c
		}(), refuse(401, challengeMD5), 20 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 401 Unauthorized (a realm that is not registration.realm)",
			"", [2]time.Duration{30 * s, 62 * s}},
		{"no password", func() RegistrationConfig { c := registrationConfig(); c.Account = nil; return c }(), refuse(401, challengeMD5), 20 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 401 Unauthorized (no password)", "", [2]time.Duration{30 * s, 62 * s}},
		{"a challenge that nobody knows", registrationConfig(), refuse(401, `WWW-Authenticate: Basic realm="x"`), 20 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 401 Unauthorized (no challenge that we know)", "", [2]time.Duration{30 * s, 62 * s}},
		{"423", registrationConfig(), func(m *message.Message, hop string) tu.Event {
			if v, _ := m.Get("Expires"); v == "600" {
				return reply(m, 423, "", "Min-Expires: 3600")
			}
			return accept(m, 3600)
		}, 5 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 3600\nregistered, 200 OK", "", [2]time.Duration{2880 * s, 3242 * s}},
		{"423 that wants days is forgotten", registrationConfig(), func() func(m *message.Message, hop string) tu.Event {
			foolish := true
			return func(m *message.Message, hop string) tu.Event {
				if v, _ := m.Get("Expires"); v == "600" && foolish {
					foolish = false
					return reply(m, 423, "", "Min-Expires: 86400")
				}
				return accept(m, 60)
			}
		}(), 55 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 86400\nregistered, 200 OK\n" +
			"REGISTER 3 to 203.0.113.20:5060 expires 600", "", [2]time.Duration{48 * s, 110 * s}},
		{"423 that wants ever more", registrationConfig(), refuse(423, "Min-Expires: 3600"), 20 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 3600\nrefused, 423 Interval Too Brief", "", [2]time.Duration{30 * s, 62 * s}},
		{"423 that says nothing", registrationConfig(), refuse(423), 20 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 423 Interval Too Brief", "", [2]time.Duration{30 * s, 62 * s}},
		{"a redirection is not followed", two, refuse(302, "Contact: <sip:elsewhere.example.net>"), 20 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 302 Moved Temporarily (not followed)", "", [2]time.Duration{30 * s, 62 * s}},
		{"503 with Retry-After", registrationConfig(), refuse(503, "Retry-After: 300 (later);duration=5"), 250 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 503 Service Unavailable", "", [2]time.Duration{300 * s, 302 * s}},
		{"503 with a Retry-After of days", registrationConfig(), refuse(503, "Retry-After: 999999"), 50 * m,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 503 Service Unavailable", "", [2]time.Duration{time.Hour, time.Hour + 2*s}},
		{"503: the next one at once", two, func(m *message.Message, hop string) tu.Event {
			if strings.HasPrefix(hop, "203.0.113.20") {
				return reply(m, 503, "", "Retry-After: 3000")
			}
			return accept(m, 600)
		}, 5 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.21:5060 expires 600\nregistered, 200 OK", "", [2]time.Duration{480 * s, 542 * s}},
		{"silence: the next one after Timer F", two, func(m *message.Message, hop string) tu.Event {
			if strings.HasPrefix(hop, "203.0.113.20") {
				return nil
			}
			return accept(m, 600)
		}, 40 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.21:5060 expires 600\nregistered, 200 OK", "", [2]time.Duration{510 * s, 575 * s}},
		{"ICMP: the next one at once", two, func(m *message.Message, hop string) tu.Event {
			if strings.HasPrefix(hop, "203.0.113.20") {
				return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
			}
			return accept(m, 600)
		}, 5 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.21:5060 expires 600\nregistered, 200 OK", "", [2]time.Duration{480 * s, 542 * s}},
		{"4xx is the registrar's word, whoever says it", two, refuse(480), 20 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 480 Temporarily Unavailable", "", [2]time.Duration{30 * s, 62 * s}},
		{"all dead", two, func(m *message.Message, _ string) tu.Event {
			return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
		}, 20 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.21:5060 expires 600\nrefused, unreachable", "", [2]time.Duration{30 * s, 62 * s}},
		{"our own table is full", registrationConfig(), func(m *message.Message, _ string) tu.Event {
			if m.CSeq > 1 {
				return accept(m, 600)
			}
			return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Overload}
		}, 15 * s, "REGISTER 1 to 203.0.113.20:5060 expires 600\nREGISTER 2 to 203.0.113.20:5060 expires 600\nregistered, 200 OK", "", [2]time.Duration{480 * s, 555 * s}},
		{"a 200 that binds nothing", registrationConfig(), refuse(200, "Expires: 0"), 20 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 200 OK (without a binding)", "", [2]time.Duration{30 * s, 62 * s}},
		{"gin unknown there", func() RegistrationConfig { c := registrationConfig(); c.GIN = true; return c }(), refuse(420, "Unsupported: gin"), 20 * s,
			"REGISTER 1 to 203.0.113.20:5060 expires 600\nrefused, 420 Bad Extension (no gin there?)", "", [2]time.Duration{30 * s, 62 * s}},
		{"nothing known of it yet", RegistrationConfig{Trunk: "itsp", Domain: "sip.example.net", User: "a", Expires: 600 * s}, nil, 20 * s, "refused, no address known", "", [2]time.Duration{30 * s, 62 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlay(t, tt.cfg)
			p.answer = tt.answer
			p.until(tt.until)
			if diff := cmp.Diff(tt.want, p.shortly()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if at := p.last.Next.Sub(zero); at < tt.next[0] || at > tt.next[1] {
				t.Errorf("the next one at %v, want %v", at, tt.next)
			}
		})
	}
}

// TestBackOff: RFC 5626 §4.5, and no more seldom than a refresh.
func TestBackOff(t *testing.T) {
	cfg := registrationConfig()
	cfg.Expires = time.Hour
	p := newPlay(t, cfg)
	p.answer = refuse(500)
	p.until(12 * time.Hour)
	want := time.Minute
	var before time.Duration
	for i, line := range p.log[2:] {
		at, _, is := strings.Cut(line, " REGISTER")
		if !is {
			continue
		}
		now, _ := time.ParseDuration(at)
		if wait := now - before; i > 0 && (wait < want/2-2*time.Second || wait > want+2*time.Second) {
			t.Errorf("waits %v, want half of %v to all", wait, want)
		}
		if i > 0 {
			want = min(2*want, maxTime)
		}
		before = now
	}
	if p.last.Failed < 20 || p.last.Failed > 60 {
		t.Errorf("%d attempts", p.last.Failed)
	}
	p.answer = registrar(3600)
	p.until(13 * time.Hour)
	if p.last.State != tu.Registered || p.last.Failed != 0 {
		t.Errorf("%+v", p.last)
	}
}

// TestFailoverAndReturn: refreshes go where the binding is; what is only second choice is left for the first from time to time.
func TestFailoverAndReturn(t *testing.T) {
	p := newPlay(t, registrationConfig(registrarHop("203.0.113.21:5060", 2), registrarHop("203.0.113.20:5060", 1)))
	dead := ""
	p.answer = func(m *message.Message, hop string) tu.Event {
		if strings.HasPrefix(hop, dead) && dead != "" {
			return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
		}
		return registrar(600)(m, hop)
	}
	at := func(when time.Duration, hop string) {
		t.Helper()
		if p.until(when); p.last.Hop != "itsp "+hop || p.last.State != tu.Registered {
			t.Fatalf("%v: %+v\n%s", when, p.last, strings.Join(p.log, "\n"))
		}
	}
	at(time.Minute, "203.0.113.20:5060")
	dead = "203.0.113.20"
	at(10*time.Minute, "203.0.113.21:5060")
	n := len(p.sent)
	at(19*time.Minute, "203.0.113.21:5060")
	if len(p.sent) != n+1 {
		t.Errorf("a refresh before %v asks the dead one, too", returnAfter)
	}
	dead = ""
	at(40*time.Minute, "203.0.113.20:5060")
}

// TestTheWayChanges: a NAT that gives us another port, a reload that knows another address.
func TestTheWayChanges(t *testing.T) {
	p := newPlay(t, registrationConfig())
	seen := "198.51.100.7:40001"
	p.answer = func(m *message.Message, _ string) tu.Event {
		if !tu.Signed(m) {
			return reply(m, 401, seen, challengeMD5)
		}
		return reply(m, 200, seen)
	}
	p.until(time.Minute)
	seen = "198.51.100.7:40002"
	p.until(10 * time.Minute)
	last := p.sent[len(p.sent)-1]
	contacts, _, err := last.Contacts()
	if err != nil || len(contacts) != 2 || contacts[0].String() != "<sip:4930555@198.51.100.7:40002>" ||
		contacts[1].String() != "<sip:4930555@198.51.100.7:40001>;expires=0" || p.last.Seen.String() != seen {
		t.Fatalf("%v %v", contacts, p.log)
	}
	n := len(p.sent)
	p.until(20 * time.Minute)
	if list, _, _ := p.sent[len(p.sent)-1].Contacts(); len(list) != 1 || len(p.sent) > n+2 {
		t.Errorf("%v after %d more", list, len(p.sent)-n)
	}
	// A NAT that changes its mind with every packet makes us no flood.
	port := 0
	p.answer = func(m *message.Message, _ string) tu.Event {
		port++
		return reply(m, 200, "198.51.100.7:"+[]string{"40001", "40002"}[port%2])
	}
	n = len(p.sent)
	p.until(140 * time.Minute)
	if more := len(p.sent) - n; more > 45 {
		t.Errorf("%d REGISTERs in two hours", more)
	}
}

// TestSighted: OPTIONS show sooner than the next refresh that the NAT has moved us.
func TestSighted(t *testing.T) {
	const hop = "itsp 203.0.113.20:5060"
	p := newPlay(t, registrationConfig())
	p.answer = registrar(600)
	p.until(time.Minute)
	n := len(p.sent)
	for _, other := range []struct{ hop, at string }{{"itsp 203.0.113.99:5060", "198.51.100.7:40009"}, {hop, "198.51.100.7:40001"}} {
		if p.r.Sighted(other.hop, netip.MustParseAddrPort(other.at)) {
			t.Errorf("%v is no news", other)
		}
	}
	if p.r.Sighted(hop, netip.AddrPort{}) || !p.r.Sighted(hop, netip.MustParseAddrPort("198.51.100.7:40009")) {
		t.Error("that is news")
	}
	p.step(tu.Tick{})
	p.until(61 * time.Second)
	if len(p.sent) != n+1 {
		t.Fatal(p.log)
	}
	if c, _ := p.sent[n].Get("Contact"); c != "<sip:4930555@198.51.100.7:40009>" {
		t.Error(c)
	}
}

// TestTwoContactsRefused: a registrar that bears only one Contact gets one.
func TestTwoContactsRefused(t *testing.T) {
	p := newPlay(t, registrationConfig())
	seen := "198.51.100.7:40001"
	p.answer = func(m *message.Message, _ string) tu.Event {
		list, _, _ := m.Contacts()
		if len(list) > 1 {
			return reply(m, 400, seen)
		}
		return reply(m, 200, seen)
	}
	p.until(time.Minute)
	seen = "198.51.100.7:40002"
	p.until(12 * time.Minute)
	if p.last.State != tu.Registered || p.last.Failed != 0 || strings.Contains(p.shortly(), "refused") {
		t.Errorf("%+v\n%s", p.last, strings.Join(p.log, "\n"))
	}
	if c, _ := p.sent[len(p.sent)-1].Get("Contact"); !strings.Contains(c, "40002") {
		t.Error(c)
	}
}
