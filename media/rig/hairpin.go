//go:build linux

package rig

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/thread"
	"sallyport/nat"
)

// report is an empty receiver report (RFC 3550 §6.4.2).
var report = []byte{0x80, 201, 0, 1, 1, 2, 3, 4}

// hairpin: a proxy PBX hands the inside port of one call to the other. The audio of both phones goes through the kernel's
// loopback from call to call, both ways, RTP and RTCP.
func hairpin(t *testing.T, s suite) {
	for name, c := range map[string]struct {
		addresses []string
		phones    [2]string
		process   bool
		workers   int
	}{
		"one address":              {[]string{Own(8)}, [2]string{Own(10), Own(11)}, false, 1},
		"two":                      {[]string{Own(8), Own(9)}, [2]string{Own(10), Own(11)}, false, 1},
		"a process, two workers":   {[]string{Own(8), Own(9)}, [2]string{Own(10), Own(11)}, true, 2},
		"IPv6":                     {[]string{"::1"}, [2]string{"::1", "::1"}, false, 1},
		"IPv6, a process of media": {[]string{"::1"}, [2]string{"::1", "::1"}, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := s.config(c.addresses...)
			cfg.Workers = c.workers
			h := newTwoCalls(t, Plane(t, cfg, s.open(thread.Options{Process: c.process})), c.phones)
			for range 20 {
				for from := range h.ids {
					to := 1 - from
					Pass(t, h.audio[from], h.local[from][nat.Outside], h.audio[to], h.local[to][nat.Outside], Packet)
				}
			}
			for from := range h.ids {
				to := 1 - from
				Pass(t, h.reports[from], above(h.local[from][nat.Outside]), h.reports[to], above(h.local[to][nat.Outside]), report)
			}
			for i, id := range h.ids {
				legs, _ := h.plane.Stats(id)
				for side, l := range legs {
					if l.Packets != 20 || l.Control != 1 || l.Sent != 21 || l.RejectedTotal() != 0 {
						t.Errorf("call %d, %v: %+v", i, nat.Side(side), l)
					}
				}
			}
		})
	}
}

// twoCalls are joined behind the relay, each with a phone outside.
type twoCalls struct {
	plane          *media.Plane
	ids            [2]media.ID
	local          [2][2]netip.AddrPort
	audio, reports [2]*net.UDPConn
}

func newTwoCalls(t *testing.T, p *media.Plane, phones [2]string) *twoCalls {
	t.Helper()
	h := &twoCalls{plane: p}
	var outside [2]media.Want
	for i, at := range phones {
		h.audio[i], outside[i].RTP = At(t, at)
		h.reports[i], outside[i].RTCP = At(t, at)
		var err error
		if h.ids[i], h.local[i], err = p.Reserve(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range h.ids {
		for side, w := range [2]media.Want{outside[i], {RTP: h.local[1-i][nat.Inside]}} {
			w.Send, w.Receive = true, true
			if err := p.Point(id, nat.Side(side), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

func above(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }
