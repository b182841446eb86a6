package feed

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func clock() time.Time { return epoch }

// server serves a list and counts what it is asked.
type server struct {
	*httptest.Server
	text, etag  string
	status      int
	asked, sent int
}

func serve(t *testing.T) *server {
	s := &server{text: "192.0.2.1\n198.51.100.0/24\n", etag: `"one"`, status: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked++
		switch {
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case s.status != http.StatusOK:
			w.WriteHeader(s.status)
		case r.Header.Get("If-None-Match") == s.etag:
			w.WriteHeader(http.StatusNotModified)
		default:
			s.sent++
			w.Header().Set("ETag", s.etag)
			fmt.Fprint(w, s.text)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) source() Source {
	return Source{Name: "bad/../hosts", URL: s.URL + "/list", Every: time.Hour, Most: 1000}
}

func mustFetch(t *testing.T, f *Fetcher, s Source, want bool) List {
	t.Helper()
	list, changed, err := f.Fetch(t.Context(), s)
	if err != nil || changed != want {
		t.Fatalf("changed %v, error %v; want %v and none", changed, err, want)
	}
	return list
}

func TestFetchAsksOnlyForWhatIsNew(t *testing.T) {
	s, dir := serve(t), t.TempDir()
	f := New(dir, nil, clock)
	list := mustFetch(t, f, s.source(), true)
	if list.Entries != 2 || !list.Set.Contains(netip.MustParseAddr("198.51.100.77")) || list.Copy || !list.Fetched.Equal(epoch) {
		t.Errorf("list %+v", list)
	}
	mustFetch(t, f, s.source(), false)
	s.text, s.etag = "203.0.113.9\n", `"two"`
	if list = mustFetch(t, f, s.source(), true); list.Set.Contains(netip.MustParseAddr("198.51.100.77")) {
		t.Error("the old entries are in the new list")
	}
	if s.asked != 3 || s.sent != 2 {
		t.Errorf("asked %d times, sent %d; want 3 and 2", s.asked, s.sent)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("files %v, %v: want the copy and its validators", names, err)
	}
}

func TestFetchKeepsTheLastGoodCopy(t *testing.T) {
	s, dir := serve(t), t.TempDir()
	mustFetch(t, New(dir, nil, clock), s.source(), true)
	for _, c := range []struct {
		name, text string
		status     int
	}{
		{"an error page", "<!DOCTYPE html>\n<html>\n<head><title>gone</title></head>\n<body>please log in</body>\n</html>\n", 200},
		{"an answer that is none", "192.0.2.9\n", 503},
		{"too many entries", strings.Repeat("192.0.2.7\n198.51.100.7\n", 1) + many(1001), 200},
	} {
		s.text, s.status, s.etag = c.text, c.status, `"new"`
		f := New(dir, nil, clock)
		if list, changed, err := f.Fetch(t.Context(), s.source()); err == nil || changed {
			t.Errorf("%s: %+v, changed %v, error %v", c.name, list, changed, err)
		}
		list, ok := f.Saved(s.source())
		if !ok || !list.Copy || list.Entries != 2 || !list.Set.Contains(netip.MustParseAddr("192.0.2.1")) {
			t.Errorf("%s: the copy is %+v, %v", c.name, list, ok)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "11.%d.%d.1\n", i/250, i%250)
	}
	return b.String()
}

// TestAListThatHasBecomeTooLongIsAnError: the server would say that nothing has changed, and nothing would be in force.
func TestAListThatHasBecomeTooLongIsAnError(t *testing.T) {
	s, dir := serve(t), t.TempDir()
	mustFetch(t, New(dir, nil, clock), s.source(), true)
	short := s.source()
	short.Most = 1
	if _, _, err := New(dir, nil, clock).Fetch(t.Context(), short); err == nil || !strings.Contains(err.Error(), "max_entries") {
		t.Errorf("error %v", err)
	}
}

func TestSavedIsOfTheSameAddress(t *testing.T) {
	s, dir := serve(t), t.TempDir()
	f := New(dir, nil, clock)
	mustFetch(t, f, s.source(), true)
	other := s.source()
	other.URL += "?v=2"
	if list, ok := f.Saved(other); ok {
		t.Errorf("the copy of another address is in force: %+v", list)
	}
	if err := os.WriteFile(f.place(s.source())+".json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, ok := f.Saved(s.source()); ok {
		t.Errorf("a copy without validators is in force: %+v", list)
	}
	mustFetch(t, f, s.source(), true) // and it is asked for as if there were none
}

func TestRedirects(t *testing.T) {
	s := serve(t)
	loop := s.source()
	loop.URL = s.URL + "/loop"
	if _, _, err := New("", nil, clock).Fetch(t.Context(), loop); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("error %v", err)
	}
	down := httptest.NewTLSServer(http.RedirectHandler(s.URL+"/list", http.StatusFound))
	defer down.Close()
	secure := s.source()
	secure.URL = down.URL
	if _, _, err := New("", down.Client().Transport, clock).Fetch(t.Context(), secure); err == nil || !strings.Contains(err.Error(), "redirected from https") {
		t.Errorf("error %v", err)
	}
}

func TestWithoutACopy(t *testing.T) {
	s := serve(t)
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list, changed, err := New(filepath.Join(blocked, "feeds"), nil, clock).Fetch(t.Context(), s.source())
	if _, only := errors.AsType[*CopyError](err); !only || !changed || list.Entries != 2 {
		t.Errorf("%+v, changed %v, error %v: the list must count all the same", list, changed, err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("192.0.2.3 # a scanner\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := New("", nil, clock)
	source := Source{Name: "own", File: path, Most: 10}
	if list := mustFetch(t, f, source, true); list.Entries != 1 {
		t.Errorf("list %+v", list)
	}
	if list, ok := f.Saved(source); ok {
		t.Errorf("a file has a copy: %+v", list)
	}
	for _, bad := range []string{filepath.Dir(path), path + ".gone"} {
		source.File = bad
		if _, _, err := f.Fetch(t.Context(), source); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
