//go:build interop

package interop

import (
	"crypto/md5" //nolint:gosec // digest authentication of RFC 2617 is made of it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// registrarDesk is a registrar that does what a case wants.
type registrarDesk struct {
	says func(n int, m message) (status string, fields []string) // to the nth REGISTER, from 1; those that take the binding back are accepted

	mu     sync.Mutex
	visits []visit
}

type visit struct {
	when time.Time
	m    message
}

func (d *registrarDesk) asked(m message) (string, []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.visits = append(d.visits, visit{time.Now(), m})
	if m.field("Expires") == "0" {
		return "200 OK", []string{"Expires: 0"}
	}
	return d.says(len(d.visits), m)
}

func (d *registrarDesk) heard() []visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]visit{}, d.visits...)
}

// asking is a challenge.
func asking(header, algorithm, realm, nonce, more string) string {
	return fmt.Sprintf(`%s: Digest realm="%s", nonce="%s", qop="auth", algorithm=%s%s`, header, realm, nonce, algorithm, more)
}

var (
	digestPart = regexp.MustCompile(`(\w+)=(?:"([^"]*)"|([^\s,]+))`)
	algorithms = map[string]func() hash.Hash{"MD5": md5.New, "SHA-256": sha256.New, "SHA-512-256": sha512.New512_256}
)

// signature is what credentials say; its verdict is "good", or what is wrong with them (RFC 7616 §3.4.1).
func signature(m message, header, password string) (parts map[string]string, verdict string) {
	parts = map[string]string{}
	value := m.field(header)
	if value == "" {
		return parts, "none"
	}
	for _, p := range digestPart.FindAllStringSubmatch(value, -1) {
		parts[p[1]] = p[2] + p[3]
	}
	algorithm := algorithms[parts["algorithm"]]
	if algorithm == nil {
		return parts, "algorithm " + parts["algorithm"]
	}
	h := func(text ...string) string {
		sum := algorithm()
		sum.Write([]byte(strings.Join(text, ":")))
		return fmt.Sprintf("%x", sum.Sum(nil))
	}
	a1, a2 := h(parts["username"], parts["realm"], password), h(m.method(), parts["uri"])
	switch {
	case parts["uri"] != m.uri():
		return parts, "uri " + parts["uri"]
	case parts["username"] != "login":
		return parts, "username " + parts["username"]
	case parts["response"] != h(a1, parts["nonce"], parts["nc"], parts["cnonce"], parts["qop"], a2):
		return parts, "response"
	}
	return parts, "good"
}

// proves are the parts of credentials as "algorithm realm nonce nc", or what is wrong.
func proves(m message, header string) string {
	p, verdict := signature(m, header, "s3cret")
	if verdict != "good" {
		return verdict
	}
	return strings.Join([]string{p["algorithm"], p["realm"], p["nonce"], p["nc"]}, " ")
}

// accountsOf is a gate with many trunks, each an account.
const (
	accountsOf = `outside: { address: 203.0.113.10, phones: {}, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: {}, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
trunks:
%[2]scdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: debug }
admin: { socket: %[1]s/sbc.sock }
`
	account = `  - name: %s
    mode: register
    registration: { registrar: "%s:5060", username: "4930555", auth_username: login, password: s3cret%s }
`
)

func deskAt(i int) string { return fmt.Sprint("203.0.113.", 100+i) }

func init() {
	for i := range desks {
		home[deskAt(i)] = nsOutside
	}
}

