package transport

import (
	"errors"
	"os"
	"sync"
	"time"

	"sallyport/nat"
)

// writeSize is how much a peer has to take in the time that a slow one is given.
const writeSize = 16 << 10

// keepQueue is the largest buffer that is kept for another use.
const keepQueue = 64 << 10

// buffers are of queues that are empty now.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func putBuffer(b []byte) {
	if cap(b) > 0 && cap(b) <= keepQueue {
		b = b[:0]
		buffers.Put(&b)
	}
}

const ping, pong = "\r\n\r\n", "\r\n"

// send queues a message of the core.
func (c *connection) send(b []byte) error {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.queue(b)
	switch {
	case err == nil:
		c.told = true
		if string(b) == ping {
			c.asked = true // it keeps a NAT's pinhole open, but says nothing of the peer
			break
		}
		c.active = now
	case errors.Is(err, ErrSlow):
		c.count.failed.Add(1)
	}
	return err
}

// reply queues an answer of this room's own.
func (c *connection) reply(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue(b)
}

// queue takes a copy of b and wakes the writer. Under the lock.
func (c *connection) queue(b []byte) error {
	if c.web == nil {
		return c.enqueue(nil, b)
	}
	var room [frameHead]byte
	return c.enqueue(framed(room[:0], b))
}

// enqueue is queue of bytes as they are, in two parts. Under the lock.
func (c *connection) enqueue(head, b []byte) error {
	size := len(head) + len(b)
	if c.why != alive {
		return ErrGone
	}
	l := &c.hub.limits
	bytes, messages := l.Queue, l.QueueMessages
	if c.known || c.dialled {
		bytes, messages = l.BusyQueue, l.BusyQueueMessages
	}
	if len(c.out)+c.flying+size > bytes || c.messages >= messages || !c.charge(int64(size)) {
		return ErrSlow
	}
	if c.out == nil {
		c.out = *buffers.Get().(*[]byte)
	}
	c.out = append(append(c.out, head...), b...)
	c.messages++
	c.count.sent.Add(1)
	c.count.sentBytes.Add(uint64(size))
	c.wake()
	return nil
}

// wake starts the writer if there is work for it. Under the lock; the reader lives, so that the interface cannot have
// been waited for.
func (c *connection) wake() {
	if c.ready && !c.writing && len(c.out) > 0 {
		c.writing = true
		c.done.Add(1)
		go c.write()
	}
}

// write sends what is queued, then ends.
func (c *connection) write() {
	defer c.done.Done()
	for {
		c.mu.Lock()
		b := c.out
		if len(b) == 0 {
			c.writing = false
			if c.flushed != nil {
				close(c.flushed)
				c.flushed = nil
			}
			c.mu.Unlock()
			return
		}
		c.out, c.messages, c.flying = nil, 0, len(b)
		c.mu.Unlock()

		why := c.push(b)

		c.mu.Lock()
		c.flying = 0
		c.charge(-int64(len(b)))
		putBuffer(b)
		c.mu.Unlock()
		if why != alive {
			c.drop()
			c.end(why)
		}
	}
}

// push writes b. A peer that takes nothing for too long is told from one that is merely slow by giving each piece its
// own time.
func (c *connection) push(b []byte) (why cause) {
	why = gone
	defer c.recovered()
	for len(b) > 0 {
		if c.raw.SetWriteDeadline(time.Now().Add(c.hub.limits.Slow)) != nil {
			return gone
		}
		n, err := c.conn.Write(b[:min(len(b), writeSize)])
		b = b[n:]
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return slow
		default:
			return gone
		}
	}
	return alive
}

// send queues a message on the connection that a flow names, or on the one that is dialled to its remote address.
func (e *streams) send(f nat.Flow, b []byte) error {
	if f.Conn == 0 {
		if e.face.Transport == nat.WSS {
			return ErrGone // RFC 7118 §5.3: a browser takes no connections, it makes them
		}
		return e.hub.toRemote(e, f, b)
	}
	c := e.hub.find(f)
	if c == nil {
		return ErrGone
	}
	return c.send(b)
}
