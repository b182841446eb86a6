package transport

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"sallyport/nat"
	"sallyport/policy"
)

// cause is why a connection ended.
type cause uint8

// The causes.
const (
	alive    cause = iota
	gone           // by the peer, or the network
	parted         // by the peer, with a Close (WebSocket)
	idle           // nothing for too long
	deadline       // a message did not come to its end
	framing        // no telling where a message ends
	slow           // the peer does not read
	crowded        // others need the room
	overload       // the inbox stayed full
	asked          // CloseFlow
	closing        // the interface is closed
	causes
)

// flushTime is how long a connection that ends may take to say its last words.
const flushTime = time.Second

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// connection is one live TCP, TLS or WebSocket connection. Its reader runs as long as it lives, a writer only while there is
// something to send.
type connection struct {
	*door
	hub     *hub
	id      uint64
	remote  netip.AddrPort
	class   uint32 // of those that are dialled, see nat.Flow
	dialled bool
	known   bool // to the guard, when it was accepted, or by its certificate
	born    time.Time

	// Of the hub, under its lock:
	counted         bool // among its source's, and the strangers if it is none that the guard knows
	silent, shaking *list.Element

	raw  net.Conn // nil while it is dialled
	conn net.Conn // raw, or TLS on it
	web  *web     // of a WebSocket on that; nil: none

	mu     sync.Mutex
	ready  bool // may be written to
	why    cause
	kept   bool
	proven bool      // has brought a message that the guard let through
	asked  bool      // for a pong: a ping was sent
	told   bool      // somebody has heard of it, or used it: its end is news
	first  time.Time // when the message began that is not whole yet
	active time.Time
	armed  time.Time       // the read deadline that is set
	ctx    context.Context // of the dialling
	cancel context.CancelFunc

	peer     *policy.Peer // who it has proven to be by its certificate, or is as whom it was dialled; set before it is read from
	stranger bool
	charged  int64 // bytes that the hub counts for it

	out      []byte // to be sent
	messages int    // of out
	flying   int    // bytes that the writer has
	writing  bool
	flushed  chan struct{} // closed when the writer rests; made by who waits for that

	// Of the reader alone:
	work    *work // while a message is in it
	held    int64 // bytes charged for work
	carried int   // bytes of carry: what stands between messages and may begin a ping
	carry   [3]byte
	small   [1024]byte // what an idle connection reads into
}

// flow is the connection's flow under a number.
func (c *connection) flow(id uint64) nat.Flow {
	return nat.Flow{Interface: c.face.ID, Transport: c.face.Transport, Class: c.class, Remote: c.remote, Conn: id}
}

// end makes the reader end the connection. It never waits.
func (c *connection) end(why cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != alive {
		return
	}
	c.why = why
	switch {
	case c.raw == nil:
		c.cancel()
	case why == slow || why == gone:
		_ = c.raw.Close()
	case c.ready:
		_ = c.raw.SetReadDeadline(past) // what is queued may still leave
	default:
		_ = c.raw.SetDeadline(past)
	}
}

// ended tells why the connection is to end; alive: it is not.
func (c *connection) ended() cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// setKept tells whether that is a change. Under the hub's lock.
func (c *connection) setKept(kept bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == kept {
		return false
	}
	c.kept = kept
	if was := c.stranger; was != (!kept && !c.known && !c.dialled) {
		c.stranger = !was
		if was {
			c.hub.strange.Add(-c.charged)
		} else {
			c.hub.strange.Add(c.charged)
		}
	}
	if !kept && c.raw != nil {
		c.active = time.Now()
		_ = c.raw.SetReadDeadline(past) // the reader thinks again about its deadline
	}
	return true
}

// charge counts bytes of buffers. It reports false where there may be no more. Under the lock.
func (c *connection) charge(n int64) bool {
	if !c.hub.charge(n, c.stranger) {
		return false
	}
	c.charged += n
	return true
}

// due is when the connection's patience ends, and why; zero: never. Under the lock.
func (c *connection) due() (at time.Time, why cause) {
	l := &c.hub.limits
	switch {
	case c.kept:
	case c.known || c.dialled:
		at, why = c.active.Add(l.KnownIdle), idle
	case c.proven:
		at, why = c.active.Add(l.Idle), idle
	default:
		at, why = c.born.Add(l.First), idle
	}
	if !c.first.IsZero() {
		if end := c.first.Add(l.Message); at.IsZero() || end.Before(at) {
			return end, deadline
		}
	}
	return at, why
}

// arm sets the read deadline, and tells if the connection must end. A deadline that has become later is left as it is
// until it wakes the reader: most messages then cost no timer. spent says that it has done so, fresh that there was
// something to read.
func (c *connection) arm(spent, fresh bool) cause {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if fresh && (c.known || c.dialled) {
		c.active = now
	}
	if c.why != alive {
		return c.why
	}
	due, why := c.due()
	if !due.IsZero() && !now.Before(due) {
		return why
	}
	switch {
	case spent:
	case due.IsZero() && c.armed.IsZero(), !c.armed.IsZero() && (due.IsZero() || !due.Before(c.armed)):
		return alive
	}
	c.armed = due
	if c.raw.SetReadDeadline(due) != nil {
		return gone
	}
	return alive
}

// depart ends the connection: the last thing that its reader does.
func (c *connection) depart(why cause) {
	c.mu.Lock()
	if c.why == alive {
		c.why = why
	}
	why = c.why
	told := c.told
	if c.web != nil {
		c.farewell(why)
	}
	var flushed chan struct{}
	if c.writing && why != slow && why != gone {
		flushed = make(chan struct{})
		c.flushed = flushed
	}
	c.mu.Unlock()
	c.count.closed[why].Add(1)
	if told {
		c.tellClosed()
	}
	c.hub.forget(c)
	if flushed != nil {
		limit := time.NewTimer(flushTime)
		select {
		case <-flushed:
			if c.web != nil {
				c.linger(why)
			}
		case <-limit.C:
		}
		limit.Stop()
	}
	c.hangUp(why)
	c.release(false)
	c.drop()
}

func (c *connection) tellClosed() {
	defer c.recovered()
	c.Handler.Closed(c.flow(c.id), c.dialled)
}

// hangUp closes the connection on the wire.
func (c *connection) hangUp(why cause) {
	if why == slow || why == crowded {
		abort(c.raw)
		return
	}
	if c.conn != c.raw && why != gone {
		// RFC 8446 §6.1: a TLS peer is told, if it takes the word.
		limit := time.AfterFunc(flushTime, func() { _ = c.raw.Close() })
		_ = c.conn.Close()
		limit.Stop()
	}
	_ = c.raw.Close()
}

// abort closes without the kernel's care for what is unsent, and without a port in TIME-WAIT.
func abort(raw net.Conn) {
	if l, ok := raw.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = raw.Close()
}

// drop gives up what is queued. The writer gives back what it has.
func (c *connection) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.charge(-int64(len(c.out)))
	putBuffer(c.out)
	c.out, c.messages = nil, 0
}
