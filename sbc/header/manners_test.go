package header

import (
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestUnasked: a peer is told of nothing that it does not take; what a message requires stays.
func TestUnasked(t *testing.T) {
	for _, tt := range []struct {
		name                       string
		lacks                      tu.Lacks
		allow, supported           string
		wantAllow, wantSupported   string
		keepsAllow, keepsSupported bool
	}{
		{"nothing", 0, "INVITE, UPDATE", "100rel, timer", "INVITE, UPDATE", "100rel, timer", true, true},
		{"UPDATE", tu.LacksUpdate, "INVITE,UPDATE , BYE", "100rel", "INVITE, BYE", "100rel", true, true},
		{"100rel", tu.LacksReliable, "INVITE, PRACK", "100Rel, timer, precondition", "INVITE", "timer", true, true},
		{"all there is", tu.LacksReplaces | tu.LacksInfo, "INFO", "replaces", "", "", false, false},
	} {
		m := &message.Message{Method: "INVITE"}
		m.Add("Allow", tt.allow)
		m.Add("Subject", "UPDATE")
		m.Add("Supported", tt.supported)
		m.Add("Require", "100rel, replaces")
		Finish(nil, &tu.Peer{Kind: tu.KindTrunk, Referral: tu.TransferPass, Manners: tu.Manners{Lacks: tt.lacks}}, nil, m)
		allow, a := m.Get("Allow")
		supported, b := m.Get("Supported")
		if allow != tt.wantAllow || supported != tt.wantSupported || a != tt.keepsAllow || b != tt.keepsSupported {
			t.Errorf("%s: Allow %q %v, Supported %q %v", tt.name, allow, a, supported, b)
		}
		if v, _ := m.Get("Require"); v != "100rel, replaces" {
			t.Errorf("%s: Require %q", tt.name, v)
		}
		if v, _ := m.Get("Subject"); v != "UPDATE" {
			t.Errorf("%s: Subject %q", tt.name, v)
		}
	}
}
