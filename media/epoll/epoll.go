//go:build linux

// Package epoll is the relay's unprivileged back end: one raw non-blocking socket for each port of the range, all opened
// at the start, and one locked thread that waits for them (level-triggered), receives one datagram for each event, asks
// the engine and sends. Between a datagram's arrival and its departure lie two system calls and no allocation, lock or
// channel.
//
// Sockets stay unconnected, even towards a locked peer: a connected socket would save a tenth of the send, but the
// kernel would answer strangers with ICMP errors, rejected datagrams could not be counted, and a NAT that rebinds would
// never be heard again.
//
// Within the program's own process (Options.Process false) the wait is an ordinary system call, so that the scheduler
// and the collector are not held up. In a process that does nothing but media it is a raw one: Serve, and its caller's
// environment (GODEBUG=asyncpreemptoff=1), see to the rest.
package epoll

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// Options are the back end's own settings.
type Options struct {
	// Process says that this process does nothing but media: the wait keeps the scheduler's processor.
	Process bool
}

// Backend implements media.Backend.
type Backend struct {
	options Options
	queue   queue
	worker  *worker
	done    chan struct{}
	close   sync.Once
}

// New makes a back end; Open starts it.
func New(options Options) *Backend { return &Backend{options: options} }

// Open implements media.Backend. A port in use is missing; any other failure to bind is an error.
func (b *Backend) Open(layout media.Layout) (*media.Board, []netip.AddrPort, error) {
	if b.worker != nil {
		return nil, nil, errors.New("media/epoll: already open: use one back end for each plane")
	}
	if err := checkLimit(layout.Legs()); err != nil {
		return nil, nil, err
	}
	w := &worker{raw: b.options.Process, fds: make([]int32, layout.Legs()), queue: &b.queue}
	for i := range w.fds {
		w.fds[i] = -1
	}
	missing, err := w.open(layout)
	if err != nil {
		w.shut()
		return nil, nil, err
	}
	// Time zero of the engine means "never", so its clock starts a second ahead.
	w.base = time.Now().Add(-time.Second)
	w.engine = media.NewEngine(layout, w.base)
	b.queue.open(w.wakeFD, layout.Legs())
	b.worker, b.done = w, make(chan struct{})
	go func() {
		defer close(b.done)
		w.run()
	}()
	return w.engine.Board(), missing, nil
}

// Post implements media.Backend.
func (b *Backend) Post(c media.Command) { b.queue.post(c) }

// Close implements media.Backend.
func (b *Backend) Close() error {
	b.close.Do(func() {
		if b.worker == nil {
			return
		}
		b.queue.stop()
		<-b.done
		b.worker.shut()
	})
	return nil
}

// spareFiles are left for the rest of the program when the limit of descriptors is judged.
const spareFiles = 128

func checkLimit(sockets int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("media/epoll: limit of open files: %w", err)
	}
	if need := uint64(sockets + spareFiles); lim.Cur < need {
		return fmt.Errorf("media/epoll: the port range needs %d open files, the limit is %d: raise LimitNOFILE or narrow media.ports", need, lim.Cur)
	}
	return nil
}
