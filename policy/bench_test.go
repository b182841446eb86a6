package policy

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/sbc/scan"
)

// BenchmarkGuard is one packet on each way through the guard, raw scan not included.
func BenchmarkGuard(b *testing.B) {
	for name, p := range paths(newGuard(b, busyConfig())) {
		b.Run(name, func(b *testing.B) {
			g := newGuard(b, busyConfig())
			paths(g)
			b.ReportAllocs()
			for b.Loop() {
				p.Now = p.Now.Add(10 * time.Microsecond)
				g.Check(p)
			}
		})
	}
}

// BenchmarkScanAndGuard is what a flood from ever new addresses costs.
func BenchmarkScanAndGuard(b *testing.B) {
	g := newGuard(b, busyConfig())
	data := msg{method: "REGISTER", agent: "friendly-scanner"}.bytes()
	var view scan.View
	p := &Packet{Now: noon, Interface: outsidePhones, Data: data, View: &view}
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		p.Source = netip.AddrPortFrom(addr4(n), 5060)
		p.ScanErr = scan.Scan(data, &view)
		p.Now = p.Now.Add(30 * time.Microsecond)
		g.Check(p)
	}
}

// BenchmarkDecide is the decision alone.
func BenchmarkDecide(b *testing.B) {
	g := newGuard(b, busyConfig())
	p := paths(g)["phone"]
	var s Subject
	s.readSource(p.Interface, p.Source)
	s.readMessage(p)
	s.Peer = g.directory().find(s.Side, s.Realm, s.Source.Addr())
	r := g.Rules()
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		Decide(now, &s, r, g.state)
	}
}
