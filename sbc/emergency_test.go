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
		if r := g.revise(rewritten(t, tollConfig, "RULES", "{ name: x, from: [phones] }", "policy:", "emergency: { numbers: [ \"11\" ], trunks: [ itsp ] }\npolicy:"), api.ReloadRequest{}); r.Applied {
			t.Error("emergency.trunks is accepted")
		}
	})
}
