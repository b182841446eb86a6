package cdr

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/tu"
)

// lineOf is a record as it stands in a file.
func lineOf(t *testing.T, call string, to string) string {
	t.Helper()
	b, err := json.Marshal(tu.CDR{Call: call, To: to})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func TestFind(t *testing.T) {
	c := config(t)
	if found, err := Find(c, time.Now(), map[string]bool{"a": true}); err != nil || len(found) != 0 {
		t.Errorf("without a directory: %v, %v", found, err)
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.Directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := lineOf(t, "torn", "100")
	put("sbc-20260101-000000.jsonl", lineOf(t, "old", "100"))
	put("sbc-20260102-000000.jsonl", lineOf(t, "before", "100")+whole[:len(whole)/2])
	put("sbc-20260103-000000.jsonl", lineOf(t, "first", `{"call":"hidden"}`)+strings.Repeat("x", 3*batchBytes)+"\n"+
		lineOf(t, "behind", strings.Repeat("9", batchBytes))+lineOf(t, "last", "100")+strings.TrimSuffix(lineOf(t, "bare", "100"), "\n"))
	put("other.txt", lineOf(t, "other", "100"))
	wanted := map[string]bool{}
	for _, name := range []string{"old", "before", "torn", "first", "hidden", "behind", "last", "bare", "other", "none"} {
		wanted[name] = true
	}
	for _, tt := range []struct {
		since string
		want  []string
	}{
		{"2026-01-01T12:00:00Z", []string{"bare", "before", "first", "last", "old"}},
		{"2026-01-02T12:00:00Z", []string{"bare", "before", "first", "last"}},
		{"2026-01-03T00:00:30Z", []string{"bare", "before", "first", "last"}}, // the name of a file may be ahead
		{"2026-01-03T12:00:00Z", []string{"bare", "first", "last"}},
	} {
		since, err := time.Parse(time.RFC3339, tt.since)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Find(c, since, wanted)
		var got []string
		for name := range found {
			got = append(got, name)
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("since %s: %v, %v, want %v", tt.since, got, err, tt.want)
		}
	}
	c.Directory = filepath.Join(c.Directory, "other.txt")
	if _, err := Find(c, time.Time{}, wanted); err == nil {
		t.Error("a directory that is none is no error")
	}
}

// TestWrittenIsTold of every record, once, after it is in the file.
func TestWrittenIsTold(t *testing.T) {
	c := config(t)
	synctest.Test(t, func(t *testing.T) {
		w := New(c, time.Now, func(err error) { t.Error(err) })
		var mu sync.Mutex
		var told []string
		w.Written(func(list []tu.CDR) {
			calls, _ := read(t, c.Directory)
			mu.Lock()
			defer mu.Unlock()
			for i := range list {
				told = append(told, list[i].Call)
			}
			if len(calls) != len(told) {
				t.Errorf("told of %d records, the files have %d", len(told), len(calls))
			}
		})
		for i := range 1000 {
			w.Write(record(i))
		}
		synctest.Wait()
		time.Sleep(time.Second)
		w.Write(record(1000))
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		expectCalls(t, told, 1001)
	})
}

// TestWrittenHearsNothingOfWhatIsLost.
func TestWrittenHearsNothingOfWhatIsLost(t *testing.T) {
	c := config(t)
	if err := os.WriteFile(c.Directory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := New(c, time.Now, func(error) {})
		w.Written(func(list []tu.CDR) { t.Errorf("told of %v", list) })
		w.Write(record(1))
		time.Sleep(time.Minute)
		if err := w.Close(); err == nil {
			t.Error("a lost record is no error")
		}
	})
}

// FuzzFindIn: whatever a file has become, what is found is a record with its name.
func FuzzFindIn(f *testing.F) {
	f.Add([]byte(`{"call":"a","to":"1"}` + "\n"))
	f.Add([]byte(`{"call":"a","to":"1"}` + "\n" + `{"call":"a","t`))
	f.Add([]byte(`{"call":"a`))
	f.Add([]byte(`{"call":"a"}`))
	f.Add([]byte("\n\n{\"call\":\"\"}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		if err := findIn(path, callOfJSON, map[string]bool{"a": true, "b": true}, found); err != nil {
			t.Fatal(err)
		}
		for name := range found {
			if !strings.Contains(string(text), `{"call":"`+name+`"`) || name != "a" && name != "b" {
				t.Errorf("found %q in %q", name, text)
			}
		}
	})
}
