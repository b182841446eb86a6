// Package route says which peer systems a request may go to, in order: number and URI rules over a plan. It picks no
// address of a peer and knows nobody's health; package trunk does.
//
// It is pure. RFC 3966 §5.1.1 (visual separators), RFC 3261 §19.1.
package route

import (
	"fmt"
	"regexp"
	"strings"

	"sallyport/sbc/message"
)

// Trunk is one way out: its name and the patterns of the numbers it takes.
type Trunk struct {
	Name  string
	Match []*regexp.Regexp // anchored; none: the trunk takes no calls from the PBX
}

// Compile makes a pattern of the configuration: RE2 against the whole number.
func Compile(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w; patterns are RE2 and match the whole number", pattern, err)
	}
	return re, nil
}

// Table is the plan of the calls that leave the PBX: trunks in file order.
type Table struct{ Trunks []Trunk }

// Outbound is the names of the trunks that take a dialled URI, in order.
func (t *Table) Outbound(uri message.URI) []string {
	number := Number(uri)
	var plan []string
	for i := range t.Trunks {
		for _, re := range t.Trunks[i].Match {
			if re.MatchString(number) {
				plan = append(plan, t.Trunks[i].Name)
				break
			}
		}
	}
	return plan
}

var separators = strings.NewReplacer("-", "", ".", "", "(", "", ")", "")

// Number is the dialled user part of a sip or tel URI without parameters; visual separators are cut from numbers (RFC
// 3966 §5.1.1: "-", ".", "(", ")"), names stay as they are.
func Number(uri message.URI) string {
	user := uri.User
	if i := strings.IndexAny(user, ";:"); i >= 0 {
		user = user[:i]
	}
	user = strings.ReplaceAll(user, "%2B", "+")
	user = strings.ReplaceAll(user, "%2b", "+")
	plain := separators.Replace(user)
	for i, r := range plain {
		if (r < '0' || r > '9') && (i > 0 || r != '+') && r != '*' && r != '#' {
			return user
		}
	}
	if plain == "" {
		return user // nothing but separators is a name
	}
	return plain
}
