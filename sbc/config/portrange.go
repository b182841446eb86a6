package config

import (
	"strconv"
	"strings"
)

// PortRange is a range of UDP ports, both ends included: "30000-31000".
type PortRange struct{ First, Last uint16 }

const portRangeHint = "write first-last, such as 30000-31000"

// UnmarshalText reads a port range.
func (r *PortRange) UnmarshalText(text []byte) error {
	s := string(text)
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return badValue(portRangeHint, "%q is not a port range", s)
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	switch {
	case errA != nil || errB != nil || a == 0:
		return badValue("ports are numbers from 1 to 65535; "+portRangeHint, "%q is not a port range", s)
	case b < a:
		return badValue("write "+last+"-"+first, "%q ends before it begins", s)
	}
	*r = PortRange{First: uint16(a), Last: uint16(b)}
	return nil
}

// MarshalText writes the range as String does.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the range as it is written: 30000-31000.
func (r PortRange) String() string {
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// Contains reports whether a port lies in the range.
func (r PortRange) Contains(port uint16) bool { return port >= r.First && port <= r.Last }

// Pairs is how many pairs of an even port and the odd one above it (RFC 3550 §11) the range holds.
func (r PortRange) Pairs() int {
	first := int(r.First) + int(r.First)&1
	return max((int(r.Last)+1-first)/2, 0)
}
