//go:build linux

package epoll

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The time that a datagram spends here is measured on a sample: of one of about sampleEvery the kernel is asked when it
// arrived, and the clock is read once more when it has been sent. The option by which the kernel tells it of itself costs all
// datagrams a fortieth of what relaying one does, also those of which nobody hears it.
const sampleEvery = 64

// sampler is what the sample is taken with.
type sampler struct {
	left  int // datagrams until the next one
	turn  uint32
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

// lastArrival asks when the kernel had the datagram that was received last from a socket (socket(7), SIOCGSTAMP). What arrives
// is stamped from the first time on that the socket is asked, which is when it is opened: it has no answer then, later it
// would say "now".
func lastArrival(fd int32, stamp *unix.Timespec) (ok bool) {
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGSTAMPNS, uintptr(unsafe.Pointer(stamp)))
	return errno == 0
}

// arrived is the wall time at which the kernel had the datagram that was received last, 0 unless it is one of the sample.
func (w *worker) arrived(fd int32) int64 {
	if !w.sample.due() || !lastArrival(fd, &w.sample.stamp) {
		return 0
	}
	return w.sample.stamp.Nano()
}

// delayed counts a datagram of the sample that has been sent.
func (w *worker) delayed(arrived int64) {
	w.Engine.Delayed(w.Number, arrived, time.Now().UnixNano())
}

// receive takes the next datagram off a socket.
func (w *worker) receive(fd int32) (n int, ok bool) {
	w.fromN = uint32(unsafe.Sizeof(w.from))
	size, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&w.buf[0])), largest,
		unix.MSG_TRUNC, uintptr(unsafe.Pointer(&w.from)), uintptr(unsafe.Pointer(&w.fromN)))
	return int(size), errno == 0
}
