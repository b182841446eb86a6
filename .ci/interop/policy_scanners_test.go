//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sipvicious is where Debian keeps it.
const sipvicious = "/usr/share/sipvicious/sipvicious"

// phoneAgent is what a scanner calls itself that wants to pass for a phone.
const phoneAgent = "Yealink SIP-T46U 108.86.0.20"

// shipped is a gate with roaming phones and no word about policy: what an administrator has who wrote nothing.
const shipped = `outside:
  address: 203.0.113.10
  phones: { udp: 5060, tcp: 5060, tls: 5061 }
  trunks: { udp: 5080 }
  tls: { certificate: %[1]s/tls.crt, key: %[1]s/tls.key }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 2s, failures: 2, successes: 1 }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{4,15}$"] }
    keepalive: { method: none }
%[2]scdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: info, security_file: %[1]s/security.log }
admin: { socket: %[1]s/sbc.sock }
`

func (w *world) shipped(t *testing.T, more string) *gate {
	t.Helper()
	return w.run(t, fmt.Sprintf(shipped, w.dir, more), gateOutside+":5060", gateInside+":5060", gateOutside+":5080", gateInside+":5080")
}

// scanner runs a tool of sipvicious from an address, under its own name or, with an agent, another, and returns what it says.
func (w *world) scanner(t *testing.T, address, agent, tool string, args ...string) string {
	t.Helper()
	library := filepath.Dir(sipvicious)
	if agent != "" {
		library = w.disguised(t, agent)
	}
	name := fmt.Sprintf("%s-%s-%d", tool, address, time.Now().UnixNano()%1e6)
	args = append([]string{"env", "PYTHONPATH=" + library, "PYTHONDONTWRITEBYTECODE=1", "HOME=" + w.dir, "timeout", "40", "python3", "-c",
		"import sys; sys.argv[0] = '" + tool + "'; from sipvicious." + tool + " import main; main()", "-x", address, "-P", "5060"}, args...)
	// svcrack binds to no address, whatever it is told.
	w.in(t, nsOutside, "ip", "route", "replace", gateOutside, "dev", nsOutside, "src", address)
	p := w.start(t, nsOutside, name, args...)
	if _, err := p.wait(45 * time.Second); err != nil {
		t.Error(err)
		p.kill()
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "Traceback") || len(text) == 0 {
		t.Errorf("%s: the instrument is broken: %s", tool, text)
	}
	return string(text)
}

