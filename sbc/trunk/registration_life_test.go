package trunk

import (
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

func TestConfigure(t *testing.T) {
	base := registrationConfig()
	for _, tt := range []struct {
		name   string
		change func(c *RegistrationConfig)
		soon   bool
	}{
		{"nothing", func(*RegistrationConfig) {}, false},
		{"another peer of the same hop", func(c *RegistrationConfig) { c.Hops[0].Peer = &tu.Peer{Name: "itsp", Side: nat.Outside} }, false},
		{"another expiry counts at the next refresh", func(c *RegistrationConfig) { c.Expires = time.Minute }, false},
		{"one more hop", func(c *RegistrationConfig) { c.Hops = append(c.Hops, registrarHop("203.0.113.21:5060", 2)) }, false},
		{"the hop that has us is gone", func(c *RegistrationConfig) { c.Hops = []Hop{registrarHop("203.0.113.21:5060", 1)} }, true},
		{"another password", func(c *RegistrationConfig) {
			c.Account = &tu.Account{Username: "login", Password: tu.NewPassword("new")}
		}, true},
		{"no password", func(c *RegistrationConfig) { c.Account = nil }, true},
		{"other certificates", func(c *RegistrationConfig) { c.Hops[0].Flow.Class = 2 }, true},
		{"another contact", func(c *RegistrationConfig) { c.Contact = "x" }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlay(t, base)
			p.answer = registrar(600)
			p.until(time.Minute)
			n := len(p.sent)
			cfg := registrationConfig()
			if tt.change(&cfg); !p.r.Same(&cfg) {
				t.Fatal("the same binding")
			}
			p.r.Configure(cfg)
			p.step(tu.Tick{})
			p.until(70 * time.Second)
			if got := len(p.sent) > n; got != tt.soon || (p.last.State == tu.Registered) != (cfg.Account != nil) {
				t.Errorf("registers at once: %v\n%s", got, strings.Join(p.log, "\n"))
			}
			p.until(30 * time.Minute)
			if p.last.State != tu.Registered && cfg.Account != nil {
				t.Errorf("%+v", p.last)
			}
		})
	}
	for name, change := range map[string]func(c *RegistrationConfig){
		"user": func(c *RegistrationConfig) { c.User = "x" }, "domain": func(c *RegistrationConfig) { c.Domain = "x" },
		"GIN": func(c *RegistrationConfig) { c.GIN = true }, "name": func(c *RegistrationConfig) { c.Trunk = "x" },
	} {
		cfg := registrationConfig()
		if change(&cfg); cfg.Same(&base) {
			t.Errorf("another %s is another binding", name)
		}
	}
}

// TestPasswordIsCorrected: whoever corrects it does not wait for the slow retry, nor does a registrar that comes back.
func TestPasswordIsCorrected(t *testing.T) {
	p := newPlay(t, registrationConfig())
	p.answer = refuse(401, challengeMD5)
	p.until(time.Minute)
	p.r.Recovered("itsp 203.0.113.20:5060")
	p.step(tu.Tick{})
	p.until(2 * time.Minute)
	if len(p.sent) != 2 {
		t.Fatal("a wrong password is as wrong when the registrar answers OPTIONS")
	}
	cfg := registrationConfig()
	cfg.Account = &tu.Account{Username: "login", Password: tu.NewPassword("right")}
	p.r.Configure(cfg)
	p.answer = registrar(600)
	p.step(tu.Tick{})
	p.until(2*time.Minute + time.Second)
	if p.last.State != tu.Registered {
		t.Errorf("%+v", p.last)
	}
	p.answer = func(m *message.Message, _ string) tu.Event {
		return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
	}
	p.until(60 * time.Minute)
	if p.last.State != tu.Refused || !p.last.Until.IsZero() || p.last.Routes != nil {
		t.Fatalf("%+v", p.last)
	}
	p.answer = registrar(600)
	p.r.Recovered("other")
	p.step(tu.Tick{})
	p.r.Recovered("itsp 203.0.113.20:5060")
	p.step(tu.Tick{})
	p.until(60*time.Minute + shortestRest)
	if p.last.State != tu.Registered {
		t.Errorf("%+v", p.last)
	}
}

// TestLostConnection: calls would have come by it.
func TestLostConnection(t *testing.T) {
	h := registrarHop("203.0.113.20:5061", 1)
	h.Here.Transport, h.Flow.Transport = nat.TLS, nat.TLS
	p := newPlay(t, registrationConfig(h))
	p.answer = registrar(600)
	p.until(time.Minute)
	n := len(p.sent)
	p.r.Lost(nat.Flow{Transport: nat.TLS, Remote: registrarHop("203.0.113.99:5061", 1).Flow.Remote})
	p.step(tu.Tick{})
	p.until(time.Minute + time.Second)
	other := h.Flow
	other.Class = 2
	if p.r.Lost(other) || len(p.sent) != n {
		t.Fatal("another's connection")
	}
	for i := range 60 { // one that shuts each of them at once
		flow := h.Flow
		flow.Conn = uint64(i + 1)
		p.r.Lost(flow)
		p.step(tu.Tick{})
		p.until(time.Minute + time.Duration(i+2)*time.Second)
	}
	if more := len(p.sent) - n; more < 2 || more > 6 {
		t.Errorf("%d REGISTERs in a minute\n%s", more, strings.Join(p.log, "\n"))
	}
}

