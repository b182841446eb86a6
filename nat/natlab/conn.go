package natlab

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ICMPError is a "port unreachable" about a datagram that this socket sent.
type ICMPError struct{ Remote netip.AddrPort }

// Error says which destination is meant.
func (e *ICMPError) Error() string {
	return "ICMP port unreachable: nobody listens on " + e.Remote.String()
}

// Unreachable is the destination of the datagram that was lost.
func (e *ICMPError) Unreachable() netip.AddrPort { return e.Remote }

// Is makes errors.Is find what a real socket returns.
func (e *ICMPError) Is(target error) bool { return target == syscall.ECONNREFUSED }

// perDatagram is what a queued datagram costs of the receive buffer besides its bytes, about as in a kernel.
const perDatagram = 512

// maxDatagram is the longest UDP payload over IPv4.
const maxDatagram = 65507

// PacketConn is a UDP socket of a host. It is a net.PacketConn; all methods may be called from any goroutine.
type PacketConn struct {
	host  *Host
	local netip.AddrPort

	mu       sync.Mutex // guards all below
	wake     *sync.Cond
	queue    []*packet
	used     int // bytes of buffer taken
	buffer   int
	closed   bool
	deadline deadline // of reads
}

// ReadFromUDPAddrPort waits for a datagram. A datagram longer than b is cut. The error is net.ErrClosed after Close,
// os.ErrDeadlineExceeded after the deadline, or an *ICMPError, after which reading goes on.
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	p, err := c.take()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	if p.icmp {
		return 0, netip.AddrPort{}, &ICMPError{Remote: p.src}
	}
	n := copy(b, p.data)
	if n < len(p.data) {
		c.host.net.mu.Lock()
		c.host.net.count.Truncated++
		c.host.net.mu.Unlock()
	}
	return n, p.src, nil
}

func (c *PacketConn) take() (*packet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return nil, net.ErrClosed
		case c.deadline.expired:
			return nil, os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			p := c.queue[0]
			c.queue[0] = nil
			if c.queue = c.queue[1:]; len(c.queue) == 0 {
				c.queue = nil
			}
			c.used -= len(p.data) + perDatagram
			return p, nil
		}
		c.wake.Wait()
	}
}

// push queues a packet. It reports false if the buffer is full: the packet is dropped, as in a kernel.
func (c *PacketConn) push(p *packet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used > 0 && c.used+len(p.data)+perDatagram > c.buffer {
		return false
	}
	c.used += len(p.data) + perDatagram
	c.queue = append(c.queue, p)
	c.wake.Signal()
	return true
}

// WriteToUDPAddrPort sends a datagram. It never blocks, and never fails because of what happens under way.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, dst netip.AddrPort) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case len(b) > maxDatagram:
		return 0, syscall.EMSGSIZE
	case dst.Port() == 0, dst.Addr().Unmap().Is4() != c.local.Addr().Is4():
		return 0, syscall.EINVAL
	}
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	if err := c.host.net.send(c.host, &packet{src: c.local, dst: dst, data: slices.Clone(b)}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ReadFrom is ReadFromUDPAddrPort for those who need a net.PacketConn.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, src, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(src), nil
}

// WriteTo is WriteToUDPAddrPort for those who need a net.PacketConn; the address must be a *net.UDPAddr.
func (c *PacketConn) WriteTo(b []byte, dst net.Addr) (int, error) {
	u, ok := dst.(*net.UDPAddr)
	if !ok {
		return 0, syscall.EINVAL
	}
	return c.WriteToUDPAddrPort(b, u.AddrPort())
}

// LocalAddr is the socket's address, a *net.UDPAddr.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// SetReadBuffer sets the size of the receive buffer in bytes.
func (c *PacketConn) SetReadBuffer(bytes int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buffer = bytes
	return nil
}

// SetReadDeadline makes reads fail from t on; the zero time lifts it.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline.set(&c.mu, t, c.wake.Broadcast)
	return nil
}

// SetDeadline sets the read deadline: writes never wait.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes never wait.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return nil }

// Close frees the port and wakes all readers. What was queued is dropped.
func (c *PacketConn) Close() error {
	n := c.host.net
	n.mu.Lock()
	if c.host.conns[c.local.Port()] == c {
		delete(c.host.conns, c.local.Port())
	}
	n.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline.stop()
	c.closed, c.queue, c.used = true, nil, 0
	c.wake.Broadcast()
	return nil
}

var _ net.PacketConn = (*PacketConn)(nil)
