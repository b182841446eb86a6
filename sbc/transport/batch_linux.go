package transport

import (
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"sallyport/sbc/scan"
)

// mostBatch is how many datagrams one system call takes at most. In a flood it makes receiving cheaper than the packets are
// to send; a batch is over in well under a millisecond.
const mostBatch = 16

// slot is where one datagram arrives.
type slot struct {
	from   syscall.RawSockaddrInet6 // long enough for both families
	oob    [64]byte
	vector syscall.Iovec
	b      []byte
}

// multiple is the kernel's struct mmsghdr (recvmmsg(2)).
type multiple struct {
	header syscall.Msghdr
	n      uint32
}

// receiver holds the arguments of one receive, and what arrived by it. It belongs to the reader.
type receiver struct {
	call     func(fd uintptr) bool // recvmmsg, bound once
	slots    [mostBatch]slot
	messages [mostBatch]multiple
	n        int // datagrams of the last call
	errno    syscall.Errno
}

func (r *receiver) init() {
	r.call = r.recvmmsg
	for i := range r.slots {
		s := &r.slots[i]
		s.b = make([]byte, scan.MaxDatagram) // pages that no datagram reaches take no memory
		s.vector.Base = unsafe.SliceData(s.b)
		s.vector.SetLen(len(s.b))
	}
	r.n = mostBatch
}

// receive waits for datagrams.
func (r *receiver) receive(raw syscall.RawConn) error {
	err := raw.Read(r.call)
	if err == nil && r.errno != 0 {
		err = r.errno
	}
	return err
}

// recvmmsg receives what is there. It reports false if there is nothing yet: the poller then waits.
func (r *receiver) recvmmsg(fd uintptr) bool {
	for i := range r.n { // the kernel has written over those that it used
		s := &r.slots[i]
		m := &r.messages[i].header
		*m = syscall.Msghdr{
			Name: (*byte)(unsafe.Pointer(&s.from)), Namelen: uint32(unsafe.Sizeof(s.from)), Iov: &s.vector, Iovlen: 1,
			Control: &s.oob[0],
		}
		m.SetControllen(len(s.oob))
	}
	r.n = 0
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages)), mostBatch, syscall.MSG_DONTWAIT, 0, 0)
		r.errno = errno
		switch errno {
		case 0:
			r.n = int(n)
			return true
		case syscall.EINTR:
		default:
			return errno != syscall.EAGAIN
		}
	}
}

// datagram is one of those that arrived, and who sent it.
func (r *receiver) datagram(i int) ([]byte, netip.AddrPort) {
	s := &r.slots[i]
	return s.b[:r.messages[i].n], s.source()
}

// ancillary is what stood beside a datagram.
func (r *receiver) ancillary(i int) []byte { return r.slots[i].oob[:r.messages[i].header.Controllen] }

// source is who sent the datagram.
func (s *slot) source() netip.AddrPort {
	if s.from.Family == syscall.AF_INET {
		v4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(&s.from))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port(&v4.Port))
	}
	a := netip.AddrFrom16(s.from.Addr).Unmap()
	if s.from.Scope_id != 0 && a.IsLinkLocalUnicast() {
		a = a.WithZone(strconv.Itoa(int(s.from.Scope_id)))
	}
	return netip.AddrPortFrom(a, port(&s.from.Port))
}
