package main

import (
	"context"
	"strings"
	"testing"

	"sallyport/sbc"
	"sallyport/sbc/config"
)

func TestNamesAreTold(t *testing.T) {
	const yaml = `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks: [ { name: itsp, peers: [ { address: sip.example.net } ] } ]
`
	snap, report := config.Parse("f.yaml", []byte(yaml), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	named(t.Context(), snap, func(context.Context, *config.Snapshot) []sbc.NameReport {
		return []sbc.NameReport{
			{Path: "trunks[0].peers[0].address", Name: "sip.example.net", Leads: "203.0.113.20:5060"},
			{Path: "trunks[0].peers[0].address", Name: "sip.example.net", Leads: "203.0.113.20:5060", Error: "not used: 10.0.0.1 lies in internal_ranges"},
			{Path: "trunks[0].peers[0].address", Name: "sip.example.net", Error: "sip.example.net does not exist"},
		}
	}, &report)
	text := report.Full()
	for _, want := range []string{
		"warning: f.yaml:5:45: trunks[0].peers[0].address: sip.example.net: sip.example.net does not exist\n  hint: ",
		"sip.example.net leads to 203.0.113.20:5060; not used: 10.0.0.1", "note: f.yaml:5:45: trunks[0].peers[0].address: sip.example.net leads to 203.0.113.20:5060\n",
	} {
		if !strings.Contains(text+"\n", want) {
			t.Errorf("nobody says %q:\n%s", want, text)
		}
	}
}
