package cdr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDirectoryCannotBeMade(t *testing.T) {
	c := config(t)
	parent := filepath.Dir(c.Directory)
	c.Directory = filepath.Join(parent, "blocker", "cdr")
	if err := os.WriteFile(filepath.Join(parent, "blocker"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		told := &warnings{}
		w := New(c, time.Now, told.warn)
		settle()
		if told.contain("cdr.directory") != 1 || !w.Counters().Failing {
			t.Errorf("start-up says %q", told.all())
		}
		for i := range maxWaiting + 5 {
			w.Write(record(i))
		}
		time.Sleep(10*time.Minute + time.Second)
		if n := told.contain("cannot be written"); n < 8 || n > 12 {
			t.Errorf("%d warnings in ten minutes", n)
		}
		if got := w.Counters(); got.Lost != 5 || got.Waiting != maxWaiting || !got.Failing {
			t.Errorf("counters %+v", got)
		}
		if err := os.Remove(filepath.Join(parent, "blocker")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		settle()
		if told.contain("written again") != 1 || told.contain("5 were lost") != 1 {
			t.Errorf("recovery says %q", told.all()[len(told.all())-1])
		}
		if err := w.Close(); err == nil {
			t.Error("Close says nothing of the lost records")
		}
		if got := w.Counters(); got != (Counters{Written: maxWaiting, Lost: 5}) {
			t.Errorf("counters %+v", got)
		}
	})
	calls, _ := read(t, c.Directory)
	expectCalls(t, calls, maxWaiting)
}

func TestStartUpFailureEndsWithoutACall(t *testing.T) {
	c := config(t)
	blocker := filepath.Join(filepath.Dir(c.Directory), "blocker")
	c.Directory = filepath.Join(blocker, "cdr")
	if err := os.WriteFile(blocker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		told := &warnings{}
		w := New(c, time.Now, told.warn)
		settle()
		if err := os.Remove(blocker); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		settle()
		if told.contain("written again") != 1 || w.Counters().Failing {
			t.Errorf("says %q", told.all())
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// fullDisk is a file on a disk with so much room left: it takes what fits, as a real one does.
type fullDisk struct {
	*os.File
	room *atomic.Int64
	torn bool // cannot be cut either
}

func (d fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), int(d.room.Load()))
	d.room.Add(-int64(n))
	n, err := d.File.Write(b[:n])
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (d fullDisk) Truncate(size int64) error {
	if d.torn {
		return syscall.EIO
	}
	return d.File.Truncate(size)
}

func TestDiskFull(t *testing.T) {
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn=%v", torn), func(t *testing.T) {
			c := config(t)
			var room atomic.Int64
			room.Store(1000)
			synctest.Test(t, func(t *testing.T) {
				told := &warnings{}
				w := New(c, time.Now, told.warn)
				settle()
				w.files.open = func(path string) (file, error) {
					f, err := openFile(path)
					if err != nil {
						return nil, err
					}
					return fullDisk{f.(*os.File), &room, torn}, nil
				}
				for i := range 100 {
					w.Write(record(i))
				}
				settle()
				if got := w.Counters(); !got.Failing || got.Waiting == 0 || told.contain("no space") != 1 {
					t.Fatalf("counters %+v, warnings %q", got, told.all())
				}
				room.Store(1 << 20)
				time.Sleep(retryAfter)
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if w.Counters().Written != 100 {
					t.Errorf("counters %+v", w.Counters())
				}
			})
			if torn {
				dropTorn(t, c.Directory)
			}
			calls, _ := read(t, c.Directory)
			expectCalls(t, calls, 100)
		})
	}
}

// dropTorn removes the half batch at the end of the first file; everything must stand in the second one.
func dropTorn(t *testing.T, dir string) {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if len(paths) != 2 {
		t.Fatalf("files %q", paths)
	}
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
}

func TestFileMovedAway(t *testing.T) {
	c := config(t)
	synctest.Test(t, func(t *testing.T) {
		w := New(c, time.Now, func(err error) { t.Error(err) })
		w.Write(record(0))
		settle()
		if err := os.RemoveAll(c.Directory); err != nil {
			t.Fatal(err)
		}
		w.Write(record(0))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
	calls, _ := read(t, c.Directory)
	expectCalls(t, calls, 1)
}

func TestCloseWhileTheDiskRefuses(t *testing.T) {
	c := config(t)
	blocker := filepath.Dir(c.Directory) + "/blocker"
	c.Directory = blocker + "/cdr"
	if err := os.WriteFile(blocker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := New(c, time.Now, func(error) {})
		w.Write(record(0))
		settle()
		start := time.Now()
		if err := w.Close(); err == nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if got := w.Counters(); got.Lost != 1 || got.Waiting != 0 {
			t.Errorf("counters %+v", got)
		}
	})
}

func TestCloseWhileTheDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(config(t), time.Now, func(error) {})
		settle()
		hang := make(chan struct{})
		w.files.open = func(string) (file, error) { <-hang; return nil, syscall.EIO }
		w.Write(record(0))
		if err := w.Close(); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("%v", err)
		}
		close(hang)
		<-w.done
	})
}
