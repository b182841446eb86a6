package tu

import "testing"

// TestLacks: each word has its element, and what stands on it goes with it.
func TestLacks(t *testing.T) {
	for word, want := range map[string]struct{ methods, options []string }{
		"update":   {[]string{"UPDATE"}, nil},
		"100rel":   {[]string{"PRACK"}, []string{"100rel", "precondition"}},
		"replaces": {nil, []string{"replaces"}},
		"info":     {[]string{"INFO"}, nil},
		"other":    {},
	} {
		l := LacksOf([]string{"x", word})
		methods, options := 0, 0
		for _, m := range []string{"INVITE", "UPDATE", "PRACK", "INFO", "REFER", "update"} {
			if l.Method(m) {
				methods++
			}
		}
		for _, o := range []string{"timer", "100rel", "precondition", "replaces", "199", ""} {
			if l.Option(o) {
				options++
			}
		}
		if methods != len(want.methods) || options != len(want.options) {
			t.Errorf("%s: %d methods, %d options", word, methods, options)
		}
		for _, m := range want.methods {
			if !l.Method(m) {
				t.Errorf("%s: not %s", word, m)
			}
		}
		for _, o := range want.options {
			if !l.Option(o) {
				t.Errorf("%s: not %s", word, o)
			}
		}
	}
	if all := LacksOf(lacking); all != LacksUpdate|LacksReliable|LacksReplaces|LacksInfo {
		t.Errorf("%b", all)
	}
}