func TestLeave(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(p *play)
		want string // the end of the log
	}{
		{"registered", func(p *play) {
			p.answer = registrar(600)
			p.until(time.Minute)
			p.step(tu.Hangup{})
			p.step(tu.Hangup{})
		}, "REGISTER 3 to 203.0.113.20:5060 expires 0 signed\nunregistered, 200 OK\nend"},
		{"challenged anew", func(p *play) {
			p.answer = registrar(600)
			p.until(time.Minute)
			p.answer = func(m *message.Message, _ string) tu.Event {
				if m.CSeq == 3 {
					return reply(m, 401, "", strings.Replace(challengeMD5, "abc", "new", 1)+", stale=true")
				}
				return accept(m, 0)
			}
			p.step(tu.Hangup{})
		}, "REGISTER 4 to 203.0.113.20:5060 expires 0 signed\nunregistered, 200 OK\nend"},
		{"nobody answers any more", func(p *play) {
			p.answer = registrar(600)
			p.until(time.Minute)
			p.answer = nil
			p.step(tu.Hangup{})
			p.until(2 * time.Minute)
		}, "REGISTER 3 to 203.0.113.20:5060 expires 0 signed\nunregistered, no answer\nend"},
		{"the registrar refuses", func(p *play) {
			p.answer = registrar(600)
			p.until(time.Minute)
			p.answer = refuse(500)
			p.step(tu.Hangup{})
		}, "REGISTER 3 to 203.0.113.20:5060 expires 0 signed\nunregistered, 500 Server Internal Error\nend"},
		{"never registered", func(p *play) { p.step(tu.Hangup{}) }, "end"},
		{"refused", func(p *play) {
			p.answer = refuse(403)
			p.until(10 * time.Second)
			p.step(tu.Hangup{})
		}, "refused, 403 Forbidden\nunregistered, 403 Forbidden\nend"},
		{"while the first one is out: not before its answer", func(p *play) {
			p.until(2 * time.Second)
			p.step(tu.Hangup{})
			p.answer = registrar(0)
			p.step(reply(p.sent[0], 200, ""))
		}, "REGISTER 2 to 203.0.113.20:5060 expires 0\nREGISTER 3 to 203.0.113.20:5060 expires 0 signed\nunregistered, 200 OK\nend"},
		{"the one that is out is refused", func(p *play) {
			p.until(2 * time.Second)
			p.step(tu.Hangup{})
			p.step(reply(p.sent[0], 403, ""))
		}, "unregistered, 403 Forbidden\nend"},
		{"an answer may have been lost", func(p *play) {
			p.until(40 * time.Second)
			p.answer = registrar(0)
			p.step(tu.Hangup{})
		}, "REGISTER 2 to 203.0.113.20:5060 expires 0\nREGISTER 3 to 203.0.113.20:5060 expires 0 signed\nunregistered, 200 OK\nend"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlay(t, registrationConfig())
			tt.run(p)
			if got := p.shortly(); !strings.HasSuffix("\n"+got, "\n"+tt.want) || !p.ended || !p.r.Deadline().IsZero() {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			if p.last.State != tu.Unregistered || !p.last.Until.IsZero() || !p.last.Next.IsZero() {
				t.Errorf("%+v", p.last)
			}
		})
	}
}

// TestWhoRefusesIsNotAskedAgain: that an address answers OPTIONS is news only of one that was silent, or broken.
func TestWhoRefusesIsNotAskedAgain(t *testing.T) {
	silent := func(*message.Message, string) tu.Event { return nil }
	for _, tt := range []struct {
		name   string
		answer func(*message.Message, string) tu.Event
		again  bool
	}{
		{"silence", silent, true},
		{"an ICMP error", func(m *message.Message, _ string) tu.Event {
			return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
		}, true},
		{"500", refuse(500), true},
		{"503", refuse(503), true},
		{"408", refuse(408), true},
		{"a wrong password", refuse(401, challengeMD5), false},
		{"a challenge that nobody knows", refuse(401, `WWW-Authenticate: Basic realm="x"`), false},
		{"403", refuse(403), false},
		{"404", refuse(404), false},
		{"480", refuse(480), false},
		{"600", refuse(600), false},
		{"302", refuse(302), false},
		{"a 2xx without a binding", refuse(200, "Expires: 0"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlay(t, registrationConfig())
			p.answer = tt.answer
			for at := time.Second; p.last.State != tu.Refused; at += time.Second {
				p.until(at)
			}
			n := len(p.sent)
			if news := p.r.Recovered("itsp 203.0.113.20:5060"); news != tt.again {
				t.Errorf("news: %v", news)
			}
			p.step(tu.Tick{})
			p.until(p.now.Sub(zero) + 6*time.Second)
			if again := len(p.sent) > n; again != tt.again {
				t.Errorf("asked again: %v\n%s", again, strings.Join(p.log, "\n"))
			}
		})
	}
	// One whose password was good before: its first 403 is no wrong password, and no silence either.
	p := newPlay(t, registrationConfig())
	p.answer = registrar(600)
	p.until(time.Minute)
	p.answer = refuse(403)
	p.until(9*time.Minute + 5*time.Second)
	if p.last.State != tu.Refused || p.r.Recovered("itsp 203.0.113.20:5060") {
		t.Errorf("%+v", p.last)
	}
}

