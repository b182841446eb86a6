package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"sallyport/sbc/config"
)

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestACappedFileNeverTakesMore: lines stay whole and in order, the newest are there, and the disk holds at most twice the
// size.
func TestACappedFileNeverTakesMore(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint("log", n))
		most := rapid.Int64Range(50, 400).Draw(t, "most")
		c, err := openCapped(path, most)
		if err != nil {
			t.Fatal(err)
		}
		var all bytes.Buffer
		line := 0
		for range rapid.IntRange(1, 30).Draw(t, "writes") {
			var batch []byte
			for range rapid.IntRange(1, 12).Draw(t, "lines") {
				line++
				batch = fmt.Appendf(batch, "%d %s\n", line, strings.Repeat("x", rapid.IntRange(0, 40).Draw(t, "length")))
			}
			all.Write(batch)
			if got, err := c.Write(batch); err != nil || got != len(batch) {
				t.Fatalf("%d of %d: %v", got, len(batch), err)
			}
			if rapid.Bool().Draw(t, "reopen") {
				if err := c.Reopen(); err != nil {
					t.Fatal(err)
				}
			}
			if a, b := sizeOf(path), sizeOf(path+".1"); a > most || b > most {
				t.Fatalf("%d and %d bytes, the cap is %d", a, b, most)
			}
		}
		old, _ := os.ReadFile(path + ".1")
		now, err := os.ReadFile(path)
		if err != nil || !strings.HasSuffix(all.String(), string(old)+string(now)) || len(now) == 0 {
			t.Fatalf("%v: kept\n%s|\n%s", err, old, now)
		}
	})
}

func TestACappedFileGoesOnAfterTrouble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("from before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openCapped(path, 20)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) error {
		n, err := c.Write([]byte(text))
		if err == nil && n != len(text) {
			t.Errorf("%d bytes of %q", n, text)
		}
		return err
	}
	content := func(name string) string {
		b, _ := os.ReadFile(name)
		return string(b)
	}
	if err := put("second line\n"); err != nil || content(path) != "second line\n" || content(path+".1") != "from before\n" {
		t.Errorf("%v: %q %q", err, content(path), content(path+".1"))
	}
	// Somebody moves it away.
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := c.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := put("third\n"); err != nil || content(path) != "third\n" {
		t.Errorf("%v: %q", err, content(path))
	}
	// Somebody deletes it and says nothing: the next turn makes it again.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := put("fourth\n" + strings.Repeat("y", 30) + "\nlast\n"); err != nil || content(path) != "last\n" || content(path+".1") != strings.Repeat("y", 30)+"\n" {
		t.Errorf("%v: %q %q", err, content(path), content(path+".1"))
	}
	// The place of the old one is taken by something that cannot be replaced.
	_ = os.Remove(path + ".1")
	if err := os.MkdirAll(filepath.Join(path+".1", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if put(strings.Repeat("z", 18)+"\n") == nil || content(path) != "last\n" {
		t.Errorf("beyond its cap: %q", content(path))
	}
	if err := put("fits\n"); err != nil || content(path) != "last\nfits\n" {
		t.Errorf("%v: %q", err, content(path))
	}
	if _, err := openCapped(filepath.Join(path, "no", "such"), 1); err == nil {
		t.Error("opened in no directory")
	}
	pipe, err := openCapped("/dev/null", 5)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := pipe.Write([]byte("a longer line than that\n")); err != nil {
			t.Error(err)
		}
	}
}

func TestTheSecurityLogHasAFileOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	log, reopen, err := newSecurityLog(config.Log{Format: "json", SecurityFile: path, SecuritySize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		log.Warn("drop", zap.String("src", fmt.Sprintf("192.0.2.%d:5060", i)))
	}
	_ = log.Sync()
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(`"src":"192.0.2.99:5060"`)) || sizeOf(path)+sizeOf(path+".1") > 2000 {
		t.Errorf("%v\n%s", err, b)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reopen(zap.NewNop())
	log.Warn("ban", zap.String("src", "192.0.2.7"))
	_ = log.Sync()
	if b, err = os.ReadFile(path); err != nil || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("%v\n%s", err, b)
	}
	if log, reopen, err := newSecurityLog(config.Log{}); log != nil || err != nil {
		t.Errorf("one that nobody asked for: %v", err)
	} else {
		reopen(zap.NewNop())
	}
	if _, _, err := newSecurityLog(config.Log{SecurityFile: filepath.Join(path, "x")}); err == nil || !strings.Contains(err.Error(), "hint:") {
		t.Errorf("%v", err)
	}
}
