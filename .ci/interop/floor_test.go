//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// floorRole in the environment makes the test's binary the relay of the benchmark's floor.
const floorRole = "SALLYPORT_FLOOR"

// floor passes datagrams between the two sides of the gate's namespace: a blocking receive and a send on a thread for each
// direction, no scheduler, no collector. No relay in user space with one syscall a datagram costs less.
func floor() {
	debug.SetGCPercent(-1)
	outside, inside := open(gateOutside+":5080"), open(gateInside+":5080")
	go pass(outside, inside, raw(node1+":5060"))
	pass(inside, outside, raw(provider+":5060"))
}

func open(address string) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err == nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		ap := netip.MustParseAddrPort(address)
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, address, err)
		os.Exit(1)
	}
	return fd
}

func raw(address string) *unix.RawSockaddrInet4 {
	ap := netip.MustParseAddrPort(address)
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: ap.Port()<<8 | ap.Port()>>8, Addr: ap.Addr().As4()}
}

func pass(in, out int, to *unix.RawSockaddrInet4) {
	runtime.LockOSThread()
	buf := make([]byte, 65536)
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(in), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
		if errno == 0 {
			unix.RawSyscall6(unix.SYS_SENDTO, uintptr(out), uintptr(unsafe.Pointer(&buf[0])), n, 0,
				uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrInet4)
		}
	}
}
