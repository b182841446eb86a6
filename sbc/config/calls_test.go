package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCallsOfASnapshot: session timers, the longest call and the lists of codecs, as they are written and as they are not.
func TestCallsOfASnapshot(t *testing.T) {
	const text = `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ]PBX }
phones: { PHONES }
trunks: [ { name: itsp, peers: [ { address: "203.0.113.20:5060" } ]TRUNK } ]
`
	with := func(pbx, phones, trunk string) *Snapshot {
		t.Helper()
		s, report := parseText("f", []byte(strings.NewReplacer("PBX", pbx, "PHONES", phones, "TRUNK", trunk).Replace(text)), Flags{})
		if s == nil {
			t.Fatal(report.String())
		}
		return s
	}
	s := with("", "", "")
	if s.PBX.SessionTimer != 0 || s.Phones.SessionTimer != 0 || s.Trunks[0].SessionTimer != 30*time.Minute {
		t.Errorf("session timers by default: %v, %v, %v", s.PBX.SessionTimer, s.Phones.SessionTimer, s.Trunks[0].SessionTimer)
	}
	if s.Phones.MaxCall != 12*time.Hour || s.Trunks[0].MaxCall != 12*time.Hour || s.Phones.Codecs != nil || s.Trunks[0].Codecs != nil {
		t.Errorf("%+v %+v", s.Phones, s.Trunks[0])
	}
	if s.Phones.RingTimeout != 3*time.Minute || s.Trunks[0].RingTimeout != 3*time.Minute {
		t.Errorf("ring timeouts by default: %v, %v", s.Phones.RingTimeout, s.Trunks[0].RingTimeout)
	}
	s = with(", session_timer: 90s", "session_timer: 10m, max_call: 0, codecs: [ opus, PCMA ]", ", session_timer: 0, max_call: 90m, codecs: g722")
	if s.PBX.SessionTimer != 90*time.Second || s.Phones.SessionTimer != 10*time.Minute || s.Trunks[0].SessionTimer != 0 {
		t.Errorf("session timers: %v, %v, %v", s.PBX.SessionTimer, s.Phones.SessionTimer, s.Trunks[0].SessionTimer)
	}
	if s.Phones.MaxCall != 0 || s.Trunks[0].MaxCall != 90*time.Minute {
		t.Errorf("longest calls: %v, %v", s.Phones.MaxCall, s.Trunks[0].MaxCall)
	}
	if !slices.Equal(s.Phones.Codecs, []string{"opus", "PCMA"}) || !slices.Equal(s.Trunks[0].Codecs, []string{"g722"}) {
		t.Errorf("codecs: %v, %v", s.Phones.Codecs, s.Trunks[0].Codecs)
	}
}
