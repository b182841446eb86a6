package transport

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
)

// unreachable is the read error that reports an ICMP error: nobody took the datagram to this address.
type unreachable netip.AddrPort

// Error says which destination is meant.
func (u unreachable) Error() string { return "ICMP: unreachable: " + netip.AddrPort(u).String() }

// Unreachable is that destination.
func (u unreachable) Unreachable() netip.AddrPort { return netip.AddrPort(u) }

// refusal reports whether a system call returned an ICMP error about an earlier datagram (icmp_err_convert and
// icmpv6_err_convert of the kernel). Two of them may also be about this one: no route.
func refusal(err error) bool {
	if err == nil {
		return false
	}
	var n syscall.Errno
	if !errors.As(err, &n) {
		return false
	}
	switch n {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENONET,
		syscall.ENOPROTOOPT, syscall.EPROTO, syscall.EOPNOTSUPP, syscall.EMSGSIZE, syscall.EACCES:
		return true
	}
	return false
}

// mostReports bounds one look at the error queue; what is left is found at the next one.
const mostReports = 64

// drain empties the kernel's error queue and notes the destinations that were refused.
func (s *socket) drain() {
	_ = s.raw.Control(func(fd uintptr) { // fails only when the socket is closed
		var quoted [1]byte // of the datagram; not needed
		oob := make([]byte, 512)
		for range mostReports {
			_, oobn, _, from, err := syscall.Recvmsg(int(fd), quoted[:], oob, syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if to, ok := addrPort(from); ok && unreachableReport(oob[:oobn]) {
				s.refused = append(s.refused, to)
			}
		}
		s.stale.Store(true)
	})
}

func addrPort(from syscall.Sockaddr) (netip.AddrPort, bool) {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// unreachableReport reads the ancillary data of one report: struct sock_extended_err behind IP_RECVERR.
func unreachableReport(oob []byte) bool {
	list, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, c := range list {
		v4 := c.Header.Level == syscall.IPPROTO_IP && c.Header.Type == syscall.IP_RECVERR
		v6 := c.Header.Level == syscall.IPPROTO_IPV6 && c.Header.Type == syscall.IPV6_RECVERR
		if (v4 || v6) && len(c.Data) >= 8 {
			errno, origin, kind, code := binary.NativeEndian.Uint32(c.Data), c.Data[4], c.Data[5], c.Data[6]
			return counts(syscall.Errno(errno), origin, kind, code)
		}
	}
	return false
}

// The origins of linux/errqueue.h.
const (
	originLocal = 1
	originICMP  = 2
	originICMP6 = 3
)

// counts reports whether an ICMP message tells the transaction user anything. RFC 3261 §18.4: host, network, port or
// protocol unreachable and parameter problem do; source quench and TTL exceeded are ignored. "Too big" is no failure
// either: what is sent may be fragmented.
func counts(errno syscall.Errno, origin, kind, code uint8) bool {
	switch origin {
	case originLocal: // no route, no neighbour
		return errno == syscall.EHOSTUNREACH || errno == syscall.ENETUNREACH
	case originICMP: // RFC 792
		const destinationUnreachable, parameterProblem, fragmentationNeeded = 3, 12, 4
		return kind == destinationUnreachable && code != fragmentationNeeded || kind == parameterProblem
	case originICMP6: // RFC 4443
		const destinationUnreachable, parameterProblem = 1, 4
		return kind == destinationUnreachable || kind == parameterProblem
	}
	return false
}
