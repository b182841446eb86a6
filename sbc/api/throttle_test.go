package api

import (
	"strings"
	"testing"
	"time"
)

// TestThrottlingAsPrinted: who answered a phone, and what an outage has kept.
func TestThrottlingAsPrinted(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	r := sampleRegistrations()[1]
	plain := r.Text(start, zone)
	if strings.Contains(plain, "answered ") && strings.Contains(plain, "\nanswered") || strings.Contains(plain, "held") {
		t.Errorf("nothing was answered here, and nothing is held:\n%s", plain)
	}
	r.Local, r.Passed, r.Accepted = 1, 2, start.Add(-3*time.Minute)
	if text := r.Text(start, zone); !strings.Contains(text, "answered    1 REGISTER here, 2 by the PBX, which last accepted one 3 m ago\n") {
		t.Errorf("%s", text)
	}
	r.Local, r.Expires, r.Held = 12, start.Add(-time.Minute), start.Add(20*time.Minute)
	text := r.Text(start, zone)
	for _, want := range []string{"12 REGISTERs here", "held        no word of it came in an outage: kept for 20 m at most (phones.registration.grace)\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if list := RegistrationsText([]Registration{r}, start); !strings.Contains(list, "held 20 m / 3 d") {
		t.Errorf("%s", list)
	}
	for want, g := range map[string]PhoneGauge{
		"12 registered, 40 at most; bound 25000": {Now: 12, High: 40, Most: 25000, Passed: 7},
		"12 registered, 40 at most; an outage has cut off 3, which are kept for now; bound 25000; REGISTERs: 90 answered here, 7 passed to the PBX": {
			Now: 12, High: 40, Held: 3, Most: 25000, Local: 90, Passed: 7, Throttled: true,
		},
	} {
		if got := g.text(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	p := Phone{
		AoR: r.AoR, Bindings: []Registration{r},
		Register: &Registering{At: start, Source: "udp 198.51.100.8:1024", Code: 200, Phrase: "OK", Local: true},
	}
	text = p.Text(start, zone)
	for _, want := range []string{": 200 OK, answered here\n", "10.0.0.10:5060 accepted it 3 m ago, and is asked again in time (phones.registration.reauthenticate)\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
