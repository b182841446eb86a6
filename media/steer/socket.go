//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// receiveBuffer is asked for each worker's socket: all calls share it, where the kernel's default is for one.
const receiveBuffer = 8 << 20

// sendBuffer is asked for each raw socket, for the same reason.
const sendBuffer = 4 << 20

// vacant tells which port pairs no other program holds, by trying to bind each port and asking who hears it, and which
// legs are in use. A pair of which one port is in use is left out whole. Pairs in use are looked at once more after a
// moment: a predecessor that is just ending gives its ports back one by one, and its steering last.
func vacant(layout media.Layout, moment func()) (free, held []int, err error) {
	ask := newInquiry()
	defer ask.close()
	var doubtful []int
	for pair := range layout.Blocks * layout.Pairs {
		legs, err := heldOf(pair, layout, ask)
		switch {
		case err != nil:
			return nil, nil, err
		case len(legs) > 0:
			doubtful = append(doubtful, pair)
		default:
			free = append(free, pair)
		}
	}
	if len(doubtful) > 0 && len(free) > 0 {
		moment()
	}
	for _, pair := range doubtful {
		legs, err := heldOf(pair, layout, ask)
		if err != nil {
			return nil, nil, err
		}
		if held = append(held, legs...); len(legs) == 0 {
			free = append(free, pair)
		}
	}
	if len(free) == 0 {
		return nil, nil, fmt.Errorf("media/steer: every port pair of %d-%d is in use by other programs: choose another media.ports (%w)",
			layout.First, layout.First+2*layout.Pairs-1, unix.EADDRINUSE)
	}
	return free, held, nil
}

// heldOf are the legs of a pair that other programs hold.
func heldOf(pair int, layout media.Layout, ask *inquiry) (held []int, err error) {
	for leg := pair * 2; leg <= pair*2+1; leg++ {
		at := layout.Local(leg)
		fd, err := bind(at)
		switch {
		case errors.Is(err, unix.EADDRINUSE):
			held = append(held, leg)
		case err != nil:
			return nil, err
		default:
			_ = unix.Close(fd)
			if ask.taken(at) {
				held = append(held, leg)
			}
		}
	}
	return held, nil
}

// bind opens a UDP socket on an address of ours.
func bind(at netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(family(at.Addr()), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("media/steer: socket for %v: %w", at, err)
	}
	if at.Addr().Is6() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(at))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("media/steer: binding %v: %w", at, err)
	}
	return fd, nil
}

// options sets socket options one after the other until one fails.
type options struct {
	fd  int
	err error
}

func (o *options) set(level, name, value int) {
	if o.err == nil {
		o.err = unix.SetsockoptInt(o.fd, level, name, value)
	}
}

// buffer asks for a buffer beyond the system's limit, and takes what it gets.
func (o *options) buffer(force, name, size int) {
	if unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, force, size) != nil {
		o.set(unix.SOL_SOCKET, name, size)
	}
}

// mark sets the traffic class. Where we write the IP header, that counts; the option gives the packet its priority in the
// queues of this machine, as on an ordinary socket.
func (o *options) mark(v6 bool, dscp int) {
	if v6 {
		o.set(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<2) // RFC 2474 §3: the upper six bits
		return
	}
	o.set(unix.IPPROTO_IP, unix.IP_TOS, dscp<<2)
}

// stamp has the kernel tell when each datagram arrived, or no more.
func (o *options) stamp(on bool) {
	flags := 0
	if on {
		flags = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	}
	o.set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
}

// openIntake opens the socket that receives for all ports of a family. It is bound to one of them, so that it needs no
// further address, is heard by nobody else, and shows in the lists of open ports.
func openIntake(at netip.AddrPort, layout media.Layout) (fd int, err error) {
	if fd, err = bind(at); err != nil {
		return -1, err
	}
	o := options{fd: fd}
	o.buffer(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, max(receiveBuffer, layout.ReceiveBuffer))
	o.mark(at.Addr().Is6(), layout.DSCP)
	o.stamp(true)
	if at.Addr().Is6() {
		o.set(unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR, 1)
	} else {
		o.set(unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, 1)
	}
	if o.err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("media/steer: receiving socket on %v: %w", at, o.err)
	}
	return fd, nil
}

