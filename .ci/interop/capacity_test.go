//go:build interop

package interop

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// places is a gate with a trunk that has room for thirty calls, one that takes ten calls a second, and one without bounds.
const places = `outside: { address: 203.0.113.10, phones: {}, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: {}, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  sources: [ 10.0.0.11 ]
  health: { interval: 0s }
trunks:
  - { name: full, peers: [ { address: "203.0.113.20:5060" } ], outbound: { match: [ '\+4930.*' ] }, keepalive: { method: none }, capacity: { calls: 30 } }
  - { name: paced, peers: [ { address: "203.0.113.21:5060" } ], outbound: { match: [ '\+4940.*' ] }, keepalive: { method: none }, capacity: { calls_per_second: 10 } }
  - { name: free, peers: [ { address: "203.0.113.66:5060" } ], outbound: { match: [ '\+4989.*' ] }, keepalive: { method: none } }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: warn }
admin: { socket: %[1]s/sbc.sock }
`

const (
	roomFor    = 30
	paceOf     = 10
	pacedTrunk = "203.0.113.21"
)

// crowding is a load on a trunk from one end, and a call by another trunk in the middle of it.
type crowding struct {
	name           string
	caller, callee agent
	other          agent // calls by the trunk that is free
	refusal        int
}

var crowds = []crowding{
	{
		name:    "in",
		caller:  agent{ns: nsOutside, address: provider, number: "+4930100", towards: gateOutside + ":5080"},
		callee:  agent{ns: nsInside, address: node1, number: "+4930100"},
		other:   agent{ns: nsOutside, address: stranger, scenario: "bench-caller", number: "+4930999", towards: gateOutside + ":5080"},
		refusal: 486,
	},
	{
		name:    "out",
		caller:  agent{ns: nsInside, address: node1, number: "+4930200", towards: gateInside + ":5080"},
		callee:  agent{ns: nsOutside, address: provider, number: "+4930200"},
		other:   agent{ns: nsInside, address: node2, scenario: "bench-caller", number: "+4989200", towards: gateInside + ":5080"},
		refusal: 503,
	},
}

// TestCapacity: far more calls than a trunk has room for, from either end. The far end never has more than that at a time, and
// has as many; who is one too many hears so, in a way that does not stop the trunk; another trunk notices nothing; in the end all
// places are free. Then the same with calls a second.
func TestCapacity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addresses(t, pacedTrunk)
	g := w.run(t, fmt.Sprintf(places, w.dir), gateOutside+":5080", gateInside+":5080")
	for _, c := range crowds {
		t.Run("calls/"+c.name, func(t *testing.T) { g.fills(t, c) })
	}
	for _, c := range crowds {
		if c.name == "in" {
			c.caller.address = pacedTrunk
		} else {
			c.caller.number, c.callee.number, c.callee.address = "+4940200", "+4940200", pacedTrunk
		}
		t.Run("calls a second/"+c.name, func(t *testing.T) { g.hurries(t, c) })
	}
	if out, code := g.verb("status", "--audit"); code != 0 {
		t.Errorf("sbc status --audit: exit code %d\n%s", code, out)
	}
	g.stop(t)
}

// crowd has so many calls attempted at a rate, which talk for so long, and returns what was seen.
func (g *gate) crowd(t *testing.T, c crowding, calls, rate int, talk time.Duration, meanwhile func(ended func() bool)) []packet {
	t.Helper()
	w := g.w
	rec := w.capture(t)
	c.callee.scenario, c.caller.scenario = "bench-callee", "crowd-caller"
	c.callee.load = []string{"-m", "100000", "-timeout", "120s"}
	c.caller.load = []string{
		"-m", strconv.Itoa(calls), "-r", strconv.Itoa(rate), "-l", strconv.Itoa(calls), "-d", strconv.Itoa(int(talk.Milliseconds())), "-timeout", "60s",
	}
	callee := w.sipp(t, c.callee)
	caller := w.sipp(t, c.caller)
	meanwhile(caller.ended)
	w.verdict(t, caller)
	if n := successful(caller); n != calls {
		t.Errorf("%d of %d attempts ended as they should", n, calls)
	}
	all := rec.stop(t)
	callee.kill()
	noLeak(t, all)
	if t.Failed() {
		t.Logf("ladder:\n%s\n%s", ladder(all), g.tail())
	}
	return all
}

