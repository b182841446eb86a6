package geo

import (
	"fmt"
	"strings"
)

// Code is an ISO 3166-1 alpha-2 country code in two bytes, in capitals; zero: unknown.
type Code [2]byte

// String is the code in capitals, or "" for unknown.
func (c Code) String() string {
	if c == (Code{}) {
		return ""
	}
	return string(c[:])
}

// MarshalText is the code as JSON shows it.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// assigned are the codes of ISO 3166-1, and XK, which is what databases call Kosovo.
const assigned = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW " +
	"BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM " +
	"FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE " +
	"JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP " +
	"MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA " +
	"RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR " +
	"TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"

// slips are codes that are often written and are none, with the one that is meant.
var slips = map[string]string{"UK": "GB", "EN": "GB", "EL": "GR", "SU": "RU", "YU": "RS", "TP": "TL", "ZR": "CD", "AN": "CW, SX and BQ"}

// ParseCode reads the code of a country as an administrator writes it: two letters, in any case. A code that is not
// assigned is an error: a rule on it would never fire.
func ParseCode(text string) (Code, error) {
	code := strings.ToUpper(strings.TrimSpace(text))
	if meant := slips[code]; meant != "" {
		return Code{}, fmt.Errorf("%q is not the code of a country; write %s", text, meant)
	}
	if len(code) != 2 || !strings.Contains(assigned, code) {
		return Code{}, fmt.Errorf("%q is not the code of a country; write its two letters of ISO 3166-1, such as DE", text)
	}
	return Code{code[0], code[1]}, nil
}

// readCode takes a code out of a database. What is none there means unknown: empty, ?? or ZZ, and the numbered and
// regional codes of older databases (A1, EU, AP), which name no country.
func readCode(text string) Code {
	if len(text) != 2 {
		return Code{}
	}
	c := Code{text[0] &^ 0x20, text[1] &^ 0x20}
	if !strings.Contains(assigned, string(c[:])) || c[1] < 'A' {
		return Code{}
	}
	return c
}
