//go:build linux

package steer

import (
	"errors"
	"fmt"
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
	wakeIndex = -1  // the eventfd's place in an event, where intakes have their number
	rawWait   = 100 // ms: bounds how long a stop of the world waits for a raw wait
	lazyWait  = 200 // ms: how long commands may wait while nothing arrives

	gather     = time.Millisecond // while batches are not full
	timerSlack = 1000             // ns
)

// worker is the whole state of a thread.
type worker struct {
	number  int
	raw     bool
	patient bool // gathers packets while there are few
	pollFD  int
	wakeFD  int
	layout  media.Layout
	atlas   atlas
	queue   queue.Queue
	bound   map[int]int   // Backend.bound
	engine  *media.Engine // shared: each leg has one worker
	base    time.Time

	events  [4]unix.EpollEvent
	last    int       // datagrams of the last round
	intakes [2]intake // by family
	exits   [2]exit   // by block
	rest    unix.Timespec
	sample  sampler
	refused func(media.Verdict, []byte, unix.Errno)
	hinted  func() // never nil
	play    func(media.Verdict) bool
	touched int64                               // of no meaning: see media.Engine.Warm
	tone    [headroom + largest + tailroom]byte // what the engine makes itself
}

func newWorker(number int, b *Backend, hears media.Listener) (w *worker, err error) {
	layout, o := b.layout, b.options
	w = &worker{
		number: number, raw: o.Process, patient: o.Process && !layout.LowLatency, pollFD: -1, wakeFD: -1,
		layout: layout, atlas: newAtlas(layout), bound: b.bound, engine: b.engine, base: b.engine.Board().Base,
	}
	for i := range w.intakes {
		w.intakes[i].fd, w.exits[i].far.fd, w.exits[i].near.fd = -1, -1, -1
	}
	w.refused, w.play, w.hinted = w.refuse, w.send, hears.Hinted
	if w.hinted == nil {
		w.hinted = func() {}
	}
	if w.pollFD, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return w, fmt.Errorf("media/steer: epoll instance: %w", err)
	}
	if w.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return w, fmt.Errorf("media/steer: event descriptor: %w", err)
	}
	known := networks()
	for block := range layout.Blocks {
		if err := w.openExit(block, known); err != nil {
			return w, err
		}
	}
	w.queue.Open(w.wakeFD, layout.Legs())
	return w, w.watch(w.wakeFD, wakeIndex)
}

// admit steers a pair to the worker's intake of its family, which the first pair opens.
func (w *worker) admit(pair int, s *steering) error {
	at, family := w.layout.Local(pair*2), 0
	if at.Addr().Is6() {
		family = 1
	}
	place := w.number*len(w.intakes) + family
	if in := &w.intakes[family]; in.fd < 0 {
		fd, err := openIntake(at, w.layout)
		if err != nil {
			return err
		}
		in.fd, in.v6, w.bound[pair*2] = fd, family == 1, fd
		in.prepare()
		if err := errors.Join(w.watch(fd, int32(family)), s.socket(place, fd)); err != nil {
			return err
		}
	}
	return s.lead(pair, place)
}

func (w *worker) openExit(block int, known []netip.Prefix) error {
	a, e := w.layout.Addresses[block], &w.exits[block]
	e.vicinity = vicinityOf(a, known)
	for _, o := range []*outlet{&e.far, &e.near} {
		near := o == &e.near
		if near && !e.vicinity.known {
			break
		}
		fd, err := openOutlet(a, w.layout, near)
		if err != nil {
			return err
		}
		o.fd = fd
		o.prepare(a, w.layout.DSCP, hops(fd, a.Is6()), near)
	}
	return nil
}

func (w *worker) watch(fd int, index int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: index}
	if err := unix.EpollCtl(w.pollFD, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("media/steer: watching a socket: %w", err)
	}
	return nil
}

