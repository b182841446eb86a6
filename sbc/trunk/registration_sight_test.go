package trunk

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestWhatIsSeenCounts: of what registrars say of our address the 2xx counts, and the challenge before it.
func TestWhatIsSeenCounts(t *testing.T) {
	const real, forged = "198.51.100.7:40001", "198.51.100.7:6666"
	tests := []struct {
		name   string
		answer func(m *message.Message) tu.Event
		seen   string // "": nothing is known
		within string // of a Contact that was offered; "": ours as it is configured
	}{
		{"a 2xx", func(m *message.Message) tu.Event { return reply(m, 200, real) }, real, real},
		{"a challenge that was answered", func(m *message.Message) tu.Event {
			if !tu.Signed(m) {
				return reply(m, 401, real, challengeMD5)
			}
			return reply(m, 200, "")
		}, real, real},
		{"a challenge, and a 2xx that says otherwise", func(m *message.Message) tu.Event {
			if !tu.Signed(m) {
				return reply(m, 401, forged, challengeMD5)
			}
			return reply(m, 200, real)
		}, real, real},
		{"a challenge whose answer is refused", func(m *message.Message) tu.Event {
			if !tu.Signed(m) {
				return reply(m, 401, forged, challengeMD5)
			}
			return reply(m, 403, forged)
		}, "", forged},
		{"a refusal", func(m *message.Message) tu.Event { return reply(m, 403, forged) }, "", ""},
		{"an error", func(m *message.Message) tu.Event { return reply(m, 503, forged) }, "", ""},
		{"a redirection", func(m *message.Message) tu.Event { return reply(m, 302, forged) }, "", ""},
		{"a 2xx without a binding", func(m *message.Message) tu.Event { return reply(m, 200, forged, "Expires: 0") }, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlay(t, registrationConfig())
			p.answer = func(m *message.Message, _ string) tu.Event { return tt.answer(m) }
			p.until(time.Minute)
			if got := p.last.Seen; got.IsValid() != (tt.seen != "") || got.IsValid() && got.String() != tt.seen {
				t.Errorf("seen as %v, want %q\n%s", got, tt.seen, strings.Join(p.log, "\n"))
			}
			offered := false
			for _, m := range p.sent {
				c, _ := m.Get("Contact")
				offered = offered || tt.within != "" && strings.Contains(c, tt.within)
				if tt.within == "" && c != "<sip:4930555@192.168.1.2:5080>" {
					t.Errorf("offered %s", c)
				}
			}
			if tt.within != "" && !offered {
				t.Errorf("%s was never offered", tt.within)
			}
		})
	}
}

// TestWhatIsSeenIsRefused: an address where we cannot be is neither offered nor told.
func TestWhatIsSeenIsRefused(t *testing.T) {
	cfg := registrationConfig()
	cfg.Refuse = func(at netip.AddrPort) string {
		if at.Addr().IsPrivate() {
			return "is a node"
		}
		return ""
	}
	const hop = "itsp 203.0.113.20:5060"
	p := newPlay(t, cfg)
	seen := "10.0.0.10:5060"
	p.answer = func(m *message.Message, _ string) tu.Event {
		if !tu.Signed(m) {
			return reply(m, 401, seen, challengeMD5)
		}
		return reply(m, 200, seen)
	}
	p.until(time.Minute)
	if c, _ := p.sent[len(p.sent)-1].Get("Contact"); p.last.State != tu.Registered || p.last.Seen.IsValid() ||
		p.last.Doubt != seen+", which is a node" || c != "<sip:4930555@192.168.1.2:5080>" {
		t.Fatalf("%+v, Contact %s", p.last, c)
	}
	n := len(p.sent)
	if p.r.Sighted(hop, netip.MustParseAddrPort(seen)) || !p.r.Sighted(hop, netip.MustParseAddrPort("10.0.0.11:5060")) {
		t.Error("another doubt is news, the same one is none")
	}
	p.step(tu.Tick{})
	p.until(2 * time.Minute)
	if len(p.sent) != n || p.last.Doubt != "10.0.0.11:5060, which is a node" {
		t.Errorf("asked %d times more, %+v", len(p.sent)-n, p.last)
	}
	// What was believed is dropped where a configuration knows better.
	seen = "198.51.100.7:40001"
	p.until(20 * time.Minute)
	if p.last.Seen.String() != seen || p.r.Configure(cfg) {
		t.Fatalf("%+v", p.last)
	}
	cfg.Refuse = func(netip.AddrPort) string { return "is another trunk's" }
	if !p.r.Configure(cfg) {
		t.Fatal("that is news")
	}
	p.step(tu.Tick{})
	p.until(21 * time.Minute)
	if c, _ := p.sent[len(p.sent)-1].Get("Contact"); p.last.Seen.IsValid() || c != "<sip:4930555@192.168.1.2:5080>" {
		t.Errorf("%+v, Contact %s", p.last, c)
	}
}

