package config

import (
	"strings"

	"sallyport/policy/geo"
)

// Country is a country by its code of two capitals (ISO 3166-1 alpha-2).
type Country string

// UnmarshalText reads a code in any case.
func (c *Country) UnmarshalText(text []byte) error {
	code, err := geo.ParseCode(string(text))
	if err != nil {
		what, hint, _ := strings.Cut(err.Error(), "; ")
		return badValue(hint, "%s", what)
	}
	*c = Country(code.String())
	return nil
}

// MarshalText writes the code.
func (c Country) MarshalText() ([]byte, error) { return []byte(c), nil }

// String is the code.
func (c Country) String() string { return string(c) }

// Countries is a list of countries; in the file one may stand for a list of one.
type Countries []Country

func (Countries) acceptsOne() {}
