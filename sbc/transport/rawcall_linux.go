package transport

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"
)

// The two system calls of a datagram never wait: the socket is non-blocking, and the runtime's poller waits for it. So
// they are made raw: an ordinary one tells the scheduler each time that it may block, which wakes its monitor thread
// and costs more than the call.

// sender holds the arguments of one send, so that it needs no allocation.
type sender struct {
	sync.Mutex
	call func(fd uintptr) // sendto, bound once
	b    []byte
	v4   syscall.RawSockaddrInet4
	v6   syscall.RawSockaddrInet6
	is6  bool
	err  error
}

func (o *sender) aim(b []byte, dst netip.AddrPort, zone uint32, v6 bool) {
	o.b, o.is6 = b, v6
	if !v6 {
		o.v4.Family, o.v4.Addr = syscall.AF_INET, dst.Addr().Unmap().As4()
		setPort(&o.v4.Port, dst.Port())
		return
	}
	o.v6.Family, o.v6.Addr, o.v6.Scope_id = syscall.AF_INET6, dst.Addr().As16(), 0
	setPort(&o.v6.Port, dst.Port())
	if dst.Addr().IsLinkLocalUnicast() {
		o.v6.Scope_id = zone
	}
}

func (o *sender) send(raw syscall.RawConn) error {
	o.err = nil
	if err := raw.Control(o.call); err != nil {
		return err // closed
	}
	return o.err
}

func (o *sender) sendto(fd uintptr) {
	to, size := unsafe.Pointer(&o.v4), unsafe.Sizeof(o.v4)
	if o.is6 {
		to, size = unsafe.Pointer(&o.v6), unsafe.Sizeof(o.v6)
	}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(o.b))), uintptr(len(o.b)),
		syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, uintptr(to), size)
	if errno != 0 {
		o.err = errno
	}
}

// The kernel's ports are in network order.
func setPort(at *uint16, v uint16) {
	p := (*[2]byte)(unsafe.Pointer(at))
	p[0], p[1] = byte(v>>8), byte(v)
}

func port(at *uint16) uint16 {
	p := (*[2]byte)(unsafe.Pointer(at))
	return uint16(p[0])<<8 | uint16(p[1])
}
