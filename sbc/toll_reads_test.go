package sbc_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRulesJudgeTheNumberThatLeaves: the country's own prefix and the part of the network that a number is local to count, whether
// the gate writes the number anew or passes it as it was dialled.
func TestRulesJudgeTheNumberThatLeaves(t *testing.T) {
	for _, tt := range []struct{ country, format, number, rule string }{
		{"DE", "plus", "0037190123456", "premium"},
		{"DE", "plus", "90123456;phone-context=+371", "premium"},
		{"DE", "plus", "90123456;phone-context=%2B371", "premium"},
		{"DE", "plus", "0301234;phone-context=+53", "premium"},
		{"DE", "dialled", "0301234;phone-context=+53", "premium"},
		{"DE", "plus", strings.Repeat("-", 130) + "0037190123456", "premium"},
		{"US", "plus", "01137190123456", "premium"},
		{"US", "dialled", "01137190123456", "premium"},
		{"JP", "plus", "01037190123456", "premium"},
		{"AU", "plus", "001137190123456", "premium"}, // which begins with +11 to who knows 00 alone
		{"KR", "plus", "00237190123456", "premium"},
		{"DE", "plus", "0049301234567", ""},
		{"US", "plus", "2125551234", ""},
	} {
		t.Run(tt.country+" "+tt.format+" "+tt.number, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newTollGate(t, `{ name: seen, numbers: ["+11"], action: alarm }, { name: premium, numbers: ["+371", "+53"] }`,
					"    keepalive: { method: none }\npolicy", "    keepalive: { method: none }\n    numbers: { format: "+tt.format+" }\nroutes: { country: "+tt.country+" }\npolicy")
				defer g.close()
				for _, w := range []*wire{g.phone, g.pbx} {
					m := g.dials(w, "204", tt.number)
					if tt.rule == "" {
						if !g.talks(w, "204", tt.number, time.Second) {
							t.Errorf("%s is refused", w.at)
						}
						continue
					}
					if code := g.refused(w, m); code != 403 {
						t.Errorf("%s hears %d", w.at, code)
					}
					if got := g.why("204"); !strings.Contains(got, `rule "`+tt.rule+`"`) {
						t.Errorf("why says\n%s", got)
					}
				}
				g.empty()
			})
		})
	}
}
