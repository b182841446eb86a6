package capture

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/media"
	"sallyport/sbc/api"
	"sallyport/sbc/trace"
	"sallyport/sbc/tu"
)

// What goes into a file.
const (
	fileHead    = 512
	blockHead   = 92     // of a packet in the file: block, IP and UDP headers, options
	messageMost = 60_000 // bytes of a message: what a made-up datagram holds
	application = "Sallyport capture"
)

// capture is one of those under way.
type capture struct {
	info   api.Capture // as it began
	what   subject
	form   media.Tap // 0: no media
	limit  int64     // bytes
	queue  *queue
	ended  chan struct{}
	finish func(why string) // once
	why    string           // set before ended is closed

	sip, rtp, missed atomic.Uint64
	unkept           atomic.Uint64 // there was no file for them
	size             atomic.Int64

	mu      sync.Mutex
	callIDs map[string]tu.UserID // Call-IDs of the legs of calls that it follows
	follows map[tu.UserID]string // and those calls' ids
}

func newCapture(q *api.CaptureRequest, what subject, now time.Time) *capture {
	c := &capture{
		info: api.Capture{UID: q.UID, Subject: q.Subject, What: what.kind, Since: now, Media: q.Media, Clear: q.Clear},
		what: what, form: formOf(q.Media, q.Clear), limit: q.Max, queue: newQueue(), ended: make(chan struct{}),
		callIDs: map[string]tu.UserID{}, follows: map[tu.UserID]string{},
	}
	var once sync.Once
	c.finish = func(why string) { once.Do(func() { c.why = why; close(c.ended) }) }
	return c
}

// formOf is the form in which a capture wants media.
func formOf(wanted, clear bool) media.Tap {
	switch {
	case wanted && clear:
		return media.TapClear
	case wanted:
		return media.TapWire
	}
	return 0
}

// state is how a capture stands.
func (c *capture) state() api.Capture {
	i := c.info
	i.SIP, i.RTP, i.Missed, i.Lost, i.Bytes = c.sip.Load(), c.rtp.Load(), c.missed.Load(), c.lost(), c.size.Load()
	c.mu.Lock()
	i.Follows = len(c.follows)
	c.mu.Unlock()
	return i
}

// lost is how many packets it has seen and not written.
func (c *capture) lost() uint64 { return c.queue.missing() + c.unkept.Load() }

// write is the capture's own goroutine: it writes what is queued until the capture ends.
func (c *capture) write(ctx context.Context, most time.Duration, to api.CaptureSink) error {
	comment := fmt.Sprintf("capture of %s %s; IP and UDP headers are made up, secrets in SIP are overwritten", c.what.kind, c.info.Subject)
	if c.info.Clear {
		comment += "; media that came or left as SRTP is decrypted, and SDP says so"
	}
	file := trace.NewFile(to, application, comment)
	c.size.Store(fileHead)
	timer := time.NewTimer(most)
	defer timer.Stop()
	err := file.Flush() // whoever reads it knows that it has begun
	for over := false; err == nil && !over; {
		select {
		case <-c.queue.filled:
		case <-timer.C:
			c.finish("the time is over")
		case <-ctx.Done():
			c.finish("the client has gone")
		case <-c.ended:
			over = true
		}
		err = c.empty(file)
	}
	if err != nil {
		c.finish("whoever reads the file has gone")
		return err
	}
	return file.End(c.queue.missing() + c.missed.Load())
}

// empty writes what is queued, as far as the file may grow.
func (c *capture) empty(file *trace.File) error {
	for _, p := range c.queue.take() {
		if c.size.Load()+sizeOf(&p) > c.limit {
			c.finish("the size is reached")
			break
		}
		c.prepare(&p)
		if err := file.Write(&p); err != nil {
			return err
		}
	}
	return file.Flush()
}

// sizeOf is what a packet adds to a file, about.
func sizeOf(p *trace.Packet) int64 { return blockHead + int64(len(p.Data)+len(p.Comment)) }

// prepare counts a packet, and takes out what must not be in a file.
func (c *capture) prepare(p *trace.Packet) {
	c.size.Add(sizeOf(p))
	if p.Face == mediaFace[0] || p.Face == mediaFace[1] {
		c.rtp.Add(1)
		return
	}
	c.sip.Add(1)
	trace.Mask(p.Data)
	if c.info.Clear {
		trace.Unsecure(p.Data)
	}
}
