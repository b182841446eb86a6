package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// cappedFile is a file of lines that begins anew at a size: what it held then stays beside it under its name with ".1", until
// the next time. So it takes twice the size on the disk and never more, whatever a flood writes. Lines stay whole.
type cappedFile struct {
	path string
	most int64 // 0: it grows for ever

	mu   sync.Mutex
	file *os.File // nil: it could not be opened again
	size int64
	flat bool // a regular file; others (a pipe, a device) are not replaced
}

// openCapped opens the file for appending, or makes it.
func openCapped(path string, most int64) (*cappedFile, error) {
	c := &cappedFile{path: path, most: most}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *cappedFile) open() error {
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	c.file, c.size, c.flat = f, info.Size(), info.Mode().IsRegular()
	return nil
}

// Write appends lines. Where there is no room for them in the file nor a way to make some, they are refused.
func (c *cappedFile) Write(b []byte) (written int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 {
		if c.file == nil {
			if err := c.open(); err != nil {
				return written, err
			}
		}
		part := b[:c.fits(b)]
		if len(part) == 0 {
			if err := c.turn(); err != nil {
				return written, err
			}
			continue
		}
		n, err := c.file.Write(part)
		written, c.size, b = written+n, c.size+int64(n), b[n:]
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// fits is how many bytes, in whole lines, the file has room for; an empty one has it for a line of any length.
func (c *cappedFile) fits(b []byte) int {
	room := c.most - c.size
	switch {
	case c.most <= 0 || !c.flat || int64(len(b)) <= room:
		return len(b)
	case room > 0:
		if end := bytes.LastIndexByte(b[:room], '\n') + 1; end > 0 {
			return end
		}
	}
	if c.size > 0 {
		return 0
	}
	if end := bytes.IndexByte(b, '\n') + 1; end > 0 {
		return end
	}
	return len(b)
}

// turn puts the file aside and begins a new one.
func (c *cappedFile) turn() error {
	if err := os.Rename(c.path, c.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a full log cannot be put aside: %w", err)
	}
	return c.reopen()
}

func (c *cappedFile) reopen() error {
	if c.file != nil {
		_ = c.file.Close() // each write has told its error
		c.file = nil
	}
	return c.open()
}

// Reopen lets go of the file and opens its name: whoever moved it away (logrotate) has its lines in a new one from then on.
func (c *cappedFile) Reopen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reopen()
}
