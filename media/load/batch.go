//go:build linux

package load

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	atOnce    = 64 // packets of one system call
	arrival   = 256
	sourceLen = 32 // unix.CmsgSpace(unix.SizeofInet4Pktinfo)
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// outgoing is a batch to be sent.
type outgoing struct {
	msgs    [atOnce]mmsghdr
	iov     [atOnce]unix.Iovec
	control [atOnce][sourceLen]byte
	packets [atOnce][packetSize]byte
	n       int
}

// add copies a flow's packet: at high rates a flow may have two of them in one batch.
func (b *outgoing) add(f *flow) {
	i := b.n
	b.packets[i] = f.packet
	b.iov[i] = unix.Iovec{Base: &b.packets[i][0], Len: packetSize}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i][0]))
	c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	(*unix.Inet4Pktinfo)(unsafe.Pointer(&b.control[i][unix.CmsgLen(0)])).Spec_dst = f.from
	h := &b.msgs[i].hdr
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&f.to)), uint32(unsafe.Sizeof(f.to))
	h.Iov, h.Control = &b.iov[i], &b.control[i][0]
	h.SetIovlen(1)
	h.SetControllen(sourceLen)
	b.n++
}

// send empties the batch and returns how many packets the kernel took.
func (b *outgoing) send(fd int) (sent int) {
	for sent < b.n {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[sent])), uintptr(b.n-sent), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			break // what an open loop cannot send, it does not send
		}
		sent += int(n)
	}
	b.n = 0
	return sent
}

// incoming is a batch that is received.
type incoming struct {
	msgs [atOnce]mmsghdr
	iov  [atOnce]unix.Iovec
	from [atOnce]unix.RawSockaddrInet4
	when [atOnce]stamp
	buf  [atOnce][arrival]byte
}

// stamp is the control message of SO_TIMESTAMPNS (socket(7)).
type stamp struct {
	head unix.Cmsghdr
	at   unix.Timespec
}

func (b *incoming) prepare() {
	for i := range b.msgs {
		b.iov[i] = unix.Iovec{Base: &b.buf[i][0], Len: arrival}
		h := &b.msgs[i].hdr
		h.Iov = &b.iov[i]
		h.SetIovlen(1)
		h.Name, h.Control = (*byte)(unsafe.Pointer(&b.from[i])), (*byte)(unsafe.Pointer(&b.when[i]))
		b.restore(i)
	}
}

// restore sets what the kernel has overwritten.
func (b *incoming) restore(i int) {
	h := &b.msgs[i].hdr
	h.Namelen = uint32(unsafe.Sizeof(b.from[i]))
	h.SetControllen(int(unsafe.Sizeof(b.when[i])))
}

func (b *incoming) receive(fd int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])), atOnce, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	for i := range n {
		b.restore(int(i))
	}
	return int(n)
}

func sockaddr(at netip.AddrPort) (a unix.RawSockaddrInet4) {
	a.Family, a.Addr = unix.AF_INET, at.Addr().As4()
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.Port))[:], at.Port())
	return a
}
