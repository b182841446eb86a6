package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// stuck is a writer that blocks, or fails, as long as it is told to.
type stuck struct {
	mu    sync.Mutex
	cond  sync.Cond
	block bool
	fail  error
	short int // bytes taken in spite of the failure
	got   bytes.Buffer
	calls int
}

func newStuck(block bool) *stuck {
	s := &stuck{block: block}
	s.cond.L = &s.mu
	return s
}

func (s *stuck) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for s.block {
		s.cond.Wait()
	}
	if s.fail != nil {
		n := min(s.short, len(b))
		s.got.Write(b[:n])
		return n, s.fail
	}
	return s.got.Write(b)
}

func (s *stuck) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

func (s *stuck) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func tellLost(n int) []byte { return fmt.Appendf(nil, "LOST %d\n", n) }

func put(t *testing.T, w io.Writer, line string) {
	t.Helper()
	if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
}

func TestLogLinesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newStuck(false)
		w := newAsyncWriter(to, 1<<20, tellLost)
		var want strings.Builder
		for i := range 5000 {
			line := fmt.Sprintf("line %d\n", i)
			want.WriteString(line)
			put(t, w, line)
		}
		if err := w.Sync(); err != nil || to.text() != want.String() {
			t.Errorf("%v: %d bytes, want %d", err, len(to.text()), want.Len())
		}
		if err := w.Sync(); err != nil {
			t.Errorf("nothing is left: %v", err)
		}
		put(t, w, "last\n")
		if err := w.Close(); err != nil || !strings.HasSuffix(to.text(), "\nlast\n") {
			t.Errorf("%v: the last line is missing", err)
		}
		put(t, w, "after the end\n")
		if strings.Contains(to.text(), "after") {
			t.Error("written after the end")
		}
	})
}

// TestABlockedReaderHoldsNobodyUp: every Write returns although the writer never does, memory is bounded, and the lines
// that found no room are told of in their place.
func TestABlockedReaderHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, n = 2000, 1000
		to := newStuck(true)
		w := newAsyncWriter(to, size, tellLost)
		put(t, w, "line 0\n")
		synctest.Wait() // the writer has it, and blocks
		for i := 1; i < n; i++ {
			put(t, w, fmt.Sprintf("line %d\n", i))
		}
		if len(w.waiting) > size/2 {
			t.Errorf("%d bytes wait, at most %d may", len(w.waiting), size/2)
		}
		if err := w.Sync(); !errors.Is(err, errUnread) {
			t.Errorf("Sync: %v", err)
		}
		to.set(func() { to.block = false })
		synctest.Wait()
		put(t, w, "afterwards\n")
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		next, lost, noted := 0, 0, 0
		for line := range strings.Lines(to.text()) {
			line = strings.TrimSuffix(line, "\n")
			switch kind, number, _ := strings.Cut(line, " "); kind {
			case "line":
				if i, _ := strconv.Atoi(number); i != next {
					t.Fatalf("line %d, want %d", i, next)
				}
				next++
			case "LOST":
				lost, _ = strconv.Atoi(number)
				noted++
				if next+lost != n {
					t.Errorf("%d lines, then %d lost: %d were written", next, lost, n)
				}
			case "afterwards":
				if noted != 1 {
					t.Errorf("%d notes stand before what came after", noted)
				}
			default:
				t.Errorf("%q", line)
			}
		}
		if lost == 0 || next < size/2/len("line 100\n") {
			t.Errorf("%d lines kept, %d lost", next, lost)
		}
	})
}

// TestSmallLinesDoNotOvertakeLostOnes: once a long line is lost, a short one that would fit is lost too.
func TestSmallLinesDoNotOvertakeLostOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newStuck(true)
		w := newAsyncWriter(to, 100, tellLost)
		put(t, w, "a\n")
		synctest.Wait()
		put(t, w, strings.Repeat("b", 39)+"\n")
		put(t, w, strings.Repeat("c", 39)+"\n")
		put(t, w, "d\n")
		to.set(func() { to.block = false })
		synctest.Wait()
		if want := "a\n" + strings.Repeat("b", 39) + "\nLOST 2\n"; to.text() != want {
			t.Errorf("%q, want %q", to.text(), want)
		}
		_ = w.Close()
	})
}

// TestAFailingWriter is not asked again and again, and what it did not take is told of once it works.
func TestAFailingWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newStuck(false)
		to.fail, to.short = errors.New("EAGAIN"), 2
		w := newAsyncWriter(to, 1000, tellLost)
		put(t, w, "a\nb\nc\n")
		synctest.Wait()
		if to.calls != 1 || to.text() != "a\n" {
			t.Errorf("%d calls, %q", to.calls, to.text())
		}
		if err := w.Sync(); err != nil {
			t.Errorf("what is lost cannot be waited for: %v", err)
		}
		to.set(func() { to.short = 0 })
		put(t, w, "d\n") // the note fails, and takes the line with it
		synctest.Wait()
		if to.calls != 2 || to.text() != "a\n" {
			t.Errorf("%d calls, %q", to.calls, to.text())
		}
		to.set(func() { to.fail = nil })
		put(t, w, "e\n")
		if err := w.Close(); err != nil || to.text() != "a\nLOST 3\ne\n" {
			t.Errorf("%v, %q", err, to.text())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		to := newStuck(false)
		to.fail = errors.New("EPIPE")
		w := newAsyncWriter(to, 1000, tellLost)
		put(t, w, "a\n")
		if err := w.Close(); err != nil {
			t.Errorf("a dead writer keeps the program from ending: %v", err)
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newStuck(true)
		w := newAsyncWriter(to, 1000, tellLost)
		put(t, w, "a\n")
		if err := w.Close(); !errors.Is(err, errUnread) {
			t.Errorf("Close: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.flush(ctx); !errors.Is(err, errUnread) {
			t.Errorf("flush: %v", err)
		}
		to.set(func() { to.block = false })
		<-w.done
	})
}

// TestFatalAndPanicAreWritten: zap syncs behind a line above error.
func TestFatalAndPanicAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newStuck(false)
		w := ringed(to, "json")
		log := zap.New(zapcore.NewCore(newEncoder("json"), w, zapcore.InfoLevel), zap.WithFatalHook(zapcore.WriteThenPanic))
		for what, f := range map[string]func(string, ...zap.Field){"fatal": log.Fatal, "panic": log.Panic} {
			func() {
				defer func() {
					if recover() == nil || !strings.Contains(to.text(), "the end by "+what) {
						t.Errorf("%s: not written before the end: %q", what, to.text())
					}
				}()
				f("the end by " + what)
			}()
		}
		_ = w.Close()
	})
}

func TestLostLinesAreToldInTheLogsFormat(t *testing.T) {
	for format, want := range map[string]string{"json": `"level":"warn"`, "console": "\twarn\t"} {
		synctest.Test(t, func(t *testing.T) {
			to := newStuck(true)
			w := ringed(to, format)
			put(t, w, "a\n")
			synctest.Wait()
			long := strings.Repeat("x", logRing)
			put(t, w, long+"\n")
			put(t, w, "b\n")
			to.set(func() { to.block = false })
			if err := w.Close(); err != nil || !strings.Contains(to.text(), want) || !strings.Contains(to.text(), "2 log lines are lost here") {
				t.Errorf("%v: %q", err, to.text())
			}
		})
	}
}
