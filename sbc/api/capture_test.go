package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Captures are none.
func (f *fake) Captures(context.Context) ([]Capture, error) { return nil, nil }

// Capture writes what it is asked for until it is stopped; "broken" breaks after its beginning, "nobody" is not found.
func (f *fake) Capture(ctx context.Context, q CaptureRequest, to CaptureSink) (Capture, error) {
	c := Capture{ID: 7, UID: q.UID, Subject: q.Subject, What: "the word", Media: q.Media, Clear: q.Clear, Since: start}
	if q.Subject == "nobody" {
		return c, NotFound("ask for somebody", "there is no %q", q.Subject)
	}
	stop := make(chan struct{})
	f.mu.Lock()
	f.stop = stop // before anybody learns of it
	f.mu.Unlock()
	to.Begin(c)
	if _, err := io.WriteString(to, "begun "); err != nil {
		return c, err
	}
	if q.Subject == "broken" {
		return c, errors.New("it broke")
	}
	select {
	case <-stop:
		c.Ended = "stopped"
	case <-ctx.Done():
		c.Ended = "gone"
	case <-time.After(q.For):
		c.Ended = "time"
	}
	c.SIP, c.RTP, c.Lost = 1, 2, 3
	_, err := io.WriteString(to, c.Ended)
	return c, err
}

// StopCapture stops the one that there is.
func (f *fake) StopCapture(_ context.Context, id int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop == nil || id != 7 {
		return NotFound("ask for one that there is", "no capture %d", id)
	}
	close(f.stop)
	f.stop = nil
	return nil
}

func TestCapture(t *testing.T) {
	var told changes
	f := newFake()
	c, ctx := running(t, Options{Control: f, UID: OwnUID(), Change: told.note}), t.Context()
	var got bytes.Buffer
	q := CaptureRequest{Subject: "204", For: time.Hour, Max: 1 << 20, Media: true, Clear: true}
	begun := 0
	ended, err := c.Capture(ctx, q, &got, func(b Capture) error {
		begun++
		if b.ID != 7 || b.UID != OwnUID() || b.Subject != "204" {
			t.Errorf("%+v", b)
		}
		return c.StopCapture(ctx, b.ID)
	})
	if err != nil || begun != 1 || got.String() != "begun stopped" || ended.Ended != "stopped" || ended.RTP != 2 {
		t.Errorf("%v, begun %d, %q, %+v", err, begun, got.String(), ended)
	}
	if text := ended.Text("x.pcapng"); text != "x.pcapng: 1 SIP message, 2 packets of media, stopped\n3 packets lost: the disk, or whoever reads the file, is too slow\n" {
		t.Errorf("%q", text)
	}
	q.Subject = "nobody"
	_, err = c.Capture(ctx, q, io.Discard, func(Capture) error { t.Error("it has begun"); return nil })
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusNotFound {
		t.Errorf("nobody: %v", err)
	}
	q.Subject = "broken"
	if _, err = c.Capture(ctx, q, io.Discard, func(Capture) error { return nil }); err == nil || !strings.Contains(err.Error(), "it may have ended") {
		t.Errorf("a part is taken for the whole: %v", err)
	}
	q.Subject = "204"
	full := errors.New("the disk is full")
	if _, err = c.Capture(ctx, q, failing{full}, func(Capture) error { return nil }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if _, err = c.Capture(ctx, q, io.Discard, func(Capture) error { return full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if list, err := c.Captures(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	if len(told.list) == 0 || told.list[0] != fmt.Sprintf("%d capture \"204\" with media, decrypted <nil>", OwnUID()) {
		t.Errorf("%q", told.list)
	}
}

// TestOnlyOwnersCapture: who may only ask hears nobody.
func TestOnlyOwnersCapture(t *testing.T) {
	f := newFake()
	s := NewServer(Options{Control: f, UID: OwnUID()})
	for _, what := range []struct{ method, path string }{{http.MethodPost, "/v1/captures"}, {http.MethodDelete, "/v1/captures?id=7"}} {
		w := &answered{header: http.Header{}}
		r, err := http.NewRequestWithContext(t.Context(), what.method, what.path, strings.NewReader(`{"subject":"204","for":1000,"max":1}`))
		if err != nil {
			t.Fatal(err)
		}
		s.http.Handler.ServeHTTP(w, r)
		if w.status != http.StatusForbidden || strings.Contains(w.body.String(), "begun") {
			t.Errorf("%s: %d %s", what.method, w.status, w.body.String())
		}
	}
}

func TestCaptureInTheStatus(t *testing.T) {
	s := Status{Captures: []Capture{{ID: 2, UID: 1000, Subject: "192.0.2.7", What: "the address", Since: start, SIP: 1, RTP: 40, Lost: 2, Missed: 1}}}
	if text := s.Text(time.UTC); !strings.Contains(text, "capture        2: the address 192.0.2.7 by uid 1000 since 2027-01-31 18:00:00, 1 SIP message, 40 packets of media, 3 lost") {
		t.Error(text)
	}
}