// openSink opens the socket that takes a flood and keeps nothing of it.
func openSink(at netip.AddrPort) (fd int, err error) {
	if fd, err = bind(at); err != nil {
		return -1, err
	}
	if err := keepNothing(fd); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("media/steer: filter of a socket: %w", err)
	}
	return fd, nil
}

// keepNothing has the kernel drop what arrives at a socket before it is queued.
func keepNothing(fd int) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
	})
}

// dropped is how many datagrams the kernel has dropped at a socket, modulo 2^32.
func dropped(fd int) uint32 {
	var v [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return v[unix.SK_MEMINFO_DROPS]
}

// openOutlet opens the raw socket that sends for all ports of an address. It is bound to that address, so that routes
// are chosen by it (ip rule from …), as for an ordinary socket. near: the kernel writes the IP header.
func openOutlet(a netip.Addr, layout media.Layout, near bool) (fd int, err error) {
	protocol := unix.IPPROTO_RAW // whole packets with their IP header, on both families
	if near {
		protocol = unix.IPPROTO_UDP
	}
	fd, err = unix.Socket(family(a), unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("media/steer: raw socket: %w", err)
	}
	o := options{fd: fd}
	if o.err = keepNothing(fd); near { // of packets of the socket's protocol, which it hears
		o.deafen()
		o.whole(a.Is6())
		if a.Is4() {
			o.transparent()
		}
	}
	o.buffer(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer)
	o.mark(a.Is6(), layout.DSCP)
	if o.err == nil {
		o.err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(a, 0)))
	}
	if o.err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("media/steer: raw socket on %v: %w", a, o.err)
	}
	return fd, nil
}

// deafen takes a raw socket that is not bound yet off the list of those that hear. The filter has a raw UDP socket keep
// nothing, but the kernel makes it a copy of every datagram of the machine first. Dissolving an association that was never
// made has the kernel forget the socket as a listener (raw sockets are not put back by bind): it is given nothing, ICMP
// errors neither, so that nobody's forgery fails a call of sendmmsg, and sends as before. It is not connected to an address
// that is silent instead, which has the same effect on what it hears: the queues of a device (tc-fq(8)) take what a
// connected socket sends for one stream, and its packets carry an identification. Such a socket is not in /proc/net/raw.
// A kernel that refuses, or keeps it on the list, costs time and nothing else.
func (o *options) deafen() {
	device, _ := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	nowhere := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, _ = unix.Syscall(unix.SYS_CONNECT, uintptr(o.fd), uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere))
	if device > 0 { // that of a VRF, which the kernel forgets as well
		o.set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, device)
	}
}

// whole has the kernel write what outlet.prepare writes where it is ours to write: nothing is cut in pieces, so that no
// identification is chosen (RFC 6864 §4.1), and there is no flow label.
func (o *options) whole(v6 bool) {
	if v6 {
		o.set(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		o.set(unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL, 0)
		return
	}
	o.set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
}

// transparent spares a near outlet what the kernel asks of each packet for which it writes the IPv4 header, which takes a
// thirtieth of what relaying costs: whether the source is an address of this machine. The bind has asked already. A kernel
// that refuses costs time and nothing else.
func (o *options) transparent() {
	_ = unix.SetsockoptInt(o.fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1)
}

// hops is the system's default time to live.
func hops(fd int, v6 bool) byte {
	level, name := unix.IPPROTO_IP, unix.IP_TTL
	if v6 {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	if v, err := unix.GetsockoptInt(fd, level, name); err == nil && v > 0 && v < 256 {
		return byte(v)
	}
	return 64
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}
