package sbc

import (
	"testing"

	"sallyport/sbc/config"
	"sallyport/sbc/tu"
)

// TestDigitsOfPeers: what the file says of digits reaches the legs; the PBX has them as they come.
func TestDigitsOfPeers(t *testing.T) {
	snap, report := config.Parse("f.yaml", []byte(`
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ] }
phones: { dtmf: info }
trunks:
  - { name: a, dtmf: rfc4733, peers: [ { address: "203.0.113.20:5060" } ] }
  - { name: b, peers: [ { address: "203.0.113.21:5060" } ] }
`), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	w := newWorld(snap, nil, nil)
	w.addPhones()
	if got := w.phone.Media.DTMF; got != tu.DTMFInfo {
		t.Errorf("phones: %v", got)
	}
	want := map[string]tu.DTMF{"a": tu.DTMFEvents, "b": tu.DTMFPass}
	for _, s := range w.systems {
		for _, h := range s.Hops {
			if h.Peer.Media.DTMF != want[s.Name] || s.Any.Media.DTMF != want[s.Name] {
				t.Errorf("%s: %v, %v", s.Name, h.Peer.Media.DTMF, s.Any.Media.DTMF)
			}
		}
	}
}