// TestSightedCountsOnceAccepted: who forges an answer to OPTIONS makes us ask the registrar, and no more.
func TestSightedCountsOnceAccepted(t *testing.T) {
	const hop, real, forged = "itsp 203.0.113.20:5060", "198.51.100.7:40001", "198.51.100.99:6666"
	for name, tt := range map[string]struct {
		code int
		shown,
		want string
	}{
		"the registrar sees us there, too": {200, forged, forged},
		"it sees us elsewhere":             {200, real, real},
		"it refuses us":                    {503, forged, real},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t, registrationConfig())
			p.answer = registrar(600)
			p.until(time.Minute)
			if p.last.Seen.String() != real {
				t.Fatalf("%+v", p.last)
			}
			p.answer = func(m *message.Message, _ string) tu.Event { return reply(m, tt.code, tt.shown) }
			if !p.r.Sighted(hop, netip.MustParseAddrPort(forged)) {
				t.Fatal("that is news")
			}
			p.step(tu.Tick{})
			if p.last.Seen.String() != real {
				t.Errorf("believed before it was accepted: %+v", p.last)
			}
			p.until(70 * time.Second)
			if p.last.Seen.String() != tt.want {
				t.Errorf("%+v, want %s", p.last, tt.want)
			}
		})
	}
}

// TestAFailedRefresh: the binding goes on with its hop and its way, and the password is not held to be wrong at once.
func TestAFailedRefresh(t *testing.T) {
	const route = "<sip:edge.example.net;lr>"
	for _, code := range []int{503, 408, 403, 404} {
		cfg := registrationConfig(registrarHop("203.0.113.20:5060", 1), registrarHop("203.0.113.21:5060", 2))
		p := newPlay(t, cfg)
		p.answer = registrar(600, "Service-Route: "+route)
		p.until(time.Minute)
		until := p.last.Until
		p.answer = func(m *message.Message, _ string) tu.Event {
			if !tu.Signed(m) {
				return reply(m, 401, "", challengeMD5)
			}
			return reply(m, code, "")
		}
		p.until(p.last.Next.Sub(zero) + 2*time.Second)
		if is := p.last; is.State != tu.Refused || is.Hop != "itsp 203.0.113.20:5060" || len(is.Routes) != 1 || !is.Until.Equal(until) ||
			strings.Contains(is.Answer, "password") || is.Next.Sub(p.now) > time.Minute {
			t.Errorf("%d: %+v", code, is)
		}
		p.until(until.Sub(zero) + 2*time.Minute)
		if is := p.last; !is.Until.IsZero() || is.Routes != nil || (code == 403 || code == 404) != strings.Contains(is.Answer, "password refused?") {
			t.Errorf("%d, after its end: %+v", code, is)
		}
	}
}

// TestTwoTransportsOfOneAddress: they are two places to register at.
func TestTwoTransportsOfOneAddress(t *testing.T) {
	at := netip.MustParseAddrPort("203.0.113.20:5060")
	udp, tcp := registrarHop(at.String(), 1), registrarHop(at.String(), 2)
	tcp.ID, tcp.Flow.Transport, tcp.Here.Transport, tcp.Here.Interface = HopID("itsp", at, nat.TCP), nat.TCP, nat.TCP, 2
	if udp.ID != HopID("itsp", at, nat.UDP) || tcp.ID != "itsp 203.0.113.20:5060/tcp" {
		t.Fatal(udp.ID, tcp.ID)
	}
	p := newPlay(t, registrationConfig(udp, tcp))
	p.answer = func(m *message.Message, hop string) tu.Event {
		if p.out.Hop.ID == udp.ID {
			return nil
		}
		return registrar(600)(m, hop)
	}
	p.until(2 * time.Minute)
	if p.last.State != tu.Registered || p.last.Hop != tcp.ID {
		t.Fatalf("%+v", p.last)
	}
	if c, _ := p.sent[len(p.sent)-1].Get("Contact"); !strings.Contains(c, ";transport=tcp") {
		t.Error(c)
	}
	if p.r.Lost(udp.Flow) || !p.r.Lost(tcp.Flow) {
		t.Error("the connection that it came by is lost, and no other")
	}
	b := NewBook([]System{outside("itsp", nil, udp, tcp), {Name: "pbx", Kind: tu.KindNode, Side: nat.Inside}}, nil)
	b.Report(udp.ID, Down)
	if plan := b.Plan("itsp", nat.Outside); len(plan) != 2 || plan[0].ID != tcp.ID || b.State(tcp.ID) != Unknown || b.Trunk(tcp.ID) != "itsp" || b.Trunk("x") != "" {
		t.Errorf("%v", plan)
	}
	for s := range b.Nodes {
		if s.Name != "pbx" {
			t.Error(s.Name)
		}
	}
}
