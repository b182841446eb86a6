//go:build linux

package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Floor relays a plan until in ends, and writes "ready" once it does. Connected sockets save the route of each packet, and
// hear one peer alone. The process must do nothing else: Floor turns the collector off and keeps a thread.
func Floor(plan Plan, connected bool, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(2) // the relay's and one for everything else
	f, err := openFloor(plan, connected)
	if err != nil {
		return err
	}
	stopped := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f.run()
		close(stopped)
	}()
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return fmt.Errorf("media/load: telling that the floor is ready: %w", err)
	}
	_, _ = io.Copy(io.Discard, in)
	_, _ = unix.Write(f.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-stopped
	return f.close()
}

// floor is a socket for each port, an epoll loop, and a fixed table from socket to socket.
type floor struct {
	poll, stop int
	connected  bool
	table      []hop // by descriptor
}

type hop struct {
	used bool
	out  int32
	to   unix.RawSockaddrInet4
}

const (
	events  = 256
	largest = 2048
	patient = 100 // ms: bounds how long a stop of the world waits for a raw wait
)

func openFloor(plan Plan, connected bool) (*floor, error) {
	f := &floor{poll: -1, stop: -1, connected: connected}
	err := f.open(plan)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media/load: opening the floor: %w", err), f.close())
	}
	return f, nil
}

func (f *floor) open(plan Plan) (err error) {
	if f.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if f.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return err
	}
	if err := f.watch(f.stop); err != nil {
		return err
	}
	for _, s := range plan.Fixed() {
		var fds [2]int
		for side := range fds {
			if fds[side], err = f.port(s.Relay[side], s.Peers[side]); err != nil {
				return err
			}
		}
		for side, fd := range fds {
			f.table[fd].out, f.table[fd].to = int32(fds[1-side]), sockaddr(s.Peers[1-side])
		}
	}
	return nil
}

// port opens one port of a stream, as media/epoll does.
func (f *floor) port(at, peer netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	f.table = append(f.table, make([]hop, max(0, fd+1-len(f.table)))...)
	f.table[fd].used = true
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 46<<2),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}))
	if err == nil && f.connected {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(peer.Port()), Addr: peer.Addr().As4()})
	}
	if err != nil {
		return -1, fmt.Errorf("%v: %w", at, err)
	}
	return fd, f.watch(fd)
}

func (f *floor) watch(fd int) error {
	return unix.EpollCtl(f.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (f *floor) close() (err error) {
	for fd := range f.table {
		if f.table[fd].used {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	for _, fd := range []int{f.poll, f.stop} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

func (f *floor) run() {
	var ready [events]unix.EpollEvent
	buf := make([]byte, largest)
	var from unix.RawSockaddrInet4
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(f.poll), uintptr(unsafe.Pointer(&ready[0])), events, patient, 0, 0)
		if errno != 0 {
			continue
		}
		for i := range n {
			if ready[i].Fd == int32(f.stop) {
				return
			}
			f.relay(ready[i].Fd, buf, &from)
		}
	}
}

func (f *floor) relay(fd int32, buf []byte, from *unix.RawSockaddrInet4) {
	h := &f.table[fd]
	size := uint32(unsafe.Sizeof(*from))
	name, length := uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size))
	to, toLength := uintptr(unsafe.Pointer(&h.to)), unsafe.Sizeof(h.to)
	if f.connected {
		name, length, to, toLength = 0, 0, 0, 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), largest, 0, name, length)
	if errno == 0 {
		_, _, _ = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(h.out), uintptr(unsafe.Pointer(&buf[0])), n, 0, to, toLength)
	}
}
