//go:build interop

package interop

import "testing"

// call is a capability: which scenarios the two ends play and how much audio each must hear, in packets of 20 ms.
type call struct {
	name           string
	caller, callee string
	audio          int
	held           bool // audio is interrupted on purpose
	refused        int  // INVITEs that are refused before one is taken: each has a call record
	covered        bool // another case shows it, too: with -full alone
}

// calls are the capabilities; each is proven in both directions.
var calls = []call{
	{name: "call", caller: "caller", callee: "callee", audio: 60},
	{name: "callee hangs up", caller: "caller-hears-bye", callee: "callee-bye", audio: 60},
	{name: "cancel", caller: "caller-cancels", callee: "callee-cancelled"},
	{name: "busy", caller: "caller-busy", callee: "callee-busy"},
	{name: "early media", caller: "caller-early", callee: "callee-early", audio: 110, covered: true},
	{name: "caller holds and resumes", caller: "caller-holds", callee: "callee-held", audio: 50, held: true, covered: true},
	{name: "callee holds and resumes", caller: "caller-held", callee: "callee-holds", audio: 50, held: true},
	{name: "delayed offer", caller: "caller-delayed", callee: "callee-delayed", audio: 60},
}

// direction is who calls whom, and what the gate makes of the addresses on the way.
type direction struct {
	name           string
	caller, callee agent
	want           map[string]string // parts of the INVITE that reaches the callee
}

var directions = []direction{
	{
		name:   "in",
		caller: agent{ns: nsOutside, address: provider, number: "+4930100", towards: gateOutside + ":5080"},
		callee: agent{ns: nsInside, address: node1, number: "+4930100"},
		want: map[string]string{
			"Request-URI": "sip:+4930100@example.com",
			"To":          "+4930100@example.com",
			"From":        "+49401234567@" + gateInside,
			"Contact":     "@" + gateInside + ":5080",
			"Via":         gateInside + ":5080",
		},
	},
	{
		name:   "out",
		caller: agent{ns: nsInside, address: node1, number: "+4930200", towards: gateInside + ":5080"},
		callee: agent{ns: nsOutside, address: provider, number: "+4930200"},
		want: map[string]string{
			"Request-URI": "sip:+4930200@" + provider,
			"To":          "+4930200@" + provider,
			"From":        "+49401234567@" + gateOutside,
			"Contact":     "@" + gateOutside + ":5080",
			"Via":         gateOutside + ":5080",
		},
	},
}

// TestTrunkCalls: every capability from the provider to the PBX and back. Each ends with one call record, nothing of one
// side is seen on the other, and the audio is counted at both ends.
func TestTrunkCalls(t *testing.T) {
	w := newWorld(t)
	g := w.gate(t, settings{})
	for _, d := range directions {
		for _, c := range calls {
			t.Run(d.name+"/"+c.name, func(t *testing.T) {
				if c.covered {
					long(t)
				}
				g.call(t, d, c)
			})
		}
	}
	if out, code := g.verb("calls", "--json"); code != 0 {
		t.Errorf("sbc calls: exit code %d: %s", code, out)
	}
	g.stop(t)
}

// call makes one call through the gate, and returns what was seen of it at both ends.
func (g *gate) call(t *testing.T, d direction, c call) []packet {
	t.Helper()
	before := len(g.records(t))
	caller, callee := d.caller, d.callee
	caller.scenario, callee.scenario = c.caller, c.callee
	rec := g.w.capture(t)
	answering := g.w.sipp(t, callee)
	calling := g.w.sipp(t, caller)
	g.w.verdict(t, calling)
	if t.Failed() {
		answering.kill() // it would only wait for what will not come
	}
	g.w.verdict(t, answering)
	all := rec.stop(t)
	expect(t, all, callee.address, "INVITE", d.want)
	noLeak(t, all)
	if c.audio > 0 {
		audible(t, all, caller.address, callee.address, c.audio, !c.held)
	}
	g.recorded(t, before, 1+c.refused)
	if t.Failed() || *ladders {
		t.Logf("ladder:\n%s", ladder(all))
	}
	if t.Failed() {
		t.Log(g.tail())
	}
	return all
}
