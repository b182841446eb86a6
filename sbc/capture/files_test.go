package capture

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/trace"
)

// TestFiles: no file is larger than it may be, no more are there than may be, and they belong to their owner alone.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	var said []string
	f := &files{
		Config: Config{Directory: dir, MaxSize: 64 << 10, Files: 3}, now: func() time.Time { return now }, say: func(err error) { said = append(said, err.Error()) },
	}
	p := trace.Packet{At: now, Face: "x", From: netip.MustParseAddrPort("192.0.2.1:5060"), To: netip.MustParseAddrPort("192.0.2.2:5060"), Length: 1000, Data: make([]byte, 1000)}
	for range 500 { // 540 KB
		now = now.Add(time.Second)
		if !f.write(&p) {
			t.Fatal("not written")
		}
	}
	f.close()
	f.close()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 3 || len(said) > 0 {
		t.Fatalf("%v %v %v", names, err, said)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 64<<10 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, %v, %v", name, info.Size(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}

	// Where nothing can be written nothing is, and it is said once a minute.
	f.Directory = filepath.Join(names[0], "below a file")
	for range 100 {
		if f.write(&p) {
			t.Fatal("written")
		}
		now = now.Add(time.Second)
	}
	f.flush()
	if len(said) != 2 || !strings.Contains(said[0], "policy.capture.directory: ") {
		t.Errorf("%q", said)
	}
}
