//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	provider2  = "203.0.113.21" // the provider's second machine
	nameServer = "203.0.113.53"
)

func init() {
	home[provider2] = nsOutside
}

// newNamed is a world in which sip.example.net is a name: NAPTR and SRV records lead to the provider's two machines, of which the
// first is to be asked first.
func newNamed(t *testing.T) *world {
	t.Helper()
	if missing := lacking([]string{"dnsmasq"}); missing != "" {
		t.Fatalf("%s is missing: make interop installs it", missing)
	}
	w := newWorld(t)
	for _, a := range []string{provider2, nameServer} {
		w.in(t, nsOutside, "ip", "address", "add", a+"/24", "dev", nsOutside)
	}
	files := filepath.Join("/etc/netns", w.ns(nsGate)) // what ip netns exec lays over /etc
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "resolv.conf"), []byte("nameserver "+nameServer+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := w.start(t, nsOutside, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv", "--no-hosts",
		"--bind-interfaces", "--listen-address="+nameServer, "--local=/example.net/", "--local-ttl=5",
		"--naptr-record=sip.example.net,10,10,s,SIP+D2U,,_sip._udp.sip.example.net",
		"--srv-host=_sip._udp.sip.example.net,one.example.net,5060,10,0", "--srv-host=_sip._udp.sip.example.net,two.example.net,5060,20,0",
		"--host-record=one.example.net,"+provider, "--host-record=two.example.net,"+provider2)
	until(t, "the name server listens", 10*time.Second, func() bool { return p.ended() || bound(p.pid(), nameServer+":53") })
	if p.ended() {
		t.Fatalf("the name server does not start\n%s", p.tail())
	}
	return w
}

// brief is a provider that registers for ten seconds at a time, so that failures show soon.
var brief = []string{"-A", `REALM="sip.example.net"`, "-A", "GRANTS=10"}

// registersByName starts the gate of these cases.
func (w *world) registersByName(t *testing.T) *gate {
	t.Helper()
	return w.run(t, fmt.Sprintf(registering, w.dir, gateOutside, "sip.example.net", ", expires: 30s", "2s"), gateOutside+":5080", gateInside+":5080")
}

// through has both telephones call each other by one of the provider's machines.
func (g *gate) through(t *testing.T, machine string, office, away seat) {
	t.Helper()
	away.next = addrPort(machine + ":5060")
	all := g.observe(t, 2, nil, func() { inOut(t, office, away) })
	if t.Failed() {
		return
	}
	if n := len(choose(all, packet.sip, on(nsOutside), from(machine), func(p packet) bool { return strings.HasPrefix(p.start(), "SIP/2.0 200") })); n < 2 {
		t.Errorf("only %d requests have been answered by %s", n, machine)
	}
}

// TestTrunkSRVFailover: of two machines that a name leads to the first one dies before, during and after the registration. Calls go
// on by the second one, and by the first when it is the second that has died.
func TestTrunkSRVFailover(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]func(*testing.T){"after": diesAfter, "before": diesBefore, "during": diesDuring, "silence": fallsSilent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dies(t)
		})
	}
}

// diesAfter: the first machine dies while we are registered there, and comes back as the second one dies.
func diesAfter(t *testing.T) {
	w := newNamed(t)
	one, two := w.carrier(t, provider, brief...), w.carrier(t, provider2, brief...)
	office, away := w.ends(t, provider)
	g := w.registersByName(t)
	one.only(t, "the gate registers at the first machine", 15*time.Second, at(gateOutside))
	g.through(t, provider, office, away)
	one.dies()
	t.Run("a call goes out at once", func(t *testing.T) {
		away.next = addrPort(provider2 + ":5060")
		g.observe(t, 1, nil, func() { office.reaches(t, away, "sip:"+foreign+"@"+gateInside+":5080") })
	})
	two.only(t, "the gate registers at the second machine", 30*time.Second, at(gateOutside))
	g.through(t, provider2, office, away)
	one = w.carrier(t, provider, brief...)
	two.dies()
	one.only(t, "the gate registers at the first machine again", 30*time.Second, at(gateOutside))
	g.through(t, provider, office, away)
	g.stop(t)
}

// diesBefore: only the second machine is there; with -full the first one comes, and within some ten minutes we are back.
func diesBefore(t *testing.T) {
	w := newNamed(t)
	two := w.carrier(t, provider2, brief...)
	office, away := w.ends(t, provider2)
	g := w.registersByName(t)
	two.only(t, "the gate registers at the second machine", 15*time.Second, at(gateOutside))
	g.through(t, provider2, office, away)
	if !*full {
		g.stop(t)
		return
	}
	one := w.carrier(t, provider, brief...)
	one.only(t, "the gate is at the first machine again, within some ten minutes", 12*time.Minute, at(gateOutside))
	g.through(t, provider, office, away)
	g.stop(t)
}

// diesDuring: the first machine challenges our REGISTER, and is gone when the answer comes.
func diesDuring(t *testing.T) {
	w := newNamed(t)
	var one *party
	one = w.party(t, nsOutside, provider+":5060", gateOutside+":5080", func(m message) []string {
		if m.method() != "REGISTER" {
			return []string{m.reply("200 OK", provider+":5060", "")}
		}
		one.send(insert(m.reply("401 Unauthorized", provider+":5060", ""), `WWW-Authenticate: Digest realm="sip.example.net", nonce="last words", qop="auth"`))
		one.conn.Close()
		return nil
	})
	two := w.carrier(t, provider2, brief...)
	office, away := w.ends(t, provider2)
	g := w.registersByName(t)
	two.only(t, "the gate registers at the second machine", 15*time.Second, at(gateOutside))
	g.through(t, provider2, office, away)
	g.signal(syscall.SIGTERM)
	if code, err := g.wait(15 * time.Second); err != nil || code != 0 {
		t.Errorf("sbc run after SIGTERM: exit code %d, %v\n%s", code, err, g.tail())
	}
	if left := two.bindings(); left == nil || len(left) > 0 {
		t.Errorf("the provider still has %q", left)
	}
}

// fallsSilent: the first machine is there, and says nothing: the REGISTER fails after 32 s (Timer F), calls after attempt_timeout.
func fallsSilent(t *testing.T) {
	long(t)
	w := newNamed(t)
	one, two := w.carrier(t, provider, brief...), w.carrier(t, provider2, brief...)
	office, away := w.ends(t, provider2)
	g := w.registersByName(t)
	one.only(t, "the gate registers at the first machine", 15*time.Second, at(gateOutside))
	w.in(t, nsOutside, "nft", "add table ip mute; add chain ip mute in { type filter hook input priority 0; };"+
		"add rule ip mute in iifname outside ip daddr "+provider+" drop")
	g.observe(t, 1, nil, func() { office.reaches(t, away, "sip:"+foreign+"@"+gateInside+":5080") })
	two.only(t, "the gate registers at the second machine", time.Minute, at(gateOutside))
	g.through(t, provider2, office, away)
	g.stop(t)
}
