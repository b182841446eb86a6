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
)

// Record writes what dump says; a part of it and an error for "broken".
func (f *fake) Record(_ context.Context, w io.Writer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.dump {
	case "":
		return NotFound("switch it on", "the flight recorder is off")
	case "broken":
		_, err := io.WriteString(w, strings.Repeat("part", 10_000))
		return errors.Join(err, errors.New("the rest is missing"))
	}
	for part := range strings.SplitSeq(f.dump, " ") {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
	}
	return nil
}

func TestRecord(t *testing.T) {
	var told changes
	f := newFake()
	c, ctx := running(t, Options{Control: f, UID: OwnUID(), Change: told.note}), t.Context()
	var got bytes.Buffer
	err := c.Record(ctx, &got)
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusNotFound || e.Hint != "switch it on" || got.Len() != 0 {
		t.Errorf("off: %v %q", err, got.String())
	}
	f.dump = "one two three"
	if err := c.Record(ctx, &got); err != nil || got.String() != "onetwothree" {
		t.Errorf("%v %q", err, got.String())
	}
	f.dump = "broken"
	if err := c.Record(ctx, io.Discard); err == nil || !strings.Contains(err.Error(), "it may have ended") {
		t.Errorf("a part is taken for the whole: %v", err)
	}
	f.dump = strings.Repeat("x", 1<<20)
	full := errors.New("the disk is full")
	if err := c.Record(ctx, failing{full}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	if len(told.list) < 3 || told.list[1] != fmt.Sprintf("%d record <nil>", OwnUID()) {
		t.Errorf("%q", told.list)
	}
}

// failing takes nothing.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestOnlyOwnersRecord: who may only ask gets no messages.
func TestOnlyOwnersRecord(t *testing.T) {
	f := newFake()
	f.dump = "secret"
	s := NewServer(Options{Control: f, UID: OwnUID()})
	w := &answered{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/recorder", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.http.Handler.ServeHTTP(w, r)
	if w.status != http.StatusForbidden || strings.Contains(w.body.String(), "secret") {
		t.Errorf("%d %s", w.status, w.body.String())
	}
}

// answered keeps an answer.
type answered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) WriteHeader(status int)      { a.status = status }
func (a *answered) Write(p []byte) (int, error) { return a.body.Write(p) }
