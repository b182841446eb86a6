package trunk

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// registrarHop is a hop to register at; we stand behind a NAT.
func registrarHop(at string, priority int) Hop {
	h := hop("itsp", at, priority, 1)
	h.Here = tu.Local{Interface: 1, Transport: nat.UDP, Signal: netip.MustParseAddrPort("192.168.1.2:5080")}
	h.Peer = &tu.Peer{Name: "itsp", Kind: tu.KindTrunk, Side: nat.Outside, Realm: nat.Trunks}
	return h
}

func registrationConfig(hops ...Hop) RegistrationConfig {
	if hops == nil {
		hops = []Hop{registrarHop("203.0.113.20:5060", 1)}
	}
	return RegistrationConfig{
		Trunk: "itsp", Hops: hops, Domain: "sip.example.net", User: "4930555", Expires: 600 * time.Second,
		Account: &tu.Account{Username: "login", Password: tu.NewPassword("s3cret")},
	}
}

// play is a registration in virtual time, and what becomes of it.
type play struct {
	t    *testing.T
	r    *Registration
	now  time.Time
	out  *tu.Send // the REGISTER that is out
	sent []*message.Message
	log  []string
	last tu.Registration
	// answer says what becomes of a REGISTER, at once; nil, or no function, is silence.
	answer func(m *message.Message, hop string) tu.Event
	ended  bool
}

func newPlay(t *testing.T, cfg RegistrationConfig) *play {
	p := &play{t: t, r: NewRegistration(cfg, tu.Seed{7}, probeKey), now: zero}
	p.step(tu.Tick{})
	return p
}

func (p *play) line(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf("%v ", p.now.Sub(zero).Round(time.Second))+fmt.Sprintf(format, args...))
}

func (p *play) step(ev tu.Event) {
	if p.ended {
		return
	}
	if done, ok := ev.(tu.Answered); ok && p.out != nil && done.Ref == p.out.Ref && done.Msg.Status >= 200 {
		p.out = nil
	}
	if done, ok := ev.(tu.Failed); ok && p.out != nil && done.Ref == p.out.Ref {
		p.out = nil
	}
	for _, a := range p.r.Step(p.now, ev, nil) {
		switch a := a.(type) {
		case tu.Send:
			if p.out != nil {
				p.t.Fatalf("a second REGISTER is out\n%s", strings.Join(p.log, "\n"))
			}
			p.out = &a
			p.sent = append(p.sent, a.Msg)
			expires, _ := a.Msg.Get("Expires")
			signed := ""
			if tu.Signed(a.Msg) {
				signed = " signed"
			}
			p.line("REGISTER %d to %s expires %s%s", a.Msg.CSeq, a.Hop.Flow.Remote, expires, signed)
		case tu.Registration:
			if a.State != p.last.State || a.Answer != p.last.Answer {
				p.line("%s, %s", a.State, a.Answer)
			}
			p.last = a
		case tu.Note:
			if !strings.Contains(a.Text, "itsp") || a.Method != "REGISTER" || !a.Source.IsValid() {
				p.t.Errorf("%+v", a)
			}
		case tu.End:
			p.ended = true
			p.line("end")
		default:
			p.line("%T", a)
		}
	}
	if p.out != nil && p.answer != nil {
		if ev := p.answer(p.out.Msg, p.out.Hop.Flow.Remote.String()); ev != nil {
			p.step(ev)
		}
	}
}

// until lets time pass. What is out and not answered times out as Timer F has it.
func (p *play) until(d time.Duration) {
	end := zero.Add(d)
	var since time.Time
	for !p.ended {
		next := p.r.Deadline()
		if next.IsZero() {
			p.t.Fatalf("no deadline and no end\n%s", strings.Join(p.log, "\n"))
		}
		if p.out != nil {
			if since = p.r.out.Add(32 * time.Second); since.Before(next) {
				next = since
			}
		}
		if next.After(end) {
			break
		}
		if next.After(p.now) {
			p.now = next
		}
		if p.out != nil && !p.now.Before(p.r.out.Add(32*time.Second)) {
			p.step(tu.Failed{Ref: p.out.Ref, Code: 408, Why: reason.Timeout})
			continue
		}
		p.step(tu.Tick{})
	}
	p.now = end
}

