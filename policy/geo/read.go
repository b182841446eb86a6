package geo

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// ErrEmpty is returned for a file that gives no address to a country.
var ErrEmpty = errors.New("no range with a country in it: this is no country database")

// Read reads a database in any of the formats that the package knows, and tells which by its content; gzip is unpacked.
// The name is what the source is called where the file does not say, usually that of the file. Errors of text files name
// the line.
func Read(r io.Reader, name string) (*Database, error) {
	data, err := readBounded(r, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d, err := read(data, maxRanges)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if d.source == "" {
		d.source = clip(name, maxSource)
	}
	return d, nil
}

// readBounded reads everything, unpacked, if it is at most so many bytes.
func readBounded(r io.Reader, most int64) ([]byte, error) {
	data, err := readAll(r, most)
	if err != nil || !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return readAll(unpacked, most)
}

func readAll(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("longer than %d MiB: this is no country database", most>>20)
	}
	return data, err
}

// read tells the format and reads at most so many ranges.
func read(data []byte, most int) (d *Database, err error) {
	switch {
	case bytes.HasPrefix(data, magic):
		d, err = readCompact(data)
	case isMMDB(data):
		d, err = readMMDB(data, most)
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return nil, errors.New("a zip archive; unpack it and name the file within")
	case bytes.IndexByte(data[:min(len(data), 4096)], 0) >= 0:
		return nil, errors.New("neither text nor a format that is known here (MMDB, or a file of `make geo`)")
	default:
		d, err = readText(data, most)
	}
	if err == nil && d.Len() == 0 {
		err = ErrEmpty
	}
	return d, err
}
