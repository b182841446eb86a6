//go:build linux

package steer

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

// halted is an open back end whose threads have ended: the test does their work step by step.
func halted(t *testing.T, p func(media.Backend) *media.Plane) (*Backend, *media.Plane) {
	t.Helper()
	b := New(Options{})
	b.limit = unlimited
	made := p(b)
	b.crew.Stop()
	return b, made
}

// halves are a call over a back end whose threads have ended, with an endpoint at each side.
type halves struct {
	*Backend
	plane *media.Plane
	id    media.ID
	ends  [2]*net.UDPConn
	local [2]netip.AddrPort
}

// callOver sets a call up between endpoints of two addresses, through a third.
func callOver(t *testing.T, first uint16, addresses [3]string) (c halves) {
	t.Helper()
	var at [2]netip.AddrPort
	for side := range c.ends {
		c.ends[side], at[side] = rig.At(t, addresses[1+side])
	}
	c.Backend, c.plane = halted(t, func(b media.Backend) *media.Plane {
		p, err := media.New(rig.Config(first, addresses[0]), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		c.id, c.local = rig.Call(t, p, at)
		return p
	})
	return c
}

// Between receive and send nothing is allocated, on either family and in batches of any size.
func TestRelayDoesNotAllocate(t *testing.T) {
	need(t)
	for _, c := range [][3]string{{rig.Own(5), rig.Own(6), rig.Own(7)}, {"::1", "::1", "::1"}} {
		x := callOver(t, 23600, c)
		w := x.workers[0]
		in := &w.intakes[0]
		if in.fd < 0 {
			in = &w.intakes[1]
		}
		now := int64(time.Second)
		if n := testing.AllocsPerRun(100, func() {
			for range 3 {
				if _, err := x.ends[nat.Outside].WriteToUDPAddrPort(rig.Packet, x.local[nat.Outside]); err != nil {
					t.Fatal(err)
				}
			}
			w.look()
			w.relay(now, in)
		}); n != 0 {
			t.Errorf("%s: %v allocations for three relayed packets", c[0], n)
		}
		if legs, _ := x.plane.Stats(x.id); legs[nat.Inside].Sent != 303 {
			t.Errorf("%s: %d sent", c[0], legs[nat.Inside].Sent)
		}
		_ = x.plane.Close()
	}
}

// A batch on whose middle or end the engine fails is gone on with; all else of it is relayed.
func TestEngineFailure(t *testing.T) {
	need(t)
	for _, at := range []int{0, 2, 4} {
		a, aAt := rig.At(t, rig.Own(6))
		b, bAt := rig.At(t, rig.Own(7))
		var local [2]netip.AddrPort
		halt, p := halted(t, func(be media.Backend) *media.Plane {
			p := rig.Plane(t, rig.Config(23700, rig.Own(5)), be)
			_, local = rig.Call(t, p, [2]netip.AddrPort{aAt, bAt})
			return p
		})
		const n = 5
		numbered := func(i int) []byte {
			payload := append([]byte(nil), rig.Packet...)
			payload[3] = byte(i + 1)
			return payload
		}
		for i := range n {
			rig.Send(t, a, numbered(i), local[nat.Outside])
		}
		w := halt.workers[0]
		w.look()
		in := &w.intakes[0]
		in.receive()
		if in.n != n {
			t.Fatalf("%d datagrams", in.n)
		}
		// An address that lies beyond the engine's table stands for a bug of the engine.
		w.atlas.legs = 1 << 16
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&in.control[at].destination().to.Port))[:], 60000)
		halt.crew.Start()
		for i := range n + 1 {
			if i == n {
				rig.Send(t, a, numbered(n), local[nat.Outside]) // the next batch
			}
			if i != at {
				expect(t, b, numbered(i))
			}
		}
		halt.crew.Stop()
		if got := p.Gauges().Rejected[media.RejectedInternal]; got != 1 {
			t.Errorf("%d failures counted", got)
		}
		_ = p.Close()
	}
}

func expect(t *testing.T, c *net.UDPConn, payload []byte) {
	t.Helper()
	buf := make([]byte, 2048)
	if n, _, err := rig.Receive(c, buf); err != nil || string(buf[:n]) != string(payload) {
		t.Fatalf("%d bytes, packet %d, want %d: %v", n, buf[3], payload[3], err)
	}
}
