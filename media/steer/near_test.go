//go:build linux

package steer

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
)

// Each family's ends of the cable, with a far end that is a neighbour and one behind a gateway.
var ends = []struct{ relay, second, neighbour, beyond string }{
	{relay4, relay4b, pbx4, beyond4},
	{relay6, relay6b, pbx6, beyond6},
}

// tap hears all packets of a family that reach the far end, from their IP header on.
func tap(t *testing.T, f *far, v6 bool) (fd int) {
	t.Helper()
	protocol := uint16(unix.ETH_P_IP)
	if v6 {
		protocol = unix.ETH_P_IPV6
	}
	f.do(func() {
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol<<8|protocol>>8)); err != nil {
			t.Error(err)
		}
	})
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// next is the next packet that ends with a payload.
func next(t *testing.T, fd int, payload []byte) []byte {
	t.Helper()
	for {
		buf := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			t.Fatalf("no packet: %v", err)
		}
		if bytes.HasSuffix(buf[:n], payload) {
			return buf[:n]
		}
	}
}

// Both ways put the same bytes on the wire, and they are those of an ordinary socket: mark, time to live, "don't fragment",
// identification, flow label, lengths, checksums.
func TestPacketsAreThoseOfAnOrdinarySocket(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range ends {
		a, to := netip.MustParseAddr(c.relay), netip.AddrPortFrom(netip.MustParseAddr(c.neighbour), 4000)
		fd, err := bind(netip.AddrPortFrom(a, 30000))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		ordinary := options{fd: fd}
		ordinary.mark(a.Is6(), 46)
		ordinary.whole(a.Is6())
		wire := tap(t, f, a.Is6())
		far, near := opened(t, a, false), opened(t, a, true)
		for i := range 20 {
			payload := bytes.Repeat([]byte{byte(i + 1)}, 100+i)
			if err := unix.Sendto(fd, payload, 0, sockaddr(to)); err != nil || ordinary.err != nil {
				t.Fatal(err, ordinary.err)
			}
			want := next(t, wire, payload)
			for name, o := range map[string]*outlet{"far": far, "near": near} {
				if why := o.emit(30000, to, payload); why != 0 {
					t.Fatalf("%s %s: %v", c.relay, name, why)
				}
				got := next(t, wire, payload)
				// An ordinary socket leaves its checksum to the device, and this device leaves it out.
				sumAt := len(got) - len(payload) - 2
				udp := got[sumAt-6:]
				pseudo := binary.BigEndian.AppendUint32(append(a.AsSlice(), to.Addr().AsSlice()...), uint32(len(udp)))
				pseudo = append(pseudo, 0, 0, 0, unix.IPPROTO_UDP)
				if all := slow(append(pseudo, udp...)); all != 0xffff { // a sum with its own checksum
					t.Errorf("%s %s: checksum %04x", c.relay, name, all)
				}
				copy(want[sumAt:], got[sumAt:sumAt+2])
				if !bytes.Equal(got, want) {
					t.Errorf("%s %s:\n%x, want\n%x", c.relay, name, got[:48], want[:48])
				}
			}
		}
	}
}

// Where the program may do what it needs to relay, it may do this as well.
func TestSourceIsNotAskedForEachPacket(t *testing.T) {
	if !alone(t) {
		return
	}
	lay(t)
	o := opened(t, netip.MustParseAddr(ends[0].relay), true)
	if v, err := unix.GetsockoptInt(o.fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT); err != nil || v != 1 {
		t.Errorf("IP_TRANSPARENT is %d: %v", v, err)
	}
}

