package media

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDrain: its goroutine lives as long as a leg is tapped, and a while; records of handshakes come by another way.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layout := wireLayout()
		e := NewEngine(layout, time.Now().Add(-time.Second))
		var mu sync.Mutex
		var list []Tapped
		lost := 0
		d := NewDrain(e, Listener{Tapped: func(l []Tapped, n int) {
			mu.Lock()
			defer mu.Unlock()
			for i := range l {
				list = append(list, keptCopy(l[i]))
			}
			lost += n
		}})
		to := netip.MustParseAddrPort("192.0.2.1:4000")
		d.Sent(0, to, []byte("nobody asks"))
		c := Command{Leg: 0, Peer: int32(layout.Pairs * 2), Generation: 3, rtp: peerAt, rtcp: peerAt.at(4001), flags: flagSend | flagReceive, extras: extras{tap: TapWire}}
		d.Post(&c)
		e.Apply(1e9, &c)
		e.Packet(1e9, 0, farAt, room(voice(1, 7)))
		d.Sent(0, to, []byte("a record"))
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		if len(list) != 2 || string(list[0].Data) != "a record" || list[0].Generation != 3 || list[0].Remote.AddrPort() != to || list[1].Why != RejectedSource || lost != 0 {
			t.Errorf("%+v, %d lost", list, lost)
		}
		mu.Unlock()
		c.tap = 0
		d.Post(&c)
		time.Sleep(10 * time.Second)
		d.mu.Lock()
		if d.running {
			t.Error("it goes on")
		}
		d.mu.Unlock()
		c.tap = TapWire
		d.Post(&c)
		e.Packet(2e9, 0, farAt, room(voice(2, 7)))
		d.Close()
		d.Close()
		d.Post(&c)
		if len(list) != 3 {
			t.Errorf("%d copies: the last one is lost", len(list))
		}
	})
}
