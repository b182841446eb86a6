package policy

import (
	"net/netip"
	"testing"

	"sallyport/nat"
)

// TestAnotherNodeOfTheSystem: a dialog that one node of the PBX has begun, or one proxy of a provider, is live for the others of
// the same system, whatever rules name them; for nobody else, and with no other tag.
func TestAnotherNodeOfTheSystem(t *testing.T) {
	one := func(a string) netip.Prefix { return netip.MustParsePrefix(a + "/32") }
	cfg := &Config{RateLimits: []RateLimitConfig{
		{Range: []string{"10.0.0.0/8"}, Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)},
		{Range: []string{"203.0.113.0/24"}, Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)},
	}}
	for _, tt := range []struct {
		name, leg, from string
		i               *nat.Interface
		method, tag     string
		live            bool
	}{
		{"the node itself", "10.0.0.10", "10.0.0.10", insidePhones, "BYE", "our1", true},
		{"another node", "10.0.0.10", "10.0.0.11", insidePhones, "BYE", "our1", true},
		{"another node, at the other door", "10.0.0.10", "10.0.0.11", insideTrunks, "INVITE", "our1", true},
		{"another node, another dialog", "10.0.0.10", "10.0.0.11", insidePhones, "BYE", "our2", false},
		{"another node, not our tag", "10.0.0.10", "10.0.0.11", insidePhones, "BYE", "his1", false},
		{"another node, REGISTER", "10.0.0.10", "10.0.0.11", insidePhones, "REGISTER", "our1", false},
		{"a foreigner inside", "10.0.0.10", "10.0.0.99", insidePhones, "BYE", "our1", false},
		{"a node, of a phone's leg", "198.51.100.7", "10.0.0.11", insidePhones, "BYE", "our1", false},
		{"another proxy of the provider", "203.0.113.20", "203.0.113.21", outsideTrunks, "BYE", "our1", true},
		{"another provider", "203.0.113.20", "203.0.113.30", outsideTrunks, "BYE", "our1", false},
		{"a stranger, of the provider's leg", "203.0.113.20", "203.0.113.99", outsideTrunks, "BYE", "our1", false},
	} {
		g := newGuard(t, cfg)
		g.SetPeers(append(testPeers(),
			Peer{one("10.0.0.11"), Node, nat.Inside, nat.Phones, "10.0.0.11:5060"},
			Peer{one("10.0.0.11"), Node, nat.Inside, nat.Trunks, "10.0.0.11:5060"},
			Peer{one("203.0.113.21"), Trunk, nat.Outside, nat.Trunks, "itsp"},
			Peer{one("203.0.113.30"), Trunk, nat.Outside, nat.Trunks, "other"},
		))
		if !g.Live().Add("our1", netip.MustParseAddr(tt.leg)) {
			t.Fatal("no room")
		}
		m := msg{method: tt.method, toTag: tt.tag}
		for n := range 3 {
			m.cseq, m.branch = n+1, []string{"z9hG4bKa", "z9hG4bKb", "z9hG4bKc"}[n]
			v := send(g, noon, tt.i, tt.from, m.bytes())
			if got := says(v) == "allow live-dialog"; got != tt.live {
				t.Errorf("%s: %s", tt.name, says(v))
			}
		}
		g.Live().Remove("our1")
		m.cseq, m.branch = 9, "z9hG4bKz"
		if v := send(g, noon, tt.i, tt.from, m.bytes()); says(v) == "allow live-dialog" {
			t.Errorf("%s: live after its end", tt.name)
		}
	}
}
