package cdr

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Find tells which of some calls have a record in the files of a directory. Only files that may hold a record of a call
// that began at since or later are read. What it found before an error counts.
func Find(c Config, since time.Time, calls map[string]bool) (found map[string]bool, err error) {
	found = map[string]bool{}
	list, err := newFiles(c).list()
	if errors.Is(err, os.ErrNotExist) {
		return found, nil // nothing has ever been written
	}
	if err != nil {
		return found, fmt.Errorf("call records: %w", err)
	}
	for _, f := range list { // newest first
		if err := findIn(f.path, encoders[f.format].call, calls, found); err != nil && !errors.Is(err, os.ErrNotExist) {
			return found, fmt.Errorf("call records: %w", err)
		}
		// A name is about when a file was begun: cut to the second, or borrowed from a later one (choose).
		if len(found) == len(calls) || f.begun.Add(time.Minute).Before(since) {
			break
		}
	}
	return found, nil
}

// findIn looks through one file. A line that a crash cut short is no record.
func findIn(path string, callOf func(line []byte) (string, bool), calls, found map[string]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	in := bufio.NewReaderSize(f, batchBytes)
	for {
		line, err := in.ReadSlice('\n')
		if name, whole := callOf(line); whole && calls[name] && (err == nil || err == io.EOF) {
			found[name] = true
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull): // no record of ours is that long
			return err
		}
	}
}

// callOfJSON is the call that a line is about: its name stands first, and is one of ours, without anything to escape. All but
// the line's end may have been written.
func callOfJSON(line []byte) (name string, whole bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"call":"`))
	raw, _, closed := bytes.Cut(rest, []byte(`"`))
	whole = ok && closed && (bytes.HasSuffix(line, []byte("\n")) || json.Valid(line))
	return string(raw), whole
}
