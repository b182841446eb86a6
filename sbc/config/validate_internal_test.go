package config

import (
	"strings"
	"testing"
)

// TestInternalRangesAndPeers: what lies in internal_ranges, and should not, or does not and should.
func TestInternalRangesAndPeers(t *testing.T) {
	const (
		behind  = "outside: { address: 10.9.0.5, external_address: 198.51.100.5 }\n"
		public  = "outside: { address: 203.0.113.10 }\n"
		inside  = "inside: { address: 10.0.0.2 }\npbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }\n"
		away    = "inside: { address: 10.0.0.2 }\npbx: { domain: example.com, nodes: [ { address: 10.0.0.10 }, { address: 10.3.0.10 } ] }\n"
		six     = "inside: { address: [ 10.0.0.2, \"fd00::2\" ] }\npbx: { domain: example.com, nodes: [ { address: \"fd00::10\" }, { address: \"fd00::11\" } ] }\n"
		global  = "inside: { address: 192.0.2.2 }\npbx: { domain: example.com, nodes: [ { address: 192.0.2.10 } ] }\n"
		named   = "inside: { address: 10.0.0.2 }\npbx: { domain: example.com, nodes: [ { address: pbx.example.com } ] }\n"
		loop    = "inside: { address: 127.0.0.1 }\npbx: { domain: example.com, nodes: [ { address: \"127.0.0.1:5070\" } ] }\n"
		far     = "trunks: [ { name: itsp, peers: [ { address: 203.0.113.20 } ] } ]\n"
		line    = "trunks: [ { name: itsp, peers: [ { address: 203.0.113.20 }, { address: 10.9.0.1 }, { address: 10.9.0.2 } ] } ]\n"
		ownName = "trunks: [ { name: itsp, external_address: gate.example.com, peers: [ { address: 10.9.0.1 } ] } ]\n"
		own     = "trunks: [ { name: itsp, external_address: 198.51.100.7, peers: [ { address: 10.9.0.1 } ] } ]\n"
		account = "trunks: [ { name: itsp, mode: register, registration: { registrar: 10.9.0.1, username: u, password: p } } ]\n"
	)
	for _, tt := range []struct {
		name, text string
		warned     bool
		want       string // "": nothing is said
	}{
		{"the usual", public + inside + far, false, ""},
		{"behind a NAT", behind + inside + far, false, ""},
		{"a node by name", public + named + far, false, ""},
		{"loopback", public + loop + far, false, ""},
		{"ranges without the inside", public + inside + far + "internal_ranges: [ 192.168.0.0/16 ]\n", true,
			"internal_ranges: 10.0.0.2 (inside.address), 10.0.0.10 (pbx.nodes[0]) lie in none of them: within dialogs only the nodes themselves and pbx.sources are reached inside\n" +
				"  hint: add the network inside, such as 10.0.0.0/24"},
		{"ranges without one node", public + away + far + "internal_ranges: [ 10.0.0.0/24 ]\n", true,
			"10.3.0.10 (pbx.nodes[1]) lies in none of them: within dialogs only the nodes themselves and pbx.sources are reached inside\n" +
				"  hint: add the network inside, such as 10.3.0.0/24"},
		{"no ranges, on purpose", public + inside + far + "internal_ranges: []\n", false, "10.0.0.2 (inside.address), 10.0.0.10 (pbx.nodes[0]) lie in none"},
		{"IPv6 inside", public + six + far, false, "fd00::2 (inside.address), fd00::10 (pbx.nodes[0]), fd00::11 (pbx.nodes[1]) lie in none of them: within dialogs only the nodes themselves and pbx.sources are reached inside\n" +
			"  hint: add the network inside, such as fd00::/64"},
		{"a public network inside", public + global + far, false, "are reached inside, and SDP and names of providers that point there are believed\n"},
		{"a provider's line", behind + inside + line, false,
			"trunks[0].peers[1].address: 10.9.0.1:5060 lies in internal_ranges: it is told our bound address 10.9.0.5, also in SDP, and not 198.51.100.5\n" +
				"  hint: right on a line of the provider's own"},
		{"a registrar on such a line", behind + inside + account, false, "trunks[0].registration.registrar: 10.9.0.1:5060 lies in internal_ranges"},
		{"a line, and nothing translated", public + inside + line, false, ""},
		{"a public provider within", behind + inside + far + "internal_ranges: [ 10.0.0.0/8, 203.0.113.0/24 ]\n", true,
			"trunks[0].peers[0].address: 203.0.113.20:5060 lies in internal_ranges: it is told our bound address 10.9.0.5, also in SDP, and not 198.51.100.5\n" +
				"  hint: narrow internal_ranges"},
		{"an address of the trunk's own", behind + inside + own, true, "10.9.0.1:5060 lies in internal_ranges: it is told our bound address 10.9.0.5, also in SDP, and not this external_address"},
		{"a name of the trunk's own", public + inside + ownName, true, "and not this external_address\n  hint: narrow internal_ranges, or remove"},
	} {
		snap, report := parseText("sbc.yaml", []byte(tt.text), Flags{})
		if snap == nil {
			t.Errorf("%s: %s", tt.name, report.String())
			continue
		}
		list, other := report.Notes, report.Warnings
		if tt.warned {
			list, other = other, list
		}
		said := (&Report{Warnings: list}).String()
		if got := strings.Count(said, "internal_ranges"); tt.want == "" && got > 0 || !strings.Contains(said, tt.want) {
			t.Errorf("%s: want %q in\n%s", tt.name, tt.want, said)
		}
		if text := (&Report{Warnings: other}).String(); strings.Contains(text, "internal_ranges") {
			t.Errorf("%s: said in the wrong place:\n%s", tt.name, text)
		}
	}
}

// TestFindingsOnInternalRangesAreBounded: many nodes make one finding of bounded length.
func TestFindingsOnInternalRangesAreBounded(t *testing.T) {
	nodes := ""
	for i := range 40 {
		nodes += "{ address: 172.20." + string(rune('0'+i/10)) + "." + string(rune('0'+i%10)) + " }, "
	}
	_, report := parseText("sbc.yaml", []byte("outside: { address: 203.0.113.10 }\ninside: { address: 10.0.0.2 }\ninternal_ranges: [ 10.0.0.0/8 ]\n"+
		"pbx: { domain: example.com, nodes: [ "+nodes+"] }\ntrunks: [ { name: itsp, peers: [ { address: 203.0.113.20 } ] } ]\n"), Flags{})
	text := report.String()
	if !strings.Contains(text, "(pbx.nodes[2]), 37 more lie in none") || strings.Count(text, "lie in none") != 1 {
		t.Error(text)
	}
}
