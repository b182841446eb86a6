package cdr

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"encoding/json"

	"sallyport/sbc/tu"
)

// small mounts a file system of 512 KiB, where the test may.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a small tmpfs; TestDiskFull does the same with a file of its own")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestRealDiskFull fills a real file system: what did not fit is written once there is room, in order, and no line is torn.
func TestRealDiskFull(t *testing.T) {
	for _, format := range []string{JSONL, CSV} {
		t.Run(format, func(t *testing.T) {
			dir := small(t)
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 488<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			c := daily()
			c.Directory, c.Format, c.MaxSize = filepath.Join(dir, "cdr"), format, 0
			told := &warnings{}
			w := New(c, time.Now, told.warn)
			const n = 150 // of 300 bytes and more, where less than 24 KiB are left
			for i := range n {
				r := record(i)
				r.To = strings.Repeat("9", 250)
				w.Write(r)
			}
			until(t, func() bool { return w.Counters().Failing })
			if got := w.Counters(); got.Written+uint64(got.Waiting) != n || got.Lost != 0 {
				t.Errorf("counters %+v", got)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil { // a last try
				t.Fatal(err)
			}
			if got := w.Counters(); got != (Counters{Written: n}) {
				t.Errorf("counters %+v, warnings %q", got, told.all())
			}
			expectFile(t, c, n)
		})
	}
}

// until waits for what a goroutine does soon.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not happen")
}

// expectFile reads all records back.
func expectFile(t *testing.T, c Config, n int) {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(c.Directory, "sbc-*"))
	var calls []string
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if c.Format == CSV {
			for _, r := range parseCSV(t, data) {
				calls = append(calls, r["call"])
			}
			continue
		}
		for line := range strings.Lines(string(data)) {
			var r tu.CDR
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			calls = append(calls, r.Call)
		}
	}
	expectCalls(t, calls, n)
}
