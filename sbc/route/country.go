package route

import (
	"slices"
	"strings"
)

// Country is how a country dials: what stands before a number of another country (the international prefix) and before one of
// its own (the trunk prefix), and how long its own are.
type Country struct {
	ISO  string // ISO 3166-1 alpha-2
	Code string // its calling code

	intl     []string // what is dialled before a calling code; the first is written
	trunk    string   // what is dialled before a national number; empty: nothing is
	whole    bool     // a national number is dialled, and written, without anything before it
	min, max int      // digits of a national number
	never    []string // what no national number begins with: there something else is dialled
}

// CountryOf finds a country by its code of ISO 3166-1.
func CountryOf(iso string) (*Country, bool) {
	for i := range countries {
		if strings.EqualFold(countries[i].ISO, iso) {
			return &countries[i], true
		}
	}
	return nil, false
}

// Countries are the codes of the countries that are known, in order.
func Countries() []string {
	var out []string
	for i := range countries {
		out = append(out, countries[i].ISO)
	}
	slices.Sort(out)
	return out
}

// byCode are the countries by calling code; of those that share one, the first in the table, for they dial alike.
var byCode = func() map[string]*Country {
	out := map[string]*Country{}
	for i := range countries {
		if c := &countries[i]; out[c.Code] == nil {
			out[c.Code] = c
		}
	}
	return out
}()

// countryOf is a country of a calling code, nil if none is known.
func countryOf(code string) *Country { return byCode[code] }

// Shorthands of the table.
var (
	zeros = []string{"00"}
	north = []string{"011"} // North American Numbering Plan
	east  = []string{"810"}
)

// open is a country whose national numbers are dialled with something before them, plan one where they are dialled as they are.
func open(iso, code, trunk string, least, most int, intl ...string) Country {
	if len(intl) == 0 {
		intl = zeros
	}
	return Country{ISO: iso, Code: code, intl: intl, trunk: trunk, min: least, max: most}
}

func plan(iso, code string, least, most int, intl ...string) Country {
	c := open(iso, code, "", least, most, intl...)
	c.whole = true
	return c
}

// nanp is a country of the North American Numbering Plan: ten digits, and 1 before them where the network wants it.
func nanp(iso string) Country {
	c := open(iso, "1", "1", 10, 10, north...)
	c.whole = true
	return c
}

// except names beginnings that are no national number.
func except(c Country, never ...string) Country {
	c.never = never
	return c
}

