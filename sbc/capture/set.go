package capture

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/sbc/api"
	"sallyport/sbc/tu"
)

// The bounds of captures.
const (
	most    = 4 // under way, that of message rules apart
	longest = 24 * time.Hour
	largest = 64 << 30 // bytes
	linger  = time.Second
)

// Options are what a Set is born with. All of it is needed.
type Options struct {
	Program Program
	Now     func() time.Time
	Log     *zap.Logger
}

// Set is the captures under way, and what is copied for them. What readers and the core ask of it costs one load while there
// is none. A nil Set has none and never will: Running, Asks, Heard, Answered, Sent and Ended may be asked of it.
type Set struct {
	program Program
	now     func() time.Time
	log     *zap.Logger
	running atomic.Pointer[[]*capture] // nil: none

	mu      sync.Mutex
	next    int
	streams map[media.ID]*stream
	missing uint64   // packets of captures that have ended
	byRules *capture // of message rules; nil: none captures
	keeping sync.WaitGroup
}

// stream is one of which some captures want copies.
type stream struct {
	user    tu.UserID
	comment string
	forms   media.Tap
	by      []*capture
}

// New makes a Set without a capture. Program is not asked before somebody captures.
func New(o Options) *Set {
	return &Set{program: o.Program, now: o.Now, log: o.Log, streams: map[media.ID]*stream{}}
}

// all are the captures under way.
func (s *Set) all() []*capture {
	if s == nil {
		return nil
	}
	if list := s.running.Load(); list != nil {
		return *list
	}
	return nil
}

// Running reports whether there is a capture under way.
func (s *Set) Running() bool { return s != nil && s.running.Load() != nil }

// List tells how the captures under way stand, the oldest first.
func (s *Set) List() (out []api.Capture) {
	for _, c := range s.all() {
		out = append(out, c.state())
	}
	return out
}

// Stop ends a capture; its file is finished. The error is the administrator's to read.
func (s *Set) Stop(id int) error {
	for _, c := range s.all() {
		switch {
		case c.info.ID != id:
		case c.what.rules != nil: // a configuration with the rules would be in force, and nothing captured
			return api.BadRequest("take `capture: true` out of the rules and reload", "capture %d is that of message rules", id)
		default:
			c.finish("stopped")
			return nil
		}
	}
	return api.NotFound("it may have ended; `sbc status` lists those under way", "no capture %d", id)
}

// Run writes what happens to a subject until something ends it: the time or the size of the request, the end of the call, Stop,
// Close, ctx, or an error of the sink. It tells how the capture ended, or why there was none; errors of the latter kind are the
// administrator's to read.
func (s *Set) Run(ctx context.Context, q api.CaptureRequest, to api.CaptureSink) (api.Capture, error) {
	if err := check(&q); err != nil {
		return api.Capture{}, err
	}
	what, err := s.subject(ctx, q.Subject)
	if err != nil {
		return api.Capture{}, err
	}
	c, err := s.begin(&q, what)
	if err != nil {
		return api.Capture{}, err
	}
	defer s.end(c)
	if err := s.program.Do(ctx, func(time.Time) { s.survey(c) }); err != nil {
		return api.Capture{}, err
	}
	to.Begin(c.info)
	err = c.write(ctx, q.For, to)
	done := c.state()
	done.Ended = c.why
	s.log.Info(fmt.Sprintf("capture of %s %q has ended, %s: %d SIP messages, %d packets of media, %d lost", what.kind, q.Subject, c.why, done.SIP, done.RTP,
		done.Lost+done.Missed), zap.Int("uid", q.UID), zap.Error(err))
	return done, err
}

func check(q *api.CaptureRequest) error {
	switch {
	case q.For <= 0 || q.For > longest:
		return api.BadRequest("write a duration up to 24h, such as 10m", "%s is no time to capture for", q.For)
	case q.Max < fileHead || q.Max > largest:
		return api.BadRequest("write a size such as 100MiB", "%d bytes are no size of a capture", q.Max)
	case q.Clear && !q.Media:
		return api.BadRequest("leave out one of --clear and --media=false", "there is nothing to decrypt without media")
	}
	return nil
}

// begin makes a capture one of those under way.
func (s *Set) begin(q *api.CaptureRequest, what subject) (*capture, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.all()
	if n := len(slices.DeleteFunc(slices.Clone(list), func(c *capture) bool { return c == s.byRules })); n >= most {
		return nil, &api.Error{Status: http.StatusTooManyRequests, What: fmt.Sprintf("%d captures are under way", n),
			Hint: "`sbc status` lists them; end one first"}
	}
	s.next++
	c := newCapture(q, what, s.now())
	c.info.ID = s.next
	s.add(c)
	return c, nil
}

// add makes a capture one of those under way. The lock is held.
func (s *Set) add(c *capture) {
	list := append(slices.Clone(s.all()), c)
	s.running.Store(&list)
}

// end takes a capture out, and nothing is copied for it any more.
func (s *Set) end(x *capture) {
	x.finish("failed") // it has ended already, unless something went wrong
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []*capture
	for _, c := range s.all() {
		if c != x {
			left = append(left, c)
		}
	}
	if len(left) > 0 {
		s.running.Store(&left)
	} else {
		s.running.Store(nil)
	}
	s.missing += x.lost() + x.missed.Load()
	for id, st := range s.streams {
		if i := slices.Index(st.by, x); i >= 0 {
			st.by = slices.Delete(st.by, i, i+1)
			s.settle(id, st)
		}
	}
}

// Lost is how many packets no capture has got since the start.
func (s *Set) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.missing
	for _, c := range s.all() {
		n += c.lost() + c.missed.Load()
	}
	return n
}

// Close ends every capture a moment after the program has been told to end: what it says in farewell is captured. It does not
// wait for that.
func (s *Set) Close() {
	for _, c := range s.all() {
		time.AfterFunc(linger/2, func() { c.finish("the program ends") })
	}
}

// Wait waits until the files of message rules are closed, after Close.
func (s *Set) Wait() { s.keeping.Wait() }
