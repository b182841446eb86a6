package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a UDP socket of the kernel. One goroutine reads; any may write.
type socket struct {
	*net.UDPConn
	raw    syscall.RawConn
	buffer int  // receive buffer that the kernel gave, bytes
	v6     bool // the family
	zone   uint32

	out [2]sender

	// stale says that a write has eaten the mark of an ICMP error; the report still waits in the error queue.
	stale atomic.Bool

	drops atomic.Uint64 // datagrams that the kernel dropped for want of buffer

	// Of the reader alone:
	in           receiver
	given, taken int // datagrams of the batch, for who reads them one by one
	lastDrops    uint32
	refused      []netip.AddrPort // destinations that ICMP refused, not yet reported
}

// What errors of other datagrams may cost a send: each try tells one of them and returns at once, and the reader that
// empties the error queue brings up the next one each time. Only a refused port is surely another datagram's error; the
// rest may be the kernel's word about this one.
const mostRetries, mostRefused = 8, 128

// sendBuffer holds a burst; a larger one would only make datagrams old.
const sendBuffer = 1 << 20

// openSocket binds to a concrete address. Buffer and marking are wishes; everything else must work.
func openSocket(bind netip.AddrPort, receive, dscp int) (*socket, error) {
	network := "udp4"
	if !bind.Addr().Unmap().Is4() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(bind))
	if err != nil {
		return nil, err
	}
	s := &socket{UDPConn: conn, v6: network == "udp6"}
	s.in.init()
	if err := s.prepare(receive, dscp); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) prepare(receive, dscp int) (err error) {
	if s.raw, err = s.SyscallConn(); err != nil {
		return err
	}
	if local := s.UDPConn.LocalAddr().(*net.UDPAddr); local.Zone != "" {
		if i, err := net.InterfaceByName(local.Zone); err == nil {
			s.zone = uint32(i.Index)
		}
	}
	for i := range s.out {
		s.out[i].call = s.out[i].sendto
	}
	var failed error
	err = s.raw.Control(func(fd uintptr) { failed = s.setOptions(int(fd), receive, dscp) })
	return errors.Join(err, failed)
}

// option is one socket option that must be set.
type option struct {
	name        string
	level, what int
	value       int
}

func (s *socket) setOptions(fd, receive, dscp int) error {
	options := []option{
		// RFC 3261 §18.4: the transport hears of ICMP errors, each with the destination that it is about.
		{"IP_RECVERR", syscall.IPPROTO_IP, syscall.IP_RECVERR, 1},
		// Large messages over UDP are fragmented, whatever the path MTU is believed to be.
		{"IP_MTU_DISCOVER", syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_DONT},
		{"IP_TOS", syscall.IPPROTO_IP, syscall.IP_TOS, dscp << 2},
	}
	if s.v6 {
		options = []option{
			{"IPV6_RECVERR", syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1},
			{"IPV6_MTU_DISCOVER", syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, syscall.IPV6_PMTUDISC_DONT},
			{"IPV6_TCLASS", syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS, dscp << 2},
		}
	}
	options = append(options, option{"SO_RXQ_OVFL", syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1})
	for _, o := range options {
		if err := syscall.SetsockoptInt(fd, o.level, o.what, o.value); err != nil {
			return os.NewSyscallError("setsockopt "+o.name, err)
		}
	}
	s.setBuffers(fd, receive)
	return nil
}

// setBuffers asks past net.core.rmem_max where the process may, and for what is allowed otherwise.
func (s *socket) setBuffers(fd, receive int) {
	for _, b := range [...]struct{ force, polite, size int }{
		{syscall.SO_RCVBUFFORCE, syscall.SO_RCVBUF, receive},
		{syscall.SO_SNDBUFFORCE, syscall.SO_SNDBUF, sendBuffer},
	} {
		if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, b.force, b.size) != nil {
			_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, b.polite, b.size) // what it got is read below
		}
	}
	if got, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF); err == nil {
		s.buffer = got / 2 // the kernel tells twice what it counts for data (socket(7))
	}
}

// ReadBatch waits for datagrams, or for the report of an ICMP error, and tells how many there are. They stay until the next
// read.
func (s *socket) ReadBatch() (int, error) {
	for {
		if len(s.refused) > 0 {
			to := s.refused[0]
			s.refused = s.refused[1:]
			return 0, unreachable(to)
		}
		if s.stale.Swap(false) {
			s.drain()
			continue
		}
		err := s.in.receive(s.raw)
		switch {
		case err == nil:
			s.noteDrops(s.in.ancillary(s.in.n - 1)) // the last one has the latest count
			return s.in.n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = s.SetReadDeadline(time.Time{}) // a writer woke us: stale is set
		case refusal(err):
			s.drain()
		default:
			return 0, err
		}
	}
}

// Datagram is datagram i of the last batch.
func (s *socket) Datagram(i int) ([]byte, netip.AddrPort) { return s.in.datagram(i) }

// ReadFromUDPAddrPort is for whoever reads one datagram after the other.
func (s *socket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if s.given >= s.taken {
		n, err := s.ReadBatch()
		if err != nil {
			return 0, netip.AddrPort{}, err
		}
		s.given, s.taken = 0, n
	}
	data, src := s.Datagram(s.given)
	s.given++
	return copy(b, data), src, nil
}

// noteDrops reads the kernel's count of dropped datagrams. It stands beside a datagram only if there were any.
func (s *socket) noteDrops(oob []byte) {
	header := syscall.CmsgLen(0)
	if len(oob) < header+4 {
		return
	}
	level := binary.NativeEndian.Uint32(oob[header-8:])
	kind := binary.NativeEndian.Uint32(oob[header-4:])
	if level != syscall.SOL_SOCKET || kind != syscall.SO_RXQ_OVFL {
		return
	}
	now := binary.NativeEndian.Uint32(oob[header:])
	s.drops.Add(uint64(now - s.lastDrops)) // the kernel's counter wraps
	s.lastDrops = now
}

func (s *socket) kernelDrops() uint64 { return s.drops.Load() }

// WriteToUDPAddrPort sends by one system call that never waits. ErrLost means a full send buffer.
func (s *socket) WriteToUDPAddrPort(b []byte, dst netip.AddrPort) (int, error) {
	if !dst.IsValid() || dst.Addr().Unmap().Is4() == s.v6 {
		return 0, syscall.EAFNOSUPPORT
	}
	o := &s.out[0]
	if !o.TryLock() { // the reader answers while the core sends
		o = &s.out[1]
		o.Lock()
	}
	defer o.Unlock()
	o.aim(b, dst, s.zone, s.v6)
	err := o.send(s.raw)
	// An ICMP error was waiting for somebody to tell: the kernel has not tried this datagram (udp(7)). Wake the reader,
	// which finds out whose error it was, and try again; several may wait in a row.
	for try := 0; refusal(err) && (try < mostRetries || try < mostRefused && errors.Is(err, syscall.ECONNREFUSED)); try++ {
		s.stale.Store(true)
		_ = s.SetReadDeadline(time.Unix(1, 0))
		err = o.send(s.raw)
	}
	o.b = nil
	switch {
	case err == nil:
		return len(b), nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM),
		errors.Is(err, syscall.ECONNREFUSED):
		return 0, ErrLost
	}
	return 0, err
}
