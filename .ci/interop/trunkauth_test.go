//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// challenged is a gate whose provider knows it by its address, and asks for a password all the same.
const challenged = `outside: { address: 203.0.113.10, phones: {}, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: {}, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    credentials: { username: login, password: %[2]s, realm: [ sip.example.net ] }
    keepalive: { method: options, interval: 1s }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: debug }
admin: { socket: %[1]s/sbc.sock }
`

// asks starts a provider that challenges each call in a realm, with ALWAYS each request, and the gate with a password.
func (w *world) asks(t *testing.T, realm, password string, flags ...string) (g *gate, office, away seat) {
	t.Helper()
	w.carrier(t, provider, append([]string{"-A", `REALM="` + realm + `"`, "-A", "GRANTS=600"}, flags...)...)
	office, away = w.ends(t, provider)
	return w.run(t, fmt.Sprintf(challenged, w.dir, password), gateOutside+":5080", gateInside+":5080"), office, away
}

// with are the requests of a method to the provider that have credentials, and those that have none.
func with(all []packet, method string) (signed, bare int) {
	for _, p := range choose(all, packet.sip, on(nsOutside), to(provider)) {
		switch {
		case !strings.HasPrefix(p.start(), method+" "):
		case p.header("Proxy-Authorization") != "":
			signed++
		default:
			bare++
		}
	}
	return signed, bare
}

// TestTrunkChallenges: a provider, Kamailio, that answers 407 to each request of a call and takes no nonce twice. The PBX sees
// nothing of it.
func TestTrunkChallenges(t *testing.T) {
	w := newWorld(t)
	g, office, away := w.asks(t, "sip.example.net", "s3cret", "-A", "ALWAYS")
	t.Run("a call of the PBX", func(t *testing.T) {
		all := g.observe(t, 1, nil, func() {
			mine, _ := office.connects(t, away, "sip:"+foreign+"@"+gateInside+":5080")
			talking(t, office, away)
			mine.hold(t)
			mine.resume(t)
			talking(t, office, away)
			leaves(t, office, away)
		})
		for _, c := range []struct {
			method string
			times  int
		}{{"INVITE", 3}, {"BYE", 1}} {
			signed, _ := with(all, c.method)
			challenges := len(choose(all, packet.sip, on(nsOutside), from(provider), func(p packet) bool {
				return strings.HasPrefix(p.start(), "SIP/2.0 407") && strings.HasSuffix(p.header("CSeq"), " "+c.method)
			}))
			if challenges != c.times || signed < c.times {
				t.Errorf("%s: %d challenges and %d requests with credentials, want %d", c.method, challenges, signed, c.times)
			}
		}
		unseen(t, all)
	})
	t.Run("a call of the provider", func(t *testing.T) {
		all := g.observe(t, 1, nil, func() {
			_, theirs := away.connects(t, office, "sip:"+ours+"@"+gateOutside+":5080")
			talking(t, office, away)
			theirs.hold(t)
			theirs.resume(t)
			talking(t, office, away)
			leaves(t, office, away)
		})
		if signed, bare := with(all, "INVITE"); signed < 2 || bare > 1 { // of the same dialog: the second one has them unasked
			t.Errorf("re-INVITE: %d with credentials, %d without", signed, bare)
		}
		if signed, _ := with(all, "BYE"); signed == 0 {
			t.Error("no BYE with credentials")
		}
		unseen(t, all)
	})
	g.stop(t)
}

// TestTrunkNonces: a provider, Kamailio, that takes its nonces until they are old challenges the first call alone.
func TestTrunkNonces(t *testing.T) {
	w := newWorld(t)
	g, office, away := w.asks(t, "sip.example.net", "s3cret")
	for n, want := range [][2]int{{1, 1}, {1, 0}, {1, 0}} {
		all := g.observe(t, 1, nil, func() {
			mine := office.dial(office.number, "sip:"+foreign+"@"+gateInside+":5080")
			theirs := away.comes(t, foreign)
			if theirs == nil || !mine.wait(t, "answered", mine.up) {
				t.FailNow()
			}
			talking(t, office, away)
			leaves(t, office, away)
		})
		if signed, bare := with(all, "INVITE"); signed != want[0] || bare != want[1] {
			t.Errorf("call %d: %d INVITEs with credentials and %d without, want %v", n, signed, bare, want)
		}
		unseen(t, all)
	}
	g.stop(t)
}

// unseen fails the test where the PBX has seen something of a challenge, or its answer.
func unseen(t *testing.T, all []packet) {
	t.Helper()
	for _, p := range choose(all, packet.sip, on(nsInside)) {
		if p.header("Proxy-Authorization") != "" || p.header("Authorization") != "" || p.header("Proxy-Authenticate") != "" || strings.HasPrefix(p.start(), "SIP/2.0 407") {
			t.Errorf("inside: %s", p.payload)
		}
	}
}

// TestTrunkPasswords: a wrong password is sent once; a challenge in the name of somebody else gets none at all. The PBX is told 503,
// and the administrator why.
func TestTrunkPasswords(t *testing.T) {
	for _, c := range []struct {
		name, realm, password string
		signed                int
		why                   string
	}{
		{"wrong", "sip.example.net", "guess", 1, "refuses user name or password"},
		{"of somebody else", "other.example.org", "s3cret", 0, `realm "other.example.org"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			g, office, _ := w.asks(t, c.realm, c.password, "-A", "ALWAYS")
			all := g.observe(t, 1, nil, func() {
				call := office.dial(office.number, "sip:"+foreign+"@"+gateInside+":5080")
				call.wait(t, "refused", call.over)
				if call.final != 503 {
					t.Errorf("the PBX is told %d", call.final)
				}
			})
			if signed, _ := with(all, "INVITE"); signed != c.signed {
				t.Errorf("%d INVITEs with credentials, want %d", signed, c.signed)
			}
			if c.signed == 0 {
				for _, p := range choose(all, packet.sip, on(nsOutside), to(provider)) {
					if p.header("Proxy-Authorization")+p.header("Authorization") != "" {
						t.Errorf("credentials for somebody else: %s", p.payload)
					}
				}
			}
			unseen(t, all)
			if out, _ := g.verb("why", provider); !strings.Contains(out, c.why) {
				t.Errorf("sbc why %s does not say %q:\n%s", provider, c.why, out)
			}
			g.stop(t)
		})
	}
}
