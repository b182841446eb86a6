package transport

import (
	"errors"
	"os"
	"sync"
	"time"

	"sallyport/policy"
	"sallyport/sbc/scan"
)

// work is what a reader needs while there is a message to read; idle connections have none.
type work struct {
	reader
	framer scan.Framer
	frames frames // of a WebSocket
	in     [4096]byte
}

// workSize is what a work takes, its framer's buffer included.
const workSize = 8 << 10

var works = sync.Pool{New: func() any { return new(work) }}

// run reads until the connection ends.
func (c *connection) run() {
	defer c.done.Done()
	c.depart(c.read())
}

// read takes what comes until there is a reason to end. A fault of ours, or of a library, in the bytes of one peer ends
// that peer's connection.
func (c *connection) read() (why cause) {
	why = gone
	defer c.recovered()
	if c.web != nil && len(c.web.early) > 0 {
		early := c.web.early
		c.web.early = nil
		if why := c.take(early, true); why != alive {
			return why
		}
	}
	for spent, fresh := false, false; ; {
		if why := c.arm(spent, fresh); why != alive {
			return why
		}
		buf := c.small[:]
		if c.work != nil {
			buf = c.work.in[:]
		}
		n, err := c.conn.Read(buf)
		if fresh = n > 0; fresh {
			c.count.receivedBytes.Add(uint64(n))
			if why := c.take(buf[:n], n == len(buf)); why != alive {
				return why
			}
		}
		spent = errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !spent {
			c.alerted(err)
			return gone
		}
	}
}

// take takes the next bytes of the stream. more says that others are likely to wait already.
func (c *connection) take(p []byte, more bool) cause {
	if c.web != nil {
		return c.takeFrames(p, more)
	}
	if c.work == nil {
		if c.between(p) {
			return alive
		}
		if why := c.borrow(); why != alive {
			return why
		}
	}
	w := c.work
	if err := w.framer.Feed(p); err != nil {
		return framing // cannot be: the framer is emptied each time
	}
	for cut := false; ; cut = true {
		left := w.framer.Pending()
		kind, msg, err := w.framer.Next(&w.view)
		switch {
		case err != nil:
			c.doubt(p, left, err)
			return framing
		case kind == scan.Message:
			c.receive(msg)
			if why := c.ended(); why != alive {
				return why
			}
		case kind == scan.KeepAlive:
			c.pong()
		default:
			return c.settle(p, cut, more)
		}
	}
}

// between deals with what idle connections carry, pings and their answers, without borrowing anything. It reports false
// if p is more than that.
func (c *connection) between(p []byte) bool {
	if c.carried+len(p) > len(ping) {
		return false
	}
	var joined [len(ping)]byte
	n := copy(joined[:], c.carry[:c.carried])
	n += copy(joined[n:], p)
	if string(joined[:n]) != ping[:n] {
		return false
	}
	switch {
	case n == len(ping):
		c.carried = 0
		c.pong()
	case n == len(pong) && c.ponged():
		c.carried = 0
	default:
		c.carried = copy(c.carry[:], joined[:n])
	}
	return true
}

// ponged reports whether a lone CRLF answers a ping of ours.
func (c *connection) ponged() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.asked
	c.asked = false
	return was
}

// pong answers a ping with one CRLF (RFC 5626 §4.4.1). A stranger that has shown nothing yet is told nothing, not even
// that SIP is spoken here.
func (c *connection) pong() {
	c.count.pings.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.proven && c.stranger || len(c.out) > 0 {
		return // with something under way to the peer, it knows that the flow lives
	}
	_ = c.queue([]byte(pong))
}

// borrow gets the reader what it needs for a message.
func (c *connection) borrow() cause {
	c.mu.Lock()
	room := c.charge(workSize)
	c.mu.Unlock()
	if !room {
		return crowded
	}
	c.held = workSize
	c.work = works.Get().(*work)
	c.work.reader = reader{door: c.door, line: c, out: c.work.out[:0]}
	if c.carried > 0 {
		_ = c.work.framer.Feed(c.carry[:c.carried]) // at most three bytes into an empty framer
		c.carried = 0
	}
	return alive
}

