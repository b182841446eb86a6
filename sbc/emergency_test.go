package sbc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/api"
)

// TestNothingStopsAnEmergencyCall: no rule on calls, no bound and no drain, from a registered phone or from the PBX; any
// other number meets all of them.
func TestNothingStopsAnEmergencyCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: nobody calls, from: [phones, pbx] }`, "policy:", "emergency: { numbers: [ \"11200\" ] }\nlimits: { calls_per_second: 1 }\npolicy:")
		defer g.close()
		for _, w := range []*wire{g.phone, g.pbx} {
			if code := g.refused(w, g.dials(w, "204", "03012345")); code != 403 {
				t.Errorf("%s: the rule on calls says %d", w.at, code)
			}
			for range 3 {
				if !g.talks(w, "204", "11200", 0) {
					t.Errorf("%s: an emergency call is refused", w.at)
				}
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := g.gate.Drain(g.ctx, time.Minute); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		if code := g.refused(g.phone, g.dials(g.phone, "204", "03012345")); code != 503 {
			t.Errorf("a draining gate says %d", code)
		}
		if !g.talks(g.phone, "204", "11200", 0) {
			t.Error("a draining gate refuses an emergency call")
		}
		<-done
		if r := g.revise(rewritten(t, tollConfig, "RULES", "{ name: x, from: [phones] }", "policy:", "emergency: { numbers: [ \"11\" ], trunks: [ gone ] }\npolicy:"), api.ReloadRequest{}); r.Applied {
			t.Error("a trunk for emergency calls that is none is accepted")
		}
	})
}

// TestEmergencyCallsAreNoWayPastEveryBound: of one source outside eight at a time pass as such; the next one is a call like any
// other, and the PBX has its own.
func TestEmergencyCallsAreNoWayPastEveryBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: nobody calls, from: [phones, pbx] }`, "policy:", "emergency: { numbers: [ \"11200\" ] }\npolicy:")
		defer g.close()
		var ends [][2]*party
		for n := range 8 {
			caller, callee := g.answered(g.phone, g.dials(g.phone, "204", "11200"))
			if caller == nil {
				t.Fatalf("emergency call %d is refused", n+1)
			}
			ends = append(ends, [2]*party{caller, callee})
		}
		for range 3 {
			if code := g.refused(g.phone, g.dials(g.phone, "204", "11200")); code != 403 {
				t.Errorf("the ninth at a time meets %d, want what the rule on calls says", code)
			}
		}
		for n := range 12 {
			if caller, _ := g.answered(g.pbx, g.dials(g.pbx, "204", "11200")); caller == nil {
				t.Fatalf("the PBX's emergency call %d is refused", n+1)
			}
		}
		hangup(ends[0][0], ends[0][1])
		time.Sleep(time.Minute)
		if caller, _ := g.answered(g.phone, g.dials(g.phone, "204", "11200")); caller == nil {
			t.Error("when one has ended the next is refused")
		}
		if code := g.refused(g.phone, g.dials(g.phone, "204", "11200")); code != 403 {
			t.Errorf("one more meets %d", code)
		}
	})
}

// TestEmergencyCallsExceedTheCallsByATenth, at least by one, and no further.
func TestEmergencyCallsExceedTheCallsByATenth(t *testing.T) {
	for calls, beyond := range map[string]int{"4": 1, "20": 2} {
		synctest.Test(t, func(t *testing.T) {
			g := newTollGate(t, "", "policy:", "emergency: { numbers: [ \"11200\" ] }\nlimits: { calls: "+calls+" }\npolicy:")
			defer g.close()
			for {
				if caller, _ := g.answered(g.pbx, g.dials(g.pbx, "204", "03012345")); caller == nil {
					break
				}
			}
			g.pbx.quiet(time.Second, "INVITE")
			passed := 0
			for range 5 {
				if caller, _ := g.answered(g.phone, g.dials(g.phone, "204", "11200")); caller == nil {
					break
				}
				passed++
			}
			if passed != beyond {
				t.Errorf("with %s calls %d emergency calls pass beyond them, want %d", calls, passed, beyond)
			}
		})
	}
}
