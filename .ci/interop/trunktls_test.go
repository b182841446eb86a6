//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/nat/natlab/authority"
)

// secured is a gate that registers by TLS, and shows its provider a certificate for it alone.
const secured = `outside:
  address: 203.0.113.10
  phones: {}
  trunks: { tls: 5081 }
  tls: { certificate: %[1]s/tls.crt, key: %[1]s/tls.key }
inside: { address: 10.0.0.2, phones: {}, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
trunks:
  - name: itsp
    mode: register
    registration:
      { registrar: sip.example.net, proxy: "203.0.113.20:5061", transport: tls, username: "4930555", auth_username: login, password: s3cret }
    tls: { certificate: %[1]s/customer.crt, key: %[1]s/customer.key, ca: %[1]s/provider-ca.crt, names: [ sip.example.net ] }
    keepalive: { method: options, interval: 1s, failures: 2, successes: 1 }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: debug }
admin: { socket: %[1]s/sbc.sock }
`

// bySafeWay starts a provider whose customers come by TLS. Its certificate is the one of a name in the world's folder.
func (w *world) bySafeWay(t *testing.T, certificate string, options ...string) *carrier {
	t.Helper()
	define := func(name, file string) string { return fmt.Sprintf("%s=%q", name, filepath.Join(w.dir, file)) }
	return w.carrier(t, provider, slices.Concat([]string{"-l", "tls:" + provider + ":5061", "-A", define("CERT", certificate+".crt"),
		"-A", define("KEY", certificate+".key"), "-A", define("AUTHORITY", "customers-ca.crt")}, options, carrierDefaults)...)
}

// connections are those of TLS that the gate has with the provider, by whomever they were made.
func (w *world) connections(t *testing.T) []string {
	t.Helper()
	return strings.FieldsFunc(w.in(t, nsGate, "ss", "-Htn", "state", "established", "dst", provider), func(r rune) bool { return r == '\n' })
}

// TestTrunkByTLS: a provider, Kamailio, at which the gate registers over TLS. Both show certificates of different authorities; nothing
// of the gate is open to connections, so that calls of both directions go by the one that it has made. The provider has somebody else's
// certificate first, then its own; it is killed, and comes back.
func TestTrunkByTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.certificates(t)
	ca, customers := authority.New("provider's CA"), authority.New("CA of its customers")
	for name, a := range map[string]*authority.Authority{"provider-ca": ca, "customers-ca": customers} {
		authority.Write(t, w.dir, name, a.Certificate)
	}
	authority.Write(t, w.dir, "provider", ca.Issue("sip.example.net"))
	authority.Write(t, w.dir, "other", ca.Issue("other.example.org"))
	authority.Write(t, w.dir, "customer", customers.Issue("customer.example.net"))
	w.in(t, nsGate, "nft", "add table ip door; add chain ip door in { type filter hook input priority 0; }; add rule ip door in iifname outside tcp dport 5081 ct state new drop")

	k := w.bySafeWay(t, "other")
	office, away := w.ends(t, provider)
	g := w.run(t, fmt.Sprintf(secured, w.dir), gateInside+":5080")
	const contact = "sip:4930555@" + gateOutside + ":5081;transport=tls"
	registered := func(t *testing.T, what string) {
		t.Helper()
		k.only(t, what, 20*time.Second, func(c string) bool { return c == contact })
	}
	both := func(t *testing.T) {
		t.Helper()
		before := w.connections(t)
		g.observe(t, 2, nil, func() { inOut(t, office, away) })
		if after := w.connections(t); len(before) != 1 || len(after) != 1 || before[0] != after[0] {
			t.Errorf("connections %q, and after the calls %q; want one, the same", before, after)
		}
	}
	t.Run("somebody else's certificate", func(t *testing.T) {
		const complaint = "the certificate is for other.example.org, and not for sip.example.net"
		until(t, "the log says whose certificate it is", 10*time.Second, func() bool {
			text, err := os.ReadFile(g.log)
			return err == nil && strings.Contains(string(text), "registration failed: unreachable: "+complaint)
		})
		call := office.dial(office.number, "sip:"+foreign+"@"+gateInside+":5080")
		call.wait(t, "refused", call.over)
		if call.final != 503 {
			t.Errorf("the PBX is told %d", call.final)
		}
		if out, _ := g.verb("trunks"); !strings.Contains(out, complaint) {
			t.Errorf("sbc trunks does not say so:\n%s", out)
		}
		if text, err := os.ReadFile(k.log); err != nil || strings.Contains(string(text), "asked by TLS") {
			t.Errorf("it was sent something (%v):\n%s", err, text)
		}
	})
	t.Run("its own", func(t *testing.T) {
		k.dies()
		k = w.bySafeWay(t, "provider")
		registered(t, "the gate registers by TLS")
		if text, err := os.ReadFile(k.log); err != nil || !strings.Contains(string(text), "asked by TLS: REGISTER sip:sip.example.net contact <"+contact+">") {
			t.Errorf("the provider has not noted the REGISTER (%v):\n%s", err, text)
		}
		both(t)
	})
	t.Run("the connection is cut", func(t *testing.T) {
		k.dies()
		k = w.bySafeWay(t, "provider")
		registered(t, "the gate registers anew")
		both(t)
	})
	g.stop(t)
	if left := k.bindings(); left == nil || len(left) > 0 {
		t.Errorf("the provider still has %q", left)
	}
}

