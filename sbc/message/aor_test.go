package message

import (
	"strings"
	"testing"
)

func TestAoR(t *testing.T) {
	for in, want := range map[string]string{
		"sip:204@10.0.0.1":                     "204@example.com",
		"sip:%3204@10.0.0.1":                   "204@example.com",
		"sips:204:secret@x;user=phone":         "204@example.com",
		"sip:204@x:5060":                       "204@example.com",
		"sip:204;phone-context=a.b@x;user=ip":  "204@example.com",
		"sip:204%3Bisub=1@x?Subject=1":         "204@example.com",
		"sip:Alice@x":                          "Alice@example.com",
		"sip:alice%40example.org@x":            "alice%40example.org@example.com",
		"sip:x":                                "",
		"sip:204%00@x":                         "",
		"sip:;isub=1@x":                        "",
		"tel:+4930":                            "+4930@example.com",
		"tel:%2B4930;phone-context=+49":        "+4930@example.com",
		"sip:204%0D%0AX-Injected%3A%201@x":     "",
		"sip:%22%3Cscript%3E@x":                "%22%3Cscript%3E@example.com",
		"sip:204@xn--bcher-kva.example;lr;ttl": "204@example.com",
	} {
		u, err := ParseURI(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if got := u.AoR("Example.COM."); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestUserName(t *testing.T) {
	for in, want := range map[string]string{
		"sip:204:secret@x": "204", "sips:%3204;isub=1:secret@x": "%3204;isub=1", "sip:x": "", "urn:service:sos": "service:sos", "tel:+49-30": "+49-30",
	} {
		u, err := ParseURI(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if got := u.UserName(); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestSplitAoR(t *testing.T) {
	for in, want := range map[string][2]string{
		"204":                              {"204", ""},
		"%3204":                            {"204", ""},
		"204@Example.COM":                  {"204", "example.com"},
		"SIP:%32%30%34:pw@example.com.":    {"204", "example.com"},
		"sips:204;isub=1@x:5061;user=ip":   {"204", "x"},
		"204@[2001:DB8:0::1]:5060":         {"204", "2001:db8::1"},
		"204@2001:db8:0:0:0:0:0:1":         {"204", "2001:db8::1"},
		"alice%40a.example@b.example":      {"alice%40a.example", "b.example"},
		"204@":                             {"204", ""},
		"@x":                               {"", "x"},
		"":                                 {"", ""},
		"204%00@x":                         {"", "x"},
		"jörg@x":                           {"j%C3%B6rg", "x"},
		"204@example.com>;tag=1":           {"204", "example.com"},
		"sip@example.com":                  {"sip", "example.com"},
		"00%3A11%3A22%3A33@example.com:53": {"00%3A11%3A22%3A33", "example.com"},
	} {
		if user, host := SplitAoR(in); user != want[0] || host != want[1] {
			t.Errorf("%q: %q at %q, want %q", in, user, host, want)
		}
	}
}

func TestPlainHost(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "192.0.2.1": "192.0.2.1", "": "", ".": "",
		"[2001:DB8::0001]": "2001:db8::1", "2001:db8:0:0:0:0:0:1": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1", "[::1": "::1", "a:b": "a:b",
	} {
		if got := PlainHost(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzAoR: an address-of-record, read again, is itself.
func FuzzAoR(f *testing.F) {
	for _, s := range []string{"sip:204@example.com", "sip:%3204;isub=1:pw@[2001:DB8:0::1]:5060;user=phone", "tel:+4930;ext=1", "sip:a%00b@x", "urn:service:sos"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		aor := u.AoR(u.Host)
		if aor == "" {
			return
		}
		user, host := SplitAoR(aor)
		if user+"@"+host != aor || strings.Count(aor, "@") != 1 || strings.ContainsAny(aor, " \"<>\r\n\x00") {
			t.Fatalf("%q is %q, and that is %q at %q", s, aor, user, host)
		}
		again := URI{Scheme: "sip", User: user, Host: host}
		if got := again.AoR(host); got != aor {
			t.Fatalf("%q is %q, and that is %q", s, aor, got)
		}
	})
}
