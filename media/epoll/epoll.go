//go:build linux

// Package epoll is the relay's unprivileged back end: one raw non-blocking socket for each port of the range, all opened
// at the start, and locked threads that wait for them (level-triggered), receive one datagram for each event, ask the
// engine and send. Between a datagram's arrival and its departure lie two system calls and no allocation, lock or channel.
// Calls are shared among the threads by pair number: both legs of one have the same thread.
//
// An RTP port whose destination has stayed the same for some packets gets a second socket, connected to that peer (link): the
// kernel then keeps the route, a seventh of what relaying costs. The port's own socket stays unconnected beside it, so
// whoever else sends is heard as before: strangers are counted and not told that somebody is here, and a NAT that rebinds is
// followed. What the second socket receives is judged by its source like everything else; nothing depends on it but speed.
//
// Within the program's own process (Options.Process false) the wait is an ordinary system call, so that the scheduler
// and the collector are not held up. In a process that does nothing but media it is a raw one: media/process sees to
// the rest (collector, preemption). There a thread with little to do also gathers the packets of
// a millisecond before it looks again, for waking up costs more than relaying; with much to do it never sleeps, and
// where the layout asks for low latency it never does.
package epoll

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/dtls"
)

// Options are the back end's own settings.
type Options struct {
	// Process says that this process does nothing but media: the wait keeps the scheduler's processor.
	Process bool
	// Board makes the board that the engine publishes on, over memory that other processes see; nil: one of its own. base
	// is the zero of the engine's clock.
	Board func(layout media.Layout, base time.Time) (*media.Board, error)
}

// Backend implements media.Backend.
type Backend struct {
	options Options
	layout  media.Layout
	engine  *media.Engine
	workers []*worker
	fds     []int32 // by leg, then by leg in the other family where a side has both; -1: not ours
	links   []link  // by pair, likewise, each its worker's; nil: none are made
	running sync.WaitGroup
	keying  *dtls.Table
	drain   *media.Drain
	close   sync.Once
}

// New makes a back end; Open starts it.
func New(options Options) *Backend { return &Backend{options: options} }

// String is what the start-up line calls it.
func (b *Backend) String() string { return "epoll" }

// Open implements media.Backend. A port in use is missing; any other failure to bind is an error.
func (b *Backend) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	if b.workers != nil {
		return nil, errors.New("media/epoll: already open: use one back end for each plane")
	}
	sockets := layout.Legs()
	if layout.Dual() {
		sockets *= 2
	}
	spare, err := checkLimit(sockets)
	if err != nil {
		return nil, err
	}
	// Time zero of the engine means "never", so its clock starts a second ahead.
	base := time.Now().Add(-time.Second)
	board := b.options.Board
	if board == nil {
		board = func(media.Layout, time.Time) (*media.Board, error) { return media.NewBoard(layout, base), nil }
	}
	published, err := board(layout, base)
	if err != nil {
		return nil, err
	}
	b.layout, b.engine, b.fds = layout, media.NewEngineOn(layout, published), make([]int32, sockets)
	for i := range b.fds {
		b.fds[i] = -1
	}
	if b.keying, err = dtls.Attach(b.engine, dtls.Attachment{Send: b.sendRecord, Certificate: hears.Certificate, Agreed: func(a media.Agreement) {
		b.workers[layout.Worker(int(a.Leg))].queue.Agree(a)
		hears.Agree(a)
	}}); err != nil {
		return nil, err
	}
	b.drain = media.NewDrain(b.engine, hears)
	if b.options.Process && spare > 0 { // elsewhere the rest of the program needs the files
		b.links = make([]link, sockets/2)
	}
	for range max(1, layout.Workers) {
		w := newWorker(len(b.workers), b, hears)
		w.room = spare / max(1, layout.Workers)
		b.workers = append(b.workers, w)
	}
	if err := b.bind(); err != nil {
		b.shut()
		b.workers = nil
		return nil, err
	}
	for _, w := range b.workers {
		w.queue.Open(w.wakeFD, layout.Legs())
		b.running.Go(w.run)
	}
	return published, nil
}

// Post implements media.Backend.
func (b *Backend) Post(c media.Command) {
	if leg := int(c.Leg); leg >= 0 && leg < b.layout.Legs() {
		b.drain.Post(&c)
		b.workers[b.layout.Worker(leg)].queue.Post(c)
	}
}

// Settle returns when every command posted so far has been carried out. It does not wait for datagrams.
func (b *Backend) Settle() {
	var settled []<-chan struct{}
	for _, w := range b.workers {
		settled = append(settled, w.queue.Settle())
	}
	for _, s := range settled {
		<-s
	}
}

// Close implements media.Backend.
func (b *Backend) Close() error {
	b.close.Do(func() {
		for _, w := range b.workers {
			w.queue.Stop()
		}
		b.running.Wait()
		if b.keying != nil {
			b.keying.Close()
		}
		if b.drain != nil {
			b.drain.Close()
		}
		b.shut()
	})
	return nil
}

// sendRecord sends a record of a handshake, on any goroutine.
func (b *Backend) sendRecord(leg int32, to netip.AddrPort, record []byte) {
	if fd := b.fds[b.socket(leg, to.Addr().Unmap().Is4())]; fd >= 0 {
		_ = unix.Sendto(int(fd), record, unix.MSG_DONTWAIT, sockaddr(to)) // lost: it is repeated
		b.drain.Sent(leg, to, record)
	}
}

// socket is where the socket of a leg stands that reaches a family.
func (b *Backend) socket(leg int32, v4 bool) int32 {
	if other, ok := b.layout.Other(int(leg)); ok && other.Addr().Is4() == v4 {
		return leg + int32(b.layout.Legs())
	}
	return leg
}

// sockaddr is the address in the family of the port that sends to it: signalling lets no other near.
func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// shut closes every descriptor. The workers have ended, or never began.
func (b *Backend) shut() {
	for _, w := range b.workers {
		closeAll(int32(w.pollFD), int32(w.wakeFD))
	}
	for i := range b.links {
		if fd, ok := b.links[i].socket(); ok {
			closeAll(fd)
		}
	}
	closeAll(b.fds...)
}

func closeAll(fds ...int32) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(int(fd))
		}
	}
}

// spareFiles are left for the rest of the program when the limit of descriptors is judged.
const spareFiles = 128

// checkLimit says how many files may be opened besides the ports.
func checkLimit(sockets int) (spare int, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("media/epoll: limit of open files: %w", err)
	}
	need := uint64(sockets + spareFiles)
	if lim.Cur < need {
		return 0, fmt.Errorf("media/epoll: the port range needs %d open files, the limit is %d: raise LimitNOFILE or narrow media.ports", need, lim.Cur)
	}
	return int(min(lim.Cur-need, math.MaxInt32)), nil
}
