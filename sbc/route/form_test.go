package route

import (
	"testing"

	"sallyport/sbc/message"
)

func TestForms(t *testing.T) {
	for f := range Form(len(forms)) {
		if got, ok := ParseForm(f.String()); !ok || got != f {
			t.Errorf("%s is %s", f, got)
		}
	}
	if _, ok := ParseForm("local"); ok {
		t.Error("local")
	}
	for _, tt := range []struct {
		home string
		form Form
		in   string
		want string
	}{
		{"DE", FormPlus, "sip:0301234567@h", "sip:+49301234567@h"},
		{"DE", FormE164, "sip:0301234567@h", "sip:49301234567@h"},
		{"DE", FormNational, "sip:+49301234567@h", "sip:0301234567@h"},
		{"DE", FormInternational, "sip:0301234567@h", "sip:0049301234567@h"},
		{"DE", FormNational, "sip:+442079460123@h", "sip:00442079460123@h"},
		{"DE", FormDialled, "sip:030-1234567@h", "sip:030-1234567@h"},
		{"DE", FormPlus, "sip:030-1234567@h", "sip:+49301234567@h"},
		{"DE", FormPlus, "sip:0301234567;isub=9;phone-context=example.com@h;user=phone", "sip:+49301234567;isub=9@h;user=phone"},
		{"DE", FormPlus, "sip:0301234567:secret@h", "sip:+49301234567@h"},
		{"DE", FormPlus, "sip:204@h", "sip:204@h"},
		{"DE", FormPlus, "sip:alice@h", "sip:alice@h"},
		{"DE", FormPlus, "sip:112@h", "sip:112@h"},
		{"DE", FormPlus, "sip:%2A21%23@h", "sip:%2A21%23@h"},
		{"DE", FormNational, "tel:030-1234567;phone-context=+49;ext=5", "tel:+49301234567;ext=5"},
		{"DE", FormE164, "tel:+49301234567", "tel:+49301234567"},
		{"US", FormNational, "sip:+12015550123@h", "sip:2015550123@h"},
		{"US", FormInternational, "sip:2015550123@h", "sip:01112015550123@h"},
		{"", FormE164, "sip:+12015550123@h", "sip:12015550123@h"},
		{"", FormPlus, "sip:0301234567@h", "sip:0301234567@h"},
		{"", FormNational, "sip:+12015550123@h", "sip:+12015550123@h"}, // the configuration does not allow it
		{"DE", FormPlus, "urn:service:sos", "urn:service:sos"},
	} {
		u, err := message.ParseURI(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := CountryOf(tt.home)
		s := Shape{Country: c, Form: tt.form}
		got, changed := s.Apply(u)
		if got.String() != tt.want || changed != (tt.in != tt.want) {
			t.Errorf("%s in %q, form %s: %s (%v), want %s", tt.in, tt.home, tt.form, got, changed, tt.want)
		}
	}
}

// TestUserPhone: RFC 3261 §19.1.1. A name gets no such parameter, and what is said stays said.
func TestUserPhone(t *testing.T) {
	s := Shape{Phone: true, Keep: []string{"112"}}
	for in, want := range map[string]string{
		"sip:+49301234567@h":              "sip:+49301234567@h;user=phone",
		"sip:204@h;cpc=ordinary":          "sip:204@h;cpc=ordinary;user=phone",
		"sip:204@h;user=ip":               "sip:204@h;user=ip",
		"sip:+49301234567@h;User=phone":   "sip:+49301234567@h;User=phone",
		"sip:alice@h":                     "sip:alice@h",
		"sip:h":                           "sip:h",
		"tel:+49301234567":                "tel:+49301234567",
		"sip:112@h":                       "sip:112@h",
		"sip:030;phone-context=example@h": "sip:030;phone-context=example@h;user=phone",
	} {
		u, err := message.ParseURI(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, changed := s.Apply(u); got.String() != want || changed != (in != want) {
			t.Errorf("%s: %s (%v), want %s", in, got, changed, want)
		}
	}
}
