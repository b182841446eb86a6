package config

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time: Go style ("1m30s", "1500ms"), with d for days of 24 hours in front ("90d", "1d12h").
// It is never negative.
type Duration time.Duration

var (
	daysRE      = regexp.MustCompile(`^([0-9]+)d(.*)$`)
	bareCountRE = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
)

// maxDuration keeps sums of durations and wall times far from overflow: a hundred years.
const maxDuration = 100 * 365 * 24 * time.Hour

const durationHint = `write a number and a unit, such as 500ms, 60s, 10m, 1h or 90d`

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "0" {
		*d = 0
		return nil
	}
	if bareCountRE.MatchString(s) {
		return badValue("write "+s+"s for seconds, or another unit: ms, s, m, h, d", "%q is a duration without a unit", s)
	}
	var days, more time.Duration
	rest := s
	if m := daysRE.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || time.Duration(n) > maxDuration/(24*time.Hour) {
			return badValue("at most 36500d", "%q is too long", s)
		}
		days, rest = time.Duration(n)*24*time.Hour, m[2]
	}
	if rest != "" || s == "" {
		var err error
		if more, err = time.ParseDuration(rest); err != nil {
			return badValue(durationHint, "%q is not a duration", s)
		}
	}
	if more < 0 {
		return badValue(durationHint, "%q is negative", s)
	}
	if more > maxDuration-days {
		return badValue("at most 36500d", "%q is too long", s)
	}
	*d = Duration(days + more)
	return nil
}

// MarshalText writes the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the shortest exact form: 90d, 24h as 1d, 1m30s, 0s.
func (d Duration) String() string {
	t := time.Duration(d)
	if t == 0 {
		return "0s"
	}
	var out string
	if days := t / (24 * time.Hour); days > 0 {
		out = strconv.Itoa(int(days)) + "d"
		t -= days * 24 * time.Hour
	}
	if t == 0 {
		return out
	}
	rest := t.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return out + rest
}

// Std is the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }
