//go:build linux

package epoll

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/thread"
)

const (
	batch   = 256  // events of one wait
	largest = 2048 // longer than any audio or image packet

	fewPackets = 64 // a batch below this leaves time to gather the next one
	together   = 2  // a gathered batch below this did not pay for the sleep
	eagerFor   = 32 // batches without gathering, then
)

// worker is the thread's whole state. Everything a system call points into is part of it, so nothing is allocated and
// nothing moves.
type worker struct {
	thread.Thread
	found  int     // events of the last wait
	last   int     // size of the last batch, while packets may be gathered
	eager  int     // batches until gathering is tried again
	fds    []int32 // as the back end has them
	links  []link  // by pair, likewise; nil: none are made
	room   int     // links that may still be made
	ripe   [ripeAtOnce]int32
	ripen  int // of ripe
	legs   int32
	socket func(leg int32, v4 bool) int32 // nil: each leg has one
	local  func(place int) (netip.AddrPort, bool)
	marked media.Layout

	events  [batch]unix.EpollEvent
	buf     [largest + media.Tailroom]byte
	from    unix.RawSockaddrInet6 // long enough for both families
	fromN   uint32
	to4     unix.RawSockaddrInet4
	to6     unix.RawSockaddrInet6
	sample  sampler
	touched int64 // of no meaning: see media.Engine.Warm
}

// newWorker makes the next worker of the crew. What it waits on is given back with the crew's, also where that fails.
func newWorker(b *Backend) (*worker, error) {
	w := &worker{fds: b.fds, links: b.links, legs: int32(b.layout.Legs()), local: b.at, marked: b.layout}
	if b.layout.Dual() {
		w.socket = b.socket
	}
	w.to4.Family, w.to6.Family = unix.AF_INET, unix.AF_INET6
	if err := b.crew.Enlist(&w.Thread, w); err != nil {
		return w, fmt.Errorf("media/epoll: %w", err)
	}
	return w, nil
}

// Resume implements thread.Work: of a batch on which the engine failed, level-triggered events come again.
func (w *worker) Resume() {}

// Wait implements thread.Work.
func (w *worker) Wait() { w.found = w.wait() }

// Applied implements thread.Work.
func (w *worker) Applied(list []media.Command) {
	if w.links != nil {
		w.unlink(list)
	}
}

// Carry implements thread.Work.
func (w *worker) Carry(now int64) {
	w.warm(w.events[:w.found])
	for i := range w.found {
		switch e := &w.events[i]; {
		case e.Fd < 0: // a ring
		case e.Pad == viaLink:
			if fd, ok := w.links[e.Fd>>1].socket(); ok { // it may have gone since
				w.relay(now, e.Fd, fd)
			}
		default:
			w.relay(now, e.Fd, w.fds[e.Fd])
		}
	}
	if w.ripen > 0 {
		w.connect()
	}
}

// warm has the processor fetch what a batch is going to need.
func (w *worker) warm(events []unix.EpollEvent) {
	for i := range events {
		leg := events[i].Fd
		if leg >= w.legs {
			leg -= w.legs
		}
		if leg < 0 {
			continue // a ring
		}
		out, touched := w.Engine.Warm(int(leg))
		w.touched += touched
		if w.links != nil {
			w.touched += int64(w.links[out>>1].port)
		}
	}
}

// wait blocks until something has arrived, and returns how many events there are.
func (w *worker) wait() int {
	if !w.Raw() {
		return w.Await(w.events[:])
	}
	if w.Patient && w.last > 0 && w.last < fewPackets {
		if w.last = w.left(); w.last == 0 {
			w.last = w.gathered()
		}
	} else {
		w.last = 0
	}
	if w.last == 0 {
		w.last = w.Await(w.events[:])
	}
	return w.last
}

// left is what lies there before anything is gathered: of each port one datagram has been taken, and one a millisecond
// would let a flood of a port starve its call.
func (w *worker) left() int {
	if w.eager > 0 {
		return 0 // nothing is gathered: the wait that follows tells
	}
	return w.Look(w.events[:])
}

// gathered is what arrives until the next millisecond, at the cost of one wake-up; 0: nothing, or it was not tried.
// Where that brings no two packets together, as with very few calls, or with packets that come in bunches anyway, waiting
// for each is cheaper, and is what is done for a while.
func (w *worker) gathered() int {
	if w.eager > 0 {
		w.eager--
		return 0
	}
	w.Sleep()
	n := w.Look(w.events[:])
	if n < together {
		w.eager = eagerFor
	}
	return n
}

// relay receives one datagram of a socket and sends it on. Level-triggered: what else is queued shows in the next wait.
func (w *worker) relay(now int64, place, fd int32) {
	n, ok := w.receive(fd)
	if !ok {
		return // EAGAIN: a datagram with a wrong checksum woke us
	}
	arrived := w.arrived(fd)
	if n > largest {
		n = 0 // cut short it is junk
	}
	leg := place
	if leg >= w.legs {
		leg -= w.legs
	}
	v := w.Engine.Packet(now, int(leg), w.source(), w.buf[:n])
	if v.Why != media.Accepted {
		return
	}
	if !w.Send(v) {
		w.Engine.Unsent(v)
		return
	}
	if arrived != 0 {
		w.delayed(arrived)
	}
}

func (w *worker) source() media.Endpoint {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&w.from.Port))[:])
	if w.from.Family == unix.AF_INET {
		return media.Endpoint4((*unix.RawSockaddrInet4)(unsafe.Pointer(&w.from)).Addr, port)
	}
	return media.Endpoint16(w.from.Addr, port)
}

// Send implements thread.Work.
func (w *worker) Send(v media.Verdict) bool {
	place := v.Out
	if w.socket != nil {
		place = w.socket(place, v.To.Is4())
	}
	if w.links != nil {
		if fd, ok := w.linked(place, v.To); ok && w.sendTo(fd, v.Data, nil, 0) == 0 {
			return true
		}
		// Not by its own socket: an ICMP error was to be told there first, or the packet is too long. The other one has no
		// such errors (udp(7)), and tells what the matter is.
	}
	return w.sendFrom(w.fds[place], v)
}

func (w *worker) sendFrom(fd int32, v media.Verdict) bool {
	to, size := w.name(v.To)
	errno := w.sendTo(fd, v.Data, to, size)
	if errno == unix.EMSGSIZE && v.To.Is4() {
		errno = cut(int(fd), func() unix.Errno { return w.sendTo(fd, v.Data, to, size) })
	}
	return errno == 0
}

// name is an address for the kernel, valid until the next one.
func (w *worker) name(at media.Endpoint) (to unsafe.Pointer, size uintptr) {
	to, size = unsafe.Pointer(&w.to6), unsafe.Sizeof(w.to6)
	port := &w.to6.Port
	if at.Is4() {
		to, size, port = unsafe.Pointer(&w.to4), unsafe.Sizeof(w.to4), &w.to4.Port
		w.to4.Addr = at.As4()
	} else {
		w.to6.Addr = at.As16()
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(port))[:], at.Port())
	return to, size
}

func (w *worker) sendTo(fd int32, data []byte, to unsafe.Pointer, size uintptr) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
		0, uintptr(to), size)
	return errno
}
