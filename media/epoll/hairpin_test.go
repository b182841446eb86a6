//go:build linux

package epoll

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// A proxy PBX hands the inside port of one call to the other: the audio of both phones goes through the kernel's
// loopback from call to call, both ways, RTP and RTCP, on one bind address and on two.
func TestHairpin(t *testing.T) {
	for name, c := range map[string]struct {
		inside  string
		options Options
	}{
		"one address":  {own(8), Options{}},
		"two":          {own(9), Options{}},
		"two, process": {own(9), Options{Process: true}}, // and two workers
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(own(8), 23500)
			cfg.Addresses[nat.Inside] = netip.MustParseAddr(c.inside)
			if c.options.Process {
				cfg.Workers = 2
			}
			p := plane(t, cfg, c.options)
			var phones, reports [2]*net.UDPConn
			var at, reportsAt [2]netip.AddrPort
			var ids [2]media.ID
			var local [2][2]netip.AddrPort
			for i := range ids {
				phones[i], at[i] = listen(t, own(10+byte(i))+":0")
				reports[i], reportsAt[i] = listen(t, own(10+byte(i))+":0")
				var err error
				if ids[i], local[i], err = p.Reserve(time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			for i, id := range ids {
				for side, w := range [2]media.Want{{RTP: at[i], RTCP: reportsAt[i]}, {RTP: local[1-i][nat.Inside]}} {
					w.Send, w.Receive = true, true
					if err := p.Point(id, nat.Side(side), w); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 20 {
				for from := range ids {
					to := 1 - from
					pass(t, phones[from], local[from][nat.Outside], phones[to], local[to][nat.Outside])
				}
			}
			for from := range ids {
				to := 1 - from
				passReport(t, reports[from], above(local[from][nat.Outside]), reports[to], above(local[to][nat.Outside]))
			}
			for i, id := range ids {
				legs, _ := p.Stats(id)
				for side, l := range legs {
					if l.Packets != 20 || l.Control != 1 || l.Sent != 21 || l.RejectedTotal() != 0 {
						t.Errorf("call %d, %v: %+v", i, nat.Side(side), l)
					}
				}
			}
		})
	}
}

func above(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// passReport is pass for an empty receiver report (RFC 3550 §6.4.2).
func passReport(t *testing.T, from *net.UDPConn, in netip.AddrPort, to *net.UDPConn, out netip.AddrPort) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort([]byte{0x80, 201, 0, 1, 1, 2, 3, 4}, in); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(5 * time.Second)) // a bound for failure, not a measure
	n, source, err := to.ReadFromUDPAddrPort(make([]byte, 64))
	if err != nil || n != 8 || netip.AddrPortFrom(source.Addr().Unmap(), source.Port()) != out {
		t.Fatalf("%d bytes from %v: %v", n, source, err)
	}
}
