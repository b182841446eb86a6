package policy

import (
	"testing"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// TestPeerByConnection: who has proven on the connection who it is needs no address of its own.
func TestPeerByConnection(t *testing.T) {
	g := newGuard(t, &Config{})
	face := *outsideTrunks
	face.Transport = nat.TLS
	data := msg{}.bytes()
	check := func(p *Peer) Verdict {
		var view scan.View
		err := scan.Scan(data, &view)
		return g.Check(&Packet{Now: noon, Interface: &face, Source: addrPort("198.51.100.66:40000"), Data: data, View: &view, ScanErr: err, Peer: p})
	}
	wantSays(t, check(nil), "drop unknown-trunk")
	wantSays(t, check(&Peer{Kind: Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: "itsp"}), "allow allow")
	wantSays(t, check(nil), "drop unknown-trunk") // its neighbour is nobody still
}
