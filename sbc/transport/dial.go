package transport

import (
	"context"
	"net"
	"time"

	"sallyport/nat"
)

// newDialled is a connection that is to be dialled. Its queue is open already.
func newDialled(e *streams, f nat.Flow) *connection {
	c := &connection{door: e.door, hub: e.hub, remote: f.Remote, class: f.Class, dialled: true, born: time.Now()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// dial makes the connection and lets the queued messages go, or tells that its peer cannot be reached.
func (c *connection) dial() {
	defer c.done.Done()
	defer c.cancel()
	err := c.connect()
	if err == nil && c.face.Transport == nat.TLS {
		err = c.secure()
	}
	if err == nil {
		c.count.dialled.Add(1)
		c.hub.well(c.flow(0))
		c.open()
		return
	}
	c.failed(err)
	c.mu.Lock()
	if c.why == alive {
		c.why = gone
	}
	c.mu.Unlock()
	c.hub.forget(c)
	if c.raw != nil {
		abort(c.raw)
	}
	c.drop()
	c.unreachable(c.flow(0))
}

// connect makes the TCP connection.
func (c *connection) connect() error {
	ctx, cancel := context.WithTimeout(c.ctx, c.hub.limits.Handshake)
	defer cancel()
	raw, err := c.dialRaw(ctx)
	if err != nil {
		return err
	}
	conn := raw
	var who *Identity
	if c.face.Transport == nat.TLS {
		who = c.identity()
		conn = c.hub.tls.Load().client(raw, who, c.remote)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.conn = raw, conn
	if who != nil {
		c.peer = who.Peer // nothing is read before the handshake has proven it
	}
	if c.why != alive {
		return net.ErrClosed
	}
	return nil
}

func (c *connection) dialRaw(ctx context.Context) (net.Conn, error) {
	local := c.face.Bind.Addr()
	if c.Dial != nil {
		return c.Dial(ctx, local, c.remote)
	}
	return dialStream(ctx, local, c.remote, c.DSCP)
}

// identity is who the peer must prove to be; nil: its address (RFC 5280 §4.2.1.6).
func (c *connection) identity() *Identity {
	if c.Identity == nil {
		return nil
	}
	return c.Identity(c.flow(0))
}
