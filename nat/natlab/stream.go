package natlab

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Stream is one end of a connection: a net.Conn with what a *net.TCPConn can do besides. All methods may be called
// from any goroutine. It does not show who stands between its ends: LocalAddr is the host's own address, RemoteAddr
// where the peer's segments come from.
//
// Its errors are *net.OpError as those of a real one: syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPIPE,
// net.ErrClosed, os.ErrDeadlineExceeded; and plain io.EOF.
type Stream struct {
	host          *Host
	local, remote netip.AddrPort

	// Under the network's lock:
	state    streamState
	err      error     // why it has ended
	listener *Listener // who has not accepted it yet
	readable *sync.Cond
	writable *sync.Cond
	rd, wd   deadline
	writing  bool // a writer is at work: the bytes of two do not mix
	closed   bool // Close was called
	abort    bool // SetLinger(0): Close resets

	receiver
	sender
}

func newStream(h *Host, local, remote netip.AddrPort) *Stream {
	s := &Stream{host: h, local: local, remote: remote}
	s.readable, s.writable = sync.NewCond(&h.net.mu), sync.NewCond(&h.net.mu)
	return s
}

// Read waits for bytes. What came before an end or a half close is read first.
func (s *Stream) Read(b []byte) (int, error) {
	n := s.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, s.failure("read", net.ErrClosed)
		case s.rd.expired:
			return 0, s.failure("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case len(s.in) > 0:
			k := s.take(b)
			n.flush()
			return k, nil
		case s.state == ended:
			return 0, s.failure("read", s.err)
		case s.finished:
			return 0, io.EOF
		}
		s.readable.Wait()
	}
}

// Write waits until all of b is in the buffer, as on a real socket: it does not say that the peer has it.
func (s *Stream) Write(b []byte) (int, error) {
	n := s.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for s.writing && s.mayWrite() == nil {
		s.writable.Wait()
	}
	if err := s.mayWrite(); err != nil {
		return 0, s.failure("write", err)
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.writable.Broadcast()
	}()
	for done := 0; ; {
		if done == len(b) {
			return done, nil
		}
		if err := s.mayWrite(); err != nil {
			return done, s.failure("write", err)
		}
		if space := n.window - len(s.out); space > 0 {
			k := min(space, len(b)-done)
			s.out = append(s.out, b[done:done+k]...)
			done += k
			s.transmit()
			n.flush()
			continue
		}
		s.writable.Wait()
	}
}

func (s *Stream) mayWrite() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.wd.expired:
		return os.ErrDeadlineExceeded
	case s.state == ended:
		return s.err
	case s.shut:
		return syscall.EPIPE
	}
	return nil
}

// CloseWrite ends our direction: the peer reads io.EOF after the last byte and may go on writing.
func (s *Stream) CloseWrite() error {
	n := s.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return s.failure("close", net.ErrClosed)
	}
	if s.state == ended {
		return s.failure("close", s.err)
	}
	s.finish()
	n.flush()
	return nil
}

// SetLinger with 0 makes Close reset the connection at once; any other value is the default: what was written goes out
// after Close.
func (s *Stream) SetLinger(seconds int) error {
	s.host.net.mu.Lock()
	defer s.host.net.mu.Unlock()
	s.abort = seconds == 0
	return nil
}

// Close ends both directions. What was written still goes out. As in Linux, bytes that nobody has read, and those that
// come later, are answered by a reset.
func (s *Stream) Close() error {
	n := s.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return s.failure("close", net.ErrClosed)
	}
	s.closed = true
	s.rd.stop()
	s.wd.stop()
	s.readable.Broadcast()
	s.writable.Broadcast()
	if s.state == ended {
		return nil
	}
	if s.abort || len(s.in) > 0 {
		s.reset(net.ErrClosed)
	} else {
		s.finish()
		s.reap()
	}
	n.flush()
	return nil
}

// LocalAddr is the host's own address, a *net.TCPAddr.
func (s *Stream) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// RemoteAddr is the peer as this host sees it, a *net.TCPAddr.
func (s *Stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline makes reads fail from t on; the zero time lifts it.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadline(&s.rd, t, s.readable) }

// SetWriteDeadline makes writes fail from t on; the zero time lifts it.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.wd, t, s.writable) }

func (s *Stream) setDeadline(d *deadline, t time.Time, waiting *sync.Cond) error {
	n := s.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return s.failure("set", net.ErrClosed)
	}
	d.set(&n.mu, t, waiting.Broadcast)
	return nil
}

func (s *Stream) failure(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// die ends the stream without a word. Bytes that have come may still be read.
func (s *Stream) die(why error) {
	if s.state == ended {
		return
	}
	s.state, s.err = ended, why
	s.out, s.late = nil, nil
	delete(s.host.streams, pair{s.local.Port(), s.remote})
	if s.listener != nil {
		s.listener.forget(s)
	}
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// forget drops a stream that ended before it was accepted; one in the queue is accepted all the same, and fails then.
func (l *Listener) forget(s *Stream) {
	for _, q := range l.queue {
		if q == s {
			return
		}
	}
	l.pending--
	s.listener = nil
}

var (
	_ net.Conn     = (*Stream)(nil)
	_ net.Listener = (*Listener)(nil)
)
