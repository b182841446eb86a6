package config

import "time"

// Timestamp is a moment of wall time: RFC 3339 ("2027-01-31T18:00:00Z") or a date, which is its first instant in UTC.
// The zero value, written "", is none.
type Timestamp struct{ time.Time }

// UnmarshalText reads a timestamp.
func (t *Timestamp) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" {
		*t = Timestamp{}
		return nil
	}
	for _, layout := range [...]string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			*t = Timestamp{at.UTC()}
			return nil
		}
	}
	return badValue("write 2027-01-31 or 2027-01-31T18:00:00Z", "%q is not a time", s)
}

// MarshalText writes the timestamp as String does.
func (t Timestamp) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String is RFC 3339 in UTC, or nothing.
func (t Timestamp) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
