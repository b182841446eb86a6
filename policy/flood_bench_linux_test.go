package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/sbc/scan"
)

// BenchmarkFlood is a REGISTER flood from ever new forged sources that is dropped for want of budget, and the same without
// the raw scan. Its floor is BenchmarkRecvfrom in sbc/transport: the two together may be 1.3 times that.
func BenchmarkFlood(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		for _, scanned := range []bool{true, false} {
			name := "IPv4"
			if v6 {
				name = "IPv6"
			}
			if scanned {
				name += " with scan"
			}
			b.Run(name, func(b *testing.B) {
				f := newFlooded(b, Sizes{}, &Config{Phones: PhonesConfig{Registrar: true}})
				for n := range uint32(5000) {
					f.g.AddPhone(addr4(0x0A000000 + n*97))
				}
				p := &Packet{Now: noon, Interface: outsidePhones, Data: f.data, View: &f.view}
				n := uint32(0)
				b.ReportAllocs()
				defer onCPU(b)()
				for b.Loop() {
					n++
					p.Now = p.Now.Add(20 * time.Microsecond) // 50,000 a second
					p.Source = netip.AddrPortFrom(forged(n, v6), 5060)
					if scanned {
						p.ScanErr = scan.Scan(p.Data, p.View)
					}
					f.g.Check(p)
				}
			})
		}
	}
}

// BenchmarkFloodShed is what a packet of a flood of 30,000 a second costs, most of which is shed.
func BenchmarkFloodShed(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		b.Run(fmt.Sprintf("IPv6 %v", v6), func(b *testing.B) {
			f := newFlooded(b, Sizes{}, &Config{Phones: PhonesConfig{Registrar: true}})
			for n := range uint32(5000) {
				f.g.AddPhone(addr4(0x0A000000 + n*97))
			}
			p := &Packet{Now: noon, Interface: outsidePhones, Data: f.data, View: &f.view}
			n := uint32(0)
			b.ReportAllocs()
			defer onCPU(b)()
			for b.Loop() {
				n++
				p.Now = p.Now.Add(time.Second / 30_000)
				p.Source = netip.AddrPortFrom(forged(n, v6), 5060)
				if f.g.Shed(p.Now, p.Interface, p.Source) {
					continue
				}
				p.ScanErr = scan.Scan(p.Data, p.View)
				f.g.Check(p)
			}
		})
	}
}
