//go:build interop

package interop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

var (
	binary  = flag.String("sbc", "../../bin/sbc", "the program under test")
	ladders = flag.Bool("ladders", false, "draw the ladder of every call, not only of those that fail")
)

// document is the configuration of the gate; what varies is health and keepalive, and the attempt timeout.
const document = `outside: { address: 203.0.113.10, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, trunks: { udp: 5080 } }
media: { ports: %[5]s }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" }, { address: "10.0.0.11:5060", priority: 2 } ]
  health: { interval: %[1]s, failures: 2, successes: 1 }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: %[2]s, interval: %[1]s }
cdr: { directory: %[3]s/cdr }
state: { directory: %[3]s/state }
log: { level: %[4]s }
admin: { socket: %[3]s/sbc.sock }
`

// gate is the running program.
type gate struct {
	*process
	w *world
}

// settings vary the configuration.
type settings struct {
	probes bool   // the gate asks its peers for their health; where sipp plays a peer it does not, no scenario expects OPTIONS
	log    string // log level; empty: debug
	ports  string // media ports; empty: the default range
}

// gate starts the program and waits until it listens. When the test ends it has to leave with exit code 0.
func (w *world) gate(t *testing.T, s settings) *gate {
	t.Helper()
	interval, method := "0s", "none"
	if s.probes {
		interval, method = "2s", "options"
	}
	return w.run(t, fmt.Sprintf(document, interval, method, w.dir, cmp.Or(s.log, "debug"), cmp.Or(s.ports, "30000-31000")),
		gateOutside+":5080", gateInside+":5080")
}

// run starts the program with a configuration and waits until it listens at the addresses, by UDP.
func (w *world) run(t *testing.T, configuration string, listeners ...string) *gate {
	t.Helper()
	path, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make build makes it", err)
	}
	config := filepath.Join(w.dir, "sbc.yaml")
	if err := os.WriteFile(config, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"cdr", "state"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g := &gate{w.start(t, nsGate, "sbc", path, "run", "--config", config), w}
	until(t, "sbc run listens", 15*time.Second, func() bool {
		return g.ended() || !slices.ContainsFunc(listeners, func(a string) bool { return !bound(g.pid(), a) })
	})
	if g.ended() {
		t.Fatalf("sbc run exits %d\n%s", g.code, g.tail())
	}
	return g
}

// stop ends the program as an administrator in a hurry would. After any test it leaves cleanly.
func (g *gate) stop(t *testing.T) {
	t.Helper()
	if g.ended() {
		t.Errorf("sbc run ended by itself with exit code %d\n%s", g.code, g.tail())
		return
	}
	g.signal(syscall.SIGINT)
	if code, err := g.wait(15 * time.Second); err != nil || code != 0 {
		t.Errorf("sbc run after SIGINT: exit code %d, %v; want 0\n%s", code, err, g.tail())
	}
}

// verb runs a verb against the running program.
func (g *gate) verb(args ...string) (out string, code int) {
	path, _ := filepath.Abs(*binary)
	cmd := exec.Command(path, append(args, "--socket", filepath.Join(g.w.dir, "sbc.sock"))...)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

// records are the call records written so far, one JSON object each.
func (g *gate) records(t *testing.T) (list []map[string]any) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(g.w.dir, "cdr", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var record map[string]any
			if err := json.Unmarshal(line, &record); err != nil {
				t.Fatalf("%s: %v: %s", f, err, line)
			}
			list = append(list, record)
		}
	}
	return list
}

// recorded waits until as many calls more than before have been recorded; more is an error like fewer.
func (g *gate) recorded(t *testing.T, before, calls int) {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); len(g.records(t)) < before+calls && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := len(g.records(t)) - before; got != calls {
		t.Errorf("%d call records for %d calls", got, calls)
	}
}
