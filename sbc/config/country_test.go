package config

import "testing"

func TestCountries(t *testing.T) {
	checkValues[Country](t, []valueCase{
		{text: "DE", want: "DE"}, {text: "de", want: "DE"}, {text: "No", want: "NO"}, {text: "XK", want: "XK"},
		{text: "UK", bad: `"UK" is not the code`, hint: "write GB"},
		{text: "el", bad: `"el" is not the code`, hint: "write GR"},
		{text: "XX", bad: `"XX" is not the code`, hint: "two letters"},
		{text: "EU", bad: `"EU" is not the code`, hint: "two letters"}, // no country, and no database says so of an address
		{text: "DEU", bad: "not the code", hint: "ISO 3166-1"},
		{text: "", bad: "not the code", hint: "DE"},
	})
}
