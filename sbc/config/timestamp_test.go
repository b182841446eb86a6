package config

import "testing"

func TestTimestamp(t *testing.T) {
	checkValues[Timestamp](t, []valueCase{
		{text: "", want: ""},
		{text: "2027-01-31", want: "2027-01-31T00:00:00Z"},
		{text: "2027-01-31T18:00:00Z", want: "2027-01-31T18:00:00Z"},
		{text: "2027-01-31T18:00:00.5+02:00", want: "2027-01-31T16:00:00.5Z"},
		{text: "tomorrow", bad: "not a time", hint: "2027-01-31"},
		{text: "2027-02-30", bad: "not a time", hint: "2027-01-31"},
		{text: "31.1.2027", bad: "not a time", hint: "2027-01-31"},
	})
}
