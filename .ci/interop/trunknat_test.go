//go:build interop

package interop

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The gate behind a router of its own: the world sees gateOutside, which is the router's.
const (
	gateHidden = "192.168.1.2"
	hiddenWay  = "192.168.1.1"
	nsWall     = "wall"
)

// newWalled is a world whose gate stands behind a masquerading router that lets nothing in but answers. Its port for SIP is
// another one at each mapping; those of media stay what they are where they are free, as Linux has it.
func newWalled(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.in(t, nsGate, "ip", "link", "delete", nsOutside)
	w.namespace(t, nsWall)
	w.cable(t, nsOutside, nsWall, []string{provider, stranger}, gateOutside)
	w.ip(t, "link", "add", nsOutside, "netns", w.ns(nsGate), "type", "veth", "peer", "name", "lan", "netns", w.ns(nsWall))
	w.in(t, nsGate, "ip", "address", "add", gateHidden+"/24", "dev", nsOutside)
	w.in(t, nsGate, "ip", "link", "set", nsOutside, "up")
	w.in(t, nsGate, "ip", "route", "add", "default", "via", hiddenWay)
	w.in(t, nsWall, "ip", "address", "add", hiddenWay+"/24", "dev", "lan")
	w.in(t, nsWall, "ip", "link", "set", "lan", "up")
	w.in(t, nsWall, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	w.in(t, nsWall, "nft", "add table ip wall; add chain ip wall out { type nat hook postrouting priority 100; };"+
		"add rule ip wall out oifname outside udp sport 5080 masquerade to :40000-44999 random; add rule ip wall out oifname outside masquerade;"+
		"add chain ip wall in { type filter hook input priority 0; policy drop; }; add rule ip wall in ct state established accept;"+
		"add chain ip wall through { type filter hook forward priority 0; policy drop; }; add rule ip wall through iifname lan accept;"+
		"add rule ip wall through ct state established accept")
	return w
}

// rebinds has the router forget what it has mapped: what it maps anew has other ports.
func (w *world) rebinds(t *testing.T) {
	t.Helper()
	w.in(t, nsWall, "ip", "link", "set", nsOutside, "down") // the kernel forgets what a masquerading interface has mapped when that goes
	w.in(t, nsWall, "ip", "address", "flush", "dev", nsOutside)
	w.in(t, nsWall, "ip", "address", "add", gateOutside+"/24", "dev", nsOutside)
	w.in(t, nsWall, "ip", "link", "set", nsOutside, "up")
}

// registering is a gate that knows its provider by an account.
const registering = `outside: { address: %[2]s, phones: {}, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: {}, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
trunks:
  - name: itsp
    mode: register
    registration: { registrar: %[3]s, username: "4930555", auth_username: login, password: s3cret%[4]s }
    keepalive: { method: options, interval: %[5]s, failures: 2, successes: 1 }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: debug }
admin: { socket: %[1]s/sbc.sock }
`

// The two telephones of these cases: a number of the trunk's at the PBX, and somebody whom the provider serves.
const (
	ours    = "+4930555100"
	foreign = "+4940777"
)

// ends starts the PBX and the host that the provider serves.
func (w *world) ends(t *testing.T, by string) (office, away seat) {
	t.Helper()
	pbx := w.ownPBX(t)
	far := w.userAgent(t, nsOutside, stranger, by+":5060", "CallerProduct", nil)
	return seat{pbx, local, ours}, seat{far, trunk, foreign}
}

// inOut has both telephones call each other.
func inOut(t *testing.T, office, away seat) {
	t.Helper()
	away.reaches(t, office, "sip:"+ours+"@sip.example.net")
	office.reaches(t, away, "sip:"+foreign+"@"+gateInside+":5080")
}

// TestRegisteringTrunk: a provider that knows the gate by an account, and the gate behind a router in which nothing is open.
func TestRegisteringTrunk(t *testing.T) {
	t.Parallel()
	w := newWalled(t)
	k := w.carrier(t, provider)
	office, away := w.ends(t, provider)
	forgets, ping, silence := "4", "1s", 13*time.Second
	if *full {
		forgets, ping, silence = "30", "20s", 10*time.Minute
	}
	w.forgetful(t, nsWall, forgets)
	g := w.run(t, fmt.Sprintf(registering, w.dir, gateHidden, `"203.0.113.20:5060"`, "", ping), gateHidden+":5080", gateInside+":5080")
	seen := k.only(t, "the gate registers as the provider sees it", 15*time.Second, at(gateOutside))
	t.Run("calls", func(t *testing.T) {
		all := g.observe(t, 2, nil, func() { inOut(t, office, away) })
		hides(t, all)
		if n := starts(all, nsOutside, "SIP/2.0 407"); n != 1 {
			t.Errorf("%d challenges of INVITE, want 1", n)
		}
	})
	t.Run("still there after silence", func(t *testing.T) {
		all := g.observe(t, 2, nil, func() {
			time.Sleep(silence) // more than three times as long as the router remembers
			inOut(t, office, away)
		})
		if n := starts(all, nsOutside, "REGISTER"); n > 0 && !*full {
			t.Errorf("the gate has registered %d times: the test proves nothing", n)
		}
		if now := k.bindings(); len(now) != 1 || now[0] != seen {
			t.Errorf("the provider has %q now, and had %q", now, seen)
		}
	})
	t.Run("another port", func(t *testing.T) {
		w.rebinds(t)
		began := time.Now()
		moved := k.only(t, "the gate registers anew", time.Minute, func(c string) bool { return c != seen && at(gateOutside)(c) })
		t.Logf("%s is %s after %v", seen, moved, time.Since(began).Round(time.Millisecond))
		g.observe(t, 2, nil, func() { inOut(t, office, away) })
	})
	if out, code := g.verb("trunks"); code != 0 || !strings.Contains(out, "registered") || !strings.Contains(out, "seen as "+gateOutside) {
		t.Errorf("sbc trunks: exit code %d\n%s", code, out)
	}
	g.signal(syscall.SIGTERM)
	if code, err := g.wait(15 * time.Second); err != nil || code != 0 {
		t.Errorf("sbc run after SIGTERM: exit code %d, %v\n%s", code, err, g.tail())
	}
	if left := k.bindings(); left == nil || len(left) > 0 {
		t.Errorf("the provider still has %q", left)
	}
}

// starts counts the messages of a side that begin so, sent by whomever.
func starts(all []packet, side, start string) int {
	return len(choose(all, packet.sip, on(side), func(p packet) bool { return strings.HasPrefix(p.start(), start) }))
}

// hides fails the test where a message to the provider bears the gate's address behind its router.
func hides(t *testing.T, all []packet) {
	t.Helper()
	for _, p := range choose(all, packet.sip, on(nsOutside)) {
		if !p.own() && strings.Contains(string(p.payload), gateHidden) {
			t.Errorf("%s to %s bears %s:\n%s", p.start(), p.dst, gateHidden, p.payload)
		}
	}
}
