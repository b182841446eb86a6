package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sallyport/sbc/trace"
)

// files are files of bounded size and number.
type files struct {
	Config
	now  func() time.Time
	say  func(error)
	file *os.File // nil: none is open
	out  *trace.File
	size int64
	wait time.Time // none is opened before
}

const (
	filesName = "rules-"    // begins their names
	filesWait = time.Minute // how long a directory that cannot be written to is left alone
)

// write adds a packet; it reports false if there is no file for it.
func (f *files) write(p *trace.Packet) bool {
	size := sizeOf(p)
	if f.file != nil && f.size+size > f.MaxSize {
		f.close()
	}
	if f.file == nil {
		if f.now().Before(f.wait) {
			return false
		}
		if err := f.open(); err != nil {
			return f.fail(err)
		}
	}
	f.size += size
	if err := f.out.Write(p); err != nil {
		return f.fail(err)
	}
	return true
}

// fail gives up for a while.
func (f *files) fail(err error) bool {
	f.say(fmt.Errorf("policy.capture.directory: %w", err))
	f.wait = f.now().Add(filesWait)
	if f.file != nil {
		_ = f.file.Close() // it is broken already
		f.file = nil
	}
	return false
}

// open begins a file and removes the oldest ones. The directory is its owner's alone: what people say is in it.
func (f *files) open() error {
	if err := os.MkdirAll(f.Directory, 0o700); err != nil {
		return err
	}
	if err := f.thin(f.Files - 1); err != nil {
		return err
	}
	name := filepath.Join(f.Directory, filesName+f.now().UTC().Format("20060102-150405.000000")+".pcapng")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.file, f.size = file, fileHead
	f.out = trace.NewFile(file, application, "what message rules with capture: true have matched; IP and UDP headers are made up, secrets in SIP are overwritten")
	return nil
}

// thin removes all files but the youngest.
func (f *files) thin(left int) error {
	list, err := filepath.Glob(filepath.Join(f.Directory, filesName+"*.pcapng"))
	if err != nil {
		return err
	}
	slices.Sort(list) // by their time
	for _, name := range list[:max(0, len(list)-left)] {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func (f *files) flush() {
	if f.file == nil {
		return
	}
	if err := f.out.Flush(); err != nil {
		f.fail(err)
	}
}

func (f *files) close() {
	if f.file == nil {
		return
	}
	if err := errors.Join(f.out.End(0), f.file.Close()); err != nil {
		f.say(err)
	}
	f.file = nil
}
