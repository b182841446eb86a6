package config

import (
	"math"
	"regexp"
	"strconv"
)

// Size is a number of bytes: "1GiB", "500MB", "65536". 0 means no bound where the key says so.
type Size int64

var sizeRE = regexp.MustCompile(`^([0-9]+) ?([A-Za-z]*)$`)

// sizeUnits stand largest first: String takes the first that divides.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6},
	{"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

const sizeHint = "write a number and KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000), such as 1GiB"

// UnmarshalText reads a size.
func (z *Size) UnmarshalText(text []byte) error {
	m := sizeRE.FindSubmatch(text)
	if m == nil {
		return badValue(sizeHint, "%q is not a size", text)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return badValue(sizeHint, "%q is too large", text)
	}
	unit := string(m[2])
	if unit == "" {
		*z = Size(n)
		return nil
	}
	for _, u := range sizeUnits {
		if unit != u.name {
			continue
		}
		if n > math.MaxInt64/u.bytes {
			return badValue(sizeHint, "%q is too large", text)
		}
		*z = Size(n * u.bytes)
		return nil
	}
	return badValue(sizeHint, "%q is not a size: %q is no unit", text, unit)
}

// MarshalText writes the size as String does.
func (z Size) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// String is the size in the largest unit that holds it exactly.
func (z Size) String() string {
	for _, u := range sizeUnits {
		if z != 0 && int64(z)%u.bytes == 0 {
			return strconv.FormatInt(int64(z)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(z), 10) + "B"
}
