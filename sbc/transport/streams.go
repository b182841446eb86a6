package transport

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
)

// streams is one open TCP, TLS or WebSocket interface: it accepts connections and, but for WebSocket, dials others.
type streams struct {
	*door
	hub      *hub
	listener net.Listener
}

func newStreams(h *hub, c *Config, face nat.Interface, l net.Listener) *streams {
	return &streams{door: newDoor(c, face), hub: h, listener: l}
}

func (e *streams) start() { e.done.Go(e.accept) }

// close ends the listener and all connections, and waits for them.
func (e *streams) close() {
	close(e.closing)
	_ = e.listener.Close()
	e.hub.endAll(e.door)
	e.done.Wait()
}

// accept takes connections until the interface is closed.
func (e *streams) accept() {
	for {
		raw, err := e.listener.Accept()
		if err == nil {
			e.failing = 0
			e.welcome(raw)
			continue
		}
		if !e.survive("cannot accept connections", err) {
			return
		}
	}
}

// welcome starts a connection, or closes it at once where there is no room.
func (e *streams) welcome(raw net.Conn) {
	started := false
	defer func() {
		if !started {
			abort(raw)
		}
	}()
	defer e.recovered()
	now := time.Now()
	c := &connection{door: e.door, hub: e.hub, raw: raw, conn: raw, born: now, active: now}
	var ok bool
	if c.remote, ok = remoteOf(raw); !ok || e.Unwelcome != nil && e.Unwelcome(&e.face, c.remote) || !e.hub.welcome(c) {
		e.count.refused.Add(1)
		return
	}
	if !e.face.Transport.Secure() {
		e.count.accepted.Add(1)
		c.ready, started = true, true
		e.done.Add(1)
		go c.run()
		return
	}
	if !e.hub.shake(c) {
		e.count.refused.Add(1)
		e.hub.forget(c)
		return
	}
	e.count.accepted.Add(1)
	started = true
	who := e.recogniser()
	c.conn = e.hub.tls.Load().server(raw, who != nil)
	e.done.Add(1)
	go c.handshake(who)
}

// remoteOf is the peer's address.
func remoteOf(raw net.Conn) (netip.AddrPort, bool) {
	var p netip.AddrPort
	switch a := raw.RemoteAddr().(type) {
	case nil:
		return p, false
	case interface{ AddrPort() netip.AddrPort }:
		p = a.AddrPort()
	default:
		var err error
		if p, err = netip.ParseAddrPort(a.String()); err != nil {
			return p, false
		}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), p.IsValid()
}

// handshake makes an accepted connection a TLS one, and a WebSocket where that is asked for. It has a goroutine of its own, whose stack does not stay.
func (c *connection) handshake(who Recogniser) {
	defer c.done.Done()
	err := c.secure()
	if err == nil {
		err = c.recognise(who)
	}
	if err == nil && c.face.Transport == nat.WSS {
		err = c.upgrade()
	}
	c.hub.shaken(c)
	if err != nil {
		c.count.handshakes.Add(1)
		if c.known { // a stranger's is no news
			c.fault("handshake with a known peer failed", zap.Stringer("src", c.remote), zap.Error(err))
		}
		c.depart(gone)
		return
	}
	c.open()
}

// handshaker is a TLS connection.
type handshaker interface{ Handshake() error }

// secure does the TLS handshake in bounded time.
func (c *connection) secure() (err error) {
	err = errFault
	defer c.recovered() // of a library that reads a stranger's bytes
	c.mu.Lock()
	if c.why == alive {
		_ = c.raw.SetDeadline(time.Now().Add(c.hub.limits.Handshake)) // an error shows at once below
	}
	c.mu.Unlock()
	return c.conn.(handshaker).Handshake()
}

var errFault = errors.New("internal error in the TLS handshake")

// open lets messages flow: the reader starts, and the writer if something is queued.
func (c *connection) open() {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready, c.active = true, now
	if c.why == alive {
		_ = c.raw.SetDeadline(time.Time{}) // an error shows at the first read
		c.wake()
	}
	c.done.Add(1)
	go c.run()
}

// toRemote queues a message on the connection dialled to a remote address in a class, or dials one.
func (h *hub) toRemote(e *streams, f nat.Flow, b []byte) error {
	f.Remote = netip.AddrPortFrom(f.Remote.Addr().Unmap(), f.Remote.Port())
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.dialled[f]; c != nil {
		if err := c.send(b); !errors.Is(err, ErrGone) {
			return err
		}
	}
	switch {
	case e.closed():
		return ErrNoInterface
	case !f.Remote.IsValid() || f.Remote.Port() == 0 || f.Remote.Addr().Is4() != e.face.Bind.Addr().Unmap().Is4():
		e.count.failed.Add(1)
		return errNowhere
	case h.gauges.Dialled.Now >= int64(h.limits.Dialled):
		e.count.failed.Add(1)
		return ErrSlow
	}
	c := newDialled(e, f)
	if err := c.send(b); err != nil {
		return err
	}
	h.enter(c)
	h.gauges.Dialled.add(1)
	h.dialled[f] = c
	e.done.Add(1)
	go c.dial()
	return nil
}

var errNowhere = errors.New("no address that this interface can connect to")

// Keep says whether a phone is registered on a connection. A kept one may be idle for ever and is no stranger's. It
// reports false if the flow names no live connection.
func (s *Set) Keep(f nat.Flow, kept bool) bool { return s.hub.keep(f, kept) }

// CloseFlow ends a connection; what is queued on it may still leave, within a second. It does not wait, and reports false
// if the flow names no live connection.
func (s *Set) CloseFlow(f nat.Flow) bool {
	c := s.hub.find(f)
	if c != nil {
		c.end(asked)
	}
	return c != nil
}

// CloseWhere ends the accepted connections that a test picks by their interface and remote address, as CloseFlow does. It
// does not wait, and tells how many there were. The test is called with no lock that the guard could want, but must be quick:
// there is one call for each connection.
func (s *Set) CloseWhere(picked func(face *nat.Interface, remote netip.AddrPort) bool) int {
	n := 0
	for _, c := range s.hub.accepted() {
		if picked(&c.face, c.remote) {
			c.end(asked)
			n++
		}
	}
	return n
}

// SetTLS replaces the certificate, of connections that are made later; nil is ignored.
func (s *Set) SetTLS(t *TLS) {
	if t != nil {
		s.hub.tls.Store(t)
	}
}

// Streams returns the levels of all connections together.
func (s *Set) Streams() StreamGauges { return s.hub.levels() }