// release gives it back. What the framer still holds is lost; clean says that it may be used again.
func (c *connection) release(clean bool) {
	if c.work == nil {
		return
	}
	w := c.work
	c.work = nil
	if !clean || cap(w.out) > workSize {
		w.framer = scan.Framer{}
		w.out = nil
	}
	w.frames.reset()
	w.door, w.line = nil, nil
	w.packet.Data, w.packet.View, w.packet.Interface = nil, nil, nil
	works.Put(w)
	c.mu.Lock()
	c.charge(-c.held)
	c.mu.Unlock()
	c.held = 0
}

// settle looks at what is left when there is no whole message any more: the clock of a message runs from its first
// byte, and who has nothing to read needs no buffer.
func (c *connection) settle(p []byte, cut, more bool) cause {
	left := c.work.framer.Pending()
	clean := left == 0
	if left > 0 && left <= len(c.carry) && left <= len(p) && crlf(p[len(p)-left:]) {
		c.carried = copy(c.carry[:], p[len(p)-left:])
		left, more = 0, false
	}
	now := time.Now()
	c.mu.Lock()
	switch {
	case left == 0:
		c.first = time.Time{}
	case cut || c.first.IsZero():
		c.first = now
	}
	need := workSize + int64(max(0, left-workSize/2))
	room := c.charge(need - c.held)
	c.mu.Unlock()
	if !room {
		return crowded
	}
	c.held = need
	if left == 0 && !more {
		c.release(clean)
	}
	return alive
}

// crlf reports whether p holds nothing but what may stand between messages.
func crlf(p []byte) bool {
	for _, b := range p {
		if b != '\r' && b != '\n' {
			return false
		}
	}
	return true
}

// receive takes one message through all checks.
func (c *connection) receive(msg []byte) {
	defer c.recovered()
	c.count.received.Add(1)
	c.work.judge(c.Now(), msg, nil, c.flow(c.id))
}

// doubt lets the guard hear of a stream that cannot be cut into messages, with what can still be seen of the message in
// doubt: known peers are told the right 4xx before the connection ends. p were the last bytes fed, left those of the
// message.
func (c *connection) doubt(p []byte, left int, err error) {
	defer c.recovered()
	c.count.received.Add(1)
	seen := p[:0]
	if left <= len(p) { // else it began in an earlier read, whose bytes are gone with the framer
		seen = p[len(p)-left:]
	}
	_ = scan.Scan(seen, &c.work.view) // the framer's error counts
	c.work.judge(c.Now(), seen, err, c.flow(c.id))
}

// who is at the other end, by its certificate; nil: its address says it.
func (c *connection) who() *policy.Peer { return c.peer }

// delivered notes that the connection brings what the guard lets through.
func (c *connection) delivered() {
	now := time.Now()
	c.mu.Lock()
	news := !c.proven
	c.proven, c.told, c.active = true, true, now
	c.mu.Unlock()
	if news {
		c.hub.spoke(c)
	}
}

// insist offers a packet again until the inbox has room; meanwhile nothing is read, and the peer's sending slows down
// (RFC 9293 §3.8.6). A connection that finds no room for too long ends: its messages cannot be lost as datagrams are.
func (c *connection) insist(p Packet) Outcome {
	const longest = 160 * time.Millisecond
	end := time.Now().Add(c.hub.limits.Inbox)
	wait := time.NewTimer(0)
	defer wait.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, longest) {
		wait.Reset(pause)
		select {
		case <-c.door.closing:
			return Dropped
		case <-wait.C:
		}
		if c.ended() != alive {
			return Dropped
		}
		if out := c.Handler.Deliver(p); out != Dropped {
			return out
		}
		if !time.Now().Before(end) {
			c.end(overload)
			return Dropped
		}
	}
}