// countries are those whose way of dialling is known. The source of prefixes and lengths are the countries' own numbering plans
// as the ITU publishes them (Communication of national numbering plans, E.129); where a plan is not closed, the lengths are the
// shortest and the longest that are dialled.
var countries = []Country{
	// North America and the Caribbean
	nanp("US"), nanp("CA"), nanp("PR"), nanp("DO"), nanp("JM"), nanp("TT"), nanp("BS"), nanp("BB"), nanp("BM"),
	plan("MX", "52", 10, 10), plan("GT", "502", 8, 8), plan("SV", "503", 8, 8), plan("HN", "504", 8, 8), plan("NI", "505", 8, 8),
	plan("CR", "506", 8, 8), plan("PA", "507", 7, 8), open("CU", "53", "0", 6, 8, "119"),
	// South America
	open("BR", "55", "0", 10, 11), open("AR", "54", "0", 10, 11), plan("CL", "56", 9, 9), plan("CO", "57", 10, 10),
	open("PE", "51", "0", 8, 9), open("VE", "58", "0", 10, 10), open("EC", "593", "0", 8, 9), open("BO", "591", "0", 8, 8),
	open("PY", "595", "0", 7, 9), plan("UY", "598", 8, 8),
	// Europe. Germany: 010 chooses a carrier, 011 is for services without a place.
	except(open("DE", "49", "0", 5, 13), "10", "11"), open("AT", "43", "0", 4, 13), open("CH", "41", "0", 9, 12), plan("LI", "423", 7, 9),
	open("GB", "44", "0", 7, 10), open("IE", "353", "0", 7, 10), open("FR", "33", "0", 9, 9), open("BE", "32", "0", 8, 9),
	open("NL", "31", "0", 7, 11), plan("LU", "352", 5, 11), plan("ES", "34", 9, 9), plan("PT", "351", 9, 9),
	plan("IT", "39", 6, 12), plan("SM", "378", 6, 10), plan("GR", "30", 10, 10), plan("CY", "357", 8, 8), plan("MT", "356", 8, 8),
	plan("DK", "45", 8, 8), plan("NO", "47", 8, 8), open("SE", "46", "0", 6, 10), open("FI", "358", "0", 5, 12, "00", "990", "994", "999"),
	plan("IS", "354", 7, 9), plan("EE", "372", 7, 8), plan("LV", "371", 8, 8), open("LT", "370", "0", 8, 8),
	plan("PL", "48", 9, 9), plan("CZ", "420", 9, 9), open("SK", "421", "0", 6, 9), open("HU", "36", "06", 8, 9),
	open("SI", "386", "0", 8, 8), open("HR", "385", "0", 7, 9), open("BA", "387", "0", 8, 9), open("RS", "381", "0", 7, 10),
	open("ME", "382", "0", 8, 9), open("XK", "383", "0", 8, 9), open("MK", "389", "0", 8, 8), open("AL", "355", "0", 6, 9),
	open("BG", "359", "0", 6, 9), open("RO", "40", "0", 9, 9), open("MD", "373", "0", 8, 8), open("UA", "380", "0", 9, 9),
	open("BY", "375", "8", 9, 9, east...), open("RU", "7", "8", 10, 10, east...), open("KZ", "7", "8", 10, 10, east...),
	open("TR", "90", "0", 10, 10), open("GE", "995", "0", 9, 9), open("AM", "374", "0", 8, 8), open("AZ", "994", "0", 9, 9),
	// Middle East
	open("IL", "972", "0", 8, 9, "00", "012", "013", "014"), open("AE", "971", "0", 8, 9), open("SA", "966", "0", 8, 9),
	plan("QA", "974", 8, 8), plan("KW", "965", 8, 8), plan("BH", "973", 8, 8), plan("OM", "968", 8, 8), open("JO", "962", "0", 8, 9),
	open("LB", "961", "0", 7, 8), open("IQ", "964", "0", 8, 10), open("IR", "98", "0", 10, 10),
	// Asia and Oceania
	open("IN", "91", "0", 10, 10), open("PK", "92", "0", 9, 10), open("BD", "880", "0", 8, 10), open("LK", "94", "0", 9, 9),
	open("CN", "86", "0", 10, 11), open("JP", "81", "0", 9, 10, "010"), open("KR", "82", "0", 8, 11, "001", "002", "005", "008"),
	open("TW", "886", "0", 8, 9, "002"), plan("HK", "852", 8, 8, "001"), plan("MO", "853", 8, 8), plan("SG", "65", 8, 8, "001", "002", "008"),
	open("MY", "60", "0", 8, 10), open("TH", "66", "0", 8, 9, "001", "004", "005", "006", "007", "008", "009"), open("VN", "84", "0", 9, 10),
	open("ID", "62", "0", 8, 12, "001", "007", "008", "009"), open("PH", "63", "0", 8, 10), open("KH", "855", "0", 8, 9, "001", "007", "008"),
	open("AU", "61", "0", 9, 9, "0011"), open("NZ", "64", "0", 8, 10),
	// Africa
	open("ZA", "27", "0", 9, 9), open("EG", "20", "0", 8, 10), open("MA", "212", "0", 9, 9), open("DZ", "213", "0", 8, 9),
	plan("TN", "216", 8, 8), open("NG", "234", "0", 8, 10, "009"), open("KE", "254", "0", 7, 9, "000"), open("TZ", "255", "0", 9, 9, "000"),
	open("UG", "256", "0", 9, 9, "000"), open("ET", "251", "0", 9, 9), open("GH", "233", "0", 9, 9), plan("SN", "221", 9, 9),
	plan("CI", "225", 10, 10),
}
