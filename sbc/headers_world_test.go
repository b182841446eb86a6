package sbc

import (
	"testing"

	"sallyport/sbc/tu"
)

// TestRulesOfPeers: what the file says of header fields reaches the legs; the PBX has no rules, nor a trunk that has asked for
// none.
func TestRulesOfPeers(t *testing.T) {
	w := newWorld(translatedSnapshot(t), nil, nil)
	w.addPhones()
	if r := w.phone.Rules; r == nil || len(r.Outbound) != 1 || len(r.CodesOut) != 1 {
		t.Errorf("phones: %+v", r)
	}
	for _, s := range w.systems {
		for _, h := range s.Hops {
			if rules := h.Peer.Rules; (rules != nil) != (s.Kind == tu.KindTrunk) || s.Any.Rules != rules {
				t.Errorf("%s: %+v", s.Name, rules)
			}
		}
	}
}
