package replay

import (
	"slices"
	"testing"
	"time"

	"sallyport/sbc/scan"
)

func TestFields(t *testing.T) {
	text := sip{method: "REGISTER", extra: "m: \"a, \\\" b\" <sip:204@192.0.2.1:5060;transport=udp>;q=1;expires=60,sips:b@c;EXPIRES=5\r\nContact: <sip:d@e>\r\n" +
		"Expires: 300\r\nWWW-Authenticate: Digest realm=\"nonce=\", cnonce=\"no\", nonce=\"yes\", stale=TRUE\r\n"}.String()
	var v scan.View
	if err := scan.Scan([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	got := fieldsOf(&v)
	if len(got.contacts) != 3 || got.contacts[0] != (contact{"204@192.0.2.1:5060", time.Minute}) || got.contacts[1] != (contact{"b@c", 5 * time.Second}) ||
		got.contacts[2] != (contact{"d@e", -1}) || got.expires != 5*time.Minute || len(got.nonces) != 1 || got.nonces[0] != "yes" || !got.stale || got.star || got.over {
		t.Errorf("%+v", got)
	}
	text = sip{method: "NOTIFY", extra: "Authorization: Digest username=\"a\",\r\n\t nonce=\"n\"\r\nPROXY-Authorization:\r\nsubscription-state: Terminated ; reason=timeout\r\n"}.String()
	if err := scan.Scan([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if got := fieldsOf(&v); !slices.Equal(got.credentials, []string{`Digest username="a", nonce="n"`, ""}) || !got.over {
		t.Errorf("%+v", got)
	}
	for in, want := range map[string][2]string{
		"<sip:204@example.com:5060;user=phone>": {"204", "example.com"}, "sip:204:secret@[2001:db8::1]:5061": {"204", "[2001:db8::1]"},
		"<sip:204;isub=1@example.com>": {"204", "example.com"},
		"<sip:example.com:5060>":       {"", "example.com"}, "<sip:a@[": {"a", "["}, "": {"", ""},
	} {
		if user, host := person([]byte(in)); user != want[0] || host != want[1] {
			t.Errorf("%q: %q at %q, want %q", in, user, host, want)
		}
	}
}