// The outlets of neighbours are given no datagram: the kernel does not count them among those that hear, and makes them no copy.
func TestOutletsHearNothing(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range ends {
		o := opened(t, netip.MustParseAddr(c.relay), true)
		for _, list := range []string{"raw", "raw6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + list)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), ":0011 ") { // protocol 17
				t.Errorf("%s hears:\n%s", c.relay, b)
			}
		}
		// Where a kernel kept it on the list, the filter would have it keep nothing.
		fd, err := unix.Socket(family(netip.MustParseAddr(c.relay)), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
		if err != nil || keepNothing(fd) != nil {
			t.Fatal(err)
		}
		conns, _ := peersOf(t, f, c.neighbour, c.beyond)
		_, at := rig.At(t, c.relay)
		for range 100 {
			rig.Send(t, conns[0], rig.Packet, at)
		}
		for name, fd := range map[string]int{"outlet": o.fd, "filter": fd} {
			if used, lost := held(t, fd), dropped(fd); used != 0 || lost != 0 && name == "outlet" {
				t.Errorf("%s, %s: %d bytes queued, %d dropped", c.relay, name, used, lost)
			}
		}
		_ = unix.Close(fd)
	}
}

// held is how much memory what a socket has received takes.
func held(t *testing.T, fd int) uint32 {
	t.Helper()
	var v [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(v))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		t.Fatal(errno)
	}
	return v[unix.SK_MEMINFO_RMEM_ALLOC]
}

// The device that a socket was bound to when it was made, as in a VRF, stays so.
func TestDeafeningKeepsTheDevice(t *testing.T) {
	if !alone(t) {
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	o := options{fd: fd}
	o.set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1)
	o.deafen()
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); err != nil || o.err != nil || n != 1 {
		t.Errorf("device %d: %v, %v", n, err, o.err)
	}
}

// ICMP errors that somebody forges, of the kinds that an ordinary socket would be told, lose no packet.
func TestForgedErrors(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range ends {
		a := netip.MustParseAddr(c.relay)
		conns, at := peersOf(t, f, c.neighbour, c.beyond)
		wire := tap(t, f, a.Is6())
		for side, near := range []bool{true, false} {
			o := opened(t, a, near)
			payload := []byte("the packet that the error is about")
			if why := o.emit(30000, at[side], payload); why != 0 {
				t.Fatal(why)
			}
			buf := make([]byte, 2048)
			if _, _, err := rig.Receive(conns[side], buf); err != nil {
				t.Fatal(err)
			}
			original := next(t, wire, payload)
			for i := range 20 {
				f.do(func() { forge(t, a, byte(i), original) })
				if why := o.emit(30000, at[side], rig.Packet); why != 0 {
					t.Errorf("%s, near %v: %v", c.relay, near, why)
				}
				if n, _, err := rig.Receive(conns[side], buf); err != nil || n != len(rig.Packet) {
					t.Fatalf("%s, near %v, after %d: %d bytes: %v", c.relay, near, i, n, err)
				}
			}
			if v, err := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || v != 0 {
				t.Errorf("%s, near %v: pending %v: %v", c.relay, near, unix.Errno(v), err)
			}
		}
	}
}

// forge sends an ICMP error about a packet (RFC 792; RFC 4443 §3.1): destination unreachable, with each code by turns but
// that of the packet size, which is heeded.
func forge(t *testing.T, to netip.Addr, code byte, about []byte) {
	t.Helper()
	protocol, head := unix.IPPROTO_ICMP, []byte{3, code % 16, 0, 0, 0, 0, 0, 0}
	if to.Is6() {
		protocol, head = unix.IPPROTO_ICMPV6, []byte{1, code % 8, 0, 0, 0, 0, 0, 0} // the kernel writes the checksum
	} else if head[1] == 4 {
		head[1] = 2
	}
	fd, err := unix.Socket(family(to), unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = unix.Close(fd) }()
	m := append(head, about...)
	if !to.Is6() {
		binary.BigEndian.PutUint16(m[2:], slow(m))
	}
	if err := unix.Sendto(fd, m, 0, sockaddr(netip.AddrPortFrom(to, 0))); err != nil {
		t.Error(err)
	}
}

