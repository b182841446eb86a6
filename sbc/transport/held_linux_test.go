package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sallyport/nat"
)

// told is what Flush tells of one datagram.
type told struct {
	bytes int
	err   error
}

func (s *socket) flushed() (list []told) {
	s.Flush(func(n int, err error) { list = append(list, told{n, err}) })
	return list
}

func openTest(t testing.TB, addr string) *socket {
	t.Helper()
	k, err := openSocket(netip.AddrPortFrom(netip.MustParseAddr(addr), 0), 1<<20, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// TestHeld: what is held leaves at once, whole, in its order, each to its own destination; the caller's buffer is free.
func TestHeld(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			k := openTest(t, addr)
			like := k.LocalAddr().(*net.UDPAddr).AddrPort()
			var peers [2]*net.UDPConn
			var at [2]netip.AddrPort
			for i := range peers {
				peers[i], at[i] = peerSocket(t, like)
			}
			for round := range 3 { // the buffers are used again, for longer and for shorter ones
				size := func(i int) int { return 1 + (i*571+round*1999)%9000 }
				b := make([]byte, 9000)
				for i := range mostBatch {
					for j := range b {
						b[j] = byte(i)
					}
					if !k.Hold(b[:size(i)], at[i%2]) {
						t.Fatalf("datagram %d is not held", i)
					}
				}
				if k.Hold([]byte("one too many"), at[0]) {
					t.Error("more is held than there is room for")
				}
				list := k.flushed()
				if len(list) != mostBatch {
					t.Fatalf("told of %d", len(list))
				}
				for i, x := range list {
					if x.err != nil || x.bytes != size(i) {
						t.Errorf("datagram %d: %+v", i, x)
					}
					n, from, err := peers[i%2].ReadFromUDPAddrPort(b)
					if err != nil || from != like || !bytes.Equal(b[:n], bytes.Repeat([]byte{byte(i)}, size(i))) {
						t.Errorf("datagram %d: %d bytes from %v, %v", i, n, from, err)
					}
				}
			}
			if list := k.flushed(); list != nil {
				t.Errorf("sent twice: %v", list)
			}
		})
	}
}

// TestHeldNot: what cannot be sent at all is not taken; the ordinary way says why.
func TestHeldNot(t *testing.T) {
	k := openTest(t, "127.0.0.1")
	for name, to := range map[string]netip.AddrPort{
		"the other family": netip.MustParseAddrPort("[::1]:5060"), "nowhere": {},
	} {
		if k.Hold([]byte("x"), to) {
			t.Errorf("%s: held", name)
		}
	}
	if k.Hold(nil, netip.MustParseAddrPort("127.0.0.1:5060")) {
		t.Error("an empty one: held")
	}
	if !k.Hold([]byte("x"), netip.MustParseAddrPort("[::ffff:127.0.0.1]:5060")) {
		t.Error("IPv4 in IPv6 is IPv4")
	}
}

// TestHeldOneFails: one that the kernel refuses does not keep back those behind it, wherever it stands.
func TestHeldOneFails(t *testing.T) {
	k := openTest(t, "127.0.0.1")
	peer, good := peerSocket(t, k.LocalAddr().(*net.UDPAddr).AddrPort())
	bad := netip.AddrPortFrom(good.Addr(), 0) // nothing has port 0: EINVAL
	for _, order := range []string{"bgg", "gbg", "ggb", "bbg", "b", "bb"} {
		for i, kind := range order {
			to := good
			if kind == 'b' {
				to = bad
			}
			if !k.Hold(fmt.Append(nil, order, i), to) {
				t.Fatal("not held")
			}
		}
		list := k.flushed()
		if len(list) != len(order) {
			t.Fatalf("%s: told %v", order, list)
		}
		b := make([]byte, 100)
		for i, kind := range order {
			if kind == 'b' {
				if !errors.Is(list[i].err, syscall.EINVAL) {
					t.Errorf("%s, %d: %v", order, i, list[i].err)
				}
				continue
			}
			n, err := peer.Read(b)
			if err != nil || list[i].err != nil || string(b[:n]) != fmt.Sprint(order, i) {
				t.Errorf("%s, %d: %q, %v, %v", order, i, b[:n], err, list[i].err)
			}
		}
	}
}

// TestHeldBehindAnError: an ICMP error of an earlier datagram costs none of those that are held, and is reported.
func TestHeldBehindAnError(t *testing.T) {
	s, in, at := loopback(t, "127.0.0.1", known, nil)
	k := s.find(0).(*endpoint).conn.(*socket)
	peer, good := peerSocket(t, at)
	b := make([]byte, 100)
	for i := range 50 {
		dead := closedPort(t, at)
		_ = s.Send(nat.Flow{Remote: dead}, []byte("nobody hears this"))
		for j := range 3 {
			if !k.Hold(fmt.Append(nil, i, j), good) {
				t.Fatal("not held")
			}
		}
		for j, x := range k.flushed() {
			if n, err := peer.Read(b); x.err != nil || err != nil || string(b[:n]) != fmt.Sprint(i, j) {
				t.Fatalf("datagram %d %d: %q, %v, %v", i, j, b[:n], x.err, err)
			}
		}
	}
	in.wait(t, "the reports", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return len(in.refused) > 0
	})
}

