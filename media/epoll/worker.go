//go:build linux

package epoll

import (
	"encoding/binary"
	"math"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/queue"
)

const (
	wakeIndex = -1   // the eventfd's place in an event, where sockets have their leg
	batch     = 256  // events of one wait
	rawWait   = 100  // ms: bounds how long a stop of the world waits for a raw wait
	lazyWait  = 200  // ms: how long commands may wait while nothing arrives
	largest   = 2048 // longer than any audio or image packet

	fewPackets = 64 // a batch below this leaves time to gather the next one
	together   = 2  // a gathered batch below this did not pay for the sleep
	eagerFor   = 32 // batches without gathering, then
	gather     = time.Millisecond
)

// worker is the thread's whole state. Everything a system call points into is part of it, so nothing is allocated and
// nothing moves.
type worker struct {
	number  int
	raw     bool
	patient bool // gathers packets while there are few
	last    int  // size of the last batch
	eager   int  // batches until gathering is tried again
	pollFD  int
	wakeFD  int
	fds     []int32 // as the back end has them
	links   []link  // by pair, likewise; nil: none are made
	room    int     // links that may still be made
	ripe    [ripeAtOnce]int32
	ripen   int // of ripe
	legs    int32
	socket  func(leg int32, v4 bool) int32 // nil: each leg has one
	local   func(place int) (netip.AddrPort, bool)
	marked  media.Layout
	queue   queue.Queue
	engine  *media.Engine
	base    time.Time
	hinted  func() // never nil
	play    func(media.Verdict) bool

	events  [batch]unix.EpollEvent
	buf     [largest + media.Tailroom]byte
	from    unix.RawSockaddrInet6 // long enough for both families
	fromN   uint32
	to4     unix.RawSockaddrInet4
	to6     unix.RawSockaddrInet6
	rest    unix.Timespec
	sample  sampler
	touched int64 // of no meaning: see media.Engine.Warm
}

func newWorker(number int, b *Backend, hears media.Listener) *worker {
	w := &worker{
		number: number, raw: b.options.Process, patient: b.options.Process && !b.layout.LowLatency, pollFD: -1, wakeFD: -1,
		fds: b.fds, engine: b.engine, base: b.engine.Board().Base, hinted: hears.Hinted,
	}
	w.play, w.legs, w.links = w.send, int32(b.layout.Legs()), b.links
	w.local, w.marked = b.at, b.layout
	if b.layout.Dual() {
		w.socket = b.socket
	}
	if w.hinted == nil {
		w.hinted = func() {}
	}
	return w
}

// run is the thread: it ends when the queue is stopped.
func (w *worker) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	w.to4.Family, w.to6.Family = unix.AF_INET, unix.AF_INET6
	if w.patient {
		// Else the kernel may let a sleep last 50 µs longer. Where it refuses, sleeps are as they are.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0)
	}
	for !w.serve() {
	}
}

