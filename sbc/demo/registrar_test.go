package demo

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
	"pgregory.net/rapid"

	"sallyport/sbc/message"
)

// desk is a registrar alone, asked message by message.
type desk struct {
	a   *Agent
	reg *Registrar
	seq uint32
}

type unused struct{ PacketConn }

func newDesk() *desk {
	d := &desk{
		a:   NewAgent("pbx", netip.MustParseAddrPort("192.0.2.2:5060"), unused{}, 9),
		reg: &Registrar{Domain: "example.com", Users: map[string]string{"201": "secret"}},
	}
	d.a.now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	return d
}

// request is a REGISTER with header fields "Name: value".
func (d *desk) request(fields ...string) *message.Message {
	d.seq++
	u := message.URI{Scheme: "sip", User: "201", Host: "example.com"}
	m := &message.Message{
		Method: "REGISTER", URI: message.URI{Scheme: "sip", Host: "example.com"}, CallID: "c", CSeq: d.seq, MaxForwards: 70,
		From: message.NameAddr{URI: u, Tag: "f"}, To: message.NameAddr{URI: u},
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		m.Add(name, value)
	}
	return m
}

// signed answers a fresh challenge with a password and changes the request before it is sent.
func (d *desk) signed(m *message.Message, password string, change func(*message.Message)) *message.Message {
	phone := &Agent{Number: "201", Password: password, ids: d.a.ids}
	var l login
	if l.challenged(phone, d.reg.register(d.a, m)) {
		l.sign(phone, m)
	}
	if change != nil {
		change(m)
	}
	return d.reg.register(d.a, m)
}

func (d *desk) users() string {
	var out []string
	for _, c := range d.reg.Contacts("201", d.a.now) {
		out = append(out, fmt.Sprintf("%s %v", c.URI.Host, c.Expires.Sub(d.a.now)))
	}
	return strings.Join(out, ", ")
}

func TestContactsAsRFC3261(t *testing.T) {
	d := newDesk()
	for _, tt := range []struct {
		name   string
		fields []string
		code   int
		want   string
	}{
		{"query before all", nil, 200, ""},
		{"one contact", []string{"Contact: <sip:201@a>", "Expires: 60"}, 200, "a 1m0s"},
		{"refresh", []string{"Contact: <sip:201@a>", "Expires: 120"}, 200, "a 2m0s"},
		{"two more, expiry of their own", []string{"Contact: <sip:201@b>;expires=30, <sip:201@c>"}, 200, "c 1h0m0s, b 30s, a 2m0s"},
		{"over the bound", []string{"Contact: <sip:201@d>;expires=99999"}, 200, "d 1h0m0s, c 1h0m0s, b 30s, a 2m0s"},
		{"one away", []string{"Contact: <sip:201@c>;expires=0"}, 200, "d 1h0m0s, b 30s, a 2m0s"},
		{"query", nil, 200, "d 1h0m0s, b 30s, a 2m0s"},
		{"star with expiry", []string{"Contact: *", "Expires: 60"}, 400, "d 1h0m0s, b 30s, a 2m0s"},
		{"too many", []string{"Contact: " + strings.TrimSuffix(strings.Repeat("<sip:x@y>, ", 17), ", ")}, 403, "d 1h0m0s, b 30s, a 2m0s"},
		{"star", []string{"Contact: *", "Expires: 0"}, 200, ""},
	} {
		resp := d.signed(d.request(tt.fields...), "secret", nil)
		if got := d.users(); resp.Status != tt.code || got != tt.want {
			t.Errorf("%s: %d, contacts %q; want %d, %q", tt.name, resp.Status, got, tt.code, tt.want)
		}
		list, _, _ := resp.Contacts()
		if n := strings.Count(tt.want, " "); tt.code == 200 && len(list) != (n+1)/2 {
			t.Errorf("%s: the answer lists %v", tt.name, list)
		}
	}
}

