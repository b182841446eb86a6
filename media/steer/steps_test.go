//go:build linux

package steer

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/queue"
	"sallyport/nat"
)

// halted is an open back end whose threads have ended: the test does their work step by step.
func halted(t *testing.T, p func(media.Backend) *media.Plane) (*worker, *media.Plane) {
	t.Helper()
	b := New(Options{})
	b.limit = unlimited
	made := p(b)
	w := b.workers[0]
	w.queue.Stop()
	b.threads.Wait()
	return w, made
}

// Between receive and send nothing is allocated, on either family and in batches of any size.
func TestRelayDoesNotAllocate(t *testing.T) {
	need(t)
	for _, c := range [][3]string{{own(5), own(6), own(7)}, {"::1", "::1", "::1"}} {
		a, aAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[1]), 0).String())
		_, bAt := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c[2]), 0).String())
		var local [2]netip.AddrPort
		var id media.ID
		w, p := halted(t, func(b media.Backend) *media.Plane {
			p, err := media.New(config(23600, c[0]), b, 1)
			if err != nil {
				t.Fatal(err)
			}
			id, local = call(t, p, [2]netip.AddrPort{aAt, bAt})
			return p
		})
		in := &w.intakes[0]
		if in.fd < 0 {
			in = &w.intakes[1]
		}
		now := int64(time.Second)
		if n := testing.AllocsPerRun(100, func() {
			for range 3 {
				if _, err := a.WriteToUDPAddrPort(packet, local[nat.Outside]); err != nil {
					t.Fatal(err)
				}
			}
			w.poll(unix.RawSyscall6, 0)
			w.relay(now, in)
		}); n != 0 {
			t.Errorf("%s: %v allocations for three relayed packets", c[0], n)
		}
		if legs, _ := p.Stats(id); legs[nat.Inside].Sent != 303 {
			t.Errorf("%s: %d sent", c[0], legs[nat.Inside].Sent)
		}
		_ = p.Close()
	}
}

// A batch on whose middle or end the engine fails is gone on with; all else of it is relayed.
func TestEngineFailure(t *testing.T) {
	need(t)
	for _, at := range []int{0, 2, 4} {
		a, aAt := listen(t, own(6)+":0")
		b, bAt := listen(t, own(7)+":0")
		var local [2]netip.AddrPort
		w, p := halted(t, func(be media.Backend) *media.Plane {
			p := planeOn(t, config(23700, own(5)), be)
			_, local = call(t, p, [2]netip.AddrPort{aAt, bAt})
			return p
		})
		const n = 5
		numbered := func(i int) []byte {
			payload := append([]byte(nil), packet...)
			payload[3] = byte(i + 1)
			return payload
		}
		for i := range n {
			send(t, a, numbered(i), local[nat.Outside])
		}
		w.poll(unix.RawSyscall6, 0)
		in := &w.intakes[0]
		in.receive()
		if in.n != n {
			t.Fatalf("%d datagrams", in.n)
		}
		// An address that lies beyond the engine's table stands for a bug of the engine.
		w.atlas.legs = 1 << 16
		setNetPort(&in.control[at].to.Port, 60000)
		w.queue = queue.Queue{}
		w.queue.Open(w.wakeFD, w.layout.Legs())
		var thread sync.WaitGroup
		thread.Go(w.run)
		for i := range n + 1 {
			if i == n {
				send(t, a, numbered(n), local[nat.Outside]) // the next batch
			}
			if i != at {
				expect(t, b, numbered(i))
			}
		}
		w.queue.Stop()
		thread.Wait()
		if got := p.Gauges().Rejected[media.RejectedInternal]; got != 1 {
			t.Errorf("%d failures counted", got)
		}
		_ = p.Close()
	}
}

func expect(t *testing.T, c *net.UDPConn, payload []byte) {
	t.Helper()
	buf := make([]byte, 2048)
	if n, err := receive(c, buf); err != nil || string(buf[:n]) != string(payload) {
		t.Fatalf("%d bytes, packet %d, want %d: %v", n, buf[3], payload[3], err)
	}
}
