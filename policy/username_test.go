package policy

import (
	"strings"
	"testing"
)

// TestNames: whom a field names, and where.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		field, aor, host string
		ok               bool
	}{
		{"<sip:204@example.com>;tag=1", "204@example.com", "example.com", true},
		{"sip:204@example.com;tag=1", "204", "example.com", true},
		{"<sip:%3204@Example.COM:5061;x=y>", "204@elsewhere.example", "Example.COM", true},
		{"<sip:Bob@example.com.?Subject=x>", "sip:b%6Fb@example.com", "example.com.", true},
		{"<sip:204:secret@[2001:db8::1]:5060>", "204", "[2001:db8::1]", true},
		{"<sip:204@[2001:db8::1>", "204", "[2001", true},
		{`"sip:204@example.com" <sip:999@x>`, "204@example.com", "x", false},
		{`"sip:204@example.com" <sip:999@x>`, "999", "x", true},
		{"<sip:2040@example.com>", "204", "example.com", false},
		{"<sip:204@>", "204", "", true},
		{"<sip:example.com>", "", "", false},
		{"<tel:+4930123>", "+4930123", "", false},
		{"", "204", "", false},
	} {
		host, ok := Names([]byte(c.field), c.aor)
		if ok != c.ok || string(host) != c.host {
			t.Errorf("%s names %s: %v, at %q", c.field, c.aor, ok, host)
		}
	}
}

// FuzzNames: a field names the user that is found in it, and no other one.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{`"sip:204@x" <sip:%3204@[2001:db8::1]:5060>;tag=1`, "sip:a:b@c;d", "<@", "[", ":@]["} {
		f.Add([]byte(seed), "204")
	}
	f.Fuzz(func(t *testing.T, field []byte, user string) {
		s := Subject{From: field}
		var room [maxUserName]byte
		found := string(s.userName(&room))
		host, ok := Names(field, user)
		if want := found != "" && found == foldUser(user); ok != want {
			t.Errorf("%q names %q: %v, but %q is found", field, user, ok, found)
		}
		if !strings.Contains(string(field), string(host)) || strings.ContainsAny(string(host), ";? ") && host[0] != '[' {
			t.Errorf("%q is no host of %q", host, field)
		}
	})
}
