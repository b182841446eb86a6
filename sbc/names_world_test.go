package sbc

import (
	"testing"

	"sallyport/sbc/config"
	"sallyport/sbc/names"
	"sallyport/sbc/resolve"
	"sallyport/sbc/trunk"
)

// TestWorldWithoutAnswers: a world is made of a configuration whose names lead nowhere yet, and does without what is not there.
func TestWorldWithoutAnswers(t *testing.T) {
	snap, report := config.Parse("f.yaml", []byte(`
outside: { address: 203.0.113.10, external_address: gate.example.net }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: pbx.example.com } ], sources: [ vm.example.com ] }
trunks:
  - { name: a, peers: [ { address: sip.example.net }, { address: "203.0.113.22:5060" } ], external_address: other.example.net, media_sources: [ media.example.net ] }
  - { name: b, mode: register, registration: { registrar: sip.example.org, username: u, password: p }, sources: [ out.example.net ] }
`), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	w := newWorld(names.Expand(snap, func(resolve.Want) []resolve.Endpoint { return nil }), nil, nil)
	hops := map[string]int{}
	for s := range trunk.NewBook(w.systems, nil).Systems {
		hops[s.Name] += len(s.Hops)
	}
	if hops["a"] != 1 || hops["b"] != 0 || hops[pbxName] != 0 || hops[pbxPhones] != 0 || len(w.guardPeers()) == 0 || len(w.faces()) != len(snap.Interfaces) {
		t.Errorf("hops %v", hops)
	}
}
