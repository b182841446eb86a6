// Package feed fetches address lists that others keep: from a file of this machine, or over HTTP(S).
//
// What cannot be fetched, is too large or is no address list changes nothing: the last good copy stays in force, and a
// copy on disk brings it back after a restart. The room knows nothing of what the lists do, and it follows no redirect
// from https to http.
//
// RFC 9110 §8.8.2, §8.8.3, §13.1.2, §13.1.3 (validators and conditional requests).
package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gaissmai/bart"

	"sallyport/policy/feed"
)

// Source is one list and where it comes from: a URL or a File.
type Source struct {
	Name  string
	URL   string        // http or https
	File  string        // path
	Every time.Duration // between two questions; more than 0
	Most  int           // entries; a longer list is refused as a whole
}

// List is a list in force.
type List struct {
	Set     *bart.Lite
	Entries int       // prefixes in the set
	Left    int       // entries left out: junk, private or far too wide
	Fetched time.Time // when its text was new
	Copy    bool      // read from the copy on disk, not asked for yet
}

// Bounds of one fetch.
const (
	mostBytes     = 64 << 20 // after decompression
	fetchTime     = time.Minute
	mostRedirects = 3
)

// Fetcher fetches lists. It is safe for concurrent use on different sources.
type Fetcher struct {
	client *http.Client
	dir    string
	now    func() time.Time
}

// New makes a fetcher that keeps its copies in dir, which it makes if need be; "": it keeps none. A nil transport is the
// default one.
func New(dir string, via http.RoundTripper, now func() time.Time) *Fetcher {
	return &Fetcher{dir: dir, now: now, client: &http.Client{Transport: via, Timeout: fetchTime, CheckRedirect: mayFollow}}
}

func mayFollow(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > mostRedirects:
		return fmt.Errorf("more than %d redirects", mostRedirects)
	case via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https":
		return fmt.Errorf("redirected from https to %s", r.URL.Scheme)
	}
	return nil
}

// validators are what the last answer told of its text, kept beside the copy.
type validators struct {
	URL          string    `json:"url"`
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	Fetched      time.Time `json:"fetched"`
}

// Saved is the last good copy of a list; false: there is none, or it is of another address.
func (f *Fetcher) Saved(s Source) (List, bool) {
	text, v, err := f.load(s)
	if err != nil || s.URL == "" {
		return List{}, false
	}
	list, err := parse(bytes.NewReader(text), s.Most)
	list.Fetched, list.Copy = v.Fetched, true
	return list, err == nil
}

// Fetch asks for a list. Changed is false where it is as it was at the last good fetch; the List is then empty. With an
// error nothing has changed, on disk neither.
func (f *Fetcher) Fetch(ctx context.Context, s Source) (list List, changed bool, err error) {
	if s.File != "" {
		return f.read(s)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, http.NoBody)
	if err != nil {
		return List{}, false, err
	}
	r.Header.Set("Accept", "text/plain, text/csv, */*;q=0.1")
	// A 304 helps only who still has the text, and can take it: it may be longer than is allowed now.
	if v, ok := f.usable(s); ok {
		if v.ETag != "" {
			r.Header.Set("If-None-Match", v.ETag)
		}
		if v.LastModified != "" {
			r.Header.Set("If-Modified-Since", v.LastModified)
		}
	}
	answer, err := f.client.Do(r)
	if err != nil {
		return List{}, false, err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotModified:
		return List{}, false, nil
	case answer.StatusCode != http.StatusOK:
		return List{}, false, fmt.Errorf("the server answers %s", answer.Status)
	}
	text, err := readAll(answer.Body)
	if err != nil {
		return List{}, false, err
	}
	if list, err = parse(bytes.NewReader(text), s.Most); err != nil {
		return List{}, false, err
	}
	list.Fetched = f.now()
	v := validators{s.URL, answer.Header.Get("ETag"), answer.Header.Get("Last-Modified"), list.Fetched}
	if err := f.save(s, text, v); err != nil {
		return list, true, &CopyError{err}
	}
	return list, true, nil
}

// CopyError says that a list is in force and could not be kept for a restart.
type CopyError struct{ err error }

func (e *CopyError) Error() string {
	return "the list is in force, but no copy can be kept: " + e.err.Error()
}

// Unwrap is the reason.
func (e *CopyError) Unwrap() error { return e.err }

// read reads a file of this machine. Nobody vouches for what it was before, so it always counts as changed.
func (f *Fetcher) read(s Source) (List, bool, error) {
	info, err := os.Stat(s.File) // before it is opened: that waits where it is a pipe
	if err != nil {
		return List{}, false, err
	}
	if !info.Mode().IsRegular() {
		return List{}, false, fmt.Errorf("%s is no regular file", s.File)
	}
	file, err := os.Open(s.File)
	if err != nil {
		return List{}, false, err
	}
	defer file.Close()
	text, err := readAll(file)
	if err != nil {
		return List{}, false, err
	}
	list, err := parse(bytes.NewReader(text), s.Most)
	list.Fetched = info.ModTime()
	return list, err == nil, err
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, mostBytes+1))
	if err == nil && len(text) > mostBytes {
		err = fmt.Errorf("the list is larger than %d MiB", mostBytes>>20)
	}
	return text, err
}

func parse(r io.Reader, most int) (List, error) {
	set, report, err := feed.Parse(r, most)
	if err != nil {
		return List{}, err
	}
	return List{Set: set, Entries: report.Entries, Left: report.Left()}, nil
}

// place is where the copy of a source lies, without its ending.
func (f *Fetcher) place(s Source) string { return filepath.Join(f.dir, url.PathEscape(s.Name)) }

func (f *Fetcher) load(s Source) (text []byte, v validators, err error) {
	if f.dir == "" {
		return nil, v, fs.ErrNotExist
	}
	meta, err := os.ReadFile(f.place(s) + ".json")
	if err != nil {
		return nil, v, err
	}
	if err := json.Unmarshal(meta, &v); err != nil {
		return nil, v, err
	}
	if v.URL != s.URL {
		return nil, v, errors.New("the copy is of another address")
	}
	file, err := os.Open(f.place(s) + ".txt")
	if err != nil {
		return nil, v, err
	}
	defer file.Close()
	text, err = readAll(file)
	return text, v, err
}

// usable are the validators of a copy that can be read.
func (f *Fetcher) usable(s Source) (v validators, ok bool) {
	text, v, err := f.load(s)
	if err != nil {
		return v, false
	}
	_, err = parse(bytes.NewReader(text), s.Most)
	return v, err == nil
}

// save keeps a copy: the text first, so that the validators never speak of one that is not there.
func (f *Fetcher) save(s Source, text []byte, v validators) error {
	if f.dir == "" {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	meta, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.Remove(f.place(s) + ".json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(replace(f.place(s)+".txt", text), replace(f.place(s)+".json", meta))
}

// replace writes a file aside and renames it: a power failure leaves the old one or the new one whole.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".feed.*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
