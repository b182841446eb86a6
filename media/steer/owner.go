//go:build linux

package steer

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// inquiry asks the kernel which socket would hear a datagram (sock_diag(7)). Unlike a bind, the answer knows of steering
// by others: a second relay on the same ports, which would silently get nothing, is told that they are in use.
type inquiry struct {
	fd  int
	req [lenHeader + lenRequest]byte
	buf [1024]byte
}

// struct nlmsghdr and struct inet_diag_req_v2 (linux/inet_diag.h).
const (
	lenHeader   = 16
	lenRequest  = 56
	diagType    = 4
	diagFlags   = 6
	diagFamily  = lenHeader
	diagProto   = lenHeader + 1
	diagStates  = lenHeader + 4
	diagDport   = lenHeader + 10
	diagDst     = lenHeader + 28
	diagCookie  = lenHeader + 48
	byFamily    = 20 // SOCK_DIAG_BY_FAMILY
	answerLimit = 1  // seconds
)

// newInquiry opens the way to the kernel. Where there is none, nothing is known.
func newInquiry() *inquiry {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return &inquiry{fd: -1}
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerLimit})
	return &inquiry{fd: fd}
}

// taken reports whether any socket hears what is sent to an address. A kernel that cannot say is taken to have said no:
// whatever is bound the bind has found.
func (q *inquiry) taken(at netip.AddrPort) bool {
	if q.fd < 0 {
		return false
	}
	e := binary.NativeEndian
	clear(q.req[:])
	e.PutUint32(q.req[0:], uint32(len(q.req)))
	e.PutUint16(q.req[diagType:], byFamily)
	e.PutUint16(q.req[diagFlags:], unix.NLM_F_REQUEST)
	q.req[diagFamily], q.req[diagProto] = byte(family(at.Addr())), unix.IPPROTO_UDP
	e.PutUint32(q.req[diagStates:], 1<<32-1)
	// The kernel looks for the socket that hears a datagram from "source" to "destination".
	binary.BigEndian.PutUint16(q.req[diagDport:], at.Port())
	copy(q.req[diagDst:], at.Addr().AsSlice())
	e.PutUint64(q.req[diagCookie:], 1<<64-1) // any
	if err := unix.Sendto(q.fd, q.req[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false
	}
	n, _, err := unix.Recvfrom(q.fd, q.buf[:], 0)
	return err == nil && n >= lenHeader && e.Uint16(q.buf[diagType:]) == byFamily
}

func (q *inquiry) close() {
	if q.fd >= 0 {
		_ = unix.Close(q.fd)
	}
}
