//go:build linux

package epoll

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The time that a datagram spends here is measured on a sample: one of about sampleEvery is received by recvmsg, which
// hands over the kernel's stamp of its arrival, and the clock is read once more when it has been sent. All others pay for
// nothing but the stamp itself, which the kernel takes of every datagram once one socket of the machine asks for it.
const sampleEvery = 64

// sampler is what the sampled datagrams are received with.
type sampler struct {
	left    int // datagrams until the next one
	turn    uint32
	msg     unix.Msghdr
	iov     unix.Iovec
	control stampMessage
}

// stampMessage has room for one control message, the stamp.
type stampMessage struct {
	head  unix.Cmsghdr
	stamp unix.Timespec
}

// due reports whether a datagram is one of the sample. The distance varies, so that it is not always the first of a
// batch.
func (s *sampler) due() bool {
	if s.left > 0 {
		s.left--
		return false
	}
	s.turn = s.turn*1664525 + 1013904223
	s.left = sampleEvery/2 + int(s.turn>>16%sampleEvery)
	return true
}

// receive takes the next datagram off a socket. arrived is the wall time at which the kernel had it, 0 unless it is
// one of the sample.
func (w *worker) receive(fd int32) (n int, arrived int64, ok bool) {
	if w.sample.due() {
		return w.sampled(fd)
	}
	w.fromN = uint32(unsafe.Sizeof(w.from))
	size, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&w.buf[0])), largest,
		unix.MSG_TRUNC, uintptr(unsafe.Pointer(&w.from)), uintptr(unsafe.Pointer(&w.fromN)))
	return int(size), 0, errno == 0
}

func (w *worker) sampled(fd int32) (n int, arrived int64, ok bool) {
	s := &w.sample
	s.iov.Base = &w.buf[0]
	s.iov.SetLen(largest)
	s.msg = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&w.from)), Namelen: uint32(unsafe.Sizeof(w.from)), Iov: &s.iov, Control: (*byte)(unsafe.Pointer(&s.control))}
	s.msg.SetIovlen(1)
	s.msg.SetControllen(int(unsafe.Sizeof(s.control)))
	s.control.head.Type = 0
	size, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.msg)), unix.MSG_TRUNC)
	if errno != 0 {
		return 0, 0, false
	}
	if s.control.head.Level == unix.SOL_SOCKET && s.control.head.Type == unix.SCM_TIMESTAMPNS {
		arrived = s.control.stamp.Nano()
	}
	return int(size), arrived, true
}
