package transport

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// held are datagrams that leave together, by one system call.
type held struct {
	mu       sync.Mutex
	call     func(fd uintptr) // sendmmsg, bound once
	n        int
	b        [mostBatch][]byte // copies: what is sent may be written over
	to       [mostBatch]netip.AddrPort
	target   [mostBatch]target
	vector   [mostBatch]syscall.Iovec
	messages [mostBatch]multiple

	first, sent int // of the last call
}

// Hold keeps a copy of a datagram until Flush, unless there is no room for it or none of its kind.
func (s *socket) Hold(b []byte, dst netip.AddrPort) bool {
	if !dst.IsValid() || dst.Addr().Unmap().Is4() == s.v6 || len(b) == 0 {
		return false
	}
	h := &s.held
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.n
	if i == mostBatch {
		return false
	}
	h.b[i], h.to[i] = append(h.b[i][:0], b...), dst
	h.target[i].aim(dst, s.zone, s.v6)
	h.vector[i].Base = unsafe.SliceData(h.b[i])
	h.vector[i].SetLen(len(b))
	name, size := h.target[i].name()
	h.messages[i].header = syscall.Msghdr{Name: (*byte)(name), Namelen: uint32(size), Iov: &h.vector[i], Iovlen: 1}
	h.n++
	return true
}

// Flush sends what was held, in its order, and tells of each datagram what became of it.
func (s *socket) Flush(told func(bytes int, err error)) {
	h := &s.held
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.first = 0; h.first < h.n; {
		if h.sent = 0; s.raw.Control(h.call) != nil || h.sent == 0 {
			// The one in front cannot be sent, or has met another one's error: alone it finds out.
			_, err := s.WriteToUDPAddrPort(h.b[h.first], h.to[h.first])
			told(len(h.b[h.first]), err)
			h.first++
			continue
		}
		for range h.sent {
			told(len(h.b[h.first]), nil)
			h.first++
		}
	}
	h.n = 0
}

func (h *held) sendmmsg(fd uintptr) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&h.messages[h.first])), uintptr(h.n-h.first),
		syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno == 0 {
		h.sent = int(n)
	}
}
