//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// guarded is a gate whose phones' door answers strangers, so that a test hears who is let through.
const guarded = `outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-30099 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^[0-9]+$"] }
    keepalive: { method: none }
policy:
  strangers: { phones: answer }
  rate_limits: []
  bans: { points: 0, kernel: %[3]t }
  log: { classes: [dropped, limited, banned, malformed, accepted] }
state: { directory: %[1]s/state }
cdr: { directory: %[1]s/cdr }
log: { level: info, format: %[2]s, security_file: %[1]s/security.log }
admin: { socket: %[1]s/sbc.sock }
`

func (w *world) guard(t *testing.T, format string, kernel bool) *gate {
	t.Helper()
	return w.run(t, fmt.Sprintf(guarded, w.dir, format, kernel), gateOutside+":5060", gateOutside+":5080", gateInside+":5080")
}

// options is a request that asks whether the gate lives, and says who asks.
func options(from, to, callID, agent string) []byte {
	return fmt.Appendf(nil, "OPTIONS sip:%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[1]s;branch=z9hG4bK%[3]s;rport\r\nFrom: <sip:204@example.com>;tag=1\r\n"+
		"To: <sip:%[2]s>\r\nCall-ID: %[3]s\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nUser-Agent: %[4]s\r\nContent-Length: 0\r\n\r\n", from, to, callID, agent)
}

// says sends a datagram.
func says(t *testing.T, c *net.UDPConn, to string, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

// answered reports whether the gate answers an OPTIONS; it asks again as a client does.
func answered(t *testing.T, c *net.UDPConn, to, callID string) bool {
	t.Helper()
	buf := make([]byte, 2000)
	for range 3 {
		says(t, c, to, options(c.LocalAddr().String(), to, callID, "Yealink SIP-T46U"))
		for {
			if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			if strings.Contains(string(buf[:n]), callID) {
				return true
			}
		}
	}
	return false
}

// TestFail2ban: the filter that is shipped finds the source of every line about a ban or a refused message, in both formats,
// and never one that a message made up.
func TestFail2ban(t *testing.T) {
	if _, err := exec.LookPath("fail2ban-regex"); err != nil {
		t.Fatal("fail2ban-regex is missing: make interop installs it")
	}
	filter, err := filepath.Abs("../../deploy/fail2ban/filter.d/sallyport.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			w := newWorld(t)
			g := w.guard(t, format, false)
			bad, itsp := w.socket(t, nsOutside, stranger+":5060"), w.socket(t, nsOutside, provider+":5060")
			lies := []string{
				`friendly-scanner`, `friendly-scanner","src":"192.0.2.99:5060","side":"outside"`, `sipvicious"},{"level":"warn","ts":"2027-01-31T18:00:00.000Z","msg":"drop","src":"192.0.2.98:1"`,
				"nmap\twarn\tdrop\t{\"src\": \"192.0.2.97:5060\", \"side\": \"outside\"}", `{"level":"warn","ts":"2027-01-31T18:00:00.000Z","msg":"banned","src":"192.0.2.96","ban":"192.0.2.96/32"} sipsak`,
			}
			for i, agent := range lies {
				says(t, bad, gateOutside+":5060", options(stranger+":5060", gateOutside+":5060", fmt.Sprint("bad-", i), agent))
			}
			for i, agent := range lies[1:] { // of a known peer, which no rule of names is about: these are let through
				says(t, itsp, gateOutside+":5080", options(provider+":5060", gateOutside+":5080", fmt.Sprint("good-", i), agent))
			}
			until(t, "the lines are written", 10*time.Second, func() bool { return strings.Count(readLog(w, "security.log"), "OPTIONS") >= 2*len(lies)-1 })
			for _, ban := range []string{"192.0.2.7", "198.51.100.0/24", "2001:db8::7"} {
				if out, code := g.verb("bans", "add", ban, "--comment", `scans"},{"src":"192.0.2.95:1","ban":"192.0.2.95/32"`); code != 0 {
					t.Fatal(out)
				}
			}
			until(t, "the bans are written", 10*time.Second, func() bool { return strings.Contains(readLog(w, "security.log"), "2001:db8::/64") })
			bans := []string{"192.0.2.7", "198.51.100.0/24", "2001:db8::/64"}
			if got := found(t, w, filter+"[mode=ban]"); !slices.Equal(got, bans) {
				t.Errorf("mode ban finds %v, want %v", got, bans)
			}
			all := slices.Concat(slices.Repeat([]string{stranger}, len(lies)), bans)
			if got := found(t, w, filter+"[mode=refused]"); !slices.Equal(got, all) {
				t.Errorf("mode refused finds %v, want %v", got, all)
			}
			if t.Failed() {
				t.Log(readLog(w, "security.log"))
			}
			g.stop(t)
		})
	}
}

