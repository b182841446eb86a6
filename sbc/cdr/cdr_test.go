package cdr

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"sallyport/sbc/tu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func record(i int) tu.CDR {
	return tu.CDR{Call: fmt.Sprintf("call-%d", i), From: "<sip:100@a>", Code: 200}
}

// warnings collects what the administrator is told.
type warnings struct {
	mu   sync.Mutex
	list []string
}

func (w *warnings) warn(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, err.Error())
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.list...)
}

func (w *warnings) contain(text string) int {
	n := 0
	for _, s := range w.all() {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

// daily is what the configuration has by default: a file a day, 90 days, 1 GiB.
func daily() Config {
	const day = 24 * time.Hour
	return Config{Directory: "/var/log/sbc", Format: "jsonl", Rotate: day, Keep: 90 * day, MaxSize: 1 << 30}
}

func config(t *testing.T) Config {
	c := daily()
	c.Directory = filepath.Join(t.TempDir(), "cdr")
	return c
}

// read returns the calls of every file in the directory, in order, and the file names.
func read(t *testing.T, dir string) (calls, names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "sbc-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var r tu.CDR
			if err := json.Unmarshal([]byte(line), &r); err != nil || !strings.HasSuffix(line, "\n") {
				t.Fatalf("%s: %q: %v", p, line, err)
			}
			calls = append(calls, r.Call)
		}
	}
	return calls, names
}

func expectCalls(t *testing.T, got []string, count int) {
	t.Helper()
	if len(got) != count {
		t.Fatalf("%d records, want %d", len(got), count)
	}
	for i := range count {
		if got[i] != record(i).Call {
			t.Fatalf("record %d is %s", i, got[i])
		}
	}
}