// TestEveryRealmIsPinned: a registrar behind a proxy has two names, and calls are challenged in both.
func TestEveryRealmIsPinned(t *testing.T) {
	p := newPlay(t, registrationConfig())
	p.answer = func(m *message.Message, _ string) tu.Event {
		_, home := m.Get("Authorization")
		_, edge := m.Get("Proxy-Authorization")
		switch {
		case !edge:
			return reply(m, 407, "", strings.Replace(strings.Replace(challengeMD5, "WWW-", "Proxy-", 1), "example.net", "edge.example.net", 1))
		case !home:
			return reply(m, 401, "", challengeMD5)
		}
		return accept(m, 600)
	}
	p.until(time.Minute)
	if got := strings.Join(p.last.Realms, " "); p.last.State != tu.Registered || got != "edge.example.net example.net" {
		t.Errorf("%q, %+v", got, p.last)
	}
}

// TestARegistrarIsAwayForAMoment: it was restarted, so that it could not be reached when it was asked at once, and answers the next
// OPTIONS. Nobody waits for the back-off; nor is it flooded where it answers OPTIONS and cannot be asked.
func TestARegistrarIsAwayForAMoment(t *testing.T) {
	const hop = "itsp 203.0.113.20:5060"
	p := newPlay(t, registrationConfig())
	p.answer = registrar(600)
	p.until(time.Minute)
	if p.r.Answers(hop) {
		t.Error("it is registered")
	}
	p.answer = func(m *message.Message, _ string) tu.Event {
		return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
	}
	p.r.soon = true // as Lost has it over TCP
	p.step(tu.Tick{})
	p.until(time.Minute + time.Second)
	if p.last.State != tu.Refused || p.r.Answers("other") {
		t.Fatalf("%+v", p.last)
	}
	n := len(p.sent)
	for s := range 1200 { // OPTIONS each second for twenty minutes
		p.r.Answers(hop)
		p.step(tu.Tick{})
		p.until(time.Minute + time.Duration(s+2)*time.Second)
	}
	if asked := len(p.sent) - n; asked < 5 || asked > 10 {
		t.Errorf("asked %d times in vain", asked)
	}
	p.answer = registrar(600)
	p.until(30 * time.Minute)
	p.answer = func(m *message.Message, _ string) tu.Event {
		return tu.Failed{Ref: tu.Ref(m.CSeq), Code: 503, Why: reason.Timeout}
	}
	for p.last.State == tu.Registered {
		p.until(p.now.Sub(zero) + time.Second)
	}
	p.answer = registrar(600)
	since := p.now
	if !p.r.Answers(hop) {
		t.Error("no news")
	}
	p.step(tu.Tick{})
	for p.last.State != tu.Registered {
		p.until(p.now.Sub(zero) + time.Second)
	}
	if took := p.now.Sub(since); took > 2*shortestRest {
		t.Errorf("back after %v", took)
	}
	p.answer = refuse(500)
	for p.last.State == tu.Registered {
		p.until(p.now.Sub(zero) + time.Second)
	}
	if p.r.Answers(hop) {
		t.Error("it was reached all the time")
	}
}

// TestConnectionsThatAreIdleAreShut: each four minutes, for ever: we are back at once each time. Where they are shut all the time we are
// no flood.
func TestConnectionsThatAreIdleAreShut(t *testing.T) {
	for _, tt := range []struct{ every, away, most time.Duration }{
		{4 * time.Minute, time.Second, 2 * time.Minute}, {20 * time.Second, 20 * time.Second, 2 * time.Minute},
	} {
		p := newPlay(t, registrationConfig())
		p.answer = registrar(600)
		var longest time.Duration
		lost := time.Minute
		for ; lost < 4*time.Hour; lost += tt.every {
			p.until(lost)
			n := len(p.sent)
			p.r.soon = true // as Lost has it over TCP
			p.step(tu.Tick{})
			for len(p.sent) == n && p.now.Sub(zero) < lost+tt.every {
				p.until(p.now.Sub(zero) + time.Second)
			}
			longest = max(longest, p.now.Sub(zero)-lost)
		}
		if longest > tt.away || len(p.sent) > int(lost/tt.most) {
			t.Errorf("shut each %v: away for %v at a time, asked %d times in %v", tt.every, longest, len(p.sent), lost)
		}
	}
}