// reply is an answer as a registrar sends it, which sees us at an address.
func reply(m *message.Message, code int, seen string, fields ...string) tu.Event {
	out := message.Reply(m, code, "")
	out.Via = []message.Via{{Transport: "UDP", Host: "192.168.1.2", Port: 5080, Branch: "z9hG4bK1", RPort: -1}}
	if seen != "" {
		at := netip.MustParseAddrPort(seen)
		out.Via[0].Received, out.Via[0].RPort = at.Addr().String(), int(at.Port())
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		out.Add(name, value)
	}
	return tu.Answered{Ref: tu.Ref(m.CSeq), Msg: out}
}

const challengeMD5 = `WWW-Authenticate: Digest realm="example.net", nonce="abc", qop="auth", algorithm=MD5`

// registrar is one that knows the password, and grants what is asked for at most.
func registrar(most int, fields ...string) func(m *message.Message, hop string) tu.Event {
	return func(m *message.Message, _ string) tu.Event {
		if !tu.Signed(m) {
			return reply(m, 401, "198.51.100.7:40001", challengeMD5)
		}
		return accept(m, most, fields...)
	}
}

func accept(m *message.Message, most int, fields ...string) tu.Event {
	v, _ := m.Get("Expires")
	asked, _ := strconv.Atoi(v)
	contacts, _, _ := m.Contacts()
	if asked > 0 {
		fields = append(fields, "Contact: "+contacts[0].String()+";expires="+strconv.Itoa(min(asked, most)))
	}
	return reply(m, 200, "", fields...)
}

func TestRegister(t *testing.T) {
	p := newPlay(t, registrationConfig())
	p.answer = registrar(600, "Service-Route: <sip:edge.example.net;lr>, <sip:home.example.net;lr>")
	p.until(10 * time.Second)
	if len(p.sent) != 2 {
		t.Fatalf("%v", p.log)
	}
	first, second := p.sent[0], p.sent[1]
	first.Via = []message.Via{{Transport: "UDP", Host: "192.168.1.2", Port: 5080, Branch: "z9hG4bK1", RPort: 0}}
	first.From.Tag, first.CallID = "t", "c"
	b, err := first.Append(nil)
	want := "REGISTER sip:sip.example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.2:5080;branch=z9hG4bK1;rport\r\n" +
		"Max-Forwards: 70\r\nFrom: <sip:4930555@sip.example.net>;tag=t\r\nTo: <sip:4930555@sip.example.net>\r\nCall-ID: c\r\n" +
		"CSeq: 1 REGISTER\r\nContact: <sip:4930555@192.168.1.2:5080>\r\nExpires: 600\r\nSupported: path\r\nContent-Length: 0\r\n\r\n"
	if err != nil || sortedLines(string(b)) != sortedLines(want) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, string(b)))
	}
	// The registrar's 401 has shown where we stand: the one that counts says so.
	if c, _ := second.Get("Contact"); c != "<sip:4930555@198.51.100.7:40001>" || second.CSeq != 2 || second.CallID == "" {
		t.Errorf("%s, CSeq %d", c, second.CSeq)
	}
	if v, _ := second.Get("Authorization"); !strings.Contains(v, `username="login"`) || !strings.Contains(v, `uri="sip:sip.example.net"`) {
		t.Error(v)
	}
	is := p.last
	if is.State != tu.Registered || fmt.Sprint(is.Realms) != "[example.net]" || is.Seen.String() != "198.51.100.7:40001" || is.Answer != "200 OK" ||
		!slices.Equal(is.Routes, []string{"<sip:edge.example.net;lr>", "<sip:home.example.net;lr>"}) || is.Hop != "itsp 203.0.113.20:5060" || is.Failed != 0 {
		t.Errorf("%+v", is)
	}
	if left := is.Until.Sub(p.now); left > 600*time.Second || left < 585*time.Second {
		t.Errorf("until %v", is.Until)
	}
	if wait := is.Next.Sub(is.Until.Add(-600 * time.Second)); wait < 480*time.Second || wait > 540*time.Second {
		t.Errorf("refreshed after %v of 600 s", wait)
	}
	// A refresh has credentials before it is asked for them, under the same Call-ID, with the next count.
	p.until(545 * time.Second)
	if len(p.sent) != 3 || p.sent[2].CallID != second.CallID || p.sent[2].From.Tag != second.From.Tag {
		t.Fatalf("%v", p.log)
	}
	if v, _ := p.sent[2].Get("Authorization"); !strings.Contains(v, "nc=00000002") {
		t.Error(v)
	}
	p.until(2 * time.Hour)
	if n := len(p.sent); n < 2+11 || n > 2+15 || p.last.Failed != 0 {
		t.Errorf("%d REGISTERs in two hours", n)
	}
}

