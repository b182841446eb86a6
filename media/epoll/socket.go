//go:build linux

package epoll

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// bind makes the workers and opens every port of the layout, each on its worker's epoll instance. A pair of which one port is in
// use is left out whole. spare is how many more files there may be.
func (b *Backend) bind(board *media.Board, spare int) error {
	n := max(1, b.layout.Workers)
	for range n {
		w, err := newWorker(b)
		if err != nil {
			return err
		}
		w.room = spare / n
		b.workers = append(b.workers, w)
	}
	bound := 0
	for leg := 0; leg < b.layout.Legs(); leg += 2 {
		held, err := b.openPair(leg)
		if err != nil {
			return err
		}
		for _, i := range held {
			board.SetMissing(i)
		}
		if len(held) == 0 {
			bound++
		}
	}
	if bound == 0 {
		return fmt.Errorf("media/epoll: every port pair of %d-%d is in use by other programs: choose another media.ports (%w)",
			b.layout.First, b.layout.First+2*b.layout.Pairs-1, unix.EADDRINUSE)
	}
	return nil
}

func (b *Backend) openPair(leg int) (held []int, err error) {
	places := []int{leg, leg + 1}
	if b.layout.Dual() {
		places = append(places, leg+b.layout.Legs(), leg+1+b.layout.Legs())
	}
	for _, i := range places {
		at, ok := b.at(i)
		if !ok {
			continue
		}
		fd, err := bind(at, b.layout)
		switch {
		case errors.Is(err, unix.EADDRINUSE):
			if own := i % b.layout.Legs(); !slices.Contains(held, own) {
				held = append(held, own)
			}
		case err != nil:
			return nil, err
		default:
			b.fds[i] = int32(fd)
		}
	}
	w := b.workers[b.layout.Worker(leg)]
	for _, i := range places {
		if b.fds[i] < 0 {
			continue
		}
		if held != nil {
			closeAll(b.fds[i])
			b.fds[i] = -1
			continue
		}
		if err := w.watch(int(b.fds[i]), int32(i)); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// at is the address of a socket's place.
func (b *Backend) at(i int) (netip.AddrPort, bool) {
	if i >= b.layout.Legs() {
		return b.layout.Other(i - b.layout.Legs())
	}
	return b.layout.Local(i), true
}

func (w *worker) watch(fd int, index int32) error {
	if err := w.Watch(fd, index, 0); err != nil {
		return fmt.Errorf("media/epoll: %w", err)
	}
	return nil
}

// Of a packet that may be cut in pieces the kernel chooses an identification that no other one has (RFC 791 §3.2), which takes a
// thirtieth of what relaying costs. One that is never cut needs none (RFC 6864 §4.1), and packets of audio never are: DF is
// set on them either way.
const wholly, cutAsNeeded = unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_WANT

// cut sends what does not fit into one packet, as the path is known. That costs two system calls more, for packets that audio
// does not have.
func cut(fd int, send func() unix.Errno) unix.Errno {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, cutAsNeeded); err != nil {
		return unix.EMSGSIZE
	}
	errno := send()
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, wholly)
	return errno
}

// bind opens one socket.
func bind(at netip.AddrPort, layout media.Layout) (fd int, err error) {
	if fd, err = open(at.Addr(), layout); err == nil {
		err = unix.Bind(fd, sockaddr(at))
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return -1, fmt.Errorf("media/epoll: binding %v: %w", at, err)
	}
	return fd, nil
}

// open makes a socket for an address, not bound yet; one that fails half-way is there. The kernel's defaults stay but for the buffer,
// the mark, the discovery of the path's MTU and, on IPv6, the family's own ports.
func open(at netip.Addr, layout media.Layout) (fd int, err error) {
	family, level, mark := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TOS
	if !at.Is4() {
		family, level, mark = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	set := func(level, name, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, name, value)
		}
	}
	if family == unix.AF_INET6 {
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	} else {
		set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, wholly)
	}
	set(unix.SOL_SOCKET, unix.SO_RCVBUF, layout.ReceiveBuffer)
	set(level, mark, layout.DSCP<<2) // RFC 2474 §3: the upper six bits
	_ = lastArrival(int32(fd), &unix.Timespec{})
	return fd, err
}