// besides is another trunk that leads to the same address. It does not register.
const besides = `  - name: second
    peers: [ { address: "203.0.113.20:5061", transport: tls } ]
    outbound: { match: [ '\+4989.*' ] }
    credentials: { username: login, password: s3cret, realm: sip.example.net }
    tls: { certificate: %[1]s/customer2.crt, key: %[1]s/customer2.key, ca: %[1]s/second-ca.crt, names: [ second.example.net ] }
    keepalive: { method: options, interval: 1s, failures: 2, successes: 1 }
cdr:`

// twoHouses starts a provider that has two names, each with a certificate and customers of its own. The second one's is that of a name in
// the world's folder.
func (w *world) twoHouses(t *testing.T, second string) *carrier {
	t.Helper()
	section := func(head, certificate, customers string) string {
		at := func(file string) string { return filepath.Join(w.dir, file) }
		return head + "method = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\ncertificate = " + at(certificate+".crt") +
			"\nprivate_key = " + at(certificate+".key") + "\nca_list = " + at(customers+".crt") + "\n\n"
	}
	domains := filepath.Join(w.dir, "domains.cfg")
	text := section("[server:default]\n", "provider", "customers-ca") + section("[server:any]\nserver_name = second.example.net\n", second, "customers2-ca") +
		"[client:default]\nverify_certificate = no\nrequire_certificate = no\n"
	if err := os.WriteFile(domains, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return w.bySafeWay(t, "provider", "-A", fmt.Sprintf("DOMAINS=%q", domains))
}

// TestTwoTrunksByTLS: two trunks at one address of Kamailio's. Each has a connection of its own, is verified by its own name and shown its own
// certificate; one whose certificate is somebody else's leaves the other one working.
func TestTwoTrunksByTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.certificates(t)
	for _, n := range []struct{ authority, name, file string }{
		{"provider", "sip.example.net", "provider"}, {"customers", "customer.example.net", "customer"},
		{"second", "second.example.net", "second"}, {"customers2", "customer2.example.net", "customer2"},
	} {
		ca := authority.New("CA of " + n.authority)
		authority.Write(t, w.dir, n.authority+"-ca", ca.Certificate)
		authority.Write(t, w.dir, n.file, ca.Issue(n.name))
		if n.file == "second" {
			authority.Write(t, w.dir, "other", ca.Issue("other.example.org"))
		}
	}
	k := w.twoHouses(t, "second")
	office, away := w.ends(t, provider)
	g := w.run(t, strings.NewReplacer("cdr:", fmt.Sprintf(besides, w.dir), "mode: register", "mode: register\n    outbound: { match: [ '\\+4940.*' ] }").
		Replace(fmt.Sprintf(secured, w.dir)), gateInside+":5080")
	registered := func(what string) {
		t.Helper()
		k.only(t, what, 20*time.Second, func(c string) bool { return strings.HasSuffix(c, ";transport=tls") })
	}
	asked := func(who, whom, method string) bool {
		text, err := os.ReadFile(k.log)
		return err == nil && strings.Contains(string(text), who+" asks "+whom+": "+method)
	}
	calls := func(t *testing.T, number, trunk string) {
		t.Helper()
		to := away
		to.number = number
		g.observe(t, 1, nil, func() { office.reaches(t, to, "sip:"+number+"@"+gateInside+":5080") })
		if list := g.records(t); list[len(list)-1]["trunk"] != trunk {
			t.Errorf("the call went by trunk %v", list[len(list)-1]["trunk"])
		}
	}
	registered("the gate registers")
	t.Run("both", func(t *testing.T) {
		calls(t, foreign, "itsp")
		calls(t, "+4989123", "second")
		g.observe(t, 1, nil, func() { away.reaches(t, office, "sip:"+ours+"@sip.example.net") })
		if list := w.connections(t); len(list) != 2 {
			t.Errorf("connections %q, want two", list)
		}
		if !asked("customer.example.net", "sip.example.net", "INVITE") || !asked("customer2.example.net", "second.example.net", "INVITE") ||
			asked("customer.example.net", "second.example.net", "") || asked("customer2.example.net", "sip.example.net", "") {
			t.Errorf("the provider has noted\n%s", k.tail())
		}
	})
	t.Run("the second is somebody else", func(t *testing.T) {
		k.dies()
		k = w.twoHouses(t, "other")
		registered("the gate registers anew")
		until(t, "sbc trunks says whose certificate it is", 10*time.Second, func() bool {
			out, _ := g.verb("trunks")
			return strings.Contains(out, "the certificate is for other.example.org, and not for second.example.net")
		})
		calls(t, foreign, "itsp")
		call := office.dial(office.number, "sip:+4989123@"+gateInside+":5080")
		call.wait(t, "refused", call.over)
		if call.final != 503 {
			t.Errorf("the PBX is told %d", call.final)
		}
		if asked("customer2.example.net", "other.example.org", "") {
			t.Errorf("the impostor was sent something\n%s", k.tail())
		}
	})
	g.stop(t)
}