func TestWhoIsNotTheUser(t *testing.T) {
	contact := "Contact: <sip:201@a>"
	for _, tt := range []struct {
		name   string
		pass   string
		change func(d *desk) func(*message.Message)
		code   int
		stale  bool
	}{
		{"right", "secret", nil, 200, false},
		{"wrong", "guess", nil, 403, false},
		{"no password", "", nil, 401, false},
		{"another Call-ID than that of the challenge", "secret",
			func(*desk) func(*message.Message) { return func(m *message.Message) { m.CallID = "other" } }, 401, true},
		{"another From-tag", "secret",
			func(*desk) func(*message.Message) { return func(m *message.Message) { m.From.Tag = "other" } }, 401, true},
		{"another method", "secret",
			func(*desk) func(*message.Message) { return func(m *message.Message) { m.Method = "INVITE" } }, 403, false},
		{"another user's name", "secret",
			func(*desk) func(*message.Message) { return edited(`username="201"`, `username="202"`) }, 403, false},
		{"unknown nonce", "secret",
			func(*desk) func(*message.Message) { return edited(`nonce="`, `nonce="0`) }, 401, true},
		{"another realm", "secret",
			func(*desk) func(*message.Message) { return edited(`realm="example.com"`, `realm="example.org"`) }, 403, false},
		{"no digest", "secret",
			func(*desk) func(*message.Message) { return edited("Digest ", "Basic ") }, 400, false},
		{"replayed", "secret", func(d *desk) func(*message.Message) {
			return func(m *message.Message) {
				if r := d.reg.register(d.a, m); r.Status != 200 {
					m.CallID = "first use failed"
				}
			}
		}, 401, true},
	} {
		d := newDesk()
		var change func(*message.Message)
		if tt.change != nil {
			change = tt.change(d)
		}
		resp := d.signed(d.request(contact), tt.pass, change)
		value, _ := resp.Get("WWW-Authenticate")
		if resp.Status != tt.code || strings.Contains(value, "stale=true") != tt.stale {
			t.Errorf("%s: %d %q, want %d, stale %v", tt.name, resp.Status, value, tt.code, tt.stale)
		}
		if bound := d.users() != ""; bound != (tt.code == 200 || tt.name == "replayed") {
			t.Errorf("%s: contacts %q", tt.name, d.users())
		}
	}
}

func edited(from, to string) func(*message.Message) {
	return func(m *message.Message) {
		v, _ := m.Get("Authorization")
		m.Set("Authorization", strings.Replace(v, from, to, 1))
	}
}

// TestOlderRegistersChangeNothing: RFC 3261 §10.3, step 7.
func TestOlderRegistersChangeNothing(t *testing.T) {
	d := newDesk()
	d.signed(d.request("Contact: <sip:201@a>", "Expires: 60"), "secret", nil)
	resp := d.signed(d.request("Contact: <sip:201@a>", "Expires: 0"), "secret", func(m *message.Message) { m.CSeq = 1 })
	if resp.Status != 500 || d.users() != "a 1m0s" {
		t.Errorf("%d, contacts %q", resp.Status, d.users())
	}
}

func TestCallsAreChallengedInTheOwnDomainOnly(t *testing.T) {
	d := newDesk()
	invite := func(host string) *message.Message {
		m := d.request()
		m.Method, m.From.URI.Host = "INVITE", host
		return d.reg.admit(d.a, m)
	}
	if m := invite("example.com"); m != nil {
		t.Errorf("challenged with %d although calls are not", m.Status)
	}
	d.reg.Calls = true
	if m := invite("EXAMPLE.com"); m == nil || m.Status != 407 {
		t.Errorf("%v", m)
	} else if v, ok := m.Get("Proxy-Authenticate"); !ok || !digest.IsDigest(v) {
		t.Errorf("%q", v)
	}
	if m := invite("10.0.0.2"); m != nil { // a trunk's call: the gate names itself
		t.Errorf("a call of a trunk met %d", m.Status)
	}
}

// TestTheDeskIsBounded: nonces, and contacts of a user.
func TestTheDeskIsBounded(t *testing.T) {
	d := newDesk()
	for range maxNonces + 100 {
		d.reg.register(d.a, d.request())
	}
	if len(d.reg.nonces) != maxNonces || len(d.reg.order) != maxNonces {
		t.Errorf("%d nonces", len(d.reg.nonces))
	}
	for i := range 3 * maxContacts {
		d.signed(d.request(fmt.Sprintf("Contact: <sip:201@h%d>", i)), "secret", nil)
	}
	list := d.reg.Contacts("201", d.a.now)
	if len(list) != maxContacts || list[0].URI.Host != fmt.Sprintf("h%d", 3*maxContacts-1) {
		t.Errorf("%d contacts, first %v", len(list), list[0].URI)
	}
}

