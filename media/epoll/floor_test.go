//go:build linux

package epoll_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/epoll"
)

// floor is the raw-syscall relay that the engine is measured against: the same sockets, the same recvfrom and sendto, a
// plain epoll loop, and a fixed table from socket to socket. It checks nothing and counts nothing but packets.
type floor struct {
	poll    int
	table   []hop // by descriptor
	packets uint64
	stopped bool
}

type hop struct {
	out int32
	to  unix.RawSockaddrInet4
}

const stopIndex = -1

// runFloor serves a load as Serve does, with the same words on in and out.
func runFloor(load epoll.Load, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(epoll.MemoryLimit)
	runtime.GOMAXPROCS(2)
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	f := &floor{poll: poll}
	if err := f.open(load, out); err != nil {
		return err
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: stopIndex}); err != nil {
		return err
	}
	start := epoll.ProcessorTime()
	fmt.Fprintln(out, "ready")
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_, _ = unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}()
	f.run()
	fmt.Fprintf(out, "cpu %d packets %d\n", (epoll.ProcessorTime() - start).Nanoseconds(), f.packets)
	return nil
}

// open binds both sides' ports in the order of the range; RTCP ports are not used by the load.
func (f *floor) open(load epoll.Load, out io.Writer) error {
	layout := media.Layout{ReceiveBuffer: 64 << 10, DSCP: load.Config.DSCP}
	peers := load.Peers
	for n := range load.Streams {
		var fds [2]int
		var local [2]netip.AddrPort
		for side, a := range load.Config.Addresses {
			local[side] = netip.AddrPortFrom(a, load.Config.First+uint16(2*n))
			fd, err := epoll.Bind(local[side], layout)
			if err != nil {
				return err
			}
			if fds[side] = fd; fd >= len(f.table) {
				f.table = append(f.table, make([]hop, fd+1-len(f.table))...)
			}
			if err := unix.EpollCtl(f.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
				return err
			}
		}
		for side, fd := range fds {
			h := hop{out: int32(fds[1-side])}
			h.to.Family, h.to.Addr = unix.AF_INET, peers[1-side].Addr().As4()
			binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&h.to.Port))[:], peers[1-side].Port())
			f.table[fd] = h
		}
		for side := range peers {
			peers[side] = netip.AddrPortFrom(peers[side].Addr().Next(), peers[side].Port())
		}
		fmt.Fprintln(out, local[0], local[1])
	}
	return nil
}

func (f *floor) run() {
	runtime.LockOSThread()
	var events [epoll.Batch]unix.EpollEvent
	buf := make([]byte, epoll.Largest)
	var from unix.RawSockaddrInet4
	for !f.stopped {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(f.poll), uintptr(unsafe.Pointer(&events[0])), epoll.Batch, uintptr(epoll.RawWait), 0, 0)
		if errno != 0 {
			continue
		}
		for i := range n {
			fd := events[i].Fd
			if fd == stopIndex {
				f.stopped = true
				continue
			}
			size := uint32(unsafe.Sizeof(from))
			got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), epoll.Largest, 0,
				uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
			if errno != 0 {
				continue
			}
			h := &f.table[fd]
			_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(h.out), uintptr(unsafe.Pointer(&buf[0])), got, 0,
				uintptr(unsafe.Pointer(&h.to)), unsafe.Sizeof(h.to))
			if errno == 0 {
				f.packets++
			}
		}
	}
}
