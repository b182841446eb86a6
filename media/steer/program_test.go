//go:build linux

package steer

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sallyport/media"
)

// lookup runs a program on one packet's addresses and returns the cookie of the socket that it chose; 0: none.
func lookup(t rapid.TB, p *ebpf.Program, protocol uint32, local netip.AddrPort) uint64 {
	var ctx [72]byte // struct bpf_sk_lookup
	family := uint32(unix.AF_INET)
	at := ctx[ctxLocalIP4:]
	if local.Addr().Is6() {
		family, at = unix.AF_INET6, ctx[ctxLocalIP6:]
	}
	binary.NativeEndian.PutUint32(ctx[ctxFamily:], family)
	binary.NativeEndian.PutUint32(ctx[ctxProtocol:], protocol)
	copy(at, local.Addr().AsSlice())
	binary.NativeEndian.PutUint32(ctx[ctxLocalPort:], uint32(local.Port()))
	var out [72]byte
	verdict, err := p.Run(&ebpf.RunOptions{Context: ctx[:], ContextOut: out[:]})
	if err != nil {
		t.Fatal(err)
	}
	if verdict != 1 {
		t.Fatalf("verdict %d: the program drops nothing", verdict)
	}
	return binary.NativeEndian.Uint64(out[:])
}

// The program, run by the kernel for single addresses, chooses the socket of the leg's worker where media.Layout knows a
// leg whose pair is ours, and none anywhere else.
func TestProgramAgreesWithTheLayout(t *testing.T) {
	need(t)
	addresses := []netip.Addr{
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.200"), netip.MustParseAddr("10.0.0.1"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80:ffff:ffff:ffff:8000::1"),
	}
	fds, cookies := bothFamilies(t)
	rapid.Check(t, func(t *rapid.T) {
		l := media.Layout{First: rapid.IntRange(1, 30000).Draw(t, "first") * 2, Pairs: rapid.IntRange(1, 40).Draw(t, "pairs"), Blocks: 2}
		l.First = min(l.First, 65536-2*l.Pairs)
		l.Addresses[0] = rapid.SampledFrom(addresses).Draw(t, "outside")
		l.Addresses[1] = rapid.SampledFrom(addresses).Draw(t, "inside")
		if l.Addresses[0] == l.Addresses[1] {
			l.Blocks = 1
		}
		s, err := newSteering(l, len(fds), 0, perWindow)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for place, fd := range fds {
			if err := s.socket(place, fd); err != nil {
				t.Fatal(err)
			}
		}
		led := make(map[int]int)
		for pair := range l.Blocks * l.Pairs {
			if place := rapid.IntRange(-1, 1).Draw(t, "place"); place >= 0 {
				led[pair] = place
				if err := s.lead(pair, place); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 30 {
			at := netip.AddrPortFrom(rapid.SampledFrom(addresses).Draw(t, "to"),
				uint16(rapid.IntRange(max(0, l.First-3), min(65535, l.First+2*l.Pairs+3)).Draw(t, "port")))
			want := uint64(0)
			if leg, ok := l.Leg(at); ok {
				if place, ok := led[leg/2]; ok {
					want = cookies[place]
				}
			}
			if got := lookup(t, s.program, unix.IPPROTO_UDP, at); got != want {
				t.Fatalf("%v: socket %x, want %x", at, got, want)
			}
			if lookup(t, s.program, unix.IPPROTO_TCP, at) != 0 {
				t.Fatalf("%v: TCP was steered", at)
			}
		}
	})
}

// bothFamilies opens sockets that may be chosen for either family, and tells their cookies.
func bothFamilies(t *testing.T) (fds [2]int, cookies [2]uint64) {
	t.Helper()
	for i := range fds {
		var err error
		if fds[i], err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = unix.Close(fds[i]) })
		if err := unix.Bind(fds[i], &unix.SockaddrInet6{}); err != nil {
			t.Fatal(err)
		}
		if cookies[i], err = unix.GetsockoptUint64(fds[i], unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
			t.Fatal(err)
		}
	}
	return fds, cookies
}

// Beyond its share a pair's datagrams go to the sink of the family; those of another pair do not.
func TestProgramLimitsAPair(t *testing.T) {
	need(t)
	fds, cookies := bothFamilies(t)
	for family, address := range []string{"203.0.113.1", "2001:db8::1"} {
		a := netip.MustParseAddr(address)
		l := media.Layout{First: 4000, Pairs: 2, Blocks: 1, Addresses: [2]netip.Addr{a, a}}
		const limit, sink = 5, 2
		s, err := newSteering(l, 4, sink, limit)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for place, fd := range map[int]int{family: fds[0], sink + family: fds[1]} {
			if err := s.socket(place, fd); err != nil {
				t.Fatal(err)
			}
		}
		for pair := range l.Pairs {
			if err := s.lead(pair, family); err != nil {
				t.Fatal(err)
			}
		}
		chosen := make(map[uint64]int)
		const flood = 100000 // many more than pass in the windows that this takes
		for n := range flood {
			got := lookup(t, s.program, unix.IPPROTO_UDP, netip.AddrPortFrom(a, uint16(4000+n&1)))
			if chosen[got]++; n < limit && got != cookies[0] {
				t.Fatalf("%s: datagram %d was not heard", a, n)
			}
		}
		if heard, dropped := chosen[cookies[0]], chosen[cookies[1]]; heard+dropped != flood || dropped == 0 || heard > flood/10 {
			t.Errorf("%s: %v", a, chosen)
		}
		if lookup(t, s.program, unix.IPPROTO_UDP, netip.AddrPortFrom(a, 4002)) != cookies[0] {
			t.Errorf("%s: the other pair is not heard", a)
		}
	}
}
