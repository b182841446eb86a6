package tu

import "testing"

func TestElsewhere(t *testing.T) {
	plain := &Peer{}
	wide := &Peer{Failover: Codes{{404, 404}, {500, 599}, {486, 487}, {600, 699}}}
	for code := 100; code < 700; code++ {
		if got := plain.Elsewhere(code); got != (code == 503) {
			t.Errorf("%d by default: %v", code, got)
		}
		if got := wide.Elsewhere(code); got != (code == 404 || code/100 == 5) {
			t.Errorf("%d: %v", code, got)
		}
	}
}
