package cdr

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The name of a file: when it was begun, in UTC, so that names sort by age whatever the clock's zone does.
const (
	namePrefix = "sbc-"
	nameTime   = "20060102-150405"
)

// file is what files writes to: an *os.File, or a test's.
type file interface {
	Write(b []byte) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// files is the directory with the one file that is written. It belongs to the writer's goroutine.
type files struct {
	Config
	encoder
	open func(path string) (file, error)

	current file
	path    string
	begun   time.Time
	size    int64
	torn    bool // half a line could not be taken back: nothing may follow it
}

func newFiles(c Config) *files { return &files{Config: c, encoder: encoders[c.Format], open: openFile} }

// openFile makes a new file, never an old one longer: that may end in half a line.
func openFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o640)
}

// prepare makes the directory and tries whether a file can be made in it, so that a mistake shows at start-up and not
// after the first call.
func (d *files) prepare() error {
	if err := os.MkdirAll(d.Directory, 0o750); err != nil {
		return fmt.Errorf("%w: make the directory and give it to the user of sbc, or set cdr.directory", err)
	}
	f, err := os.CreateTemp(d.Directory, ".sbc-*")
	if err != nil {
		return fmt.Errorf("%w: give the directory to the user of sbc, or set cdr.directory", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// write appends whole lines. After an error nothing of them is in the file. The first ones of a file bring its header.
func (d *files) write(now time.Time, lines []byte) error {
	if err := d.choose(now, int64(len(lines)+len(d.header))); err != nil {
		return err
	}
	if d.size == 0 {
		lines = append(bytes.Clone(d.header), lines...)
	}
	n, err := d.current.Write(lines)
	if err != nil {
		if n > 0 {
			d.torn = d.current.Truncate(d.size) != nil
		}
		return err
	}
	d.size += int64(n)
	return nil
}

// choose makes the current file the one that so many more bytes belong to now. It opens lazily: no calls, no empty
// files.
func (d *files) choose(now time.Time, more int64) error {
	if d.current != nil && !d.due(now, more) && d.linked() {
		return nil
	}
	d.close()
	if err := os.MkdirAll(d.Directory, 0o750); err != nil {
		return err
	}
	// Two files of one second (restart, rotation by size): the later one borrows a free second.
	for at := now; ; at = at.Add(time.Second) {
		path := filepath.Join(d.Directory, namePrefix+at.UTC().Format(nameTime)+d.suffix)
		f, err := d.open(path)
		if errors.Is(err, fs.ErrExist) && at.Sub(now) < time.Minute {
			continue
		}
		if err != nil {
			return err
		}
		d.current, d.path, d.begun, d.size, d.torn = f, path, now, 0, false
		return nil
	}
}

// due reports whether the current file has had its time, or would outgrow its share of the room: an eighth, so that
// removing the oldest file never takes more.
func (d *files) due(now time.Time, more int64) bool {
	switch {
	case d.torn, d.MaxSize > 0 && d.size > 0 && d.size+more > d.MaxSize/8:
		return true
	}
	return d.Rotate > 0 && !d.begun.Truncate(d.Rotate).Equal(now.Truncate(d.Rotate))
}

// linked reports whether the path still names a file: somebody may have moved it away or removed it.
func (d *files) linked() bool {
	f, ok := d.current.(*os.File)
	if !ok {
		return true
	}
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(d.path)
	return err == nil && os.SameFile(open, named)
}

// close ends the current file: what is in it survives a power cut from then on. One that a full disk has left without a line
// goes.
func (d *files) close() {
	if d.current == nil {
		return
	}
	_ = d.current.Sync() // best effort: the records are written
	if d.size == 0 && !d.torn && d.linked() {
		_ = os.Remove(d.path) // likewise: an empty file harms nobody
	}
	_ = d.current.Close()
	d.current = nil
}

// purge removes files by age, then the oldest ones by total size; never the current one, whose whole share is set
// aside.
func (d *files) purge(now time.Time) error {
	list, err := d.list()
	if err != nil {
		return err
	}
	var errs []error
	total := d.MaxSize / 8
	for i, f := range list { // newest first
		if f.path == d.path && d.current != nil {
			continue
		}
		total += f.size
		last, known := f.begun.Add(d.Rotate), d.Rotate > 0
		if i > 0 {
			last, known = list[i-1].begun, true // a file ends where the next one begins
		}
		old := d.Keep > 0 && known && last.Add(d.Keep).Before(now)
		if !old && (d.MaxSize == 0 || total <= d.MaxSize) {
			continue
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

type oldFile struct {
	path   string
	format string
	begun  time.Time
	size   int64
}

// list finds the files whose name is ours, newest first.
func (d *files) list() ([]oldFile, error) {
	entries, err := os.ReadDir(d.Directory)
	if err != nil {
		return nil, err
	}
	var out []oldFile
	for _, e := range entries {
		begun, of, ok := ours(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if st, err := e.Info(); err == nil {
			out = append(out, oldFile{filepath.Join(d.Directory, e.Name()), of, begun, st.Size()})
		}
	}
	slices.SortFunc(out, func(a, b oldFile) int { return cmp.Compare(b.path, a.path) })
	return out, nil
}

// ours reads the name of a file of records, whatever its format.
func ours(name string) (begun time.Time, format string, ok bool) {
	for format, e := range encoders {
		stamp, is := strings.CutPrefix(name, namePrefix)
		stamp, has := strings.CutSuffix(stamp, e.suffix)
		if begun, err := time.Parse(nameTime, stamp); is && has && err == nil {
			return begun, format, true
		}
	}
	return begun, "", false
}