// TestHeldAfterClose: the end of a socket leaves nothing that waits.
func TestHeldAfterClose(t *testing.T) {
	k := openTest(t, "127.0.0.1")
	to := k.LocalAddr().(*net.UDPAddr).AddrPort()
	k.Hold([]byte("x"), to)
	_ = k.Close()
	if list := k.flushed(); len(list) != 1 || !errors.Is(list[0].err, net.ErrClosed) {
		t.Errorf("told %v", list)
	}
}

func TestHeldDoesNotAllocate(t *testing.T) {
	k := openTest(t, "127.0.0.1")
	_, to := peerSocket(t, k.LocalAddr().(*net.UDPAddr).AddrPort())
	b, count := []byte(request("REGISTER", "a")), 0
	note := func(int, error) { count++ }
	if n := testing.AllocsPerRun(200, func() {
		for range 3 {
			k.Hold(b, to)
		}
		k.Flush(note)
	}); n != 0 || count == 0 {
		t.Errorf("%v allocations, %d sent", n, count)
	}
}

// TestRounds: what the program sends while it works off several datagrams leaves at their end, in its order; after one
// alone, and outside, it leaves at once.
func TestRounds(t *testing.T) {
	k := openTest(t, "127.0.0.1")
	peer, to := peerSocket(t, k.LocalAddr().(*net.UDPAddr).AddrPort())
	var waiting []int // datagrams that were held when each message was worked off
	var s *Set
	number := 0
	in := &inbox{outcome: func(Packet) Outcome {
		number++
		if err := s.Send(nat.Flow{Remote: to}, fmt.Append(nil, number)); err != nil {
			t.Error(err)
		}
		waiting = append(waiting, k.held.n)
		return Accepted
	}}
	s, _, _ = loopback(t, "127.0.0.1", known, func(c *Config) { c.Handler = in })
	e := newEndpoint(&s.config, face(1, nat.Outside, nat.Trunks, ours), k, 0)
	e.rounds = &s.rounds
	table := []opening{e}
	real := s.table.Swap(&table)
	defer s.table.Store(real)
	batch := &canned{data: []byte(request("OPTIONS", "a")), from: netip.MustParseAddrPort(theirs)}
	e.batches, e.line = batch, e
	e.face.ID = 0
	for _, n := range []int{1, 3, mostBatch, 1} {
		e.take(n)
	}
	want := slices.Concat([]int{0}, []int{1, 2, 3}, count(mostBatch), []int{0})
	if !slices.Equal(waiting, want) {
		t.Errorf("held %v, want %v", waiting, want)
	}
	b := make([]byte, 100)
	for i := range number {
		if n, err := peer.Read(b); err != nil || string(b[:n]) != fmt.Sprint(i+1) {
			t.Fatalf("datagram %d: %q, %v", i+1, b[:n], err)
		}
	}
	if c := e.snapshot(); c.Sent != uint64(number) || c.Lost+c.Failed != 0 {
		t.Errorf("counters %+v", c)
	}
}

func count(n int) (list []int) {
	for i := range n {
		list = append(list, i+1)
	}
	return list
}

// canned is a batch of the same datagram again and again.
type canned struct {
	batchConn
	data []byte
	from netip.AddrPort
}

func (c *canned) Datagram(int) ([]byte, netip.AddrPort) { return c.data, c.from }

// TestRoundsLeaveNothing: whoever sends while readers begin and end their rounds, nothing stays behind.
func TestRoundsLeaveNothing(t *testing.T) {
	s, _, at := loopback(t, "127.0.0.1", known, nil)
	_, to := peerSocket(t, at)
	const senders, readers, each = 3, 2, 400
	var all sync.WaitGroup
	message := []byte(strings.Repeat("x", 100))
	send := func() {
		if err := s.Send(nat.Flow{Remote: to}, message); err != nil && !errors.Is(err, ErrLost) {
			t.Error(err)
		}
	}
	for range senders {
		all.Go(func() {
			for range each {
				send()
			}
		})
	}
	for range readers {
		all.Go(func() {
			for range each {
				s.rounds.open.Add(1)
				send()
				s.rounds.end()
			}
		})
	}
	all.Wait()
	c := s.Counters()[0]
	if sum := c.Sent + c.Lost; sum != (senders+readers)*each || c.Failed != 0 {
		t.Errorf("%d of %d have left: %+v", sum, (senders+readers)*each, c)
	}
}