// desks are the registrars of TestScriptedRegistrar: the nth has the address 203.0.113.(100+n).
var desks = []struct {
	name  string
	keys  string // of the registration
	says  func(n int, m message) (string, []string)
	least int // REGISTERs until it is as it is to be
	check func(t *testing.T, v []visit)
}{
	{
		name: "gin", keys: ", gin: true", least: 1,
		says: func(int, message) (string, []string) {
			return "200 OK", []string{"Service-Route: <sip:203.0.113.100:5060;lr;edge=1>", "Expires: 600"}
		},
		check: func(t *testing.T, v []visit) {
			want(t, v[0].m.field("Require")+" "+v[0].m.field("Proxy-Require")+" "+v[0].m.get("Contact"), "gin gin <sip:203.0.113.10:5080;bnc>")
		},
	},
	{
		name: "strongest", least: 2,
		says: func(n int, _ message) (string, []string) {
			if n > 1 {
				return "200 OK", []string{"Expires: 600"}
			}
			list := []string{asking("WWW-Authenticate", "SHA-4096", "r", "n0", ""), `WWW-Authenticate: Basic realm="r"`}
			for i, a := range []string{"MD5", "SHA-512-256", "SHA-256"} {
				list = append(list, asking("WWW-Authenticate", a, "r", fmt.Sprint("n", i+1), `, opaque="o"`))
			}
			return "401 Unauthorized", list
		},
		check: func(t *testing.T, v []visit) {
			want(t, proves(v[1].m, "Authorization"), "SHA-512-256 r n2 00000001")
			want(t, fmt.Sprint(strings.Count(v[1].m.text, "\r\nAuthorization:"), strings.Count(v[1].m.text, `opaque="o"`)), "1 1")
		},
	},
	{
		name: "chain", least: 3, // a proxy that asks, and behind it the registrar
		says: func(_ int, m message) (string, []string) {
			switch {
			case proves(m, "Proxy-Authorization") != "SHA-256 edge p1 00000001" && proves(m, "Proxy-Authorization") != "SHA-256 edge p1 00000002":
				return "407 Proxy Authentication Required", []string{asking("Proxy-Authenticate", "SHA-256", "edge", "p1", "")}
			case proves(m, "Authorization") != "MD5 core w1 00000001":
				return "401 Unauthorized", []string{asking("WWW-Authenticate", "MD5", "core", "w1", "")}
			}
			return "200 OK", []string{"Expires: 600"}
		},
		check: func(t *testing.T, v []visit) { want(t, fmt.Sprint(len(v)), "3") },
	},
	{
		name: "later", least: 1,
		says: func(n int, _ message) (string, []string) {
			if n == 1 {
				return "503 Service Unavailable", []string{"Retry-After: 1800 (lunch)"}
			}
			return "200 OK", []string{"Expires: 600"}
		},
		check: func(t *testing.T, v []visit) { want(t, fmt.Sprint(len(v)), "1") },
	},
	{
		name: "stale", least: 4,
		says: func(n int, m message) (string, []string) {
			switch n {
			case 1:
				return "401 Unauthorized", []string{asking("WWW-Authenticate", "MD5", "r", "old", "")}
			case 3:
				return "401 Unauthorized", []string{asking("WWW-Authenticate", "MD5", "r", "new", ", stale=true")}
			}
			return "200 OK", []string{"Expires: 9"}
		},
		check: func(t *testing.T, v []visit) {
			want(t, proves(v[1].m, "Authorization"), "MD5 r old 00000001")
			want(t, proves(v[2].m, "Authorization"), "MD5 r old 00000002")
			want(t, proves(v[3].m, "Authorization"), "MD5 r new 00000001")
		},
	},
	{
		name: "longer", least: 2,
		says: func(_ int, m message) (string, []string) {
			if m.field("Expires") != "1800" {
				return "423 Interval Too Brief", []string{"Min-Expires: 1800"}
			}
			return "200 OK", []string{"Expires: 1800"}
		},
		check: func(t *testing.T, v []visit) {
			want(t, v[0].m.field("Expires")+" "+v[1].m.field("Expires"), "600 1800")
		},
	},
	{
		name: "locked", least: 2, // a wrong password is tried once
		says: func(n int, _ message) (string, []string) {
			if n == 1 {
				return "401 Unauthorized", []string{asking("WWW-Authenticate", "MD5", "r", "n", "")}
			}
			return "403 Forbidden", nil
		},
		check: func(t *testing.T, v []visit) { want(t, fmt.Sprint(len(v)), "2") },
	},
	{
		name: "elsewhere", least: 1, // nobody is followed
		says: func(int, message) (string, []string) {
			return "302 Moved Temporarily", nil
		},
		check: func(t *testing.T, v []visit) { want(t, v[0].m.field("Authorization"), "") },
	},
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestScriptedRegistrar: what registrars say that Kamailio does not, each to a trunk of its own of one gate.
func TestScriptedRegistrar(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.draw(t)
	office := seat{w.ownPBX(t), local, ours}
	users, accounts := map[string]*agentUser{}, ""
	for i, d := range desks {
		address := deskAt(i)
		w.in(t, nsOutside, "ip", "address", "add", address+"/24", "dev", nsOutside)
		u := w.userAgent(t, nsOutside, address, gateOutside+":5080", "CallerProduct", nil)
		u.mu.Lock()
		u.desk = &registrarDesk{says: d.says}
		u.mu.Unlock()
		users[d.name] = u
		accounts += fmt.Sprintf(account, d.name, address, d.keys)
	}
	g := w.run(t, fmt.Sprintf(accountsOf, w.dir, accounts), gateOutside+":5080", gateInside+":5080")
	for _, d := range desks {
		until(t, d.name+" has been asked", 30*time.Second, func() bool { return len(users[d.name].desk.heard()) >= d.least })
	}
	for _, d := range desks {
		t.Run(d.name, func(t *testing.T) {
			v := users[d.name].desk.heard()
			d.check(t, v)
			if t.Failed() {
				for _, one := range v {
					t.Logf("%s\n%s", one.when.Format(time.StampMilli), one.m.text)
				}
			}
		})
	}
	t.Run("calls by Service-Route and to a number of many", func(t *testing.T) {
		away := seat{users["gin"], trunk, foreign}
		all := g.observe(t, 2, nil, func() {
			office.reaches(t, away, "sip:"+foreign+"@"+gateInside+":5080")
			away.reaches(t, office, "sip:"+ours+"@"+gateOutside+":5080")
		})
		expect(t, all, away.address, "INVITE", map[string]string{"Route": "<sip:203.0.113.100:5060;lr;edge=1>"})
	})
	refused := map[string]bool{"locked": true, "elsewhere": true, "later": true}
	g.enrolments(t, refused, "later", users["later"].desk.heard()[0].when.Add(1800*time.Second))
	g.stop(t)
	for _, d := range desks {
		v := users[d.name].desk.heard()
		left := v[len(v)-1].m.field("Expires") == "0"
		if left == refused[d.name] {
			t.Errorf("%s: the binding has been taken back: %v", d.name, left)
		}
	}
}

// enrolments fails the test unless the gate says that its trunks are registered, but for those named, of which one is asked no sooner
// than it wants to be.
func (g *gate) enrolments(t *testing.T, refused map[string]bool, patient string, until time.Time) {
	t.Helper()
	out, _ := g.verb("trunks", "--json")
	var list []struct {
		Name         string `json:"name"`
		Registration struct {
			State string    `json:"state"`
			Next  time.Time `json:"next"`
		} `json:"registration"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) == 0 {
		t.Fatalf("sbc trunks --json: %v: %s", err, out)
	}
	for _, x := range list {
		state := map[bool]string{false: "registered", true: "refused"}[refused[x.Name]]
		if x.Registration.State != state {
			t.Errorf("%s is %q, want %q", x.Name, x.Registration.State, state)
		}
		if next := x.Registration.Next; x.Name == patient && next.Before(until) {
			t.Errorf("%s is asked again at %v, wants to be at %v", x.Name, next, until)
		}
	}
}