func TestWriteAndClose(t *testing.T) {
	c, told := config(t), &warnings{}
	w := New(c, time.Now, told.warn)
	for i := range 1000 {
		w.Write(record(i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	calls, names := read(t, c.Directory)
	expectCalls(t, calls, 1000)
	st, err := os.Stat(filepath.Join(c.Directory, names[0]))
	if err != nil || st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if got := w.Counters(); got != (Counters{Written: 1000}) {
		t.Errorf("counters %+v", got)
	}
	if len(told.all()) != 0 {
		t.Errorf("warnings %q", told.all())
	}
	w.Write(record(0))
	if w.Counters().Lost != 1 || w.Close() == nil {
		t.Error("a record after Close is not counted as lost")
	}
}

func TestWritersMayBeConcurrent(t *testing.T) {
	c := config(t)
	w := New(c, time.Now, func(err error) { t.Error(err) })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				w.Write(record(i))
				_ = w.Counters()
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if calls, _ := read(t, c.Directory); len(calls) != 1600 {
		t.Errorf("%d records", len(calls))
	}
}

func TestNoCallsNoFiles(t *testing.T) {
	c := config(t)
	w := New(c, time.Now, func(err error) { t.Error(err) })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(c.Directory); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestRotationByTime(t *testing.T) {
	c := config(t)
	c.Rotate, c.Keep = time.Hour, 3*time.Hour
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		w := New(c, time.Now, func(err error) { t.Error(err) })
		for i := range 10 {
			w.Write(record(i))
			time.Sleep(30 * time.Minute)
		}
		synctest.Wait()
		_, names := read(t, c.Directory)
		// Files of 01:00 to 04:00 hold the last four hours at 05:00; that of 00:00 ended at 01:00.
		want := "sbc-20000101-010000.jsonl sbc-20000101-020000.jsonl sbc-20000101-030000.jsonl sbc-20000101-040000.jsonl"
		if got := strings.Join(names, " "); got != want {
			t.Errorf("files %s", got)
		}
		// No call ends for a day: what is too old goes all the same; the current file stays.
		time.Sleep(24 * time.Hour)
		settle()
		if _, names = read(t, c.Directory); len(names) != 1 {
			t.Errorf("files after a day %q", names)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRotationBySize(t *testing.T) {
	c := config(t)
	c.MaxSize = 1 << 20
	foreign := filepath.Join(c.Directory, "sbc-backup.jsonl")
	if err := errors.Join(os.MkdirAll(c.Directory, 0o750), os.WriteFile(foreign, make([]byte, 2<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := New(c, time.Now, func(err error) { t.Error(err) })
		for i := range 12000 {
			w.Write(record(i))
			if i%batch == 0 {
				settle()
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
	files := newFiles(c)
	list, err := files.list()
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, f := range list {
		total += f.size
	}
	if total > c.MaxSize || total < c.MaxSize*3/4 || len(list) < 6 {
		t.Errorf("%d files, %d bytes", len(list), total)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("removed what is not ours: %v", err)
	}
}

func TestForeignText(t *testing.T) {
	evil := "\"},\n{\"call\":\"forged\x00\x1b[31m\u009b31m\u202e\x7f\xff"
	r := tu.CDR{
		Call: "c", From: evil, To: strings.Repeat("é", 300), CallIDs: [2]string{evil, evil}, Duration: math.NaN(),
		Media: []tu.StreamStats{{Codec: evil, Packet: math.NaN(), Outside: tu.LegStats{
			Remote: evil, Jitter: math.Inf(1), MOSIn: math.NaN(), MOSOut: math.Inf(-1), RoundTrip: math.NaN(), FarJitter: math.NaN(), FarMOS: math.NaN(),
		}}},
	}
	raw, err := appendJSON(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	line := string(raw)
	if strings.Count(line, "\n") != 1 || !utf8.ValidString(line) {
		t.Errorf("not one line of text: %q", line)
	}
	for _, c := range line[:len(line)-1] {
		if c < 0x20 || c >= 0x7f && c < 0xa0 || c == 0x202e {
			t.Errorf("%U in %q", c, line)
		}
	}
	var got tu.CDR
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Call != "c" || len(got.To) > maxField || got.To != strings.Repeat("é", 128) || len(got.From) > maxField {
		t.Errorf("got %+v", got)
	}
	if !math.IsInf(r.Media[0].Outside.Jitter, 1) {
		t.Error("the caller's record was changed")
	}
}

func FuzzText(f *testing.F) {
	f.Add("<sip:100@example.com>;tag=1")
	f.Add(strings.Repeat("\xff", 300))
	f.Add(strings.Repeat("a", 255) + "€")
	f.Fuzz(func(t *testing.T, s string) {
		got := text(s)
		if len(got) > maxField || text(got) != got || !utf8.ValidString(got) && utf8.ValidString(s) {
			t.Errorf("%q → %q", s, got)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string // of the error; empty: none
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Rotate, c.Keep, c.MaxSize = 0, 0, 0 }, ""},
		{func(c *Config) { c.Directory = "cdr" }, "absolute path"},
		{func(c *Config) { c.Directory = "" }, "absolute path"},
		{func(c *Config) { c.Format = "csv" }, ""},
		{func(c *Config) { c.Format = "xml" }, "jsonl or csv"},
		{func(c *Config) { c.Rotate = time.Second }, "at least 1m"},
		{func(c *Config) { c.Rotate = -time.Hour }, "at least 1m"},
		{func(c *Config) { c.Keep = time.Hour }, "at least rotate"},
		{func(c *Config) { c.MaxSize = 1000 }, "4MiB"},
	} {
		conf := daily()
		c.change(&conf)
		err := conf.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", conf, err, c.want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	c := daily()
	c.Directory = b.TempDir()
	w := New(c, time.Now, func(err error) { b.Error(err) })
	defer w.Close()
	r := record(1)
	b.ReportAllocs()
	for b.Loop() {
		w.Write(r)
	}
}

// settle lets a batch come together and be written.
func settle() {
	time.Sleep(gatherFor)
	synctest.Wait()
}
