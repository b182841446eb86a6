package transport

import (
	"errors"
	"math"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"sallyport/sbc/message"
	"sallyport/sbc/scan"
)

// web is what a WebSocket connection has besides (RFC 6455, RFC 7118).
type web struct {
	early []byte        // what came right behind the upgrade
	code  ws.StatusCode // to close with; 0: the cause tells which
	idle  float64       // frames that carried no message, less those that time has forgiven
	since time.Time     // when that was
}

// statusTryAgainLater is of the registry of close codes (RFC 6455 §11.7).
const statusTryAgainLater ws.StatusCode = 1013

// idleFrames is how many frames without a SIP message may come at once, and each second. Who keeps a connection alive
// sends one in half a minute.
const (
	idleFrames       = 32
	idleFramesSecond = 1
)

var (
	errWebLength = &message.Error{Code: 400, Detail: "Content-Length is not the length of the body that the WebSocket message has; leave it out, or make it right"}
	errUTF8      = &message.Error{Code: 400, Detail: "text message that is not UTF-8; send it as a binary one"}
)

// takeFrames takes the next bytes of a WebSocket. more says that others are likely to wait already.
func (c *connection) takeFrames(p []byte, more bool) cause {
	if c.work == nil {
		if why := c.borrow(); why != alive {
			return why
		}
	}
	f := &c.work.frames
	for cut := false; ; {
		rest, op, payload, err := f.next(p)
		p = rest
		if err != nil {
			return c.doubtFrame(err)
		}
		if op == ws.OpContinuation {
			return c.settleFrames(cut, more)
		}
		if why := c.receiveFrame(op, payload); why != alive {
			return why
		}
		if why := c.ended(); why != alive {
			return why
		}
		cut = cut || f.clean()
	}
}

// receiveFrame takes a whole message, or a control frame.
func (c *connection) receiveFrame(op ws.OpCode, payload []byte) cause {
	switch {
	case op == ws.OpClose:
		return c.closeAsked(payload)
	case op.IsData() && len(payload) > len(ping):
		return c.receiveMessage(op, payload)
	case !c.spend():
		return c.fail(ws.StatusPolicyViolation)
	}
	switch {
	case op == ws.OpPing:
		c.count.pings.Add(1)
		c.sendControl(ws.OpPong, payload)
	case op == ws.OpPong:
		c.ponged()
	case string(payload) == ping: // browsers have no other: scripts cannot send a Ping (RFC 7118 §6)
		c.pong()
	case string(payload) == pong:
		c.ponged()
	default:
		return c.receiveMessage(op, payload) // too short to be one: the guard knows what it is
	}
	return alive
}

// spend counts a frame without a message. It reports false when there are too many.
func (c *connection) spend() bool {
	now := time.Now()
	forgiven := now.Sub(c.web.since).Seconds() * idleFramesSecond
	c.web.idle, c.web.since = math.Max(0, c.web.idle-forgiven)+1, now
	return c.web.idle <= idleFrames
}

// fail notes with which code the connection ends.
func (c *connection) fail(code ws.StatusCode) cause {
	c.web.code = code
	return framing
}

// receiveMessage takes one SIP message through all checks. Its end is that of the WebSocket message; a Content-Length is not
// needed (RFC 7118 §5), but who says another length may mean another message.
func (c *connection) receiveMessage(op ws.OpCode, msg []byte) (why cause) {
	defer c.recovered()
	c.count.received.Add(1)
	v := &c.work.view
	err := scan.Scan(msg, v)
	switch {
	case op == ws.OpText && !utf8.Valid(msg):
		err, why = errUTF8, c.fail(ws.StatusInvalidFramePayloadData) // RFC 6455 §8.1
	case err == nil && int(v.Body.End) != len(msg), errors.Is(err, scan.ErrBodyShort):
		err = errWebLength
	}
	c.work.judge(c.Now(), msg, err, c.flow(c.id))
	return why
}

