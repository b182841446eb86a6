package tu

import (
	"net/netip"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// TestTowardKeepsItsClass: a request within a dialog may need another connection than the one that the dialog came by. What its two ends
// prove to each other is what the peer's always do.
func TestTowardKeepsItsClass(t *testing.T) {
	at := netip.MustParseAddrPort("203.0.113.20:5061")
	peer := &Peer{Kind: KindTrunk, Reach: []netip.Prefix{netip.PrefixFrom(at.Addr(), 32)}, Class: 7}
	for _, tt := range []struct {
		name, host string
		from, want nat.Flow
	}{
		{"by the connection that the peer has made", "203.0.113.20", nat.Flow{Transport: nat.TLS, Remote: netip.AddrPortFrom(at.Addr(), 40000), Conn: 3},
			nat.Flow{Transport: nat.TLS, Class: 7, Remote: at}},
		{"by ours", "203.0.113.20", nat.Flow{Transport: nat.TLS, Class: 7, Remote: at, Conn: 3}, nat.Flow{Transport: nat.TLS, Class: 7, Remote: at}},
		{"to nobody's address", "198.51.100.1", nat.Flow{Transport: nat.TLS, Remote: at, Conn: 3}, nat.Flow{Transport: nat.TLS, Remote: at, Conn: 3}},
		{"without TLS nothing is proven", "203.0.113.20", nat.Flow{Transport: nat.TCP, Remote: at, Conn: 3},
			nat.Flow{Transport: nat.TCP, Remote: netip.AddrPortFrom(at.Addr(), 5060)}},
	} {
		hop := Hop{Peer: peer, Flow: tt.from}
		if got := hop.Toward(message.URI{Scheme: "sip", Host: tt.host}); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
