package message

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCanonicalName(t *testing.T) {
	for in, want := range map[string]string{
		"i": "Call-ID", "I": "Call-ID", "call-id": "Call-ID", "CALL-ID": "Call-ID", "Call-ID": "Call-ID", "cseq": "CSeq", "v": "Via",
		"www-authenticate": "WWW-Authenticate", "MIME-VERSION": "MIME-Version", "rack": "RAck", "p-asserted-identity": "P-Asserted-Identity",
		"x-FOO-bar": "X-Foo-Bar", "X-Foo-Bar": "X-Foo-Bar", "q": "Q", "": "", "x": "Session-Expires", "a--b": "A--B", "X-": "X-", "1a": "1a",
		"sip-etag": "SIP-ETag", "e": "Content-Encoding", "diversion": "Diversion", "C%6Fntact": "C%6fntact",
	} {
		if got := CanonicalName(in); got != want {
			t.Errorf("CanonicalName(%q) = %q, want %q", in, got, want)
		}
	}
	if n := testing.AllocsPerRun(50, func() { _, _ = CanonicalName("CALL-ID"), CanonicalName("X-Foo-Bar") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCanonicalNameIsOneForAllSpellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-zA-Z0-9.%!*_+~'-]{1,80}`).Draw(t, "name")
		want := CanonicalName(name)
		for _, other := range []string{lower(name), upper(name), want} {
			if got := CanonicalName(other); got != want {
				t.Fatalf("%q is %q, %q is %q", name, want, other, got)
			}
		}
		if !ValidToken(want) {
			t.Fatalf("%q is no token", want)
		}
	})
}

func TestValidToken(t *testing.T) {
	for in, want := range map[string]bool{
		"INVITE": true, "a-b.c!d%e*f_g+h`i'j~k9": true, "": false, "a b": false, "a:b": false, "a\r": false, "a\x00": false, "\xc3\xa9": false, "a,b": false, "(": false,
	} {
		if ValidToken(in) != want {
			t.Errorf("ValidToken(%q) = %v", in, !want)
		}
	}
}

func TestPhrase(t *testing.T) {
	for code, want := range map[int]string{
		100: "Trying", 199: "Early Dialog Terminated", 200: "OK", 486: "Busy Here", 603: "Decline",
		150: "Session Progress", 250: "OK", 399: "Redirection", 499: "Request Failure", 599: "Server Failure", 699: "Global Failure",
	} {
		if got := Phrase(code); got != want {
			t.Errorf("Phrase(%d) = %q", code, got)
		}
	}
	for code, p := range phrases {
		if code < 100 || code > 699 || p == "" {
			t.Errorf("%d %q", code, p)
		}
	}
}
