package natlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// backlog is how many connections may wait for Accept; beyond it a SYN is lost, as in a kernel, and comes again.
const backlog = 4096

// pair names a stream of a host.
type pair struct {
	local  uint16
	remote netip.AddrPort
}

// Listener takes the streams of a port. It is a net.Listener.
type Listener struct {
	host  *Host
	local netip.AddrPort

	// Under the network's lock:
	wake    *sync.Cond
	queue   []*Stream
	pending int // handshakes under way and streams in the queue
	closed  bool
	rd      deadline
}

// ListenStream opens a port for streams; port 0 takes a free one. The address is the host's own, or none. An error
// wraps syscall.EADDRINUSE or syscall.EADDRNOTAVAIL, as a real one does.
func (h *Host) ListenStream(at netip.AddrPort) (net.Listener, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err := h.streamPort(at, func(p uint16) bool { return h.listeners[p] != nil })
	if err != nil {
		return nil, fmt.Errorf("listen tcp %s: %w", at, err)
	}
	l := &Listener{host: h, local: netip.AddrPortFrom(h.addr, port), wake: sync.NewCond(&n.mu)}
	h.listeners[port] = l
	return l, nil
}

// streamPort chooses and checks the local port of a stream or listener.
func (h *Host) streamPort(at netip.AddrPort, taken func(uint16) bool) (uint16, error) {
	if h.net.closed {
		return 0, net.ErrClosed
	}
	if a := at.Addr().Unmap(); a.IsValid() && !a.IsUnspecified() && a != h.addr {
		return 0, syscall.EADDRNOTAVAIL
	}
	port := at.Port()
	if port == 0 {
		port = h.freePort(taken)
	}
	if port == 0 || taken(port) {
		return 0, syscall.EADDRINUSE
	}
	return port, nil
}

// DialStream opens a stream. local may be the zero AddrPort or have port 0: a free port. It waits for the peer until
// ctx ends, or for about two minutes. Errors are *net.OpError; a refusal wraps syscall.ECONNREFUSED, a peer that never
// answers syscall.ETIMEDOUT.
func (h *Host) DialStream(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err := h.streamPort(local, func(p uint16) bool { return h.streams[pair{p, remote}] != nil })
	if err == nil && (remote.Port() == 0 || remote.Addr().Is4() != h.addr.Is4()) {
		err = syscall.EINVAL
	}
	s := newStream(h, netip.AddrPortFrom(h.addr, port), remote)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, s.failure("dial", err)
	}
	h.streams[pair{port, remote}] = s
	defer context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		s.writable.Broadcast()
	})()
	s.open(synSent)
	n.flush()
	for s.state == synSent && ctx.Err() == nil {
		s.writable.Wait()
	}
	switch {
	case s.state == synSent:
		s.die(ctx.Err())
		return nil, s.failure("dial", ctx.Err())
	case s.state == ended:
		return nil, s.failure("dial", s.err)
	}
	return s, nil
}

// welcome answers a SYN.
func (l *Listener) welcome(p *packet) {
	if l.pending >= backlog {
		return
	}
	l.pending++
	s := newStream(l.host, l.local, p.src)
	s.listener, s.expected, s.window = l, p.segment.seq+1, p.segment.window
	l.host.streams[pair{l.local.Port(), p.src}] = s
	s.open(synReceived)
}

// Accept waits for a stream. It fails with net.ErrClosed, or with os.ErrDeadlineExceeded after the deadline.
func (l *Listener) Accept() (net.Conn, error) {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.failure(net.ErrClosed)
		case l.rd.expired:
			return nil, l.failure(os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			s := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			l.pending--
			s.listener = nil
			return s, nil
		}
		l.wake.Wait()
	}
}

func (l *Listener) failure(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
}

// SetDeadline makes Accept fail from t on; the zero time lifts it.
func (l *Listener) SetDeadline(t time.Time) error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return l.failure(net.ErrClosed)
	}
	l.rd.set(&n.mu, t, l.wake.Broadcast)
	return nil
}

// Close frees the port. Streams that nobody has accepted are reset.
func (l *Listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return l.failure(net.ErrClosed)
	}
	l.close()
	for _, s := range l.host.streams {
		if s.listener == l {
			s.reset(net.ErrClosed)
		}
	}
	n.flush()
	return nil
}

func (l *Listener) close() {
	delete(l.host.listeners, l.local.Port())
	l.closed, l.queue = true, nil
	l.rd.stop()
	l.wake.Broadcast()
}

// Addr is where it listens, a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// receiveSegment gives a segment to its stream, or to who listens.
func (h *Host) receiveSegment(p *packet) {
	if s := h.streams[pair{p.dst.Port(), p.src}]; s != nil {
		s.receive(p.segment, p.data)
		return
	}
	g := p.segment
	if l := h.listeners[p.dst.Port()]; l != nil && g.opens() {
		l.welcome(p)
		return
	}
	if reset := g.answerReset(); reset != nil && !h.hidden {
		h.forward(&packet{src: p.dst, dst: p.src, segment: reset})
	}
}

// endStreams ends every stream and listener without a word to the peers.
func (h *Host) endStreams(why error) {
	for _, l := range h.listeners {
		l.close()
	}
	for _, s := range h.streams {
		s.die(why)
	}
}
