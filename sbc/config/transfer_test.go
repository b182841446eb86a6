package config

import (
	"strings"
	"testing"

	"sallyport/sbc/tu"
)

// TestTransfersOfASnapshot: who may transfer by what way, as it is written and as it is not.
func TestTransfersOfASnapshot(t *testing.T) {
	const text = `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ] }
phones: { PHONES }
trunks: [ { name: itsp, peers: [ { address: "203.0.113.20:5060" } ]TRUNK } ]
`
	for _, tt := range []struct {
		phones, trunk string
		want          [3]tu.Transfer // phones.transfer, trunks[].transfer, trunks[].referral
		redirect      tu.Redirect
	}{
		{"", "", [3]tu.Transfer{tu.TransferPass, tu.TransferLocal, tu.TransferReject}, tu.RedirectPass},
		{"transfer: local", ", transfer: pass, referral: local, redirect: follow", [3]tu.Transfer{tu.TransferLocal, tu.TransferPass, tu.TransferLocal}, tu.RedirectFollow},
		{"transfer: reject", ", transfer: reject, referral: pass, redirect: reject", [3]tu.Transfer{tu.TransferReject, tu.TransferReject, tu.TransferPass}, tu.RedirectReject},
	} {
		s, report := parseText("f", []byte(strings.NewReplacer("PHONES", tt.phones, "TRUNK", tt.trunk).Replace(text)), Flags{})
		if s == nil {
			t.Fatal(report.String())
		}
		if got := [3]tu.Transfer{s.Phones.Transfer, s.Trunks[0].Transfer, s.Trunks[0].Referral}; got != tt.want || s.Trunks[0].Redirect != tt.redirect {
			t.Errorf("%s%s: %v, %v", tt.phones, tt.trunk, got, s.Trunks[0].Redirect)
		}
	}
	for _, bad := range []string{", transfer: follow", ", referral: yes", ", redirect: local"} {
		if s, report := parseText("f", []byte(strings.NewReplacer("PHONES", "", "TRUNK", bad).Replace(text)), Flags{}); s != nil || !strings.Contains(report.String(), "f:5:") {
			t.Errorf("%s is taken: %s", bad, report.String())
		}
	}
}
