package geo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// mmdbMarker begins the metadata of a MaxMind DB, in the last 128 KiB of the file.
var mmdbMarker = []byte("\xab\xcd\xefMaxMind.com")

func isMMDB(data []byte) bool {
	return bytes.Contains(data[max(0, len(data)-128<<10):], mmdbMarker)
}

// mmdbRecord is what country databases agree on. Where an address is used elsewhere than it is registered, the country is
// where it is used.
type mmdbRecord struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Registered struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"registered_country"`
}

// readMMDB takes the countries of all networks out of a MaxMind DB. The file may be damaged or made to harm: a panic of
// the decoder is an error.
func readMMDB(data []byte, most int) (d *Database, err error) {
	defer func() {
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("the MaxMind database is damaged: %v", p)
		}
	}()
	file, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("the MaxMind database is damaged: %w", err)
	}
	t := tree{
		data: data, file: file, nodes: file.Metadata.NodeCount, size: file.Metadata.RecordSize,
		b: builder{most: most, nested: true}, known: map[uint]Code{}, steps: 4 * most,
	}
	bits := 32
	if file.Metadata.IPVersion == 6 {
		bits = 128
		// MaxMind DB §"IPv4 addresses in an IPv6 tree": they lie below ::/96, and other places may point there.
		for depth := 0; depth < 96 && t.ipv4 < t.nodes; depth++ {
			if t.ipv4, err = t.child(t.ipv4, 0); err != nil {
				return nil, err
			}
		}
	}
	if err := t.walk(0, wide{}, 0, bits); err != nil {
		return nil, err
	}
	if d, err = t.b.database(); err != nil {
		return nil, err
	}
	d.describeMMDB(&file.Metadata)
	return d, nil
}

// tree is the search tree of a MaxMind DB under way. It is walked here and not by the decoder's iterator, because only
// every step that is counted is a bounded one: nodes may be shared so that a small file has 2¹²⁸ leaves.
type tree struct {
	data  []byte
	file  *maxminddb.Reader
	nodes uint
	size  uint // bits of a record, half a node
	ipv4  uint // the node of ::/96 in an IPv6 tree
	b     builder
	known map[uint]Code // record → country
	steps int           // left
}

// errTree is returned for a search tree that cannot be walked.
var errTree = errors.New("the MaxMind database is damaged: its search tree leads nowhere")

// child is what a node points to for the next bit: another node, the number of nodes for nothing, more for data.
func (t *tree) child(node uint, bit int) (uint, error) {
	at := node * t.size / 4 // two records
	if node >= t.nodes || at+t.size/4 > uint(len(t.data)) {
		return 0, errTree
	}
	b := t.data[at : at+t.size/4]
	switch {
	case t.size == 24:
		return uint(b[3*bit])<<16 | uint(b[3*bit+1])<<8 | uint(b[3*bit+2]), nil
	case t.size == 28 && bit == 0:
		return uint(b[3]>>4)<<24 | uint(b[0])<<16 | uint(b[1])<<8 | uint(b[2]), nil
	case t.size == 28:
		return uint(b[3]&15)<<24 | uint(b[4])<<16 | uint(b[5])<<8 | uint(b[6]), nil
	case t.size == 32:
		return uint(binary.BigEndian.Uint32(b[4*bit:])), nil
	}
	return 0, fmt.Errorf("the MaxMind database has records of %d bits; 24, 28 and 32 are known", t.size)
}

// walk takes what lies below a pointer: the networks that begin with the first depth bits of a place.
func (t *tree) walk(pointer uint, place wide, depth, bits int) error {
	if t.steps--; t.steps < 0 {
		return fmt.Errorf("more than %d networks: this is no country database", t.b.most)
	}
	switch {
	case pointer == t.nodes:
		return nil
	case pointer == t.ipv4 && t.ipv4 > 0 && t.ipv4 < t.nodes && (place != wide{} || depth != 96):
		return nil // another name for the IPv4 space
	case pointer > t.nodes:
		return t.leaf(pointer, place, depth, bits)
	case depth == bits:
		return errTree
	}
	for bit := range 2 {
		next, err := t.child(pointer, bit)
		if err != nil {
			return err
		}
		below := place
		if at := bits - 1 - depth; at >= 64 {
			below.hi |= uint64(bit) << (at - 64)
		} else {
			below.lo |= uint64(bit) << at
		}
		if err := t.walk(next, below, depth+1, bits); err != nil {
			return err
		}
	}
	return nil
}

// leaf takes one network.
func (t *tree) leaf(pointer uint, place wide, depth, bits int) error {
	var p netip.Prefix
	switch {
	case bits == 32:
		p = netip.PrefixFrom(addressOf4(place), depth)
	case depth >= 96 && place.hi == 0 && place.lo>>32 == 0:
		p = netip.PrefixFrom(addressOf4(place), depth-96)
	default:
		p = netip.PrefixFrom(addressOf(place), depth)
	}
	code, seen := t.known[pointer]
	if !seen {
		var r mmdbRecord
		if err := t.file.LookupOffset(uintptr(pointer - t.nodes - 16)).Decode(&r); err != nil {
			return fmt.Errorf("%s: %w; a country database is needed", p, err)
		}
		if code = readCode(r.Country.Code); code == (Code{}) {
			code = readCode(r.Registered.Code)
		}
		t.known[pointer] = code
	}
	if code == (Code{}) {
		return nil
	}
	return t.b.addPrefix(p, code, 0)
}

func (d *Database) describeMMDB(m *maxminddb.Metadata) {
	d.source = m.DatabaseType
	if text := m.Description["en"]; text != "" {
		d.source += ": " + text
	}
	d.source = clip(d.source, maxSource)
	if m.BuildEpoch > 0 && m.BuildEpoch < 1<<40 {
		d.built = time.Unix(int64(m.BuildEpoch), 0).UTC()
	}
}
