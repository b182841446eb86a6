package sbc

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/trace"
)

// TestCaptureFiles: no file is larger than it may be, no more are there than may be, and they belong to their owner alone.
func TestCaptureFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	var said []string
	f := &captureFiles{
		Captures: config.Captures{Directory: dir, MaxSize: 64 << 10, Files: 3}, now: func() time.Time { return now }, say: func(err error) { said = append(said, err.Error()) },
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

// TestCaptureCutsWhatNoDatagramHolds: a message of a connection may be longer.
func TestCaptureCutsWhatNoDatagramHolds(t *testing.T) {
	c := newCapture(&api.CaptureRequest{Max: 1 << 30}, subject{}, time.Now())
	at := netip.MustParseAddrPort("203.0.113.10:5061")
	face := &nat.Interface{Transport: nat.TLS, Bind: at, Advertised: at}
	c.note(time.Now(), face, netip.MustParseAddrPort("[2001:db8::1]:9"), true, "", make([]byte, 1<<20))
	if err := c.empty(trace.NewFile(io.Discard, "", "")); err != nil || c.sip.Load() != 1 || c.size.Load() < captureMessage || c.lost() != 0 {
		t.Errorf("%v, %d messages, %d bytes, %d lost", err, c.sip.Load(), c.size.Load(), c.lost())
	}
}
