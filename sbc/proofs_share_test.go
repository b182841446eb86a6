package sbc

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// TestTrunksAtOneAddress: what stands in the configuration counts before what DNS has led there, wherever in the file it stands.
func TestTrunksAtOneAddress(t *testing.T) {
	at := netip.MustParseAddrPort("203.0.113.20:5061")
	roots := x509.NewCertPool()
	trunk := func(name, host, ca string) config.Trunk {
		return config.Trunk{
			Name: name, Peers: []config.Peer{{Address: at, Name: config.Name{Host: host}, Transport: nat.TLS}, {Address: at, Transport: nat.UDP}},
			TLS: config.TrunkTLS{CA: ca},
		}
	}
	a, b, c := trunk("a", "sip.a.example", ""), trunk("b", "", ""), trunk("c", "sip.c.example", "c.pem")
	again, other := trunk("again", "sip.c.example", "c.pem"), trunk("other", "", "other.pem")
	registrar := config.Trunk{Name: "r", Registration: &config.TrunkRegistration{Targets: a.Peers}}
	for _, tt := range []struct {
		name    string
		trunks  []config.Trunk
		names   string // that count; "-": the address
		private bool   // c's authorities
		clashes int
	}{
		{"one name", []config.Trunk{a}, "sip.a.example", false, 0},
		{"a registrar's name", []config.Trunk{registrar}, "sip.a.example", false, 0},
		{"an address", []config.Trunk{b}, "-", false, 0},
		{"an address behind a name", []config.Trunk{a, b}, "-", false, 0},
		{"an address before a name", []config.Trunk{b, a}, "-", false, 0},
		{"a section behind a name", []config.Trunk{a, c}, "sip.c.example", true, 0},
		{"a section before a name", []config.Trunk{c, a, registrar}, "sip.c.example", true, 0},
		{"a section and an address", []config.Trunk{b, c}, "sip.c.example", true, 0},
		{"two names", []config.Trunk{a, trunk("d", "sip.d.example", "")}, "sip.a.example sip.d.example", false, 0},
		{"the same section twice", []config.Trunk{c, again}, "sip.c.example", true, 0},
		{"two sections", []config.Trunk{a, c, other}, "sip.c.example", true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			read := map[string]*transport.Identity{"c": {Roots: roots}, "again": {Roots: roots}, "other": {Roots: x509.NewCertPool()}}
			p := newProofs(&config.Snapshot{Trunks: tt.trunks}, read)
			who, names := p.towards[at], "-"
			if who != nil {
				names = strings.Join(who.Names, " ")
			}
			if names != tt.names || (who != nil && who.Roots == roots) != tt.private || len(p.clashes) != tt.clashes {
				t.Errorf("it must prove to be %s, roots %v, clashes %q", names, who != nil && who.Roots == roots, p.clashes)
			}
			if len(read["c"].Names) != 0 {
				t.Error("what was read has changed")
			}
			log, seen := observer.New(zap.WarnLevel)
			s := &SBC{log: zap.New(log)}
			s.prove(p)
			s.prove(newProofs(&config.Snapshot{Trunks: slices.Clone(tt.trunks)}, read))
			if seen.Len() != tt.clashes {
				t.Errorf("the log says %v", seen.All())
			}
		})
	}
}
