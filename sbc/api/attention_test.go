package api

import (
	"strings"
	"testing"
	"time"
)

// TestWhatToDoAboutAPhone that never came through, came through somewhere else, or found no PBX.
func TestWhatToDoAboutAPhone(t *testing.T) {
	seen := []string{"198.51.100.9:6102: INVITE of 204@example.com at 16:44:42, drop, ban", "[2001:db8::]:5060: REGISTER of 204 at 16:40:00, allow"}
	at := []Registration{{AoR: "204@example.com"}}
	for _, tt := range []struct {
		name  string
		phone Phone
		want  []string // in this order
		not   string
	}{
		{"never heard of", Phone{}, []string{"fix  ", "outside phones address"}, "seen"},
		{"refused before it registered", Phone{Seen: seen}, []string{"seen  ", seen[0], seen[1], "fix  ", "sbc why 198.51.100.9 says"}, "outside phones address"},
		{"refused since", Phone{Seen: seen[1:], Register: &Registering{Code: 403}}, []string{"seen  ", "sbc why 2001:db8:: says", "the PBX refuses it"}, "outside phones address"},
		{"no PBX", Phone{Bindings: at, Register: &Registering{Code: 503, Reason: "no-pbx"}}, []string{"registered, 1 binding", "fix  ", "see sbc pbx"}, "seen"},
		{"well", Phone{Bindings: at, Register: &Registering{Code: 200}}, []string{"registered, 1 binding"}, "fix  "},
		{"steers no terminal", Phone{Seen: []string{"a\x1b[2J: x"}}, []string{"sbc why a?[2J says"}, "\x1b"},
	} {
		tt.phone.AoR = "204@example.com"
		w, err := tt.phone.Why("204", start, time.UTC)
		if err != nil || w.Allowed != tt.phone.Reachable() {
			t.Errorf("%s: %v %+v", tt.name, err, w)
		}
		rest := w.Text
		for _, x := range tt.want {
			var found bool
			if _, rest, found = strings.Cut(rest, x); !found {
				t.Errorf("%s: no %q, in its place, in\n%s", tt.name, x, w.Text)
				break
			}
		}
		if strings.Contains(w.Text, tt.not) {
			t.Errorf("%s: %q in\n%s", tt.name, tt.not, w.Text)
		}
	}
}
