package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events in a unit of time, as the configuration writes it: 15/minute.
type Rate struct {
	Count int           // events, at least 1
	Per   time.Duration // second, minute, hour or day
}

var rateUnits = [...]struct {
	name string
	per  time.Duration
}{{"second", time.Second}, {"minute", time.Minute}, {"hour", time.Hour}, {"day", 24 * time.Hour}}

// mostRate is the largest count that a rate may name; beyond it a limit is a mistake in writing.
const mostRate = 10_000_000

// ParseRate reads a rate such as "15/minute". Units are second, minute, hour and day.
func ParseRate(text string) (Rate, error) {
	count, unit, found := strings.Cut(strings.TrimSpace(text), "/")
	if !found {
		return Rate{}, fmt.Errorf("rate %q has no unit; write it as 15/minute (second, minute, hour or day)", text)
	}
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || n < 1 || n > mostRate {
		return Rate{}, fmt.Errorf("rate %q must begin with a whole number from 1 to %d", text, mostRate)
	}
	per, err := parseUnit(strings.TrimSpace(unit))
	if err != nil {
		return Rate{}, fmt.Errorf("rate %q: %w", text, err)
	}
	return Rate{Count: n, Per: per}, nil
}

// parseUnit reads the name of a unit of time.
func parseUnit(name string) (time.Duration, error) {
	for _, u := range rateUnits {
		if u.name == name {
			return u.per, nil
		}
	}
	return 0, fmt.Errorf("unknown unit %q; use second, minute, hour or day", name)
}

// PerSecond is the rate in events a second.
func (r Rate) PerSecond() float64 { return float64(r.Count) / r.Per.Seconds() }

// DefaultBurst is the bucket size where none is configured: a tenth of the per-minute figure, at least 4.
func (r Rate) DefaultBurst() int {
	return max(4, int(r.PerSecond()*60/10))
}

// String is the rate as ParseRate reads it.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if u.per == r.Per {
			return strconv.Itoa(r.Count) + "/" + u.name
		}
	}
	return strconv.Itoa(r.Count) + "/" + r.Per.String()
}
