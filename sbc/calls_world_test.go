package sbc

import (
	"slices"
	"testing"
	"time"

	"sallyport/sbc/config"
	"sallyport/sbc/tu"
)

// TestCallsOfPeers: what the file says of session timers, lengths and codecs reaches the legs.
func TestCallsOfPeers(t *testing.T) {
	snap, report := config.Parse("f.yaml", []byte(`
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, session_timer: 15m, nodes: [ { address: "10.0.0.10:5060" } ] }
phones: { session_timer: 10m, max_call: 1h, ring_timeout: 90s, codecs: [ opus, PCMA ] }
trunks:
  - { name: a, session_timer: 0, max_call: 2h, ring_timeout: 60s, codecs: [ PCMA ], peers: [ { address: "203.0.113.20:5060" } ] }
  - { name: b, peers: [ { address: "203.0.113.21:5060" } ] }
`), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	w := newWorld(snap, nil, nil)
	check := func(who string, p *tu.Peer, timer, most, ring time.Duration, codecs ...string) {
		t.Helper()
		if p.SessionTimer != timer || p.MaxCall != most || p.RingTimeout != ring || !slices.Equal(p.Codecs, codecs) {
			t.Errorf("%s: session timer %v, at most %v, rings %v, codecs %v", who, p.SessionTimer, p.MaxCall, p.RingTimeout, p.Codecs)
		}
	}
	check("phones", &w.phone, 10*time.Minute, time.Hour, 90*time.Second, "opus", "PCMA")
	seen := 0
	for _, s := range w.systems {
		for _, p := range []*tu.Peer{s.Any, s.Hops[0].Peer} {
			seen++
			switch s.Name {
			case "a":
				check("a", p, 0, 2*time.Hour, time.Minute, "PCMA")
			case "b":
				check("b", p, 30*time.Minute, 12*time.Hour, 3*time.Minute)
			default:
				check("the PBX", p, 15*time.Minute, 0, 0)
			}
		}
	}
	if seen != 8 {
		t.Errorf("%d peers", seen)
	}
}