// serve works until it is stopped, or until the engine fails on a datagram: all other calls go on without that one.
func (w *worker) serve() (stopped bool) {
	defer func() {
		if recover() != nil {
			w.engine.Failed()
		}
	}()
	for {
		n := w.wait()
		now := int64(time.Since(w.base)) // one reading for the whole batch
		// Commands first: a packet that came after a Point was posted meets the leg that was pointed.
		for i := range n {
			if w.events[i].Fd == wakeIndex {
				w.hear()
			}
		}
		if w.queue.Waiting.Load() && w.commands(now) {
			return true
		}
		w.warm(w.events[:n])
		for i := range n {
			switch e := &w.events[i]; {
			case e.Fd == wakeIndex:
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
		if now >= w.engine.Due(w.number) {
			w.engine.Play(now, w.number, w.play)
		}
		if w.engine.News(w.number) {
			w.hinted()
		}
	}
}

// warm has the processor fetch what a batch is going to need.
func (w *worker) warm(events []unix.EpollEvent) {
	for i := range events {
		leg := events[i].Fd
		if leg >= w.legs {
			leg -= w.legs
		}
		if leg == wakeIndex {
			continue
		}
		out, touched := w.engine.Warm(int(leg))
		w.touched += touched
		if w.links != nil {
			w.touched += int64(w.links[out>>1].port)
		}
	}
}

// wait blocks until something has arrived. A look without blocking goes first: under load it saves the scheduler's
// hand-over, which costs more than relaying a packet.
func (w *worker) wait() int {
	if w.raw {
		if w.patient && w.last > 0 && w.last < fewPackets {
			if w.last = w.left(); w.last == 0 {
				w.last = w.gathered()
			}
		} else {
			w.last = 0
		}
		if w.last == 0 {
			w.last = w.poll(unix.RawSyscall6, w.spare(rawWait))
		}
		return w.last
	}
	if n := w.poll(unix.RawSyscall6, 0); n > 0 {
		return n
	}
	return w.poll(unix.Syscall6, w.spare(lazyWait))
}

// spare is how many of a wait's milliseconds are left before the engine has something to do of itself.
func (w *worker) spare(ms int) int {
	due := w.engine.Due(w.number)
	if due == math.MaxInt64 {
		return ms
	}
	left := time.Duration(due) - time.Since(w.base)
	return max(0, min(ms, int((left+time.Millisecond-1)/time.Millisecond)))
}

type syscall6 func(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err unix.Errno)

func (w *worker) poll(call syscall6, ms int) int {
	n, _, errno := call(unix.SYS_EPOLL_PWAIT, uintptr(w.pollFD), uintptr(unsafe.Pointer(&w.events[0])), batch, uintptr(ms), 0, 0)
	if errno != 0 {
		return 0 // EINTR; nothing else can happen to descriptors that this thread alone closes
	}
	return int(n)
}

// left is what lies there before anything is gathered: of each port one datagram has been taken, and one a millisecond
// would let a flood of a port starve its call.
func (w *worker) left() int {
	if w.eager > 0 {
		return 0 // nothing is gathered: the wait that follows tells
	}
	return w.poll(unix.RawSyscall6, 0)
}

// gathered is what arrives until the next millisecond, at the cost of one wake-up; 0: nothing, or it was not tried.
// Where that brings no two packets together, as with very few calls, or with packets that come in bunches anyway, waiting
// for each is cheaper, and is what is done for a while.
func (w *worker) gathered() int {
	if w.eager > 0 {
		w.eager--
		return 0
	}
	w.sleep()
	n := w.poll(unix.RawSyscall6, 0)
	if n < together {
		w.eager = eagerFor
	}
	return n
}

// sleep lasts until the next millisecond.
func (w *worker) sleep() {
	w.rest = unix.NsecToTimespec(int64(gather - time.Since(w.base)%gather))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&w.rest)), 0, 0)
}

// hear takes the ring of the eventfd.
func (w *worker) hear() {
	var count [8]byte
	_, _ = unix.Read(w.wakeFD, count[:])
}

// commands carries out what signalling wants.
func (w *worker) commands(now int64) (stopped bool) {
	list, settled, stopped := w.queue.Take()
	if settled != nil {
		defer close(settled)
	}
	w.engine.ApplyAll(now, list)
	if w.links != nil {
		w.unlink(list)
	}
	for _, a := range w.queue.Agreements() {
		w.engine.Agree(now, &a)
	}
	return stopped
}

// relay receives one datagram of a socket and sends it on. Level-triggered: what else is queued shows in the next wait.
func (w *worker) relay(now int64, place, fd int32) {
	n, arrived, ok := w.receive(fd)
	if !ok {
		return // EAGAIN: a datagram with a wrong checksum woke us
	}
	if n > largest {
		n = 0 // cut short it is junk
	}
	leg := place
	if leg >= w.legs {
		leg -= w.legs
	}
	v := w.engine.Packet(now, int(leg), w.source(), w.buf[:n])
	if v.Why != media.Accepted {
		return
	}
	if !w.send(v) {
		w.engine.Unsent(v)
		return
	}
	if arrived != 0 {
		w.engine.Delayed(w.number, arrived, time.Now().UnixNano())
	}
}

func (w *worker) source() media.Endpoint {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&w.from.Port))[:])
	if w.from.Family == unix.AF_INET {
		return media.Endpoint4((*unix.RawSockaddrInet4)(unsafe.Pointer(&w.from)).Addr, port)
	}
	return media.Endpoint16(w.from.Addr, port)
}

func (w *worker) send(v media.Verdict) bool {
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
