package config

import (
	"slices"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	for text, want := range map[string]string{
		"https://phone.example.com": "https://phone.example.com", "HTTPS://Phone.Example.com:443": "https://phone.example.com",
		"https://a.example:8443": "https://a.example:8443", "http://localhost:80": "http://localhost", "http://[2001:db8::1]:8080": "http://[2001:db8::1]:8080",
		"https://a.example:80": "https://a.example:80", "file://": "file://", "capacitor://localhost": "capacitor://localhost", "null": "null",
		"https://a.example/": "", "https://": "", "https://:443": "", "a.example": "", "*": "", "": "", "https://a.example:": "", "https://a.example:0": "",
		"https://a.example\r\nX: y": "", "https://*.example.com": "",
	} {
		if got, ok := origin6454(text); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
	const open = "203.0.113.10, phones: { wss: 443 }, tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key } }"
	for _, c := range []struct {
		outside, list string
		want          []string
		problem       string
	}{
		{open, "[ https://b.example, https://A.example:443 ]", []string{"https://b.example", "https://a.example"}, ""},
		{open, "[]", nil, ""},
		{"203.0.113.10 }", "[ https://b.example ]", []string{"https://b.example"}, "none is open"},
		{open, "[ b.example ]", nil, `phones.origins[0]: "b.example" is no web site`},
		{open, "[ https://b.example, https://B.example ]", nil, "twice"},
	} {
		text := strings.NewReplacer("203.0.113.10 }", c.outside, "policy:", "phones: { domains: [ sbc.example.com ], origins: "+c.list+" }\npolicy:").Replace(valid)
		snap, report := parseText("f", []byte(text), Flags{})
		switch {
		case c.problem != "" && !strings.Contains(report.String(), c.problem), c.problem == "" && report.String() != "":
			t.Errorf("%s: %s", c.list, report.String())
		case c.want != nil && (snap == nil || !slices.Equal(snap.Phones.Origins, c.want)):
			t.Errorf("%s: %+v\n%s", c.list, snap, report.String())
		}
	}
}
