//go:build linux

package steer

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// generator sends 50 packets a second for each stream and direction, evenly spread, from two sockets: the address of
// each packet's sender stands in its control message, so that every peer has an address of its own.
type generator struct {
	fds     [2]int // by side
	ports   [2]uint16
	streams []genStream
	sent    int
	arrived int
	strange int // from an unexpected relay address
	delays  []time.Duration

	batches [2]sendBatch
	in      recvBatch
}

// genStream is one direction of a stream: who sends, and to which port of the relay.
type genStream struct {
	side  int
	from  [4]byte
	to    unix.RawSockaddrInet4
	state [172]byte
	seq   uint16
}

// stamp is where a packet carries the moment of its sending.
const stamp = 12

const (
	pace       = 20 * time.Millisecond
	tick       = 500 * time.Microsecond
	atOnce     = 64
	controlLen = 32 // unix.CmsgSpace(SizeofInet4Pktinfo)
)

type sendBatch struct {
	msgs    [atOnce]mmsghdr
	iov     [atOnce]unix.Iovec
	control [atOnce][controlLen]byte
	n       int
}

type recvBatch struct {
	msgs [atOnce]mmsghdr
	iov  [atOnce]unix.Iovec
	from [atOnce]unix.RawSockaddrInet4
	when [atOnce]arrival
	buf  [atOnce][256]byte
}

// arrival is the control message of SO_TIMESTAMPNS.
type arrival struct {
	head unix.Cmsghdr
	at   unix.Timespec
}

// newGenerator opens the sockets on all loopback addresses, each with a port that is free.
func newGenerator() (*generator, error) {
	g := &generator{}
	for side := range g.fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		g.fds[side] = fd
		// Forced, where allowed: the generator must not be what loses packets.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return nil, err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
			return nil, err
		}
		at, err := unix.Getsockname(fd)
		if err != nil {
			return nil, err
		}
		g.ports[side] = uint16(at.(*unix.SockaddrInet4).Port)
	}
	return g, nil
}

func (g *generator) close() {
	for _, fd := range g.fds {
		_ = unix.Close(fd)
	}
}

// add takes in a stream: the peers' addresses and the relay's.
func (g *generator) add(peers, relay [2]netip.AddrPort) {
	for side := range peers {
		s := genStream{side: side, from: peers[side].Addr().As4()}
		s.to.Family, s.to.Addr = unix.AF_INET, relay[side].Addr().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.to.Port))[:], relay[side].Port())
		s.state[0] = 0x80
		binary.BigEndian.PutUint32(s.state[8:], uint32(len(g.streams)+1))
		g.streams = append(g.streams, s)
	}
}

// run sends a number of packets for each stream and direction, then waits for the stragglers.
func (g *generator) run(each int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.in.prepare()
	total := each * len(g.streams)
	step := pace / time.Duration(len(g.streams))
	start := time.Now()
	for next := 0; next < total; {
		due := min(total, int(time.Since(start)/step)+1)
		for ; next < due; next++ {
			g.put(&g.streams[next%len(g.streams)])
		}
		g.flush()
		g.drain()
		rest := unix.NsecToTimespec(int64(tick))
		_ = unix.Nanosleep(&rest, nil)
	}
	for end := time.Now().Add(300 * time.Millisecond); g.arrived < g.sent && time.Now().Before(end); {
		g.drain()
		rest := unix.NsecToTimespec(int64(tick))
		_ = unix.Nanosleep(&rest, nil)
	}
}

// put queues the next packet of a stream.
func (g *generator) put(s *genStream) {
	b := &g.batches[s.side]
	if b.n == atOnce {
		g.flush()
	}
	s.seq++
	binary.BigEndian.PutUint16(s.state[2:], s.seq)
	binary.BigEndian.PutUint32(s.state[4:], uint32(s.seq)*160)
	binary.BigEndian.PutUint64(s.state[stamp:], uint64(time.Now().UnixNano()))
	i := b.n
	b.iov[i] = unix.Iovec{Base: &s.state[0], Len: uint64(len(s.state))}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i][0]))
	c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	(*unix.Inet4Pktinfo)(unsafe.Pointer(&b.control[i][unix.CmsgLen(0)])).Spec_dst = s.from
	h := &b.msgs[i].hdr
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&s.to)), uint32(unsafe.Sizeof(s.to))
	h.Iov, h.Control = &b.iov[i], &b.control[i][0]
	h.SetIovlen(1)
	h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	b.n++
}

func (g *generator) flush() {
	for side := range g.batches {
		b := &g.batches[side]
		for at := 0; at < b.n; {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(g.fds[side]), uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(b.n-at), 0, 0, 0)
			if errno != 0 {
				break
			}
			at += int(n)
			g.sent += int(n)
		}
		b.n = 0
	}
}

func (b *recvBatch) prepare() {
	for i := range b.msgs {
		b.iov[i] = unix.Iovec{Base: &b.buf[i][0], Len: uint64(len(b.buf[i]))}
		h := &b.msgs[i].hdr
		h.Iov = &b.iov[i]
		h.SetIovlen(1)
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.from[i])), uint32(unsafe.Sizeof(b.from[i]))
		h.Control = (*byte)(unsafe.Pointer(&b.when[i]))
		h.SetControllen(int(unsafe.Sizeof(b.when[i])))
	}
}

func (g *generator) drain() {
	for side := range g.fds {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(g.fds[side]), uintptr(unsafe.Pointer(&g.in.msgs[0])), atOnce, unix.MSG_DONTWAIT, 0, 0)
			if errno != 0 || n == 0 {
				break
			}
			for i := range n {
				g.arrived++
				g.in.msgs[i].hdr.SetControllen(int(unsafe.Sizeof(g.in.when[i])))
				sent := int64(binary.BigEndian.Uint64(g.in.buf[i][stamp:]))
				g.delays = append(g.delays, time.Duration(g.in.when[i].at.Nano()-sent))
				// The packet of direction k must come out at the side where k does not go in.
				k := int(binary.BigEndian.Uint32(g.in.buf[i][8:])) - 1
				if k < 0 || k >= len(g.streams) || g.streams[k].side == side || g.streams[k^1].to != g.in.from[i] {
					g.strange++
				}
			}
			if n < atOnce {
				break
			}
		}
	}
}

// late is the median and the 99th percentile of the time between a packet's sending and the kernel's stamp on its arrival.
func (g *generator) late() (l [2]time.Duration) {
	if len(g.delays) == 0 {
		return l
	}
	slices.Sort(g.delays)
	return [2]time.Duration{g.delays[len(g.delays)/2], g.delays[len(g.delays)*99/100]}
}
