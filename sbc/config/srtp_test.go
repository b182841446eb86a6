package config

import (
	"strings"
	"testing"

	"sallyport/sbc/tu"
)

// TestSRTP: what the rooms get, and where the keys would be read by others.
func TestSRTP(t *testing.T) {
	for _, c := range []struct {
		phones, pbx, trunk string // added to the sections; "": the default
		want               [3]tu.SRTP
		warned             string
	}{
		{"", "", "", [3]tu.SRTP{tu.SRTPOptional, tu.SRTPOff, tu.SRTPOff}, ""},
		{"off", "off", "off", [3]tu.SRTP{}, ""},
		{"required", "", "", [3]tu.SRTP{tu.SRTPRequired, tu.SRTPOff, tu.SRTPOff}, "phones.srtp"},
		{"", "required", "", [3]tu.SRTP{tu.SRTPOptional, tu.SRTPRequired, tu.SRTPOff}, "pbx.srtp"},
		{"", "", "optional", [3]tu.SRTP{tu.SRTPOptional, tu.SRTPOff, tu.SRTPOptional}, "trunks[0].srtp"},
	} {
		snap, report := parseText("f", []byte(withSRTP(c.phones, c.pbx, c.trunk)), Flags{})
		if snap == nil {
			t.Fatal(report.String())
		}
		if got := [3]tu.SRTP{snap.Phones.SRTP, snap.PBX.SRTP, snap.Trunks[0].SRTP}; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		if warnings := report.list(report.Warnings, ""); (warnings == "") != (c.warned == "") || !strings.Contains(warnings, c.warned) {
			t.Errorf("%+v: warnings %q", c, warnings)
		}
	}
	if _, report := parseText("f", []byte(withSRTP("always", "", "")), Flags{}); !strings.Contains(report.String(), "required") {
		t.Error("another word is taken: " + report.String())
	}
}

func withSRTP(phones, pbx, trunk string) string {
	text := `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ]PBX }
PHONEStrunks: [ { name: itsp, peers: [ { address: "203.0.113.20:5060" } ]TRUNK } ]
`
	key := func(word string) string {
		if word == "" {
			return ""
		}
		return ", srtp: " + word
	}
	if phones != "" {
		phones = "phones: { srtp: " + phones + " }\n"
	}
	return strings.NewReplacer("PBX }", key(pbx)+" }", "PHONES", phones, "TRUNK", key(trunk)).Replace(text)
}