// doubtFrame lets the guard hear of a WebSocket that cannot be read any further, with what there is of the message.
func (c *connection) doubtFrame(err error) (why cause) {
	defer c.recovered()
	code := ws.StatusProtocolError
	switch {
	case errors.Is(err, scan.ErrTooLarge):
		code = ws.StatusMessageTooBig
	case errors.Is(err, errFragments):
		code = ws.StatusPolicyViolation
	}
	why = c.fail(code)
	c.count.received.Add(1)
	seen := c.work.frames.message
	_ = scan.Scan(seen, &c.work.view) // the frame's error counts
	c.work.judge(c.Now(), seen, err, c.flow(c.id))
	return why
}

// closeAsked answers a Close with one (RFC 6455 §5.5.1).
func (c *connection) closeAsked(payload []byte) cause {
	c.web.code = ws.StatusNoStatusRcvd
	if len(payload) == 0 {
		return parted
	}
	code, reason := ws.ParseCloseFrameData(payload)
	since := code >= 1012 && code <= 1014 // registered since RFC 6455 was written, and unknown to the library
	if !since && ws.CheckCloseFrameData(code, reason) != nil {
		return c.fail(ws.StatusProtocolError)
	}
	c.web.code = code
	return parted
}

// settleFrames looks at what is left when there is no whole frame any more, as settle does.
func (c *connection) settleFrames(cut, more bool) cause {
	f := &c.work.frames
	clean := f.clean()
	now := time.Now()
	c.mu.Lock()
	switch {
	case clean:
		c.first = time.Time{}
	case cut || c.first.IsZero():
		c.first = now
	}
	need := workSize + int64(max(0, len(f.message)-workSize/2))
	if clean {
		need = workSize
	}
	room := c.charge(need - c.held)
	c.mu.Unlock()
	if !room {
		return crowded
	}
	c.held = need
	if clean && !more {
		c.release(true)
	}
	return alive
}

// framed is the frame of what is to be sent: a message is text where it can be, since scripts read that with the least ado,
// and a ping of ours is the protocol's own.
func framed(room, b []byte) (head, payload []byte) {
	switch {
	case string(b) == ping:
		return appendHead(room, ws.OpPing, 0), nil
	case utf8.Valid(b):
		return appendHead(room, ws.OpText, len(b)), b
	}
	return appendHead(room, ws.OpBinary, len(b)), b // RFC 7118 §5: else it could not be read
}

// sendControl queues a control frame. A peer that does not read gets fewer of them.
func (c *connection) sendControl(op ws.OpCode, payload []byte) {
	var room [2]byte
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.enqueue(appendHead(room[:0], op, len(payload)), payload)
}

// farewell queues our Close, if the peer is to have one. Under the lock.
func (c *connection) farewell(why cause) {
	code := c.web.code
	switch {
	case why == slow || why == gone || why == crowded || !c.ready:
		return
	case code != 0 && (why == framing || why == parted):
	case why == asked:
		code = ws.StatusNormalClosure
	case why == closing || why == idle:
		code = ws.StatusGoingAway
	case why == overload:
		code = statusTryAgainLater
	default:
		code = ws.StatusPolicyViolation
	}
	var body []byte
	if code != ws.StatusNoStatusRcvd {
		body = ws.NewCloseFrameBody(code, "")
	}
	if !c.charge(int64(len(body) + 2)) {
		return
	}
	c.out = appendFrame(c.out, ws.OpClose, body)
	c.wake()
}

// linger waits for the peer's Close after ours, and takes what else it has sent (RFC 6455 §7.1.1): a connection that is
// closed with bytes unread is reset, and our Close would be lost with it.
func (c *connection) linger(why cause) {
	if why == gone || why == parted || why == slow || why == crowded {
		return
	}
	defer c.hub.lingering.Add(-1)
	if c.hub.lingering.Add(1) > lingerMost || c.raw.SetReadDeadline(time.Now().Add(flushTime)) != nil {
		return
	}
	defer c.recovered()
	readable := why != framing
	var f frames
	for taken := 0; taken < scan.MaxPending; {
		n, err := c.conn.Read(c.small[:])
		if err != nil {
			return
		}
		taken += n
		for p := c.small[:n]; readable && len(p) > 0; {
			rest, op, _, err := f.next(p)
			if op == ws.OpClose {
				return
			}
			p, readable = rest, err == nil
		}
	}
}

// lingerMost bounds the connections that linger; those above it just end.
const lingerMost = 256
