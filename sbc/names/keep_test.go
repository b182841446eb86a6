package names

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/sbc/resolve"
)

func TestAnswersFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "answers.json")
	if list, err := load(path); list != nil || err != nil {
		t.Errorf("no file: %v, %v", list, err)
	}
	if list, err := load(""); list != nil || err != nil {
		t.Errorf("nowhere: %v, %v", list, err)
	}
	d := newDesk(newZone(t), dir)
	kept := map[string]resolve.Kept{"peer a.example;4": {At: time.Unix(1e9, 0).UTC(), Endpoints: []resolve.Endpoint{to("203.0.113.20:5060", 1, 2)}}}
	kept["peer a.example;4"].Endpoints[0].Host, kept["peer a.example;4"].Endpoints[0].Transport = "a.example", nat.TLS
	d.watcher.Restore(kept)
	d.watcher.Set([]resolve.Want{{Target: resolve.Target{Host: "a.example", Plain: true, V4: true}, Role: rolePeer}})
	d.dirty.Store(true)
	d.Save()
	list, err := load(path)
	if err != nil || !reflect.DeepEqual(list, kept) {
		t.Errorf("%v, %v", list, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".answers.*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	d.file = filepath.Join(dir, "gone", "answers.json")
	d.dirty.Store(true)
	if d.Save(); !d.dirty.Load() {
		t.Error("what could not be written is not tried again")
	}
	d.says(t, "names: their answers cannot be kept for the next start", 1)
}

// TestBrokenAnswersFile: the program starts all the same, and the log says what to do.
func TestBrokenAnswersFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(path string) error
		hint  string
	}{
		{"no JSON", func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) }, "hint: delete it, the names are asked for anew"},
		{"another shape", func(path string) error { return os.WriteFile(path, []byte(`[ 1 ]`), 0o600) }, "hint: delete it, the names are asked for anew"},
		{"too large", func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, answersMost+1)
		}, "larger than 8 MiB\n  hint: delete it"},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "answers.json")
			if err := tt.spoil(path); err != nil {
				t.Fatal(err)
			}
			if _, err := load(path); err == nil || !strings.Contains(err.Error(), tt.hint) {
				t.Errorf("%v", err)
			}
			d := newDesk(newZone(t, hostA), dir)
			d.says(t, "names: the answers of the run before cannot be read; it goes on without", 1)
			snap := snapshotOf(t, oneName)
			d.Ask(t.Context(), snap)
			if got := peersOf(d.Expand(snap)); len(got) != 2 {
				t.Errorf("peers %v", got)
			}
		})
	}
}

// TestAnswersOutliveTheBook: the next one has them before anybody is asked, and only what has changed is written.
func TestAnswersOutliveTheBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, z, snap := t.TempDir(), newZone(t, hostA), snapshotOf(t, oneName)
		path := filepath.Join(dir, "answers.json")
		d := newDesk(z, dir)
		if d.Save(); exists(path) {
			t.Error("a file without an answer")
		}
		stop := d.runs(t, snap)
		if d.Save(); !exists(path) {
			t.Fatal("no file")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if d.Save(); exists(path) {
			t.Error("written although nothing has changed")
		}
		z.set(t, hostB)
		time.Sleep(time.Minute)
		d.Save()
		stop()

		z.kill(true)
		d = newDesk(z, dir)
		d.Ask(t.Context(), snap)
		d.Use(snap)
		if got := peersOf(d.Expand(snap)); !slices.Equal(got, []string{"203.0.113.22:5060", "203.0.113.21:5060"}) {
			t.Errorf("peers %v", got)
		}
		d.says(t, onePlace+": sip.provider.example A: no answer from the name server; what was known stays in force: 203.0.113.21:5060", 1)
		if d.Save(); d.dirty.Load() || d.news() != 0 {
			t.Error("what was known counts as a change")
		}
	})
}

// TestLaterTransport: what another version has written is used as far as this one knows it.
func TestLaterTransport(t *testing.T) {
	list, err := parse([]byte(`{"a":{"Endpoints":[{"Address":"203.0.113.20:5060","Transport":200,"Host":"a"},{"Address":"203.0.113.21:5060","Transport":2,"Host":"a"}]}}`))
	if got := list["a"].Endpoints; err != nil || len(got) != 1 || got[0].Transport != nat.TLS {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestNoDirectory: nothing is written anywhere.
func TestNoDirectory(t *testing.T) {
	d := newDesk(newZone(t, hostA), "")
	d.Ask(t.Context(), snapshotOf(t, oneName))
	d.Save()
	if d.file != "" || d.news() == 0 {
		t.Errorf("file %q", d.file)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// FuzzAnswers: whatever stands in the file, nothing breaks, no place of it is used that is none or that the configuration forbids, and
// what is kept of it reads back the same.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"peer sip.provider.example:5060;udp;4":{"At":"2026-01-01T00:00:00Z","Endpoints":[{"Address":"203.0.113.20:5060","Host":"sip.provider.example"}],"By":1}}`))
	f.Add([]byte(`{"peer sip.provider.example:5060;udp;4":{"Endpoints":[{"Address":"10.0.0.10:5060","Host":"sip.provider.example"},{"Address":"","Host":"x"}]}}`))
	f.Add([]byte(`{"peer sip.provider.example:5060;udp;4":{"Endpoints":null}}`))
	f.Add([]byte(`{"peer sip.provider.example:5060;udp;4":{"Endpoints":[{"Address":"203.0.113.20:5060","Transport":9,"Host":"sip.provider.example"}]}}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{`))
	snap := snapshotOf(f, oneName)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parse(data)
		if err != nil {
			return
		}
		d := newDesk(newZone(t), "")
		d.watcher.Restore(list)
		d.Use(snap)
		for _, p := range d.Expand(snap).Trunks[0].Peers {
			if a := p.Address.Addr(); !a.IsValid() || a.IsLoopback() || a.String() == "10.0.0.10" || p.Transport.String() == "" {
				t.Errorf("a peer at %s", p.Address)
			}
		}
		text, err := json.Marshal(d.watcher.Kept())
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := json.Marshal(again); err != nil || string(same) != string(text) {
			t.Errorf("%s reads back as %s, %v", text, same, err)
		}
	})
}
