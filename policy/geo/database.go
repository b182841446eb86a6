// Package geo says which country an address was given to, from a database that was read beforehand.
//
// Read takes what administrators can get: MaxMind's MMDB (GeoLite2-Country, DB-IP), tor's geoip and geoip6, CSV lists,
// the text export of the IPFire location database, and the compact file that Write makes of any of them. Whatever the
// file was, the Database in memory is one sorted list of range starts for each IP version, searched without allocation.
//
// The room opens no file and fetches nothing; it judges no one, and holds no opinion on addresses that no registry gave
// to a country. What it reads was written by others: every size is bounded, and what does not add up is an error that
// names the line.
//
// ISO 3166-1 (codes); MaxMind DB format 2.0.
package geo

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Database is an immutable country database. A nil one knows no country.
type Database struct {
	v4      list[uint32]
	v6      list[wide]
	codes   []Code // what the numbers in the lists stand for; the first is unknown
	built   time.Time
	source  string
	licence string
}

// list is a partition of an address space: a range goes from its start to the next one.
type list[T any] struct {
	starts  []T
	country []uint8
}

// wide is a 128-bit number.
type wide struct{ hi, lo uint64 }

func (w wide) less(o wide) bool { return w.hi < o.hi || w.hi == o.hi && w.lo < o.lo }

// next is the number behind; ok is false behind the last one of its space.
func (w wide) next(last wide) (n wide, ok bool) {
	if w == last {
		return w, false
	}
	n = wide{w.hi, w.lo + 1}
	if n.lo == 0 {
		n.hi++
	}
	return n, true
}

// number is an address as a number: 32 bits of an IPv4 address, 128 of an IPv6 address.
func number(a netip.Addr) wide {
	if a.Is4() {
		b := a.As4()
		return wide{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Country is the country of an address; IPv4 in IPv6 spelling is IPv4. It allocates nothing.
func (d *Database) Country(a netip.Addr) Code {
	if d == nil || !a.IsValid() {
		return Code{}
	}
	if a = a.Unmap(); a.Is4() {
		return d.codes[d.find4(uint32(number(a).lo))]
	}
	return d.codes[d.find6(number(a))]
}

// find4 is the number of the country that holds an IPv4 address.
func (d *Database) find4(n uint32) uint8 {
	low, high := 0, len(d.v4.starts)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if d.v4.starts[middle] <= n {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return 0
	}
	return d.v4.country[low-1]
}

// find6 is the number of the country that holds an IPv6 address.
func (d *Database) find6(n wide) uint8 {
	low, high := 0, len(d.v6.starts)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if !n.less(d.v6.starts[middle]) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return 0
	}
	return d.v6.country[low-1]
}

// Len is the number of ranges that have a country.
func (d *Database) Len() int {
	if d == nil {
		return 0
	}
	n := 0
	for _, country := range [2][]uint8{d.v4.country, d.v6.country} {
		for _, c := range country {
			if c != 0 {
				n++
			}
		}
	}
	return n
}

// Holds reports whether the database gives any address to a country.
func (d *Database) Holds(c Code) bool {
	if d == nil || c == (Code{}) {
		return false
	}
	for _, known := range d.codes {
		if known == c {
			return true
		}
	}
	return false
}

// Built is when the data were collected, by their own word; zero if they do not say.
func (d *Database) Built() time.Time {
	if d == nil {
		return time.Time{}
	}
	return d.built
}

// Source names where the data come from.
func (d *Database) Source() string {
	if d == nil {
		return ""
	}
	return d.source
}

// Licence is the text of the licence of the data, as far as they carry it.
func (d *Database) Licence() string {
	if d == nil {
		return ""
	}
	return d.licence
}

// Describe is the same database with another word on its origin; what is zero stays as it was.
func (d *Database) Describe(source, licence string, built time.Time) *Database {
	c := *d
	if source != "" {
		c.source = clip(source, maxSource)
	}
	if licence != "" {
		c.licence = clip(licence, maxLicence)
	}
	if !built.IsZero() {
		c.built = built.UTC().Truncate(time.Second)
	}
	return &c
}

func clip(s string, most int) string { return s[:min(len(s), most)] }
