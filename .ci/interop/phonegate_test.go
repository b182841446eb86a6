//go:build interop

package interop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// phoneDocument is the configuration of a gate with roaming phones.
const phoneDocument = `outside:
  address: 203.0.113.10
  phones: { udp: 5060, tcp: 5060, tls: 5061%[9]s }
  trunks: { udp: 5080 }
  tls: { certificate: %[1]s/tls.crt, key: %[1]s/tls.key }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: %[10]s, backend: %[11]s }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" }%[5]s ]
  health: { interval: %[7]s, failures: 2, successes: 1 }
phones:
  registration: { outside: %[2]s }
  keepalive: { interval: %[3]s }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{4,15}$"] }
    keepalive: { method: none, interval: 0s }
%[12]spolicy: { %[8]sstrangers: { rate: %[6]s, burst: 10000 } }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: %[4]s }
admin: { socket: %[1]s/sbc.sock }
`

// phoneSettings vary the configuration.
type phoneSettings struct {
	outside   string // expiry that a phone is told at most; empty: 60s
	keepalive string // empty: 25s
	log       string // empty: debug
	second    bool   // a second node of the PBX
	health    string // how often a node is asked for its health; empty: 2s
	unlimited bool   // no rule limits how often a phone may ask: for one that starts anew again and again
	web       bool   // a listener for browsers
	ports     string // of media; empty: 30000-31000
	backend   string // of media; empty: auto
	strangers string // budget of all that are not registered; empty: 50/second
	trunk     string // further keys of the trunk, each on a line of its own
}

// Where phones find the gate.
var doors = map[string]string{"udp": gateOutside + ":5060", "tcp": gateOutside + ":5060", "tls": gateOutside + ":5061"}

var transports = []string{"udp", "tcp", "tls"}

// phoneGate starts the program with listeners for phones.
func (w *world) phoneGate(t *testing.T, s phoneSettings) *gate {
	t.Helper()
	second := ""
	if s.second {
		second = `, { address: "10.0.0.11:5060", priority: 2 }`
	}
	limits := ""
	if s.unlimited {
		limits = "rate_limits: [], "
	}
	web := ""
	if s.web {
		web = ", wss: 443"
	}
	return w.run(t, fmt.Sprintf(phoneDocument, w.dir, cmp.Or(s.outside, "60s"), cmp.Or(s.keepalive, "25s"), cmp.Or(s.log, "debug"), second, cmp.Or(s.strangers, "50/second"), cmp.Or(s.health, "2s"), limits, web,
		cmp.Or(s.ports, "30000-31000"), cmp.Or(s.backend, "auto"), s.trunk),
		gateOutside+":5060", gateInside+":5060", gateOutside+":5080", gateInside+":5080")
}

// bindings are the registrations that the gate reports.
func (g *gate) bindings(t *testing.T) (list []map[string]any) {
	t.Helper()
	out, code := g.verb("registrations", "--json")
	if code != 0 {
		t.Fatalf("sbc registrations: exit code %d: %s", code, out)
	}
	if err := json.Unmarshal(bytes.TrimSpace([]byte(out)), &list); err != nil {
		t.Fatalf("sbc registrations --json: %v: %s", err, out)
	}
	return list
}

// binds waits until the gate has that many bindings.
func (g *gate) binds(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		list := g.bindings(t)
		if len(list) == n {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%d bindings, want %d: %v", len(list), n, list)
			return
		}
	}
}
