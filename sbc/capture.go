package sbc

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/sbc/api"
	"sallyport/sbc/trace"
	"sallyport/sbc/tu"
)

// The bounds of captures.
const (
	capturesMost     = 4
	captureLongest   = 24 * time.Hour
	captureLargest   = 64 << 30 // bytes
	captureLinger    = time.Second
	captureFileHead  = 512
	captureBlockHead = 92     // of a packet in the file: block, IP and UDP headers, options
	captureMessage   = 60_000 // bytes of a message: what a made-up datagram holds
	captureProgram   = "Sallyport capture"
)

// captures are the captures under way, and what is copied for them. What readers and the core ask of it costs one load
// while there is none.
type captures struct {
	sbc     *SBC
	running atomic.Pointer[[]*capture] // nil: none

	mu      sync.Mutex
	next    int
	streams map[media.ID]*capturedStream
	missing uint64   // packets of captures that have ended
	byRules *capture // of message rules; nil: none captures
	keeping sync.WaitGroup
}

// capturedStream is a stream of which some captures want copies.
type capturedStream struct {
	user    tu.UserID
	comment string
	forms   media.Tap
	by      []*capture
}

// capture is one of them.
type capture struct {
	info   api.Capture // as it began
	what   subject
	form   media.Tap // 0: no media
	limit  int64     // bytes
	queue  *captureQueue
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

func (s *SBC) newCaptures() *captures {
	c := &captures{sbc: s, streams: map[media.ID]*capturedStream{}}
	s.plane.SetOnlooker(c.copied)
	return c
}

// all are the captures under way.
func (cs *captures) all() []*capture {
	if cs == nil {
		return nil
	}
	if list := cs.running.Load(); list != nil {
		return *list
	}
	return nil
}

// Captures are those under way.
func (c control) Captures(context.Context) ([]api.Capture, error) { return c.captures.list(), nil }

func (cs *captures) list() (out []api.Capture) {
	for _, c := range cs.all() {
		out = append(out, c.state())
	}
	return out
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

// StopCapture ends a capture.
func (c control) StopCapture(_ context.Context, id int) error {
	for _, x := range c.captures.all() {
		if x.info.ID == id {
			x.finish("stopped")
			return nil
		}
	}
	return api.NotFound("it may have ended; `sbc status` lists those under way", "no capture %d", id)
}

// Capture writes what happens to a subject until something ends it.
func (c control) Capture(ctx context.Context, q api.CaptureRequest, to api.CaptureSink) (api.Capture, error) {
	if err := checkCapture(&q); err != nil {
		return api.Capture{}, err
	}
	what, err := c.subject(ctx, q.Subject)
	if err != nil {
		return api.Capture{}, err
	}
	x, err := c.captures.begin(&q, what)
	if err != nil {
		return api.Capture{}, err
	}
	defer c.captures.end(x)
	if err := c.core.Do(ctx, func(time.Time) { c.captures.survey(x) }); err != nil {
		return api.Capture{}, err
	}
	to.Begin(x.info)
	err = x.write(ctx, q.For, to)
	done := x.state()
	done.Ended = x.why
	c.log.Info(fmt.Sprintf("capture of %s %q has ended, %s: %d SIP messages, %d packets of media, %d lost", what.kind, q.Subject, x.why, done.SIP, done.RTP,
		done.Lost+done.Missed), zap.Int("uid", q.UID), zap.Error(err))
	return done, err
}

func checkCapture(q *api.CaptureRequest) error {
	switch {
	case q.For <= 0 || q.For > captureLongest:
		return api.BadRequest("write a duration up to 24h, such as 10m", "%s is no time to capture for", q.For)
	case q.Max < captureFileHead || q.Max > captureLargest:
		return api.BadRequest("write a size such as 100MiB", "%d bytes are no size of a capture", q.Max)
	case q.Clear && !q.Media:
		return api.BadRequest("leave out one of --clear and --media=false", "there is nothing to decrypt without media")
	}
	return nil
}

// begin makes a capture one of those under way.
func (cs *captures) begin(q *api.CaptureRequest, what subject) (*capture, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	list := cs.all()
	if n := len(slices.DeleteFunc(slices.Clone(list), func(c *capture) bool { return c == cs.byRules })); n >= capturesMost {
		return nil, &api.Error{Status: http.StatusTooManyRequests, What: fmt.Sprintf("%d captures are under way", n),
			Hint: "`sbc status` lists them; end one first"}
	}
	cs.next++
	x := newCapture(q, what, cs.sbc.now())
	x.info.ID = cs.next
	list = append(slices.Clone(list), x)
	cs.running.Store(&list)
	return x, nil
}

func newCapture(q *api.CaptureRequest, what subject, now time.Time) *capture {
	x := &capture{
		info: api.Capture{UID: q.UID, Subject: q.Subject, What: what.kind, Since: now, Media: q.Media, Clear: q.Clear},
		what: what, form: formOf(q.Media, q.Clear), limit: q.Max, queue: newCaptureQueue(), ended: make(chan struct{}),
		callIDs: map[string]tu.UserID{}, follows: map[tu.UserID]string{},
	}
	var once sync.Once
	x.finish = func(why string) { once.Do(func() { x.why = why; close(x.ended) }) }
	return x
}

// lost is how many packets it has seen and not written.
func (c *capture) lost() uint64 { return c.queue.missing() + c.unkept.Load() }

// end takes a capture out, and nothing is copied for it any more.
func (cs *captures) end(x *capture) {
	x.finish("failed") // it has ended already, unless something went wrong
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var left []*capture
	for _, c := range cs.all() {
		if c != x {
			left = append(left, c)
		}
	}
	if len(left) > 0 {
		cs.running.Store(&left)
	} else {
		cs.running.Store(nil)
	}
	cs.missing += x.lost() + x.missed.Load()
	for id, s := range cs.streams {
		if i := slices.Index(s.by, x); i >= 0 {
			s.by = slices.Delete(s.by, i, i+1)
			cs.settle(id, s)
		}
	}
}

// lost is how many packets no capture has got since the start.
func (cs *captures) lost() uint64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	n := cs.missing
	for _, c := range cs.all() {
		n += c.lost() + c.missed.Load()
	}
	return n
}

// close ends every capture a moment after the program has been told to end: what it says in farewell is captured.
func (cs *captures) close() {
	for _, c := range cs.all() {
		time.AfterFunc(captureLinger/2, func() { c.finish("the program ends") })
	}
}

// write is the capture's own goroutine: it writes what is queued until the capture ends.
func (c *capture) write(ctx context.Context, most time.Duration, to api.CaptureSink) error {
	comment := fmt.Sprintf("capture of %s %s; IP and UDP headers are made up, secrets in SIP are overwritten", c.what.kind, c.info.Subject)
	if c.info.Clear {
		comment += "; media that came or left as SRTP is decrypted, and SDP says so"
	}
	file := trace.NewFile(to, captureProgram, comment)
	c.size.Store(captureFileHead)
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
		if c.size.Load()+captureSize(&p) > c.limit {
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

// captureSize is what a packet adds to a file, about.
func captureSize(p *trace.Packet) int64 { return captureBlockHead + int64(len(p.Data)+len(p.Comment)) }

// prepare counts a packet, and takes out what must not be in a file.
func (c *capture) prepare(p *trace.Packet) {
	c.size.Add(captureSize(p))
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

// subject is whom a capture follows; one of the fields is set.
type subject struct {
	kind   string
	source netip.Prefix
	call   tu.UserID
	aor    string
	rules  *ruled
}

// subject finds out what a word means.
func (c control) subject(ctx context.Context, word string) (s subject, err error) {
	if p, err := netip.ParsePrefix(word); err == nil {
		return subject{kind: "the prefix", source: p.Masked()}, nil
	}
	if a, err := netip.ParseAddr(word); err == nil {
		a = a.Unmap().WithZone("")
		return subject{kind: "the address", source: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	err = c.core.Do(ctx, func(time.Time) {
		for id, x := range c.assembly.calls {
			if x.Is(word) {
				s = subject{kind: "the call", call: id}
			}
		}
	})
	if err != nil || s.call != 0 {
		return s, err
	}
	if aor, ok := c.isPhone(ctx, word); ok {
		return subject{kind: "the phone", aor: aor}, nil
	}
	return s, api.NotFound("give a call in progress (`sbc calls`), an address or prefix, or a phone (user or user@domain)", "there is no %q", word)
}
