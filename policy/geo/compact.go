package geo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The compact file, all numbers unsigned varints unless said otherwise:
//
//	magic            8 bytes, the last one the version
//	built            seconds since 1970, 0: not known
//	source, licence  length and text each
//	codes            their number, and two bytes each; they are numbered from 1, 0 is unknown
//	IPv4             number of ranges; for each: start less the one before, code's number
//	IPv6             number of ranges; for each: upper half of the start less the one before's, lower half, code's number
//	checksum         SHA-256 of all before it
var magic = []byte("SLYGEO\n\x01")

// ErrDamaged is returned for a compact file that is not as it was written.
var ErrDamaged = errors.New("the country database is damaged: its checksum does not fit; make it again with `make geo`")

// Write writes the database in the compact form that Read reads. Equal databases give equal files.
func (d *Database) Write(w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	put := func(n uint64) { _, _ = out.Write(binary.AppendUvarint(nil, n)) } // a Writer keeps its first error
	_, _ = out.Write(magic)
	if d.built.IsZero() {
		put(0)
	} else {
		put(uint64(max(0, d.built.Unix())))
	}
	for _, text := range []string{d.source, d.licence} {
		put(uint64(len(text)))
		_, _ = out.WriteString(text)
	}
	put(uint64(len(d.codes) - 1))
	for _, c := range d.codes[1:] {
		_, _ = out.Write(c[:])
	}
	put(uint64(len(d.v4.starts)))
	before := uint32(0)
	for i, start := range d.v4.starts {
		put(uint64(start - before))
		put(uint64(d.v4.country[i]))
		before = start
	}
	put(uint64(len(d.v6.starts)))
	upper := uint64(0)
	for i, start := range d.v6.starts {
		put(start.hi - upper)
		put(start.lo)
		put(uint64(d.v6.country[i]))
		upper = start.hi
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// compactReader takes numbers and texts off the front of a file. After the first error it gives zeros.
type compactReader struct {
	rest []byte
	err  error
}

func (r *compactReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("the country database is damaged: "+format, args...)
	}
	r.rest = nil
}

// number takes a number of at most most.
func (r *compactReader) number(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > most {
		r.fail("a number is missing or out of bounds")
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *compactReader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("it ends within a text")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// count takes the number of things that are at least so many bytes each, so that it never asks for more memory than the
// file could fill.
func (r *compactReader) count(size int) int {
	return int(r.number(uint64(len(r.rest) / size)))
}

func readCompact(data []byte) (*Database, error) {
	if len(data) < len(magic)+sha256.Size {
		return nil, ErrDamaged
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if found := sha256.Sum256(body); !bytes.Equal(found[:], sum) {
		return nil, ErrDamaged
	}
	return decodeCompact(body)
}

// decodeCompact reads a file whose checksum fits. Whoever made it may still have meant harm.
func decodeCompact(body []byte) (*Database, error) {
	r := &compactReader{rest: body[len(magic):]}
	d := &Database{codes: []Code{{}}}
	if built := r.number(1 << 40); built > 0 {
		d.built = time.Unix(int64(built), 0).UTC()
	}
	d.source = string(r.take(r.number(maxSource)))
	d.licence = string(r.take(r.number(maxLicence)))
	for range r.number(255) {
		c := readCode(string(r.take(2)))
		if c == (Code{}) {
			r.fail("a code is none of a country")
		}
		d.codes = append(d.codes, c)
	}
	r.lists(d)
	if r.err == nil && len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	return d, nil
}

// lists takes the ranges of both IP versions.
func (r *compactReader) lists(d *Database) {
	known := uint64(len(d.codes) - 1)
	before := uint64(0)
	for i := range r.count(2) {
		step := r.number(1<<32 - 1)
		start := before + step
		if start > 1<<32-1 || i > 0 && step == 0 {
			r.fail("its ranges are not in order")
		}
		if before = start; r.err != nil {
			return
		}
		d.v4.starts = append(d.v4.starts, uint32(start))
		d.v4.country = append(d.v4.country, uint8(r.number(known)))
	}
	var last wide
	for i := range r.count(3) {
		start := wide{last.hi + r.number(^uint64(0)), r.number(^uint64(0))}
		if start.hi < last.hi || i > 0 && !last.less(start) {
			r.fail("its ranges are not in order")
		}
		if last = start; r.err != nil {
			return
		}
		d.v6.starts = append(d.v6.starts, start)
		d.v6.country = append(d.v6.country, uint8(r.number(known)))
	}
}
