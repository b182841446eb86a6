package message

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseURI(t *testing.T) {
	tests := []struct {
		in   string
		want URI
		out  string // how it writes itself, if not as it was read
	}{
		{"sip:example.com", URI{Scheme: "sip", Host: "example.com"}, ""},
		{"sip:a@b", URI{Scheme: "sip", User: "a", Host: "b"}, ""},
		{"SIP:a@b", URI{Scheme: "sip", User: "a", Host: "b"}, "sip:a@b"},
		{"sips:a@b:5061", URI{Scheme: "sips", User: "a", Host: "b", Port: 5061}, ""},
		{"sip:a:secret@b", URI{Scheme: "sip", User: "a:secret", Host: "b"}, ""},
		{"sip:+1(555)-2;phone-context=x@h;user=phone", URI{Scheme: "sip", User: "+1(555)-2;phone-context=x", Host: "h", Params: ";user=phone"}, ""},
		{"sip:a?b/c@h", URI{Scheme: "sip", User: "a?b/c", Host: "h"}, ""},
		{"sip:%61%40b@h", URI{Scheme: "sip", User: "%61%40b", Host: "h"}, ""},
		{"sip:\xc3\xa9@h", URI{Scheme: "sip", User: "\xc3\xa9", Host: "h"}, ""},
		{"sip:[2001:db8::1]", URI{Scheme: "sip", Host: "2001:db8::1"}, ""},
		{"sip:a@[2001:db8::1]:5060;lr", URI{Scheme: "sip", User: "a", Host: "2001:db8::1", Port: 5060, Params: ";lr"}, ""},
		{"sip:[::ffff:192.0.2.1]", URI{Scheme: "sip", Host: "::ffff:192.0.2.1"}, ""},
		{"sip:192.0.2.1:65535", URI{Scheme: "sip", Host: "192.0.2.1", Port: 65535}, ""},
		{"sip:h:05060", URI{Scheme: "sip", Host: "h", Port: 5060}, "sip:h:5060"},
		{"sip:my_host.example.", URI{Scheme: "sip", Host: "my_host.example."}, ""},
		{"sip:9.example", URI{Scheme: "sip", Host: "9.example"}, ""},
		{"sip:h;transport=UDP;LR;x=%20", URI{Scheme: "sip", Host: "h", Params: ";transport=UDP;LR;x=%20"}, ""},
		{"sip:h;;a;", URI{Scheme: "sip", Host: "h", Params: ";a"}, "sip:h;a"},
		{"sip:h?Subject=x&To=sip:a%40b", URI{Scheme: "sip", Host: "h", Headers: "?Subject=x&To=sip:a%40b"}, ""},
		{"sip:a@h;p?Replaces=1@2", URI{Scheme: "sip", User: "a", Host: "h", Params: ";p", Headers: "?Replaces=1@2"}, ""},
		{"sip:h?", URI{Scheme: "sip", Host: "h"}, "sip:h"},
		{"tel:+1-555-0100", URI{Scheme: "tel", User: "+1-555-0100"}, ""},
		{"tel:911;phone-context=+1;ext=3", URI{Scheme: "tel", User: "911", Params: ";phone-context=+1;ext=3"}, ""},
		{"urn:service:sos", URI{Scheme: "urn", User: "service:sos"}, ""},
		{"HTTP://www.example.com/a;b?c", URI{Scheme: "http", User: "//www.example.com/a;b?c"}, "http://www.example.com/a;b?c"},
		{"soap.beep://192.0.2.1", URI{Scheme: "soap.beep", User: "//192.0.2.1"}, ""},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v %v", tt.in, got, err)
		}
		if tt.out == "" {
			tt.out = tt.in
		}
		if s := got.String(); s != tt.out {
			t.Errorf("%q writes itself as %q", tt.in, s)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for _, in := range []string{
		"", "sip", "sip:", ":a", "a@b", "*", "1sip:a", "s_p:a", "sip:@h", "sip::pw@h", "sip:a@", "sip:a@b@c", "sip:a@h;x=@",
		"sip:h:", "sip:h:0", "sip:h:65536", "sip:h:000001", "sip:h:+5", "sip:h:5060x", "sip:2001:db8::1", "sip:[2001:db8::1", "sip:[fe80::1%eth0]",
		"sip:[192.0.2.1]", "sip:[::1]x", "sip:[::1]:", "sip:[2001:db8:::1]", "sip:1.2.3", "sip:1.2.3.4.5", "sip:256.1.1.1", "sip:010.1.1.1", "sip:2130706433",
		"sip:.h", "sip:-h", "sip:a..b", "sip:h\u00e9", "sip:a b@h", "sip:<h>", "sip:\"a\"@h", "sip:a\t@h", "sip:a\r\n@h", "sip:a\x00@h", "sip:a\x7f@h",
		"sip:h;=x", "sip:h;x=a,b", "sip:h;a,b", "sip:h?a b", "sip:" + strings.Repeat("a", 256), "tel:", "tel:;x", "tel:a@b", "tel:1?x", "urn:",
	} {
		if u, err := ParseURI(in); err == nil {
			t.Errorf("%q: %+v", in, u)
		}
	}
}

func TestURIParam(t *testing.T) {
	u, err := ParseURI("sip:h;Transport=TCP;lr;empty=;transport=UDP")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"transport": "TCP", "LR": "", "empty": ""} {
		if v, ok := u.Param(name); !ok || v != want {
			t.Errorf("%s = %q %v", name, v, ok)
		}
	}
	if _, ok := u.Param("tran"); ok {
		t.Error("found a parameter that is not there")
	}
	if _, ok := (URI{Params: `;a="`}).Param("b"); ok {
		t.Error("broken list")
	}
}

func TestURIOfPartsReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := URI{
			Scheme:  rapid.SampledFrom([]string{"sip", "sips"}).Draw(t, "scheme"),
			User:    rapid.StringMatching(`([a-zA-Z0-9+.;=?&/%-][a-zA-Z0-9:+.;=?&/%-]{0,9})?`).Draw(t, "user"),
			Host:    rapid.SampledFrom([]string{"h", "example.com", "192.0.2.1", "2001:db8::1"}).Draw(t, "host"),
			Port:    rapid.Uint16().Draw(t, "port"),
			Params:  rapid.StringMatching(`(;[a-z]{1,4}(=[a-zA-Z0-9%:-]{1,4})?){0,3}`).Draw(t, "params"),
			Headers: rapid.StringMatching(`(\?[a-zA-Z]{1,4}=[a-z@;%]{0,4})?`).Draw(t, "headers"),
		}
		if u.User == "" && strings.Contains(u.Headers, "@") {
			return // the first '@' would end a user part
		}
		got, err := ParseURI(u.String())
		if err != nil || got != u {
			t.Fatalf("%q: %+v %v", u.String(), got, err)
		}
	})
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:a:b@[2001:db8::1]:5060;lr;x=\"y\"?h=v", "tel:+1;ext=2", "sips:h", "urn:x:y", "sip:1.2.3.4", "sip:a;b?c@h;;d="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		out := u.String()
		if strings.ContainsAny(out, "\r\n\x00 <>\"") {
			t.Fatalf("%q writes %q", s, out)
		}
		if again, err := ParseURI(out); err != nil || again != u {
			t.Fatalf("%q: %+v, again %+v %v", s, u, again, err)
		}
		u.Param("lr")
	})
}
