package demo

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// Stream is a TCP or TLS connection as an agent listens on it: one read is one message. It answers the pings of the far
// side (RFC 5626 §4.4.1).
type Stream struct {
	conn      net.Conn
	transport nat.Transport
	remote    netip.AddrPort
	framer    scan.Framer
	chunk     []byte
	pings     atomic.Int64
}

// NewStream wraps a connection. That of TLS must have made its handshake: a read deadline would break it for good.
func NewStream(conn net.Conn, transport nat.Transport) *Stream {
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return &Stream{conn: conn, transport: transport, remote: remote, chunk: make([]byte, 16<<10)}
}

// streamWrite bounds a write to a peer that does not read.
const streamWrite = 10 * time.Second

// ReadFromUDPAddrPort reads the next message into b. The error is net.ErrClosed once the connection has ended in any way, or
// is no SIP any more; a deadline's passes.
func (s *Stream) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		var v scan.View
		kind, msg, err := s.framer.Next(&v)
		switch {
		case err != nil:
			return 0, s.remote, net.ErrClosed
		case kind == scan.Message:
			return copy(b, msg), s.remote, nil
		case kind == scan.KeepAlive:
			s.pings.Add(1)
			if _, err := s.WriteToUDPAddrPort([]byte("\r\n"), s.remote); err != nil {
				return 0, s.remote, err
			}
			continue
		}
		n, err := s.conn.Read(s.chunk)
		if n > 0 {
			if s.framer.Feed(s.chunk[:n]) != nil {
				return 0, s.remote, net.ErrClosed
			}
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // a connection that timed out has ended
			return 0, s.remote, err
		}
		return 0, s.remote, net.ErrClosed
	}
}

// WriteToUDPAddrPort writes a message; a stream has one peer, whatever the address.
func (s *Stream) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(streamWrite))
	n, err := s.conn.Write(b)
	if err != nil {
		return n, net.ErrClosed
	}
	return n, nil
}

// SetReadDeadline makes reads fail from t on.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

// Close ends the connection.
func (s *Stream) Close() error { return s.conn.Close() }

// Pings is how many pings were answered.
func (s *Stream) Pings() int { return int(s.pings.Load()) }