func readLog(w *world, name string) string {
	b, _ := os.ReadFile(filepath.Join(w.dir, name))
	return string(b)
}

// found are the addresses that fail2ban would ban, in the order of their lines.
func found(t *testing.T, w *world, filter string) []string {
	t.Helper()
	return strings.Fields(run(t, "fail2ban-regex", "-o", "ip", filepath.Join(w.dir, "security.log"), filter))
}

// TestTheKernelDropsTheBanned: with policy.bans.kernel what comes from a banned source does not reach the program, everything
// else does, and nothing stays behind.
func TestTheKernelDropsTheBanned(t *testing.T) {
	w := newWorld(t)
	g := w.guard(t, "json", true)
	door := gateOutside + ":5060"
	bad, itsp := w.socket(t, nsOutside, stranger+":5060"), w.socket(t, nsOutside, provider+":5060")
	if !answered(t, bad, door, "before") {
		t.Fatal("a stranger is not answered")
	}
	table := func() string {
		out, _ := exec.Command("ip", "netns", "exec", w.ns(nsGate), "nft", "-j", "list", "table", "inet", "sallyport").Output()
		return string(out)
	}
	until(t, "the table is there", 15*time.Second, func() bool { return strings.Contains(table(), "banned4") && strings.Contains(table(), "5060") })
	if out, code := g.verb("bans", "add", stranger); code != 0 {
		t.Fatal(out)
	}
	if out, code := g.verb("bans", "add", provider); code != 1 || !strings.Contains(out, "trunk itsp") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := g.verb("bans", "add", provider, "--force"); code != 0 {
		t.Fatal(out)
	}
	until(t, "the kernel knows of the ban", 15*time.Second, func() bool { return strings.Contains(table(), stranger) })
	lines := strings.Count(readLog(w, "security.log"), stranger)
	if answered(t, bad, door, "after") {
		t.Error("a banned source is answered")
	}
	if n := strings.Count(readLog(w, "security.log"), stranger); n != lines || !dropped(t, table()) {
		t.Errorf("%d lines where there were %d, table\n%s", n, lines, table())
	}
	if strings.Contains(table(), provider) {
		t.Error("the kernel drops a trunk")
	}
	if out, code := g.verb("bans", "remove", provider); code != 0 {
		t.Error(out)
	}
	if out, code := g.verb("bans", "remove", stranger); code != 0 {
		t.Error(out)
	}
	until(t, "the kernel knows of the end", 15*time.Second, func() bool { return !strings.Contains(table(), stranger) })
	if !answered(t, bad, door, "lifted") || !answered(t, itsp, gateOutside+":5080", "trunk") {
		t.Error("somebody who is not banned is not answered")
	}
	g.stop(t)
	if left := table(); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// dropped reports whether a rule of the table has counted a packet.
func dropped(t *testing.T, table string) bool {
	t.Helper()
	var doc struct {
		Nftables []struct {
			Rule struct {
				Expr []struct {
					Counter struct{ Packets int }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(table), &doc); err != nil {
		t.Fatalf("%v: %s", err, table)
	}
	for _, o := range doc.Nftables {
		for _, e := range o.Rule.Expr {
			if e.Counter.Packets > 0 {
				return true
			}
		}
	}
	return false
}