func sortedLines(s string) string {
	lines := strings.Split(s, "\r\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestContact: what a Contact looks like, by transport, GIN and what was learned.
func TestContact(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *RegistrationConfig)
		fields string // of the REGISTER that is accepted
		seen   string // as the registrar says
	}{
		{"plain", func(*RegistrationConfig) {}, "<sip:4930555@198.51.100.7:40001>", ""},
		{"contact_user", func(c *RegistrationConfig) { c.Contact = "trunk1" }, "<sip:trunk1@198.51.100.7:40001>", ""},
		{"GIN", func(c *RegistrationConfig) { c.GIN = true }, "<sip:198.51.100.7:40001;bnc> gin gin", ""},
		{"TCP: the port of the connection is none to call", func(c *RegistrationConfig) {
			c.Hops[0].Here.Transport, c.Hops[0].Flow.Transport = nat.TCP, nat.TCP
		}, "<sip:4930555@198.51.100.7:5080;transport=tcp>", ""},
		{"TLS", func(c *RegistrationConfig) {
			c.Hops[0].Here.Transport, c.Hops[0].Flow.Transport = nat.TLS, nat.TLS
		}, "<sip:4930555@198.51.100.7:5080;transport=tls>", ""},
		{"another family is not believed", func(*RegistrationConfig) {}, "<sip:4930555@192.168.1.2:5080>", "[2001:db8::1]:5060"},
		{"nor this machine", func(*RegistrationConfig) {}, "<sip:4930555@192.168.1.2:5080>", "127.0.0.1:5060"},
		{"nor a group", func(*RegistrationConfig) {}, "<sip:4930555@192.168.1.2:5080>", "224.0.0.1:5060"},
		{"where we are", func(*RegistrationConfig) {}, "<sip:4930555@192.168.1.2:5080>", "192.168.1.2:5080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := registrationConfig()
			tt.change(&cfg)
			p := newPlay(t, cfg)
			p.answer = func(m *message.Message, _ string) tu.Event {
				seen := tt.seen
				if seen == "" {
					seen = "198.51.100.7:40001"
				}
				if !tu.Signed(m) {
					return reply(m, 401, seen, challengeMD5)
				}
				return reply(m, 200, seen)
			}
			p.until(4 * time.Second)
			m := p.sent[len(p.sent)-1]
			got, _ := m.Get("Contact")
			for _, f := range []string{"Require", "Proxy-Require"} {
				if v, ok := m.Get(f); ok {
					got += " " + v
				}
			}
			if got != tt.fields || p.last.State != tu.Registered || len(p.sent) != 2 {
				t.Errorf("%s, want %s\n%s", got, tt.fields, strings.Join(p.log, "\n"))
			}
		})
	}
}

// TestAlgorithms: the strongest that both know.
func TestAlgorithms(t *testing.T) {
	for name, fields := range map[string][]string{
		"MD5":         {challengeMD5},
		"SHA-256":     {challengeMD5, strings.Replace(challengeMD5, "MD5", "SHA-256", 1)},
		"SHA-512-256": {strings.Replace(challengeMD5, "MD5", "SHA-256", 1), strings.Replace(challengeMD5, "MD5", "SHA-512-256", 1)},
	} {
		p := newPlay(t, registrationConfig())
		p.answer = func(m *message.Message, _ string) tu.Event {
			if !tu.Signed(m) {
				return reply(m, 401, "", fields...)
			}
			return reply(m, 200, "")
		}
		p.until(time.Minute)
		if v, _ := p.sent[1].Get("Authorization"); !strings.Contains(v, "algorithm="+name) || p.last.State != tu.Registered {
			t.Errorf("%s: %s", name, v)
		}
	}
}
