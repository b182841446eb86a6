package store

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, "all is lost")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contents(t testing.TB, s *Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	last := ""
	err := s.Load(func(key string, value []byte) {
		if key <= last {
			t.Errorf("%q after %q", key, last)
		}
		last = key
		got[key] = string(value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestKeepsOverAReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bindings.db")
	s := mustOpen(t, path)
	if got := contents(t, s); len(got) != 0 {
		t.Errorf("a new one holds %v", got)
	}
	put := func(batch map[string][]byte) {
		t.Helper()
		if err := s.Put(batch); err != nil {
			t.Fatal(err)
		}
	}
	put(map[string][]byte{"a": []byte("1"), "b": []byte("2"), "empty": {}, "gone": nil})
	put(map[string][]byte{"a": []byte("3"), "b": nil})
	put(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	defer s.Close()
	if got := contents(t, s); !maps.Equal(got, map[string]string{"a": "3", "empty": ""}) {
		t.Errorf("%v", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A batch is all or nothing: a key that cannot be kept keeps the others out too.
func TestABatchIsAtomic(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "x.db"))
	defer s.Close()
	if err := s.Put(map[string][]byte{"a": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	err := s.Put(map[string][]byte{"a": []byte("2"), "b": []byte("2"), "": []byte("no key")})
	if err == nil || !strings.Contains(err.Error(), `key ""`) {
		t.Errorf("%v", err)
	}
	if got := contents(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("%v", got)
	}
}

func TestAFileHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := mustOpen(t, path)
	defer s.Close()
	_, err := Open(path, "all is lost")
	if err == nil || !strings.Contains(err.Error(), "another program has it open") || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("%v", err)
	}
}

func TestOthersMayNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := mustOpen(t, path)
	s.Close()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	defer s.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// What is no store of ours, or is damaged, is refused with what to do; nothing panics, and the file stays as it was.
func TestWhatCannotBeReadIsRefused(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.db")
	s := mustOpen(t, good)
	if err := s.Put(map[string][]byte{"k": bytes.Repeat([]byte("v"), 9000)}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	meta := bytes.Clone(whole)
	for i := range 2 * os.Getpagesize() {
		meta[i] ^= 0x5a
	}
	for name, text := range map[string][]byte{
		"text": []byte("not a store\n"), "zeros": make([]byte, 64<<10), "meta": meta, "one page": whole[:os.Getpagesize()], "stub": whole[:100],
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, "all is lost")
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "hint: ") || !strings.Contains(err.Error(), "move") {
				t.Errorf("%v", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, text) {
				t.Error("the file was changed")
			}
		})
	}
}

// Damage behind the first pages shows when it is read: as an error or as fewer values, never as a panic.
func TestDamageWithinDoesNotPanic(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.db")
	s := mustOpen(t, good)
	batch := map[string][]byte{}
	for i := range 200 {
		batch[fmt.Sprintf("key-%03d", i)] = bytes.Repeat([]byte{byte(i)}, 100)
	}
	if err := s.Put(batch); err != nil {
		t.Fatal(err)
	}
	s.Close()
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for at := 2 * page; at+16 <= len(whole); at += page {
		for _, fill := range []byte{0x00, 0xff, 0xaa} {
			text := bytes.Clone(whole)
			if fill == 0xaa {
				text = text[:at] // too short
			} else {
				for i := range 16 { // a page's header
					text[at+i] = fill
				}
			}
			path := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, "all is lost")
			if err != nil {
				continue
			}
			n := 0
			if err := s.Load(func(string, []byte) { n++ }); err != nil && !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("page at %d: %v", at, err)
			}
			s.Put(map[string][]byte{"new": []byte("1"), "key-000": nil})
			s.Close()
		}
	}
}

func TestALaterLayoutIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	mustOpen(t, path).Close()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket(about).Put(versionKey, []byte("7")) }); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(path, "all is lost"); err == nil || !strings.Contains(err.Error(), "another release") || !strings.Contains(err.Error(), `"7"`) {
		t.Errorf("%v", err)
	}
}

func TestPlacesWhereNoFileCanBe(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "no", "such", "x.db")} {
		if s, err := Open(path, "all is lost"); err == nil {
			s.Close()
			t.Errorf("%s was opened", path)
		} else if !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%v", err)
		}
	}
}

func TestManyWriters(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "x.db"))
	defer s.Close()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5 {
				if err := s.Put(map[string][]byte{fmt.Sprint(g, "-", i): {byte(i)}}); err != nil {
					t.Error(err)
				}
				if err := s.Load(func(string, []byte) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := contents(t, s); len(got) != 20 {
		t.Errorf("%d values", len(got))
	}
}

// A store is a map that survives.
func TestIsAMap(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		s, err := Open(path, "all is lost")
		if err != nil {
			t.Fatal(err)
		}
		s.db.NoSync = true // the model is about values, not about power failures
		defer func() { s.Close() }()
		want := map[string]string{}
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			batch := map[string][]byte{}
			for range rapid.IntRange(0, 8).Draw(t, "keys") {
				k := rapid.StringMatching(`[a-d]{1,2}`).Draw(t, "key")
				if rapid.Bool().Draw(t, "delete") {
					batch[k] = nil
				} else {
					batch[k] = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value")
				}
			}
			if err := s.Put(batch); err != nil {
				t.Fatal(err)
			}
			for k, v := range batch {
				if v == nil {
					delete(want, k)
				} else {
					want[k] = string(v)
				}
			}
			got := map[string]string{}
			if err := s.Load(func(k string, v []byte) { got[k] = string(v) }); err != nil || !maps.Equal(got, want) {
				t.Fatalf("%v, want %v, %v", got, want, err)
			}
		}
	})
}
