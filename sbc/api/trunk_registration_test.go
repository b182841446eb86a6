package api

import (
	"strings"
	"testing"
	"time"
)

func TestRegistrationInTrunks(t *testing.T) {
	r := TrunkRegistration{
		State: "refused", Address: "203.0.113.20:5060", Next: start.Add(time.Minute), SeenAs: "198.51.100.7:40001", Answer: "403 Forb\x1bidden", Fails: 3,
	}
	text := TrunksText([]Trunk{{Name: "itsp", Mode: "register", State: "up", Registration: &r, Peers: samplePeers()}, {Name: "plain", State: "up"}}, time.UTC)
	lines := strings.Split(text, "\n")
	want := []string{"refused", "registrar 203.0.113.20:5060", "403 Forb?idden", "seen as 198.51.100.7:40001, 3 failed"}
	for _, w := range want {
		if !strings.Contains(lines[2], w) {
			t.Errorf("%q is not in %q", w, lines[2])
		}
	}
	if len(lines) != 7 || strings.Contains(text, "\x1b") {
		t.Errorf("%d lines\n%s", len(lines), text)
	}
	if row := (&TrunkRegistration{State: "registering"}).row(time.UTC); row[4] != "registrar -" || row[7] != "-" || row[8] != "" {
		t.Errorf("%q", row)
	}
}
