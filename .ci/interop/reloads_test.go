//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// reloaded is the configuration of a gate whose file is written anew again and again. Each time another part of it changes.
const reloaded = `outside: { address: 203.0.113.10, phones: {}, trunks: { udp: 5080%[4]s } }
inside: { address: 10.0.0.2, phones: {}, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" }%[5]s ]
  health: { interval: 0s }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
    capacity: { calls: %[3]d }
%[6]spolicy: { rate_limits: [ { name: loop, range: 198.51.100.%[2]d, realms: [trunks], limits: { INVITE: 10/minute } } ] }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: warn }
admin: { socket: %[1]s/sbc.sock }
`

// edition is the file as it is written for the i-th time.
func (w *world) edition(i int) string {
	listener, node, trunk := "", "", ""
	switch i % 4 {
	case 1:
		listener = ", tcp: 5080"
	case 2:
		node = `, { address: "10.0.0.11:5060", priority: 2 }`
	case 3:
		trunk = "  - { name: second, peers: [ { address: \"203.0.113.66:5060\" } ], keepalive: { method: none } }\n"
	}
	return fmt.Sprintf(reloaded, w.dir, i%250, 60+i%10, listener, node, trunk)
}

// broken is the same with four errors in it, in places that have nothing to do with one another, and the keys that they are told of by.
func (w *world) broken(i int) (text string, keys []string) {
	text = w.edition(i)
	for _, e := range []struct{ key, good, bad string }{
		{"inside.address", "address: 10.0.0.2,", "address: 10.0.0.256,"},
		{"pbx.nodes[0].address", `"10.0.0.10:5060"`, `"10.0.0.10:506000"`},
		{"trunks[0].outbound.match[0]", `["^\\+?[0-9]{2,15}$"]`, `["^\\+?[0-9{2,15}$"]`},
		{"policy.rate_limits[0].limits", "INVITE: 10/minute", "INVITE: 10/fortnight"},
	} {
		text = strings.Replace(text, e.good, e.bad, 1)
		keys = append(keys, e.key)
	}
	return text, keys
}

const voices = 50

// TestReloads: fifty calls talk while the configuration is reloaded again and again, each time another one, at times a broken one.
// Not one packet of theirs is lost, as none is without reloads; all calls are there in the end. Of a broken file
// every error is told, and nothing of it comes into force.
func TestReloads(t *testing.T) {
	t.Parallel()
	reloads, each, breaks := 20, 400*time.Millisecond, 5
	if *full {
		reloads, each, breaks = 100, time.Second, 10
	}
	w := newWorld(t)
	g := w.run(t, w.edition(0), gateOutside+":5080", gateInside+":5080")
	x := w.house(t)
	free := g.pool(t).Free
	var list []*fullCall
	for i := range voices {
		c := x.call(t, i)
		if code := c.final.status(); code != 200 {
			t.Fatalf("call %d gets %d\n%s", i, code, g.tail())
		}
		list = append(list, c)
		x.audio.Add(c.stream)
	}
	x.audio.Run(voicePace, warmUp) // until each leg has learned where its peer is
	packets := int(time.Duration(reloads) * each / voicePace)
	still := packets
	if !*full {
		still /= 2
	}
	w.speaks(t, x, "without a reload", still)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.reloads(t, reloads, breaks, each)
	}()
	w.speaks(t, x, "with reloads", packets)
	<-done
	var running []any
	if g.asks(t, &running, "calls"); len(running) != voices {
		t.Errorf("%d calls in the end, want %d", len(running), voices)
	}
	x.hangUp(t, list)
	until(t, "all ports are back", 10*time.Second, func() bool { return g.pool(t).Free == free })
	g.recorded(t, 0, voices)
	if out, code := g.verb("status", "--audit"); code != 0 {
		t.Errorf("sbc status --audit: exit code %d\n%s", code, out)
	}
	if t.Failed() {
		t.Log(g.tail())
	}
	g.stop(t)
}

// speaks has all calls talk and counts.
func (w *world) speaks(t *testing.T, x *house, what string, packets int) {
	t.Helper()
	full := w.overflows(t)
	r := x.audio.Run(voicePace, packets)
	full = w.overflows(t) - full
	t.Logf("%s: %d packets sent, %d arrived in %v, %d had no room at the ends; %v to %v late", what, r.Sent, r.Arrived, r.Took.Round(time.Millisecond),
		full, r.Delays.Quantile(0.5), r.Delays.Quantile(0.99))
	if r.Sent != r.Arrived || r.Strange != 0 || r.Sent < voices*packets {
		t.Errorf("%s: %d of %d packets are lost, %d are strange", what, r.Sent-r.Arrived, r.Sent, r.Strange)
	}
}

// reloads writes the file and has it reloaded so many times, one in so many of them broken.
func (g *gate) reloads(t *testing.T, times, breaks int, each time.Duration) {
	path := filepath.Join(g.w.dir, "sbc.yaml")
	applied, refused := 0, 0
	for i := 1; i <= times; i++ {
		begun := time.Now()
		text, keys := g.w.edition(i), []string(nil)
		if i%(times/breaks) == 0 {
			text, keys = g.w.broken(i)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
			return
		}
		out, code := g.verb("reload", "--json")
		if g.told(t, out, code, keys) {
			applied++
		} else {
			refused++
		}
		if rest := each - time.Since(begun); rest > 0 && i < times {
			time.Sleep(rest)
		}
	}
	t.Logf("%d reloads applied, %d refused", applied, refused)
}

// told checks what a reload says: that it was applied, or each key that is wrong and nothing else.
func (g *gate) told(t *testing.T, out string, code int, keys []string) (applied bool) {
	var result struct {
		Applied bool
		Changes []struct{ Path string }
		Errors  []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Errorf("sbc reload --json: exit code %d, %v: %s", code, err, out)
		return false
	}
	if keys == nil {
		if code != 0 || !result.Applied || len(result.Changes) == 0 {
			t.Errorf("sbc reload: exit code %d: %s", code, out)
		}
		return true
	}
	if code == 0 || result.Applied || len(result.Errors) != len(keys) {
		t.Errorf("sbc reload of a broken file: exit code %d, %d errors, want %d: %s", code, len(result.Errors), len(keys), out)
	}
	for _, key := range keys {
		if n := strings.Count(out, key); n != 1 {
			t.Errorf("%s is named %d times: %s", key, n, out)
		}
	}
	return false
}
