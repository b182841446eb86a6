package capture

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/media"
	"sallyport/sbc/api"
)

// tape is whoever reads a capture.
type tape struct {
	bytes.Buffer
	first  []api.Capture
	broken error
}

// Begin implements api.CaptureSink.
func (p *tape) Begin(c api.Capture) { p.first = append(p.first, c) }

// Write implements api.CaptureSink.
func (p *tape) Write(b []byte) (int, error) {
	if p.broken != nil {
		return 0, p.broken
	}
	return p.Buffer.Write(b)
}

// running is a capture that writes.
type running struct {
	sync.WaitGroup
	tape
	last api.Capture
	err  error
}

// run has a capture write, and returns once it does.
func (s *stage) run(ctx context.Context, q api.CaptureRequest) *running {
	r := &running{}
	if q.For == 0 {
		q.For = time.Hour
	}
	if q.Max == 0 {
		q.Max = 1 << 20
	}
	r.Go(func() { r.last, r.err = s.set.Run(ctx, q, &r.tape) })
	synctest.Wait()
	return r
}

// TestRun: from its beginning to its end, by whatever that comes.
func TestRun(t *testing.T) {
	type scene struct {
		*stage
		*running
		gone context.CancelFunc
	}
	for why, c := range map[string]struct {
		q  api.CaptureRequest
		do func(*scene)
	}{
		"stopped":          {api.CaptureRequest{}, func(s *scene) { _ = s.set.Stop(1) }},
		"the time is over": {api.CaptureRequest{For: 3 * time.Second}, func(*scene) { time.Sleep(4 * time.Second) }},
		"the size is reached": {api.CaptureRequest{Max: 2000}, func(s *scene) {
			for range 20 {
				s.set.Heard(came(stranger, sip("INVITE", "out-7", plain...)), allowed())
				synctest.Wait()
			}
		}},
		"the client has gone": {api.CaptureRequest{}, func(s *scene) { s.gone() }},
		"the program ends":    {api.CaptureRequest{}, func(s *scene) { s.set.Close(); time.Sleep(linger) }},
		"the call is over":    {api.CaptureRequest{}, func(s *scene) { s.set.Ended(7); time.Sleep(linger) }},
		"whoever reads the file has gone": {api.CaptureRequest{}, func(s *scene) {
			s.broken = errors.New("broken pipe")
			s.set.Heard(came(stranger, sip("INVITE", "out-7", plain...)), allowed())
		}},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scene{stage: newStage()}
				s.call(7, 70)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s.gone = cancel
				c.q.Subject, c.q.Media, c.q.UID = "call-7", true, 42
				s.running = s.run(ctx, c.q)
				if len(s.first) != 1 || s.first[0].ID != 1 || s.first[0].UID != 42 || s.first[0].What != "the call" || s.Len() == 0 {
					t.Fatalf("%+v, %d bytes", s.first, s.Len())
				}
				s.set.Heard(came(stranger, sip("BYE", "out-7", append(plain, `Authorization: Digest username="u", response="abcdef"`)...)), allowed())
				s.set.Copied([]media.Copy{{ID: 70, At: time.Now(), Local: door, Remote: sound, Form: media.TapWire, Data: []byte("a secret response=\"abcdef\"")}}, 0)
				synctest.Wait()
				c.do(s)
				s.running.Wait()
				if s.last.Ended != why || s.last.SIP == 0 || s.last.RTP != 1 || (s.err != nil) != (s.broken != nil) {
					t.Errorf("%v, %+v", s.err, s.last)
				}
				if text := s.String(); strings.Count(text, `response="abcdef"`) != 1 || !strings.Contains(text, `response="xxxxxx"`) {
					t.Error("secrets in SIP are overwritten, and nothing in media")
				}
				if why == "the size is reached" && (s.Len() > 2500 || s.last.Bytes > 2000) {
					t.Errorf("%d bytes, told %d", s.Len(), s.last.Bytes)
				}
				if s.set.Running() || s.told() != "70 1, 70 0" {
					t.Error("it has left something")
				}
				if n := s.said.FilterMessageSnippet(`capture of the call "call-7" has ended, ` + why).Len(); n != 1 {
					t.Errorf("%+v", s.said.All())
				}
			})
		})
	}
}

