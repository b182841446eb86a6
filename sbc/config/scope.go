package config

import (
	"regexp"
	"strings"
)

// Scope is an element of a range of `policy`: a Range, a country ("country:DE"), or a DNS name, whose addresses are
// looked up again and again.
type Scope struct {
	Range           // not valid where the scope is a country or a name
	country Country // "": none
	name    string  // in lower case, without a dot at the end; "": none
}

const (
	countryPrefix = "country:"
	scopeHint     = rangeHint + ", a name such as office.example.com, country:DE, or any"
	// maxName is the longest DNS name as text (RFC 1035 §2.3.4).
	maxName = 253
)

// UnmarshalText reads a scope.
func (s *Scope) UnmarshalText(text []byte) error {
	t := string(text)
	if len(t) >= len(countryPrefix) && strings.EqualFold(t[:len(countryPrefix)], countryPrefix) {
		var c Country
		if err := c.UnmarshalText([]byte(strings.TrimSpace(t[len(countryPrefix):]))); err != nil {
			return err
		}
		*s = Scope{country: c}
		return nil
	}
	if isFullName(t) {
		*s = Scope{name: plainDomain(t)}
		return nil
	}
	var r Range
	if err := r.UnmarshalText(text); err != nil {
		if hostNameRE.MatchString(t) && strings.ContainsFunc(t, isLetter) {
			return badValue(scopeHint, "%q is neither an address nor a full name", t)
		}
		return err
	}
	*s = Scope{Range: r}
	return nil
}

// topLevelRE is the last label of a DNS name: letters, or a name of another script in its ASCII form.
var topLevelRE = regexp.MustCompile(`^([a-z]{2,63}|xn--[a-z0-9-]{1,59})$`)

// isFullName tells a DNS name from an address: it has a dot, and its last label is alphabetic as that of every top-level
// domain (RFC 3696 §2). A slip such as 192.0.2.1o is no name, and neither is 192.0.2.any.
func isFullName(s string) bool {
	plain := plainDomain(s)
	labels := strings.Split(plain, ".")
	numbers := 0
	for _, l := range labels {
		if len(l) > 63 {
			return false
		}
		if strings.Trim(l, "0123456789") == "" {
			numbers++
		}
	}
	return len(labels) > 1 && len(plain) <= maxName && hostNameRE.MatchString(plain) &&
		topLevelRE.MatchString(labels[len(labels)-1]) && (len(labels) != 4 || numbers < 3)
}

// Country is the country that the scope names, or "".
func (s Scope) Country() string { return string(s.country) }

// Name is the DNS name that the scope names, or "".
func (s Scope) Name() string { return s.name }

// MarshalText writes the scope as String does.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the shortest form: that of the range, country:DE, or the name.
func (s Scope) String() string {
	switch {
	case s.country != "":
		return countryPrefix + string(s.country)
	case s.name != "":
		return s.name
	}
	return s.Range.String()
}

// Scopes is a list of scopes; in the file one may stand for a list of one.
type Scopes []Scope

func (Scopes) acceptsOne() {}

// anywhere is every address of both families.
func anywhere() Scopes { return Scopes{{Range: Range{any: true}}} }

// ranges are the literal ranges of a list.
func (l Scopes) ranges() Ranges {
	var out Ranges
	for _, s := range l {
		if s.Range.IsValid() {
			out = append(out, s.Range)
		}
	}
	return out
}

// isAnywhere reports whether a list is any alone.
func (l Scopes) isAnywhere() bool { return len(l) == 1 && l[0].IsAny() }
