package config

import (
	"strconv"
	"strings"
	"time"
)

// Rate is so many events a unit of time: "15/minute".
type Rate struct {
	Count int           // at least 1
	Per   time.Duration // second, minute, hour or day
}

var rateUnits = [...]struct {
	name string
	per  time.Duration
}{{"second", time.Second}, {"minute", time.Minute}, {"hour", time.Hour}, {"day", 24 * time.Hour}}

const (
	maxRate  = 1_000_000
	rateHint = "write a number, a slash and second, minute, hour or day, such as 15/minute"
)

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	s := string(text)
	count, unit, ok := strings.Cut(s, "/")
	if !ok {
		return badValue(rateHint, "%q is not a rate", s)
	}
	n, err := strconv.ParseUint(count, 10, 32)
	if err != nil {
		return badValue(rateHint, "%q is not a rate: %q is not a whole number", s, count)
	}
	if n == 0 {
		return badValue("to refuse a source altogether put it into policy.black_list", "a rate of 0 would refuse everything")
	}
	if n > maxRate {
		return badValue("leave the method out: what is not listed is not limited", "%q is over %d", s, maxRate)
	}
	for _, u := range rateUnits {
		if unit == u.name {
			*r = Rate{Count: int(n), Per: u.per}
			return nil
		}
	}
	return badValue(rateHint, "%q is not a rate: %q is no unit", s, unit)
}

// MarshalText writes the rate as String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the rate as it is written: 15/minute.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if r.Per == u.per {
			return strconv.Itoa(r.Count) + "/" + u.name
		}
	}
	return strconv.Itoa(r.Count) + "/" + r.Per.String()
}
