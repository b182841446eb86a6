//go:build linux

// Package steer is the relay's back end for machines that allow it: no descriptor for each port, and two system calls
// for a batch of datagrams instead of two for each.
//
// An eBPF program of type sk_lookup steers every UDP datagram for the relay's addresses and port range to the socket of a
// worker. The worker, a locked thread, takes up to 64 at a time (recvmmsg), finds the leg by the datagram's destination,
// asks the engine, writes UDP and, for all but neighbours, IP header in front of what is accepted, and sends the batch through
// raw sockets of the address (sendmmsg). Between a datagram's arrival and its departure lies no allocation, lock or channel. IPv4 and
// IPv6 are served alike. The program ends with the process: nothing is pinned.
//
// Calls are shared among workers, waits are chosen and packets are gathered as media/epoll does it.
//
// What differs from media/epoll:
//
//   - Ports are not bound. Another program may bind a port of the range later and will hear nothing on it; those bound
//     before are left to their owners. Keep the range out of the kernel's own choice: net.ipv4.ip_local_reserved_ports.
//     A connected UDP socket of another program goes before the steering, as it goes before any listener.
//   - The calls of a worker share one receive buffer, of 8 MiB, which is asked for beyond net.core.rmem_max. What a pair of
//     ports gets beyond 1,900 datagrams a second the kernel drops and counts (Flooded), so that a flood of some ports
//     does not take the others' audio.
//   - A raw socket hears no ICMP: a peer whose port is closed is not noticed, as on media/epoll's unconnected sockets.
//     What routers say of the path's size is heeded by the kernel.
//   - Packets carry "don't fragment". A datagram too long for its path is sent through an ordinary socket, which has the
//     kernel cut it. Fragments that arrive are joined by the kernel before they are steered.
//   - Where two programs steer the same port, the first one keeps it; Open asks the kernel (sock_diag) and reports it as
//     missing.
//
// It needs CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and Linux 5.9: Probe says what is missing. It opens no other socket,
// pins nothing and changes no setting of the machine.
//
// RFC 768 (UDP, checksum), RFC 791 and RFC 8200 (headers), RFC 1071 (Internet checksum), RFC 6864 (identification of
// packets that are not fragmented).
package steer

import (
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/thread"
)

// Options are the back end's own settings.
type Options = thread.Options

// Backend implements media.Backend.
type Backend struct {
	options  Options
	limit    int // of a pair in a window
	layout   media.Layout
	crew     thread.Crew
	steering *steering
	workers  []*worker
	bound    map[int]int // sockets by the leg whose port they are bound to; fixed once the threads run

	mu    sync.Mutex
	sinks [2]sink // by family
}

// sink is the socket that takes the floods on the ports of a family.
type sink struct {
	fd   int
	open bool
	last uint32 // what it had dropped when it was last asked
}

func (s *sink) dropped() uint32 {
	if s.open {
		s.last = dropped(s.fd)
	}
	return s.last
}

// New makes a back end; Open starts it.
func New(options Options) *Backend { return &Backend{options: options, limit: perWindow} }

// String is what the start-up line calls it.
func (b *Backend) String() string { return "steer" }

// Open implements media.Backend, in the network namespace of the calling thread. A port in use is missing. Where the
// machine does not allow steering, the error is ErrUnavailable, in the words of Probe.
func (b *Backend) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	if b.workers != nil {
		return nil, errors.New("media/steer: already open: use one back end for each plane")
	}
	if layout.Dual() {
		return nil, errFamilies
	}
	board, err := b.crew.Open(layout, hears, b.options, b.sendRecord)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread() // sockets and program in one namespace
	defer runtime.UnlockOSThread()
	b.layout, b.bound = layout, make(map[int]int)
	held, err := b.open()
	if err != nil {
		b.shut()
		b.workers = nil
		return nil, explain(err)
	}
	for _, leg := range held {
		board.SetMissing(leg)
	}
	b.crew.Start()
	return board, nil
}

// lookAgain is the time that a predecessor has to give its ports back. Where everything is in use the caller tries again.
const lookAgain = 100 * time.Millisecond

// open opens the sockets and begins to steer. held are the legs whose ports are in use.
func (b *Backend) open() (held []int, err error) {
	free, held, err := vacant(b.layout, func() { time.Sleep(lookAgain) })
	if err != nil {
		return nil, err
	}
	n := max(1, b.layout.Workers)
	if b.steering, err = newSteering(b.layout, 2*n+2, 2*n, b.limit); err != nil {
		return nil, err
	}
	for range n {
		w, err := newWorker(b)
		b.workers = append(b.workers, w)
		if err != nil {
			return nil, err
		}
	}
	for _, pair := range free {
		if err := b.openSink(pair, 2*n); err != nil {
			return nil, err
		}
		if err := b.workers[b.layout.Worker(pair*2)].admit(pair, b.steering); err != nil {
			return nil, err
		}
	}
	return held, b.steering.attach()
}

// openSink opens the sink of a pair's family, at its RTCP port, if there is none yet. first is the place of that of IPv4.
func (b *Backend) openSink(pair, first int) error {
	at, family := b.layout.Local(pair*2+1), 0
	if at.Addr().Is6() {
		family = 1
	}
	if b.sinks[family].open {
		return nil
	}
	fd, err := openSink(at)
	if err != nil {
		return err
	}
	b.sinks[family] = sink{fd: fd, open: true}
	b.bound[pair*2+1] = fd
	return b.steering.socket(first+family, fd)
}

// Flooded is how many datagrams were dropped because their port pair had too many, modulo 2^32.
func (b *Backend) Flooded() (n uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.sinks {
		n += b.sinks[i].dropped()
	}
	return n
}

// sendRecord sends a record of a handshake, on any goroutine, from a socket of its own: there are few.
func (b *Backend) sendRecord(leg int32, to netip.AddrPort, record []byte) (sent bool) {
	fd, ok := b.bound[int(leg)]
	if !ok {
		fd = -1
	}
	_ = large(b.layout.Local(int(leg)), fd, b.layout.DSCP, media.EndpointOf(to), record) // lost: it is repeated
	return true
}

// shut gives everything back, the steering first. No thread runs.
func (b *Backend) shut() {
	b.steering.close()
	for _, w := range b.workers {
		w.shut()
	}
	b.crew.Shut()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.sinks {
		if s := &b.sinks[i]; s.open {
			s.dropped()
			_ = unix.Close(s.fd)
			s.open = false
		}
	}
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
