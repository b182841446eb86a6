package route

import (
	"regexp"
	"strings"
	"testing"

	"sallyport/sbc/message"
)

func uri(scheme, user string) message.URI {
	return message.URI{Scheme: scheme, User: user, Host: "10.0.0.2"}
}

func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		name, user, want string
	}{
		{"plain", "4930123", "4930123"},
		{"international", "+4930123", "+4930123"},
		{"escaped plus", "%2B4930123", "+4930123"},
		{"escaped digits", "%2b4%39%33%30123", "+4930123"},
		{"escaped service code", "%2A43%23", "*43#"},
		{"a broken escape is a name's", "49%3g", "49%3g"},
		{"an escaped letter is a name's", "49%41", "49%41"},
		{"visual separators", "+49(30)12-3.4", "+49301234"},
		{"user parameters", "4930123;phone-context=+49", "4930123"},
		{"password is no number", "4930123:secret", "4930123"},
		{"parameters and password", "4930123;isub=1:secret", "4930123"},
		{"a name keeps its dots", "john.doe", "john.doe"},
		{"a name keeps its dashes", "front-desk", "front-desk"},
		{"service code", "*43#", "*43#"},
		{"plus inside is a name", "49+30", "49+30"},
		{"separators alone are a name", "-.", "-."},
		{"a plus alone is a name", "+", "+"},
		{"other digits are a name's", "٣٤", "٣٤"},
		{"empty", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Number(uri("sip", tt.user)); got != tt.want {
				t.Errorf("Number(%q) = %q, want %q", tt.user, got, tt.want)
			}
		})
	}
}

// TestRead: RFC 3966 and RFC 3261 §19.1.6, both spellings of one number alike.
func TestRead(t *testing.T) {
	germany, _ := CountryOf("de")
	for _, tt := range []struct {
		uri  string
		home *Country
		want Dialled
	}{
		{"tel:+49-30-1234567", nil, Dialled{"+49301234567", "+49301234567"}},
		{"sip:+49-30-1234567@example.com;user=phone", nil, Dialled{"+49301234567", "+49301234567"}},
		{"tel:+1-201-555-0123;ext=7;isub=12345", nil, Dialled{"+12015550123", "+12015550123"}},
		{"sip:+12015550123;ext=7;isub=12345@h;user=phone", nil, Dialled{"+12015550123", "+12015550123"}},
		{"tel:030-1234567;phone-context=example.com", germany, Dialled{"0301234567", "+49301234567"}},
		{"tel:030-1234567;phone-context=example.com", nil, Dialled{"0301234567", ""}},
		{"tel:0301234567;phone-context=+49", nil, Dialled{"0301234567", "+49301234567"}},
		{"sip:0301234567;phone-context=+49@h;user=phone", nil, Dialled{"0301234567", "+49301234567"}},
		{"sip:0301234567;phone-context=+43@h", germany, Dialled{"0301234567", "+43301234567"}}, // as Austria dials
		{"tel:911;phone-context=+1", germany, Dialled{"911", ""}},                              // "+1-911" is no number
		{"tel:863-1234;phone-context=+1-914-555", germany, Dialled{"8631234", ""}},             // the two are not put together
		{"tel:2015550123;phone-context=+1-914", germany, Dialled{"2015550123", "+12015550123"}},
		{"sip:0301234567;PHONE-CONTEXT=%2B43@h", germany, Dialled{"0301234567", "+49301234567"}}, // no global number, so a domain
		{"sip:030123456@h", germany, Dialled{"030123456", "+4930123456"}},
		{"sip:alice@h", germany, Dialled{"alice", ""}},
		{"sip:alice;x=1@h", germany, Dialled{"alice", ""}},
		{"sip:204@h", germany, Dialled{"204", ""}},
		{"urn:service:sos", germany, Dialled{"service:sos", ""}},
		{"sip:h", germany, Dialled{}},
	} {
		u, err := message.ParseURI(tt.uri)
		if err != nil {
			t.Fatal(tt.uri, err)
		}
		if got := tt.home.Read(u); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.uri, got, tt.want)
		}
	}
	if got := (Dialled{"030", "+4930"}).String() + (Dialled{"+4930", "+4930"}).String(); got != "030 (+4930)+4930" {
		t.Error(got)
	}
}

