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

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/thread"
)

// Options are the back end's own settings.
type Options = thread.Options

// Backend implements media.Backend.
type Backend struct {
	options Options
	layout  media.Layout
	crew    thread.Crew
	workers []*worker
	fds     []int32 // by leg, then by leg in the other family where a side has both; -1: not ours
	links   []link  // by pair, likewise, each its worker's; nil: none are made
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
	board, err := b.crew.Open(layout, hears, b.options, b.sendRecord)
	if err != nil {
		return nil, err
	}
	b.layout, b.fds = layout, make([]int32, sockets)
	for i := range b.fds {
		b.fds[i] = -1
	}
	if b.options.Process && spare > 0 { // elsewhere the rest of the program needs the files
		b.links = make([]link, sockets/2)
	}
	if err := b.bind(board, spare); err != nil {
		b.shut()
		b.workers = nil
		return nil, err
	}
	b.crew.Start()
	return board, nil
}

// Post implements media.Backend.
func (b *Backend) Post(c media.Command) { b.crew.Post(c) }

// Settle returns when every command posted so far has been carried out. It does not wait for datagrams.
func (b *Backend) Settle() { b.crew.Settle() }

// Close implements media.Backend.
func (b *Backend) Close() error {
	b.crew.Close(b.shut)
	return nil
}

// sendRecord sends a record of a handshake, on any goroutine.
func (b *Backend) sendRecord(leg int32, to netip.AddrPort, record []byte) (sent bool) {
	fd := b.fds[b.socket(leg, to.Addr().Unmap().Is4())]
	if fd < 0 {
		return false
	}
	_ = unix.Sendto(int(fd), record, unix.MSG_DONTWAIT, sockaddr(to)) // lost: it is repeated
	return true
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
	b.crew.Shut()
	for i := range b.links {
		if fd, ok := b.links[i].socket(); ok {
			closeAll(fd)
		}
	}
	closeAll(b.fds...)
	b.links, b.fds = nil, nil // a second time they would be somebody else's
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
