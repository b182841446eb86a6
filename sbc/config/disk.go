package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// disk is what the room asks of the machine about the files that a configuration names.
type disk interface {
	// read reads a small file, and tells its permissions.
	read(path string) ([]byte, fs.FileMode, error)
	// probe says why a file of any size could not be read.
	probe(path string) error
	// environment is a variable of the environment; "": it is not set.
	environment(name string) string
}

// machine is the one that the program runs on.
type machine struct{}

// A pipe or a device is none that ends.
func (machine) open(path string) (*os.File, fs.FileMode, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, unwrapPath(err)
	case !info.Mode().IsRegular():
		return nil, 0, errors.New("not an ordinary file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, unwrapPath(err)
	}
	return f, info.Mode(), nil
}

func (m machine) read(path string) ([]byte, fs.FileMode, error) {
	f, mode, err := m.open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, 0, unwrapPath(err)
	case len(data) > maxFile:
		return nil, 0, errors.New("larger than " + Size(maxFile).String())
	}
	return data, mode, nil
}

func (m machine) probe(path string) error {
	f, _, err := m.open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
