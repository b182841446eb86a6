package transport

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dead peers are noticed within a minute or so: on an idle connection by probes, on one with something under way by the
// time that the peer may leave it unacknowledged (tcp(7)). A NAT that has forgotten a phone's connection looks like that.
const unacknowledged = 30 * time.Second

var probes = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 10 * time.Second, Count: 3}

// openListener listens on a concrete address. The marking is a wish, and accepted connections have it from here.
func openListener(bind netip.AddrPort, dscp int) (net.Listener, error) {
	l := net.ListenConfig{ // with SO_REUSEADDR, as the library does
		Control:         func(_, _ string, raw syscall.RawConn) error { return setStreamOptions(raw, dscp) },
		KeepAliveConfig: probes,
	}
	l.SetMultipathTCP(false)
	return l.Listen(context.Background(), "tcp", bind.String())
}

// dialStream connects from an address, with a port that the kernel chooses.
func dialStream(ctx context.Context, local netip.Addr, remote netip.AddrPort, dscp int) (net.Conn, error) {
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0)),
		Control: func(_, _ string, raw syscall.RawConn) error {
			err := setStreamOptions(raw, dscp)
			_ = raw.Control(func(fd uintptr) {
				// The port is chosen when the remote address is known: many connections may share one.
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			return err
		},
		KeepAliveConfig: probes,
	}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", remote.String())
}

func setStreamOptions(raw syscall.RawConn, dscp int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds())))
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, dscp<<2)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<2) // one of the two is not its family's
	})
	if err != nil {
		return err
	}
	return failed
}
