package natlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

var (
	addrA  = netip.MustParseAddr("192.0.2.1")
	addrB  = netip.MustParseAddr("192.0.2.2")
	addrC  = netip.MustParseAddr("192.0.2.3")
	anyone netip.Addr
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab runs f in a bubble with a network and a socket on 5060 of A and of B.
func lab(t *testing.T, o Options, f func(t *testing.T, n *Network, a, b *PacketConn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(o)
		defer n.Close()
		f(t, n, listen(t, n.Host(addrA), 5060), listen(t, n.Host(addrB), 5060))
	})
}

func listen(t *testing.T, h *Host, port uint16) *PacketConn {
	t.Helper()
	c, err := h.ListenUDP(port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addrOf(c *PacketConn) netip.AddrPort { return c.local }

func write(t *testing.T, c *PacketConn, dst netip.AddrPort, b []byte) {
	t.Helper()
	if n, err := c.WriteToUDPAddrPort(b, dst); err != nil || n != len(b) {
		t.Fatalf("write to %v: %d, %v", dst, n, err)
	}
}

// sendNumbers sends 0 … count−1 from a to b.
func sendNumbers(t *testing.T, a, b *PacketConn, count int) {
	t.Helper()
	for i := range count {
		write(t, a, addrOf(b), binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
}

// drain reads numbers until nothing comes for an hour.
func drain(t *testing.T, c *PacketConn) (got []int) {
	t.Helper()
	buf := make([]byte, 64)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, int(binary.BigEndian.Uint32(buf[:n])))
	}
}

func checkSum(t *testing.T, n *Network) {
	t.Helper()
	c := n.Counters()
	if c.Sent+c.Duplicated != c.Delivered+c.Lost+c.TooLong+c.NoHost+c.NoPort+c.Overflow+c.Filtered {
		t.Errorf("the counters do not add up: %+v", c)
	}
}

func TestPerfectPath(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, a, b *PacketConn) {
		start := time.Now()
		write(t, a, addrOf(b), []byte("hello"))
		buf := make([]byte, 16)
		got, src, err := b.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:got]) != "hello" || src != addrOf(a) {
			t.Fatalf("got %q from %v, %v", buf[:got], src, err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v on a path without delay", d)
		}
		if c := n.Counters(); c != (Counters{Sent: 1, Delivered: 1}) {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestDelayIsExact(t *testing.T) {
	lab(t, Options{Link: Link{Delay: 30 * time.Millisecond}}, func(t *testing.T, n *Network, a, b *PacketConn) {
		n.Impair(addrB, anyone, Link{Delay: time.Second})
		buf := make([]byte, 16)
		for _, c := range []struct {
			from, to *PacketConn
			want     time.Duration
		}{{a, b, 30 * time.Millisecond}, {b, a, time.Second}} {
			start := time.Now()
			write(t, c.from, addrOf(c.to), []byte("x"))
			if _, _, err := c.to.ReadFromUDPAddrPort(buf); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != c.want {
				t.Errorf("took %v, want %v", d, c.want)
			}
		}
	})
}

// The timer of a far arrival must not hold back a nearer one that is sent later.
func TestNearerArrivalComesFirst(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, a, b *PacketConn) {
		c := listen(t, n.Host(addrC), 5060)
		n.Impair(addrA, addrB, Link{Delay: time.Minute})
		n.Impair(addrC, addrB, Link{Delay: time.Second})
		write(t, a, addrOf(b), []byte{0, 0, 0, 1})
		write(t, c, addrOf(b), []byte{0, 0, 0, 2})
		if got := drain(t, b); !slices.Equal(got, []int{2, 1}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestOrderIsKeptUnderJitter(t *testing.T) {
	link := Link{Delay: time.Millisecond, Jitter: 50 * time.Millisecond, Loss: 0.1, Duplicate: 0.1}
	lab(t, Options{Seed: 7, Link: link}, func(t *testing.T, n *Network, a, b *PacketConn) {
		sendNumbers(t, a, b, 2000)
		got := drain(t, b)
		if !slices.IsSorted(got) || len(got) < 1500 {
			t.Errorf("%d arrived, in order: %v", len(got), slices.IsSorted(got))
		}
		checkSum(t, n)
	})
}

// A path that gets faster must not let new datagrams overtake those under way.
func TestOrderIsKeptWhenDelayShrinks(t *testing.T) {
	lab(t, Options{Link: Link{Delay: time.Second}}, func(t *testing.T, n *Network, a, b *PacketConn) {
		write(t, a, addrOf(b), []byte{0, 0, 0, 1})
		n.Impair(addrA, addrB, Link{})
		write(t, a, addrOf(b), []byte{0, 0, 0, 2})
		if got := drain(t, b); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestReorder(t *testing.T) {
	link := Link{Jitter: 50 * time.Millisecond, Reorder: true}
	lab(t, Options{Seed: 7, Link: link}, func(t *testing.T, _ *Network, a, b *PacketConn) {
		sendNumbers(t, a, b, 500)
		got := drain(t, b)
		if slices.IsSorted(got) {
			t.Error("nothing was reordered")
		}
		slices.Sort(got)
		for i, v := range got {
			if i != v {
				t.Fatalf("datagram %d is missing or doubled", i)
			}
		}
	})
}

// The measured shares lie within five standard deviations of the set ones.
func TestLossAndDuplicateShares(t *testing.T) {
	const sent = 20000
	for _, share := range []float64{0, 0.01, 0.05, 0.5, 1} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			lab(t, Options{Seed: 42, Link: Link{Loss: share}, Buffer: 1 << 30},
				func(t *testing.T, n *Network, a, b *PacketConn) {
					n.Impair(addrB, addrA, Link{Duplicate: share})
					sendNumbers(t, a, b, sent)
					sendNumbers(t, b, a, sent)
					within(t, "lost", sent, sent-len(drain(t, b)), share)
					within(t, "doubled", sent, len(drain(t, a))-sent, share)
					c := n.Counters()
					within(t, "counted lost", sent, int(c.Lost), share)
					within(t, "counted doubled", sent, int(c.Duplicated), share)
					checkSum(t, n)
				})
		})
	}
}

func within(t *testing.T, what string, of, got int, share float64) {
	t.Helper()
	want := share * float64(of)
	if dev := 5 * math.Sqrt(want*(1-share)); math.Abs(float64(got)-want) > dev {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, got, of, want, dev)
	}
}

func TestSeedReplays(t *testing.T) {
	run := func(seed uint64) (got []int) {
		link := Link{Loss: 0.3, Duplicate: 0.2, Jitter: time.Second, Reorder: true}
		lab(t, Options{Seed: seed, Link: link}, func(t *testing.T, n *Network, a, b *PacketConn) {
			c := listen(t, n.Host(addrC), 5060)
			for i := range 300 {
				write(t, a, addrOf(b), binary.BigEndian.AppendUint32(nil, uint32(i)))
				if seed == 1 { // what others send changes nothing
					write(t, c, addrOf(a), []byte("noise"))
				}
			}
			got = drain(t, b)
		})
		return got
	}
	if first := run(1); !slices.Equal(first, run(1)) {
		t.Error("equal seeds, different runs")
	} else if slices.Equal(first, run(2)) {
		t.Error("different seeds, equal runs")
	}
}

func TestImpairPrecedence(t *testing.T) {
	n := New(Options{Link: Link{MTU: 1}})
	defer n.Close()
	n.Impair(anyone, addrB, Link{MTU: 2})
	if got := n.link(addrA, addrB).MTU; got != 2 {
		t.Errorf("(any, to): %d", got)
	}
	n.Impair(addrA, anyone, Link{MTU: 3})
	if got := n.link(addrA, addrB).MTU; got != 3 {
		t.Errorf("(from, any): %d", got)
	}
	n.Impair(addrA, addrB, Link{MTU: 4})
	if got := n.link(addrA, addrB).MTU; got != 4 {
		t.Errorf("(from, to): %d", got)
	}
	if got := n.link(addrB, addrA).MTU; got != 1 {
		t.Errorf("the other direction: %d", got)
	}
	n.Impair(anyone, anyone, Link{MTU: 5})
	if got := n.link(addrB, addrA).MTU; got != 5 {
		t.Errorf("(any, any): %d", got)
	}
}

func TestInjectForgesTheSource(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, _, b *PacketConn) {
		forged := netip.MustParseAddrPort("203.0.113.9:5060")
		if err := n.Inject(forged, addrOf(b), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, src, err := b.ReadFromUDPAddrPort(make([]byte, 8)); err != nil || src != forged {
			t.Errorf("from %v, %v", src, err)
		}
	})
}

func TestFloodFromForgedSourcesIsBounded(t *testing.T) {
	lab(t, Options{}, func(t *testing.T, n *Network, _, b *PacketConn) {
		src := netip.MustParseAddr("198.18.0.0")
		for range maxPaths + 1000 {
			src = src.Next()
			if err := n.Inject(netip.AddrPortFrom(src, 5060), addrOf(b), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if len(n.paths) > maxPaths {
			t.Errorf("%d paths remembered", len(n.paths))
		}
		checkSum(t, n)
	})
}

func TestObserveSeesWhatIsLost(t *testing.T) {
	lab(t, Options{Link: Link{Loss: 1}}, func(t *testing.T, n *Network, a, b *PacketConn) {
		var seen []Datagram
		n.Observe(func(d Datagram) { seen = append(seen, d) })
		write(t, a, addrOf(b), []byte("x"))
		n.Observe(nil)
		write(t, a, addrOf(b), []byte("y"))
		if len(seen) != 1 || seen[0].Src != addrOf(a) || seen[0].Dst != addrOf(b) || string(seen[0].Payload) != "x" ||
			!seen[0].At.Equal(time.Now()) {
			t.Errorf("saw %+v", seen)
		}
	})
}

// Whatever the link, the counters add up, nothing is invented, and without Reorder each pair keeps its order.
func TestAnyLink(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		share := rapid.Float64Range(0, 1)
		link := Link{
			Loss: share.Draw(rt, "loss"), Duplicate: share.Draw(rt, "duplicate"),
			Delay:   time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "delay")),
			Jitter:  time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "jitter")),
			Reorder: rapid.Bool().Draw(rt, "reorder"),
		}
		count, pause := rapid.IntRange(0, 60).Draw(rt, "count"), rapid.IntRange(0, 1e8).Draw(rt, "pause")
		seed := rapid.Uint64().Draw(rt, "seed")
		lab(t, Options{Seed: seed, Link: link}, func(t *testing.T, n *Network, a, b *PacketConn) {
			for i := range count {
				write(t, a, addrOf(b), binary.BigEndian.AppendUint32(nil, uint32(i)))
				time.Sleep(time.Duration(pause)) // virtual
			}
			got := drain(t, b)
			checkSum(t, n)
			if !link.Reorder && !slices.IsSorted(got) {
				t.Errorf("order broken: %v", got)
			}
			seen := make(map[int]int)
			for _, v := range got {
				if seen[v]++; seen[v] > 2 || v >= count {
					t.Errorf("datagram %d came %d times", v, seen[v])
				}
			}
		})
	})
}

// Two hosts bounce a datagram for a virtual day: no goroutine, timer or buffer may stay.
func TestLongRun(t *testing.T) {
	link := Link{Delay: 40 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Reorder: true}
	lab(t, Options{Seed: 3, Link: link}, func(t *testing.T, n *Network, a, b *PacketConn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 8)
			for {
				k, src, err := b.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				_, _ = b.WriteToUDPAddrPort(buf[:k], src)
			}
		})
		end, heard := time.Now().Add(24*time.Hour), 0
		for buf := make([]byte, 8); time.Now().Before(end); {
			write(t, a, addrOf(b), []byte("ping"))
			_ = a.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, _, err := a.ReadFromUDPAddrPort(buf); err == nil {
				heard++
				time.Sleep(20 * time.Second)
			}
		}
		_ = b.Close()
		wg.Wait()
		if heard < 3000 || len(n.transit) > 1 {
			t.Errorf("%d answers, %d under way", heard, len(n.transit))
		}
	})
}