// disguised is a copy of the tools that calls itself otherwise.
func (w *world) disguised(t *testing.T, agent string) string {
	t.Helper()
	library := filepath.Join(w.dir, "disguised")
	if _, err := os.Stat(library); err == nil {
		return library
	}
	if err := os.CopyFS(filepath.Join(library, "sipvicious"), os.DirFS(sipvicious)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(library, "sipvicious", "libs", "svhelper.py")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.ReplaceAll(string(text), "friendly-scanner", agent)
	if other == string(text) {
		t.Fatal("svhelper.py does not say friendly-scanner: it cannot be disguised")
	}
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	return library
}

// dictionary writes guesses at a password with the right one among them.
func (w *world) dictionary(t *testing.T, right string, at, n int) string {
	t.Helper()
	var list strings.Builder
	for i := range n {
		word := "guess" + strconv.Itoa(i)
		if i == at {
			word = right
		}
		list.WriteString(word + "\n")
	}
	path := filepath.Join(w.dir, fmt.Sprintf("dictionary-%d", at))
	if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// disguises are the names the tools are run under, each from an address of its own.
var disguises = []struct{ name, agent string }{{"own name", ""}, {"name of a phone", phoneAgent}}

// TestSipvicious: its tools find nothing and crack nothing, under whatever name, with the rules that are shipped. Whoever
// guesses at a password is banned by his own answers, and told why.
func TestSipvicious(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(sipvicious); err != nil {
		t.Fatal("sipvicious is missing: make interop installs it")
	}
	w := newHomes(t)
	w.pbx(t, node1)
	var addresses []string
	for i := range 20 {
		addresses = append(addresses, source(i))
	}
	w.addresses(t, addresses...)
	g := w.shipped(t, "")
	next := 0
	from := func() string { next++; return addresses[next-1] }
	for _, d := range disguises {
		t.Run("svmap/"+d.name, func(t *testing.T) {
			for n, method := range []string{"OPTIONS", "REGISTER", "INVITE"} {
				if n > 0 && !*full {
					break // one of each, for every day
				}
				out := w.scanner(t, from(), d.agent, "svmap", "-p5060-5061,5080", "-m", method, gateOutside)
				if strings.Contains(out, gateOutside) {
					t.Errorf("svmap -m %s finds\n%s", method, out)
				}
			}
		})
		t.Run("svwar/"+d.name, func(t *testing.T) {
			for n, method := range []string{"REGISTER", "INVITE", "OPTIONS"} {
				if n > 0 && !*full {
					break // one of each, for every day
				}
				out := w.scanner(t, from(), d.agent, "svwar", "-e", "190-220", "-m", method, "--maximumtime", "4", gateOutside)
				if strings.Contains(out, "| Extension") {
					t.Errorf("svwar -m %s finds\n%s", method, out)
				}
			}
		})
		t.Run("svcrack/"+d.name, func(t *testing.T) {
			a := from()
			out := w.scanner(t, a, d.agent, "svcrack", "-u", anna.user, "-d", w.dictionary(t, anna.password(), 12, 400), "--maximumtime", "5", gateOutside)
			if strings.Contains(out, anna.password()) {
				t.Errorf("svcrack cracks the password at place 12\n%s", out)
			}
			g.stopped(t, w, a, d.agent != "")
		})
	}
	g.binds(t, 0)
	if t.Failed() {
		t.Log(g.tail(), tail(filepath.Join(w.dir, "security.log")))
	}
	g.stop(t)
}

// stopped checks what the gate says of an address from which a password was guessed at; whoever answered challenges has
// proven the address.
func (g *gate) stopped(t *testing.T, w *world, address string, proven bool) {
	t.Helper()
	why, code := g.verb("why", address)
	if code != 3 {
		t.Errorf("sbc why %s: exit code %d, want 3 (refused)\n%s", address, code, why)
	}
	found := false
	for _, b := range g.bans(t) {
		if strings.HasPrefix(b.Address, address) {
			found = true
			t.Logf("ban: %+v", b)
			if len(b.Evidence) == 0 || b.Port != 0 && proven {
				t.Errorf("the ban is of a port, or tells no evidence: %+v", b)
			}
		}
	}
	if found != proven {
		t.Errorf("banned: %v, want %v", found, proven)
	}
	if proven && !strings.Contains(why, "wrong digest") {
		t.Errorf("sbc why %s does not tell of wrong passwords", address)
	}
	t.Logf("sbc why %s:\n%s", address, why)
}

// TestGuessesAreFew: how many guesses a source has, over UDP and over TCP, before it is banned; a banned connection is closed.
func TestGuessesAreFew(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	w.addresses(t, source(0), source(1), source(2))
	g := w.shipped(t, "")
	for i, transport := range transports {
		x := []extension{anna, bert, cora}[i] // another each: who is attacked from many addresses is shielded at once
		t.Run(transport, func(t *testing.T) {
			c, err := w.connect(t, transport, source(i))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			guesses := guess(t, c, x, transport, 40)
			t.Logf("%d wrong passwords were looked at", guesses)
			if guesses == 0 || guesses > 8 {
				t.Errorf("%d wrong passwords were looked at, want 1 to 8", guesses)
			}
			if transport != "udp" {
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				var one [1]byte
				if _, err := c.Read(one[:]); err == nil || os.IsTimeout(err) {
					t.Errorf("the connection of a banned source stays open: %v", err)
				}
				if again, err := w.connect(t, transport, source(i)); err == nil {
					if n := guess(t, again, x, transport, 1); n > 0 {
						t.Error("a banned source is answered over a new connection")
					}
					again.Close()
				}
			}
			g.stopped(t, w, source(i), true)
		})
	}
	if t.Failed() {
		t.Log(g.tail(), tail(filepath.Join(w.dir, "security.log")))
	}
	g.stop(t)
}

// TestOfficeComesBack: fifty phones behind one router register at once, and once more at once after an outage of theirs, and
// a third time after one of the gate. All are through within a minute, and nobody is banned.
func TestOfficeComesBack(t *testing.T) {
	t.Parallel()
	const office = 50
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.shipped(t, "")
	list := "SEQUENTIAL\n"
	for i := range office {
		list += fmt.Sprintf("%[1]d;[authentication username=%[1]d password=secret%[1]d]\n", 2000+i)
	}
	users := filepath.Join(w.dir, "office.csv")
	if err := os.WriteFile(users, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	for round, what := range []string{"the first time", "after an outage of the office", "after an outage of the gate"} {
		if round == 2 {
			g.stop(t)
			g = w.shipped(t, "")
		}
		begun := time.Now()
		p := w.start(t, anna.ns, fmt.Sprint("office-", round), "sipp", "-sf", w.scenario(t, "office-phone"), "-i", anna.address, "-p", "5060", "-t", "un", "-max_socket", "100",
			"-inf", users, "-auth_uri", domain, "-key", "tp", "UDP", "-m", fmt.Sprint(office), "-r", fmt.Sprint(office), "-l", fmt.Sprint(office), "-nostdin", "-timeout", "60s", "-timeout_error",
			"-trace_err", "-error_file", filepath.Join(w.dir, fmt.Sprint("office-", round, ".errors")), doors["udp"])
		if code, err := p.wait(65 * time.Second); err != nil || code != 0 {
			t.Errorf("%s: sipp exits %d, %v\n%s", what, code, err, tail(filepath.Join(w.dir, p.name+".errors")))
		}
		t.Logf("%s: %d of %d phones are registered after %v", what, successful(p), office, time.Since(begun).Round(100*time.Millisecond))
		g.binds(t, office)
		if list := g.bans(t); len(list) > 0 {
			t.Errorf("%s: bans %+v", what, list)
		}
		why, code := g.verb("why", public1)
		if code != 0 && round < 2 || !strings.Contains(why, "50 phones registered") {
			t.Errorf("%s: exit code %d\n%s", what, code, why)
		}
	}
	if t.Failed() {
		t.Log(g.tail(), tail(filepath.Join(w.dir, "security.log")))
	}
	g.stop(t)
}