// Routes are chosen by the address that sends.
func TestRoutesByOwnAddress(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range ends {
		v := "-4"
		if strings.Contains(c.relay, ":") {
			v = "-6"
		}
		run(t, "ip", v, "rule", "add", "from", c.second, "lookup", "77", "priority", "77")
		run(t, "ip", v, "route", "add", "unreachable", "default", "table", "77")
		conns, at := peersOf(t, f, c.neighbour, c.beyond)
		for side := range conns {
			for _, near := range []bool{false, true} {
				if why := opened(t, netip.MustParseAddr(c.second), near).emit(30000, at[side], rig.Packet); why != unix.EHOSTUNREACH {
					t.Errorf("%s to %v, near %v: %v", c.second, at[side], near, why)
				}
				if why := opened(t, netip.MustParseAddr(c.relay), near).emit(30000, at[side], rig.Packet); why != 0 {
					t.Errorf("%s to %v, near %v: %v", c.relay, at[side], near, why)
				}
				if _, from, err := rig.Receive(conns[side], make([]byte, 2048)); err != nil || from.Addr().String() != c.relay {
					t.Errorf("%s to %v, near %v: from %v: %v", c.relay, at[side], near, from, err)
				}
			}
		}
	}
}

// A worker sends to a neighbour and beyond a gateway by different ways, and each stream in its order.
func TestBothWaysInOneBatch(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range ends {
		conns, at := peersOf(t, f, c.neighbour, c.beyond)
		var local [2]netip.AddrPort
		be, p := halted(t, func(b media.Backend) *media.Plane {
			p := rig.Plane(t, rig.Config(30000, c.relay), b)
			_, local = opaque(t, p, at)
			return p
		})
		const n = 20
		w := be.workers[0]
		for i := range n {
			for side := range conns {
				rig.Send(t, conns[side], []byte{0x0f, 0, byte(side), byte(i)}, local[side])
			}
		}
		ways := map[*outlet]int{}
		for range 2 * n {
			w.mark(w.Await(w.events[:]))
			for i := range w.intakes {
				in := &w.intakes[i]
				if !in.pending() {
					continue
				}
				in.receive()
				for ; in.next < in.n; in.next++ {
					w.judge(int64(time.Second), in, in.next)
				}
			}
			ways[&w.exits[0].near] += w.exits[0].near.n
			ways[&w.exits[0].far] += w.exits[0].far.n
			w.flush()
			if ways[&w.exits[0].near]+ways[&w.exits[0].far] == 2*n {
				break
			}
		}
		if ways[&w.exits[0].near] != n || ways[&w.exits[0].far] != n {
			t.Errorf("%s: %d near, %d far", c.relay, ways[&w.exits[0].near], ways[&w.exits[0].far])
		}
		for side := range conns {
			for i := range n {
				expect(t, conns[side], []byte{0x0f, 0, byte(1 - side), byte(i)})
			}
		}
		_ = p.Close()
	}
}

// Every page of the batches is there before the first datagram.
func TestBatchesAreTouched(t *testing.T) {
	for name, c := range map[string]struct {
		size    uintptr
		prepare func(unsafe.Pointer)
	}{
		"intake": {unsafe.Sizeof(intake{}), func(p unsafe.Pointer) { (*intake)(p).prepare() }},
		"outlet": {unsafe.Sizeof(outlet{}), func(p unsafe.Pointer) { (*outlet)(p).prepare(netip.MustParseAddr("::1"), 46, 64, true) }},
	} {
		page := os.Getpagesize()
		pages := (int(c.size) + page - 1) / page
		memory, err := unix.Mmap(-1, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Munmap(memory) }()
		if err := unix.Madvise(memory, unix.MADV_NOHUGEPAGE); err != nil {
			t.Log(err) // a kernel without huge pages
		}
		c.prepare(unsafe.Pointer(&memory[0]))
		there := make([]byte, pages)
		if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
			t.Fatal(errno)
		}
		for i := range there {
			if there[i]&1 == 0 {
				t.Errorf("%s: page %d of %d was not touched", name, i, pages)
			}
		}
	}
}