// TestContactsAgainstAModel: any sequence of registrations and times leaves what a plain map says.
func TestContactsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk()
		model := map[string]time.Time{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			host, seconds := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "host"), rapid.IntRange(0, 4000).Draw(t, "expires")
			d.a.now = d.a.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "wait")) * time.Second)
			resp := d.signed(d.request("Contact: <sip:201@"+host+">", fmt.Sprintf("Expires: %d", seconds)), "secret", nil)
			if resp.Status != 200 {
				t.Fatalf("met %d", resp.Status)
			}
			model[host] = d.a.now.Add(min(time.Duration(seconds)*time.Second, time.Hour))
			live := 0
			for h, until := range model {
				if until.After(d.a.now) {
					live++
				} else {
					delete(model, h)
				}
			}
			list := d.reg.Contacts("201", d.a.now)
			if len(list) != live {
				t.Fatalf("%d contacts, want %v", len(list), model)
			}
			for _, c := range list {
				if !model[c.URI.Host].Equal(c.Expires) {
					t.Fatalf("%s until %v, want %v", c.URI.Host, c.Expires, model[c.URI.Host])
				}
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	a := newDesk().a
	a.Number, a.Password = "201", "secret"
	challenge := func(code int, field, value string) *message.Message {
		m := &message.Message{Status: code, Method: "REGISTER"}
		if field != "" {
			m.Add(field, value)
		}
		return m
	}
	const realm = `Digest realm="r", nonce="n", algorithm=`
	for _, tt := range []struct {
		name string
		m    *message.Message
		want bool
	}{
		{"ordinary", challenge(401, "WWW-Authenticate", realm+`MD5, qop="auth"`), true},
		{"of a proxy", challenge(407, "Proxy-Authenticate", realm+`MD5`), true},
		{"SHA-256", challenge(401, "WWW-Authenticate", realm+`SHA-256, qop="auth"`), true},
		{"no challenge", challenge(401, "", ""), false},
		{"in the wrong field", challenge(401, "Proxy-Authenticate", realm+"MD5"), false},
		{"Basic", challenge(401, "WWW-Authenticate", `Basic realm="r"`), false},
		{"unknown algorithm", challenge(401, "WWW-Authenticate", realm+"ROT13"), false},
		{"refusal", challenge(403, "WWW-Authenticate", realm+"MD5"), false},
	} {
		var l login
		if got := l.challenged(a, tt.m); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	var l login
	m := &message.Message{Method: "REGISTER", URI: message.URI{Scheme: "sip", Host: "r"}}
	if l.sign(a, m); len(m.Headers) != 0 {
		t.Errorf("credentials before any challenge: %v", m.Headers)
	}
	first := challenge(401, "WWW-Authenticate", realm+`MD5, qop="auth"`)
	if !l.challenged(a, first) || l.challenged(a, first) {
		t.Error("the second challenge to the same request says that the password is wrong")
	}
	stale := challenge(401, "WWW-Authenticate", realm+`MD5, qop="auth", stale=true`)
	if !l.challenged(a, stale) {
		t.Error("a stale nonce is no refusal")
	}
	for want := 1; want <= 3; want++ {
		l.sign(a, m)
		v, _ := m.Get("Authorization")
		if c, err := digest.ParseCredentials(v); err != nil || c.Nc != want || c.URI != "sip:r" || len(m.Headers) != 1 {
			t.Errorf("use %d: %v, %+v", want, err, m.Headers)
		}
	}
}

// FuzzAuthorization: whatever stands in the header field, nobody gets in without the password, and nothing breaks.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		"", "Digest", "Digest ", `Digest username="201"`, `Digest username="201", realm="example.com", nonce="n", uri="sip:x", response="0"`,
		`Digest nc=ffffffffffffffff, nonce="n"`, `digest nonce="n", nc=-1, username="201`, "Basic MjAxOnNlY3JldA==", "Digest ,,,=\"", "Digest nonce=n nonce=n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		d := newDesk()
		m := d.request("Contact: <sip:201@a>")
		m.Add("Authorization", strings.ReplaceAll(value, `nonce="n"`, `nonce="`+d.issued()+`"`))
		if resp := d.reg.register(d.a, m); resp.Status != 400 && resp.Status != 401 && resp.Status != 403 {
			t.Errorf("%q met %d", value, resp.Status)
		}
		if d.users() != "" {
			t.Errorf("%q registered", value)
		}
	})
}

// issued is a nonce of the registrar for the ids of request.
func (d *desk) issued() string {
	d.reg.register(d.a, d.request())
	return d.reg.order[0]
}
