package config

import (
	"strings"
	"testing"

	"sallyport/sbc/tu"
)

// TestDTMF: what the rooms get.
func TestDTMF(t *testing.T) {
	const text = `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ] }
phones: { PHONES }
trunks: [ { name: itsp, peers: [ { address: "203.0.113.20:5060" } ]TRUNK } ]
`
	with := func(phones, trunk string) string {
		key := func(before, word string) string {
			if word == "" {
				return ""
			}
			return before + "dtmf: " + word
		}
		return strings.NewReplacer("PHONES", key("", phones), "TRUNK", key(", ", trunk)).Replace(text)
	}
	for _, c := range []struct {
		phones, trunk string // "": the default
		want          [2]tu.DTMF
	}{
		{"", "", [2]tu.DTMF{}},
		{"pass", "info", [2]tu.DTMF{tu.DTMFPass, tu.DTMFInfo}},
		{"info", "rfc4733", [2]tu.DTMF{tu.DTMFInfo, tu.DTMFEvents}},
		{"rfc4733", "pass", [2]tu.DTMF{tu.DTMFEvents, tu.DTMFPass}},
	} {
		snap, report := parseText("f", []byte(with(c.phones, c.trunk)), Flags{})
		if snap == nil {
			t.Fatal(report.String())
		}
		if got := [2]tu.DTMF{snap.Phones.DTMF, snap.Trunks[0].DTMF}; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for _, bad := range []string{with("inband", ""), with("", "inband")} {
		if _, report := parseText("f", []byte(bad), Flags{}); !strings.Contains(report.String(), "rfc4733") {
			t.Error("another word is taken: " + report.String())
		}
	}
}
