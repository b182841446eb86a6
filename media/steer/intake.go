//go:build linux

package steer

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

const (
	batch    = 64   // datagrams of one system call
	largest  = 2048 // longer than any audio or image packet
	headroom = 48   // in front of each datagram: IPv6 (RFC 8200 §3) and UDP header; 28 of it on IPv4
	tailroom = media.Tailroom
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// destined is the control message of a datagram's original destination, of either family.
type destined struct {
	head unix.Cmsghdr
	to   unix.RawSockaddrInet6
	_    [4]byte // CMSG_SPACE
}

// control has room for the control messages of a datagram. When it arrived, which the kernel puts first, is left out while
// nobody asks for it: the destination lies in its place then.
type control struct {
	stamped unix.Cmsghdr
	stamp   unix.ScmTimestamping
	destined
}

// hasStamp reports whether the kernel told when the datagram arrived.
func (c *control) hasStamp() bool {
	return c.stamped.Type == unix.SCM_TIMESTAMPING && c.stamped.Level == unix.SOL_SOCKET
}

// destination is the message that tells it, if there is one.
func (c *control) destination() *destined {
	if c.hasStamp() {
		return &c.destined
	}
	return (*destined)(unsafe.Pointer(c))
}

// intake is the socket that receives for all ports of one family, and a batch of datagrams. What system calls point into
// is part of it, so that nothing is allocated and nothing moves.
type intake struct {
	fd    int // -1: no address of the family
	v6    bool
	ready bool
	n     int // datagrams in the batch
	next  int // the first one that is not judged yet

	msgs    [batch]mmsghdr
	iov     [batch]unix.Iovec
	from    [batch]unix.RawSockaddrInet6 // long enough for both families
	control [batch]control
	buf     [batch][headroom + largest + tailroom]byte
}

// prepare readies the batch, and touches every page of it: a buffer is shorter than a page, so that its ends lie in all of
// those that it has. Else the first burst that fills the batch meets a page fault for every second datagram, of up to 7 µs on
// virtual machines, and what the batch takes of memory shows as that of the calls which were up by then.
func (in *intake) prepare() {
	for i := range in.msgs {
		in.buf[i][0], in.buf[i][len(in.buf[i])-1], in.from[i].Family = 0, 0, 0
		in.iov[i].Base = &in.buf[i][headroom]
		in.iov[i].SetLen(largest)
		h := &in.msgs[i].hdr
		h.Iov = &in.iov[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&in.from[i]))
		h.Control = (*byte)(unsafe.Pointer(&in.control[i]))
		in.restore(i)
	}
}

// restore sets what the kernel has overwritten.
func (in *intake) restore(i int) {
	h := &in.msgs[i].hdr
	h.Namelen, h.Flags = uint32(unsafe.Sizeof(in.from[i])), 0
	h.SetControllen(int(unsafe.Sizeof(in.control[i])))
	in.control[i].stamped.Type, in.control[i].head.Type = 0, 0
}

// receive takes the next batch off the socket.
func (in *intake) receive() {
	for i := range in.n {
		in.restore(i)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(in.fd), uintptr(unsafe.Pointer(&in.msgs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	in.n, in.next = int(n), 0
	if errno != 0 {
		in.n = 0 // EAGAIN; or EINTR, which the next wait makes good
	}
	// A full batch leaves more behind.
	in.ready = in.n == batch
}

// pending says that there is something to do without waiting.
func (in *intake) pending() bool { return in.ready || in.next < in.n }

// payload is a datagram's bytes. One that is cut short is junk, and has none.
func (in *intake) payload(i int) []byte {
	m := &in.msgs[i]
	if m.hdr.Flags&unix.MSG_TRUNC != 0 {
		return in.buf[i][headroom:headroom:headroom]
	}
	return in.buf[i][headroom : headroom+min(int(m.n), largest)]
}

// source is who sent a datagram.
func (in *intake) source(i int) media.Endpoint {
	a := &in.from[i]
	if in.v6 {
		return media.Endpoint16(a.Addr, netPort(&a.Port))
	}
	return media.Endpoint4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr, netPort(&a.Port))
}

// destination is where a datagram was sent to: the address, with port 0, and the port, which is 0 if the kernel did not
// say.
func (in *intake) destination(i int) (address media.Endpoint, port uint16) {
	c := in.control[i].destination()
	if in.v6 {
		if c.head.Level != unix.IPPROTO_IPV6 || c.head.Type != unix.IPV6_ORIGDSTADDR {
			return address, 0
		}
		return media.Endpoint16(c.to.Addr, 0), netPort(&c.to.Port)
	}
	if c.head.Level != unix.IPPROTO_IP || c.head.Type != unix.IP_ORIGDSTADDR {
		return address, 0
	}
	return media.Endpoint4((*unix.RawSockaddrInet4)(unsafe.Pointer(&c.to)).Addr, 0), netPort(&c.to.Port)
}

// arrived is when the kernel had a datagram, in wall time; 0 if it did not say.
func (in *intake) arrived(i int) int64 {
	c := &in.control[i]
	if !c.hasStamp() {
		return 0
	}
	return c.stamp.Ts[0].Nano() // that of software
}

// netPort reads a port of a socket address.
func netPort(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

// atlas finds a leg by its address, as media.Layout does, without what that costs.
type atlas struct {
	first, legs int // port of the first leg; legs of a block
	blocks      int
	own         [2]media.Endpoint // with port 0
}

func newAtlas(layout media.Layout) atlas {
	a := atlas{first: layout.First, legs: layout.Pairs * 2, blocks: layout.Blocks}
	for block := range layout.Blocks {
		a.own[block] = media.EndpointOf(netip.AddrPortFrom(layout.Addresses[block], 0))
	}
	return a
}

// leg is the one of an address (with port 0) and a port.
func (a *atlas) leg(address media.Endpoint, port uint16) (leg int, ok bool) {
	n := int(port) - a.first
	if n < 0 || n >= a.legs {
		return 0, false
	}
	for block := range a.blocks {
		if address == a.own[block] {
			return block*a.legs + n, true
		}
	}
	return 0, false
}

// place is which of our addresses a leg has, and which port there.
func (a *atlas) place(leg int) (block int, port uint16) {
	if leg >= a.legs {
		block = 1
	}
	return block, uint16(a.first + leg - block*a.legs)
}
