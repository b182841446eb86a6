package call

import (
	"net/netip"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// TestMediaToWhereAPeerSeesUs: the address by which one peer alone knows us is our own towards that peer, and nobody's elsewhere.
func TestMediaToWhereAPeerSeesUs(t *testing.T) {
	seen := netip.MustParseAddr("198.51.100.7")
	set := &Settings{Destinations: [2]nat.DestinationRules{nat.Inside: {Side: nat.Inside}, nat.Outside: {Side: nat.Outside}}}
	at := func(side nat.Side, here netip.Addr) *leg {
		return &leg{peer: &tu.Peer{Side: side}, hop: tu.Hop{Here: tu.Local{Signal: netip.AddrPortFrom(here, 40001), Media: here}}}
	}
	local := netip.MustParseAddr("127.0.0.1")
	set.Destinations[nat.Outside].Bind = local
	for _, tt := range []struct {
		name string
		leg  *leg
		to   netip.Addr
		why  string
	}{
		{"its own trunk", at(nat.Outside, seen), seen, "our own address"},
		{"another trunk", at(nat.Outside, netip.MustParseAddr("203.0.113.10")), seen, ""},
		{"inside, a hairpin", at(nat.Inside, netip.MustParseAddr("10.0.0.2")), netip.MustParseAddr("10.0.0.2"), ""},
		{"everybody on one machine", at(nat.Outside, local), local, ""},
	} {
		if why, _ := set.forbidden(tt.leg, tt.to); why != tt.why {
			t.Errorf("%s: %q, want %q", tt.name, why, tt.why)
		}
	}
}
