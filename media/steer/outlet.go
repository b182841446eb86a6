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
	header4   = 20
	header6   = 40
	headerUDP = 8
)

// exit is how packets leave an address of ours: two raw sockets, of which each is the cheaper one for some destinations.
//
// With a socket that takes whole packets the kernel does the least, where it has the route at hand. For a destination that
// is not behind a gateway it makes a route for each such packet and throws it away again, since the destination that we
// write might be another one than that of the call. That costs more than a socket for which the kernel writes the IP
// header: of 3 µs it saves 0.15 on IPv4 and 0.5 on IPv6, while behind a gateway it loses 0.25. A wrong choice costs no
// more than that, and a destination always has the same one, so that a stream keeps its order.
type exit struct {
	far, near outlet
	vicinity  vicinity
}

// to is the outlet for a destination.
func (e *exit) to(at media.Endpoint) *outlet {
	if e.vicinity.contains(at) {
		return &e.near
	}
	return &e.far
}

// outlet is a raw socket that sends for all ports of one address, and a batch of packets. The headers are written in
// front of each datagram, where it was received.
type outlet struct {
	fd       int // -1: none
	v6       bool
	n        int
	header   int           // length of the IP header that we write; 0: the kernel does
	template [header6]byte // IP header; 20 bytes of it on IPv4
	base     uint64        // sum of what is the same in all pseudo headers

	msgs     [batch]mmsghdr
	iov      [batch]unix.Iovec
	to4      [batch]unix.RawSockaddrInet4
	to6      [batch]unix.RawSockaddrInet6
	verdicts [batch]media.Verdict
	payloads [batch][]byte
}

// prepare readies an outlet of an address. near: the kernel writes the IP header.
func (o *outlet) prepare(a netip.Addr, dscp int, ttl byte, near bool) {
	o.v6 = a.Is6()
	class := byte(dscp << 2)
	if o.v6 {
		// RFC 8200 §3. No flow label: datagrams of one stream are told by their ports.
		o.header = header6
		o.template[0], o.template[1] = 6<<4|class>>4, class<<4
		o.template[6], o.template[7] = unix.IPPROTO_UDP, ttl
		copy(o.template[8:], a.AsSlice())
	} else {
		// RFC 791 §3.1. No identification is needed where fragments are forbidden (RFC 6864 §4.1); the kernel writes the
		// total length and the checksum.
		o.header = header4
		o.template[0], o.template[1] = 4<<4|header4/4, class
		o.template[6] = 0x40 // don't fragment
		o.template[8], o.template[9] = ttl, unix.IPPROTO_UDP
		copy(o.template[12:], a.AsSlice())
	}
	if near {
		o.header = 0
	}
	o.base = add(sum(0, a.AsSlice()), unix.IPPROTO_UDP)
	for i := range o.msgs {
		h := &o.msgs[i].hdr
		h.Iov = &o.iov[i]
		h.SetIovlen(1)
		if o.v6 {
			o.to6[i].Family = unix.AF_INET6
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&o.to6[i])), unix.SizeofSockaddrInet6
		} else {
			o.to4[i].Family = unix.AF_INET
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&o.to4[i])), unix.SizeofSockaddrInet4
		}
		// As for the intake's buffers: no page is met for the first time in a burst.
		o.iov[i], o.verdicts[i], o.payloads[i] = unix.Iovec{}, media.Verdict{}, nil
	}
}

// put queues a datagram that lies in a buffer with headroom. The batch has room: it is as long as that of the intake, and
// sent at its end.
func (o *outlet) put(v media.Verdict, from uint16, buf *[headroom + largest + tailroom]byte, n int) {
	i := o.n
	packet := buf[headroom-headerUDP-o.header : headroom+n]
	if o.v6 {
		o.to6[i].Addr = v.To.As16()
		o.write6(packet, &o.to6[i].Addr, from, v.To.Port())
	} else {
		o.to4[i].Addr = v.To.As4()
		o.write4(packet, &o.to4[i].Addr, from, v.To.Port())
	}
	o.iov[i].Base = &packet[0]
	o.iov[i].SetLen(len(packet))
	o.verdicts[i], o.payloads[i] = v, buf[headroom:headroom+n]
	o.n++
}

func (o *outlet) write4(p []byte, to *[4]byte, from, port uint16) {
	if o.header != 0 {
		copy(p[:header4], o.template[:header4])
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		copy(p[16:header4], to[:])
		p = p[header4:]
	}
	writeUDP(p, sum(o.base, to[:]), from, port)
}

func (o *outlet) write6(p []byte, to *[16]byte, from, port uint16) {
	if o.header != 0 {
		copy(p[:header6], o.template[:header6])
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-header6))
		copy(p[24:header6], to[:])
		p = p[header6:]
	}
	writeUDP(p, sum(o.base, to[:]), from, port)
}

// writeUDP writes the UDP header (RFC 768) of a datagram; pseudo is the sum of the pseudo header without the length. The
// header is summed before it is written: to read at once in wide words what was written in narrow ones stops the processor.
func writeUDP(p []byte, pseudo uint64, from, to uint16) {
	n := uint64(len(p))
	header := uint64(from)<<48 | uint64(to)<<32 | n<<16
	s := sum(add(add(pseudo, n), header), p[headerUDP:])
	binary.BigEndian.PutUint64(p, header|uint64(fold(s)))
}

// flush sends the batch. refused is told of each datagram that the kernel did not take, and why.
func (o *outlet) flush(refused func(v media.Verdict, payload []byte, why unix.Errno)) {
	n := o.n
	o.n = 0 // first: whatever refused does, nothing is sent twice
	for at := 0; at < n; {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(o.fd), uintptr(unsafe.Pointer(&o.msgs[at])), uintptr(n-at),
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			at += int(sent)
		case unix.EINTR:
		default:
			// The error is that of the first one; what it says of the rest, the next call tells.
			refused(o.verdicts[at], o.payloads[at], errno)
			at++
		}
	}
}

// large sends a datagram that does not fit into one packet, as the path is known: an ordinary socket has the kernel cut
// it (RFC 1122 §3.3.3; RFC 8200 §5). That costs some system calls, for packets that audio does not have. While the socket
// is bound, what arrives is steered as before.
func large(at netip.AddrPort, bound int, dscp int, to media.Endpoint, payload []byte) error {
	fd := bound
	if fd < 0 {
		var err error
		if fd, err = bind(at); err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		o := options{fd: fd}
		o.mark(at.Addr().Is6(), dscp)
		if o.err != nil {
			return o.err
		}
	}
	return unix.Sendto(fd, payload, unix.MSG_DONTWAIT, sockaddr(to.AddrPort()))
}