// shut closes every descriptor. The thread has ended, or never began.
func (w *worker) shut() {
	for _, fd := range []int{
		w.intakes[0].fd, w.intakes[1].fd, w.exits[0].far.fd, w.exits[0].near.fd, w.exits[1].far.fd, w.exits[1].near.fd, w.pollFD, w.wakeFD,
	} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// run is the thread: it ends when the queue is stopped.
func (w *worker) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if w.patient {
		// Else the kernel may let a sleep last 50 µs longer. Where it refuses, sleeps are as they are.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
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
	w.flush() // what a batch left behind on which the engine failed: its buffers may be used again
	for {
		w.wait()
		now := int64(time.Since(w.base)) // one reading for the whole batch
		// Commands first: a packet that came after a Point was posted meets the leg that was pointed.
		if w.queue.Waiting.Load() && w.commands(now) {
			return true
		}
		w.last = 0
		for i := range w.intakes {
			if in := &w.intakes[i]; in.pending() {
				w.relay(now, in)
				w.last += in.n
			}
		}
		if now >= w.engine.Due(w.number) {
			w.engine.Play(now, w.number, w.play)
		}
		if w.engine.News(w.number) {
			w.hinted()
		}
	}
}

// wait blocks until something has arrived. While batches are full there is no need to ask. A look without blocking goes
// first: under load it saves the scheduler's hand-over, which costs more than relaying a packet.
func (w *worker) wait() {
	if w.intakes[0].pending() || w.intakes[1].pending() {
		w.poll(unix.RawSyscall6, 0)
		return
	}
	if w.raw {
		if w.patient && w.last > 0 && w.last < batch {
			w.gather()
			// Whoever has packets had some a moment ago: to look is cheaper than to ask where. If nobody has any, the next
			// wait asks.
			for i := range w.intakes {
				w.intakes[i].ready = w.intakes[i].fd >= 0
			}
			return
		}
		w.poll(unix.RawSyscall6, w.spare(rawWait))
		return
	}
	if w.poll(unix.RawSyscall6, 0) == 0 {
		w.poll(unix.Syscall6, w.spare(lazyWait))
	}
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

// gather sleeps until the next millisecond: what arrives meanwhile is one batch and costs one wake-up.
func (w *worker) gather() {
	w.rest = unix.NsecToTimespec(int64(gather - time.Since(w.base)%gather))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&w.rest)), 0, 0)
}

type syscall6 func(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err unix.Errno)

// poll asks the kernel which sockets have something and returns how many.
func (w *worker) poll(call syscall6, ms int) int {
	n, _, errno := call(unix.SYS_EPOLL_PWAIT, uintptr(w.pollFD), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return 0 // EINTR; nothing else can happen to descriptors that this thread alone closes
	}
	for i := range n {
		switch index := w.events[i].Fd; index {
		case wakeIndex:
			w.hear()
		default:
			w.intakes[index].ready = true
		}
	}
	return int(n)
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
	for _, a := range w.queue.Agreements() {
		w.engine.Agree(now, &a)
	}
	return stopped
}

// relay judges a batch of datagrams and sends on what is accepted. A batch that the engine failed in the middle of is
// gone on with.
func (w *worker) relay(now int64, in *intake) {
	if in.next >= in.n {
		in.receive()
	}
	w.warm(in)
	for in.next < in.n {
		i := in.next
		in.next++
		w.judge(now, in, i)
	}
	w.flush()
	w.sample.sent(w.engine, w.number)
}

// warm has the processor fetch what the datagrams of a batch are going to need.
func (w *worker) warm(in *intake) {
	for i := in.next; i < in.n; i++ {
		if leg, ok := w.atlas.leg(in.destination(i)); ok {
			_, touched := w.engine.Warm(leg)
			w.touched += touched
		}
	}
}

// flush sends what is queued.
func (w *worker) flush() {
	for block := range w.exits {
		e := &w.exits[block]
		if e.far.n > 0 {
			e.far.flush(w.refused)
		}
		if e.near.n > 0 {
			e.near.flush(w.refused)
		}
	}
}

// judge asks the engine about one datagram.
func (w *worker) judge(now int64, in *intake, i int) {
	leg, ok := w.atlas.leg(in.destination(i))
	if !ok {
		return // no address of ours: nobody steers such a datagram here
	}
	payload := in.payload(i)
	v := w.engine.Packet(now, leg, in.source(i), payload)
	if v.Why != media.Accepted {
		return
	}
	block, port := w.atlas.place(int(v.Out))
	o := w.exits[block].to(v.To)
	if v.To.Is4() == o.v6 {
		w.engine.Unsent(v) // of the other family: no packet of ours can go there
		return
	}
	o.put(v, port, &in.buf[i], len(v.Data))
	w.sample.take(in, i)
}

// send takes a packet that the engine made itself. What becomes of it, refuse is told.
func (w *worker) send(v media.Verdict) bool {
	block, port := w.atlas.place(int(v.Out))
	o := w.exits[block].to(v.To)
	if v.To.Is4() == o.v6 || len(v.Data) > largest+tailroom {
		return false
	}
	o.put(v, port, &w.tone, copy(w.tone[headroom:], v.Data))
	o.flush(w.refused) // its buffer is used again for the next one
	return true
}

// refuse is told of a datagram that the kernel did not take.
func (w *worker) refuse(v media.Verdict, payload []byte, why unix.Errno) {
	if why == unix.EMSGSIZE && w.sendLarge(v, payload) == nil {
		return
	}
	w.engine.Unsent(v)
}

func (w *worker) sendLarge(v media.Verdict, payload []byte) error {
	fd, ok := w.bound[int(v.Out)] // a port that has a socket
	if !ok {
		fd = -1
	}
	return large(w.layout.Local(int(v.Out)), fd, w.layout.DSCP, v.To, payload)
}
