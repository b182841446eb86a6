package config

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad: no file makes the room panic or hang; a snapshot comes exactly without errors; what is accepted can be
// written and read back to the same; every error names its place.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		list, err := filepath.Glob(filepath.Join(corpus, dir, "*.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range list {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "INVITE=1/second", "a=203.0.113.20")
		}
	}
	f.Add([]byte("a: &a [*a]"), "", "x")
	f.Add([]byte("trunks: &t [{name: *t}]\n"), "=", "=")
	f.Fuzz(func(t *testing.T, data []byte, limit, trunk string) {
		if len(data) > 1<<14 {
			return
		}
		var flags Flags
		if limit != "" {
			flags.Limit = []string{limit}
		}
		if trunk != "" {
			flags.Trunk = []string{trunk}
		}
		snap, report := parseText("f", data, flags)
		if (snap == nil) == report.OK() {
			t.Fatalf("snapshot %v, errors %v", snap != nil, report.Errors)
		}
		for _, p := range report.Errors {
			if p.What == "" || p.File == "" && p.Flag == "" {
				t.Fatalf("an error without place or text: %+v", p)
			}
		}
		if snap != nil {
			readsBack(t, snap)
		}
	})
}

func readsBack(t *testing.T, snap *Snapshot) {
	t.Helper()
	if d := Diff(snap, snap); len(d) != 0 {
		t.Fatalf("differs from itself:\n%s", render(d))
	}
	out, err := marshal(snap.document())
	if err != nil {
		t.Fatal(err)
	}
	back, report := parseText("again", out, Flags{})
	if back == nil {
		t.Fatalf("what was written is refused:\n%s\n%s", report.String(), out)
	}
	if d := Diff(snap, back); len(d) != 0 {
		t.Fatalf("reads back as another:\n%s\n%s", render(d), out)
	}
	if second, err := marshal(back.document()); err != nil || !bytes.Equal(out, second) {
		t.Fatalf("%v; written twice:\n%s\n%s", err, out, second)
	}
}
