//go:build interop

package interop

import (
	"slices"
	"strings"
	"testing"
)

// TestScenariosWithoutTheGate proves the instruments: every pair of scenarios makes its call with an ordinary router in
// the gate's place, and the leak check, which has everything to find there, finds it. One pair is enough for every day.
func TestScenariosWithoutTheGate(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	for n, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			if n > 0 {
				long(t)
			}
			rec := w.capture(t)
			callee := w.sipp(t, agent{ns: nsInside, address: node1, scenario: c.callee, number: "+4930100"})
			caller := w.sipp(t, agent{ns: nsOutside, address: provider, scenario: c.caller, number: "+4930100", towards: node1 + ":5060"})
			w.verdict(t, caller)
			w.verdict(t, callee)
			all := rec.stop(t)
			if c.audio > 0 {
				audible(t, all, provider, node1, c.audio, !c.held)
			}
			found := leaks(all, nsOutside)
			for _, mark := range []string{"10.0.0.", "CalleeProduct", "callee"} {
				if !slices.ContainsFunc(found, func(l string) bool { return strings.Contains(l, mark) }) {
					t.Errorf("the leak check is blind for %s", mark)
				}
			}
			if t.Failed() {
				t.Logf("ladder:\n%s", ladder(all))
			}
		})
	}
}

// TestOrdersWithoutTheGate proves that the parties of TestOrder understand each other and that their network keeps order.
func TestOrdersWithoutTheGate(t *testing.T) {
	long(t)
	for _, exam := range exams {
		t.Run(exam.name, func(t *testing.T) {
			w := newWorld(t)
			w.forward(t)
			exam.take(t, w, road{node1 + ":5060", provider + ":5060"}, 1000)
		})
	}
}