// TestRunRefuses what makes no sense, and what nobody can find.
func TestRunRefuses(t *testing.T) {
	s := newStage()
	good := api.CaptureRequest{Subject: "192.0.2.1", For: time.Minute, Max: 1 << 20}
	for _, c := range []struct {
		name   string
		change func(*api.CaptureRequest)
		status int
	}{
		{"no time", func(q *api.CaptureRequest) { q.For = 0 }, http.StatusBadRequest},
		{"longer than a day", func(q *api.CaptureRequest) { q.For = longest + 1 }, http.StatusBadRequest},
		{"no room for a head", func(q *api.CaptureRequest) { q.Max = fileHead - 1 }, http.StatusBadRequest},
		{"too large", func(q *api.CaptureRequest) { q.Max = largest + 1 }, http.StatusBadRequest},
		{"nothing to decrypt", func(q *api.CaptureRequest) { q.Clear = true }, http.StatusBadRequest},
		{"nobody", func(q *api.CaptureRequest) { q.Subject = "205" }, http.StatusNotFound},
		{"nothing", func(q *api.CaptureRequest) { q.Subject = "" }, http.StatusNotFound},
		{"no prefix", func(q *api.CaptureRequest) { q.Subject = "192.0.2.0/33" }, http.StatusNotFound},
	} {
		q := good
		c.change(&q)
		var to tape
		_, err := s.set.Run(t.Context(), q, &to)
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != c.status || e.Hint == "" || len(to.first) > 0 || to.Len() > 0 {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if e, ok := errors.AsType[*api.Error](s.set.Stop(1)); !ok || e.Status != http.StatusNotFound {
		t.Errorf("%v", e)
	}
	s.over = true // where the core takes no turns, nothing is left behind either
	for _, subject := range []string{"call-7", "192.0.2.1"} {
		good.Subject = subject
		if _, err := s.set.Run(t.Context(), good, &tape{}); !errors.Is(err, errOver) || s.set.Running() {
			t.Errorf("%s: %v", subject, err)
		}
	}
}

// TestCapturesAreFew: so many at a time; that of message rules takes no one's place.
func TestCapturesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.compile(t, 1)
		s.set.Tune(Rules{Paths: []string{rulePath(0)}, Config: Config{Directory: t.TempDir(), MaxSize: 1 << 20, Files: 1}})
		q := api.CaptureRequest{Subject: "192.0.2.1"}
		var list []*running
		for range most {
			list = append(list, s.run(t.Context(), q))
		}
		more := s.run(t.Context(), q)
		more.Wait()
		if e, ok := errors.AsType[*api.Error](more.err); !ok || e.Status != http.StatusTooManyRequests || e.What != "4 captures are under way" {
			t.Errorf("%v", more.err)
		}
		if got := s.set.List(); len(got) != most+1 || got[1].ID != 1 || got[most].ID != most {
			t.Errorf("%+v", got)
		}
		if e, ok := errors.AsType[*api.Error](s.set.Stop(0)); !ok || e.Status != http.StatusBadRequest {
			t.Errorf("%v: that of the rules ends with the rules", e)
		}
		if err := s.set.Stop(2); err != nil {
			t.Error(err)
		}
		list[1].Wait()
		again := s.run(t.Context(), q)
		if len(again.first) != 1 || again.first[0].ID != most+1 {
			t.Errorf("%+v %v", again.first, again.err)
		}
		s.set.Close()
		time.Sleep(linger)
		for _, r := range append(list, again) {
			r.Wait()
		}
		s.set.Wait()
		if s.set.Running() {
			t.Errorf("%+v", s.set.List())
		}
	})
}

// TestLost: what found no room stays counted when its capture is gone.
func TestLost(t *testing.T) {
	s := newStage()
	s.call(7, 70)
	c := s.begin(t, api.CaptureRequest{Subject: "call-7", Media: true})
	s.set.Copied([]media.Copy{{ID: 70, At: time.Now(), Local: door, Remote: sound, Form: media.TapWire, Data: make([]byte, queueBytes)}}, 5)
	s.set.Copied([]media.Copy{{ID: 70, At: time.Now(), Local: door, Remote: sound, Form: media.TapWire, Data: make([]byte, 1)}}, 0)
	if got := c.state(); got.Lost != 1 || got.Missed != 5 || s.set.Lost() != 6 {
		t.Errorf("%+v, %d", got, s.set.Lost())
	}
	s.set.end(c)
	if n := s.set.Lost(); n != 6 {
		t.Errorf("%d when it has ended", n)
	}
}
