//go:build linux

package epoll

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// open binds every port of the layout and hands the sockets to a new epoll instance. A pair of which one port is in use
// is left out whole.
func (w *worker) open(layout media.Layout) (missing []netip.AddrPort, err error) {
	w.pollFD, w.wakeFD = -1, -1
	if w.pollFD, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("media/epoll: epoll instance: %w", err)
	}
	if w.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("media/epoll: event descriptor: %w", err)
	}
	if err := w.watch(w.wakeFD, wakeIndex); err != nil {
		return nil, err
	}
	bound := 0
	for leg := 0; leg < layout.Legs(); leg += 2 {
		held, err := w.openPair(layout, leg)
		if err != nil {
			return nil, err
		}
		missing = append(missing, held...)
		if len(held) == 0 {
			bound++
		}
	}
	if bound == 0 {
		return nil, fmt.Errorf("media/epoll: every port pair of %d-%d is in use by other programs: choose another media.ports",
			layout.First, layout.First+2*layout.Pairs-1)
	}
	return missing, nil
}

func (w *worker) openPair(layout media.Layout, leg int) (held []netip.AddrPort, err error) {
	for i := leg; i <= leg+1; i++ {
		at := layout.Local(i)
		fd, err := bind(at, layout)
		switch {
		case errors.Is(err, unix.EADDRINUSE):
			held = append(held, at)
		case err != nil:
			return nil, err
		default:
			w.fds[i] = int32(fd)
		}
	}
	for i := leg; i <= leg+1; i++ {
		if w.fds[i] < 0 {
			continue
		}
		if held != nil {
			_ = unix.Close(int(w.fds[i]))
			w.fds[i] = -1
			continue
		}
		if err := w.watch(int(w.fds[i]), int32(i)); err != nil {
			return nil, err
		}
	}
	return held, nil
}

func (w *worker) watch(fd int, index int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: index}
	if err := unix.EpollCtl(w.pollFD, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("media/epoll: watching a socket: %w", err)
	}
	return nil
}

// bind opens one socket. The kernel's defaults stay but for the buffer, the mark and, on IPv6, the family's own ports.
func bind(at netip.AddrPort, layout media.Layout) (fd int, err error) {
	family, level, mark := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TOS
	var local unix.Sockaddr = &unix.SockaddrInet4{Port: int(at.Port()), Addr: as4(at.Addr())}
	if !at.Addr().Is4() {
		family, level, mark = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		local = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("media/epoll: socket for %v: %w", at, err)
	}
	set := func(level, name, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, name, value)
		}
	}
	if family == unix.AF_INET6 {
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	set(unix.SOL_SOCKET, unix.SO_RCVBUF, layout.ReceiveBuffer)
	set(level, mark, layout.DSCP<<2) // RFC 2474 §3: the upper six bits
	if err == nil {
		err = unix.Bind(fd, local)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("media/epoll: binding %v: %w", at, err)
	}
	return fd, nil
}

func as4(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// shut closes every descriptor. The worker has ended, or never began.
func (w *worker) shut() {
	for _, fd := range append([]int32{int32(w.pollFD), int32(w.wakeFD)}, w.fds...) {
		if fd >= 0 {
			_ = unix.Close(int(fd))
		}
	}
}