// FuzzNumber: what comes out is stable, holds no separators if it is a number, and no parameters ever.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"", "+49(30)12-3.4", "%2B49", "john.doe", "100;phone-context=x", "a:b;c", "-", "+", "%2b%2B", "٣٤", "\xff", "%%32B"} {
		f.Add(s)
	}
	dialled := regexp.MustCompile(`^\+?[0-9*#]+$`)
	separators := strings.NewReplacer("-", "", ".", "", "(", "", ")", "")
	f.Fuzz(func(t *testing.T, user string) {
		n := Number(message.URI{Scheme: "sip", User: user})
		if strings.ContainsAny(n, ";:") {
			t.Errorf("%q became %q with parameters", user, n)
		}
		if again := Number(message.URI{Scheme: "sip", User: n}); again != n {
			t.Errorf("%q became %q became %q", user, n, again)
		}
		if plain := separators.Replace(n); plain != n && dialled.MatchString(plain) {
			t.Errorf("%q became %q, a number with separators", user, n)
		}
	})
}

// FuzzRead: whatever URI comes, what is read of it is a number of the public network or none, and reads back as itself; written
// in any form the URI can be parsed.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"tel:+49-30-1;phone-context=+4", "tel:0;phone-context=;phone-context=+1", "sip:030123;phone-context=x:y@h;user=phone", "tel:+",
		"sip:0049(0)30123@h", "sip:%30%30%34%39301234@h", "sip:8103912345@h", "tel:+1-2.3;isub=a;ext=1", "sips:00@h;user=ip", "sip:00400000000@a", "a:0", "sip:0000000@a",
	} {
		f.Add(s, uint8(0))
	}
	f.Fuzz(func(t *testing.T, text string, at uint8) {
		u, err := message.ParseURI(text)
		if err != nil {
			return
		}
		c := &countries[int(at)%len(countries)]
		d := c.Read(u)
		if d.E164 != "" {
			if !strings.HasPrefix(d.E164, "+") || !allDigits(d.E164[1:]) || len(d.E164) > 16 || CallingCode(d.E164[1:]) == "" {
				t.Fatalf("%s: %+v", text, d)
			}
			if again := c.Read(uri("sip", d.E164)); again.E164 != d.E164 {
				t.Fatalf("%s: %s reads %+v", text, d.E164, again)
			}
		}
		for form := range Form(len(forms)) {
			s := Shape{Country: c, Form: form, Phone: at%2 == 0}
			out, changed := s.Apply(u)
			if changed != (out != u) {
				t.Fatalf("%s in form %s: changed is %v: %s", text, form, changed, out)
			}
			if back, err := message.ParseURI(out.String()); err != nil || back != out {
				t.Fatalf("%s in form %s: %s: %v", text, form, out, err)
			}
			if d.E164 == "" && out.User != u.User {
				t.Fatalf("%s in form %s: %s, and nobody knows what it dials", text, form, out)
			}
			if again, changed := s.Apply(out); changed && form != FormDialled && form != FormE164 {
				t.Fatalf("%s in form %s: %s, then %s", text, form, out, again)
			}
		}
	})
}

// TestReadings: whoever judges numbers sees all that the one that is sent a URI may make of it.
func TestReadings(t *testing.T) {
	for _, tt := range []struct{ country, user, params, want string }{
		{"", "alice", "", ""},
		{"", "90123456", "", ""},
		{"", "+37190123456", "", "+37190123456"},
		{"", "+49 (0)30", "", ""},
		{"DE", "030123456", "", "+4930123456"},
		{"DE", "112", "", ""},
		{"US", "01137190123456", "", "+37190123456"},
		{"JP", "01037190123456", "", "+37190123456"},
		{"AU", "001137190123456", "", "+37190123456"},
		{"", "90123456;phone-context=+371", "", "+37190123456"},
		{"DE", "90123456;phone-context=%2B371", "", "+37190123456"},
		{"DE", "90123456", ";phone-context=+371;user=phone", "+37190123456"},
		{"DE", "0301234;phone-context=+53", "", "+53301234 +49301234 +530301234"},
		{"DE", "5551;phone-context=+882-16", "", "+882165551"}, // no country: nobody knows how it dials
		{"DE", "2345678;phone-context=+1-212", "", "+12122345678"},
		{"DE", "030123456;phone-context=example.com", "", "+4930123456"},
		{"DE", "030123456;phone-context=+", "", "+4930123456"},
		{"DE", "*21;phone-context=+371", "", ""},
	} {
		c, _ := CountryOf(tt.country)
		got := c.Readings(message.URI{Scheme: "sip", User: tt.user, Host: "x.example", Params: tt.params})
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s %s%s: %v, want %s", tt.country, tt.user, tt.params, got, tt.want)
		}
	}
}