// fills attempts four hundred calls where there is room for thirty.
func (g *gate) fills(t *testing.T, c crowding) {
	const attempts = 400
	free, before, most := g.pool(t).Free, len(g.records(t)), 0
	all := g.crowd(t, c, attempts, 200, time.Second, func(ended func() bool) {
		until(t, "the trunk is full", 10*time.Second, func() bool { return g.places(t, "full").Calls == roomFor || ended() })
		g.w.free(t, c.other)
		for !ended() {
			most = max(most, g.places(t, "full").Calls)
			time.Sleep(50 * time.Millisecond)
		}
	})
	at, begins := simultaneous(all, c.callee)
	t.Logf("far end: %d at a time at most, %d calls of %d; sbc trunks: %d at most", at, len(begins), attempts, most)
	if at != roomFor || most != roomFor {
		t.Errorf("%d calls at a time at the far end, %d told by sbc trunks, want exactly %d", at, most, roomFor)
	}
	refusedRightly(t, c, all, attempts-len(begins))
	until(t, "all places are free", 10*time.Second, func() bool { return g.places(t, "full").Calls == 0 })
	if l := g.places(t, "full"); l.High != roomFor {
		t.Errorf("sbc trunks tells of %d calls at most, want %d", l.High, roomFor)
	}
	until(t, "all ports are back", 10*time.Second, func() bool { return g.pool(t).Free == free })
	if got := len(g.records(t)) - before; got < len(begins)+1 {
		t.Errorf("%d call records for %d calls", got, len(begins)+1)
	}
}

// hurries attempts a hundred calls a second where ten may begin.
func (g *gate) hurries(t *testing.T, c crowding) {
	const attempts, rate = 250, 100
	all := g.crowd(t, c, attempts, rate, 200*time.Millisecond, func(func() bool) {})
	_, begins := simultaneous(all, c.callee)
	// The gate's second begins when it takes a call up, that of the wire when the INVITE is there: a machine that has others to serve in
	// between makes it shorter.
	exact, strict := densest(begins, 1), densest(begins, 0.95)
	t.Logf("%d calls of %d have begun at the far end; at most %d in any second, %d in any 0.95 s", len(begins), attempts, exact, strict)
	if strict > paceOf || exact < paceOf {
		t.Errorf("%d calls have begun in a second, %d in 0.95 s, want exactly %d", exact, strict, paceOf)
	}
	refusedRightly(t, c, all, attempts-len(begins))
	until(t, "all places are free", 10*time.Second, func() bool { return g.places(t, "paced").Calls == 0 })
}

// occupancy is what `sbc trunks` tells of the calls of a trunk.
type occupancy struct {
	Name  string
	Calls int
	High  int `json:"calls_high"`
}

func (g *gate) places(t *testing.T, name string) occupancy {
	t.Helper()
	var list []occupancy
	g.asks(t, &list, "trunks")
	i := slices.IndexFunc(list, func(l occupancy) bool { return l.Name == name })
	if i < 0 {
		t.Fatalf("sbc trunks does not tell of %s: %+v", name, list)
	}
	return list[i]
}

// free makes a call by the trunk that has no bounds.
func (w *world) free(t *testing.T, caller agent) {
	t.Helper()
	if caller.ns == nsInside {
		callee := w.sipp(t, agent{ns: nsOutside, address: stranger, scenario: "bench-callee", number: caller.number})
		defer w.verdict(t, callee)
	}
	w.verdict(t, w.sipp(t, caller))
}

// simultaneous is how many calls to a number there were at the far end at a time, in the order of its wire, and when they began:
// from the INVITE that arrives to the first BYE.
func simultaneous(all []packet, callee agent) (most int, begins []float64) {
	open, seen := map[string]bool{}, map[string]bool{}
	for _, p := range choose(all, packet.sip, on(callee.ns)) {
		id := p.header("Call-ID")
		switch {
		case strings.HasPrefix(p.start(), "INVITE sip:"+callee.number+"@") && !p.own() && p.dst.Addr().String() == callee.address && !seen[id]:
			open[id], seen[id] = true, true
			begins = append(begins, p.at)
			most = max(most, len(open))
		case strings.HasPrefix(p.start(), "BYE "):
			delete(open, id)
		}
	}
	return most, begins
}

// densest is how many of the moments lie within a time, in seconds, at most.
func densest(moments []float64, within float64) (most int) {
	for i, from := 0, 0; i < len(moments); i++ {
		for moments[i]-moments[from] >= within {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// refusedRightly checks what those hear for whom there was no place.
func refusedRightly(t *testing.T, c crowding, all []packet, want int) {
	t.Helper()
	codes, heard := map[string]int{}, map[string]bool{}
	for _, p := range choose(all, packet.sip, on(c.caller.ns), to(c.caller.address)) {
		code, _, _ := strings.Cut(strings.TrimPrefix(p.start(), "SIP/2.0 "), " ")
		if id := p.header("Call-ID"); !p.own() && code >= "300" && code < "700" && !heard[id] {
			heard[id] = true
			codes[code]++
			if after := p.header("Retry-After"); after != "" {
				t.Errorf("a call too many stops the trunk: %s with Retry-After: %s", p.start(), after)
				return
			}
		}
	}
	if codes[strconv.Itoa(c.refusal)] != want || len(codes) != 1 {
		t.Errorf("refused: %v, want %d by %d", codes, want, c.refusal)
	}
}
