package credentials

import (
	"fmt"
	"strings"
	"testing"
)

// TestNonce: what somebody could read in another way is not plain, whatever is taken for the nonce then.
func TestNonce(t *testing.T) {
	for field, want := range map[string]string{
		`Digest realm="r", nonce="n"`:                      "n plain",
		`Digest realm="r",NONCE=n , qop="auth"`:            "n plain",
		"Digest nonce\t=\t\"n,=1/\",,nc=00000001":          "n,=1/ plain",
		`Digest username="a", opaque=",nonce=", nonce="n"`: "n plain",
		`Digest username=" nonce=\"x\"", nonce="n"`:        "n plain",
		`Digest cnonce="x", nextnonce="y"`:                 " plain",
		`Digest username="204", nonce=""`:                  " plain",
		``:                                                 " plain",
		`Digest nonce="x", nonce="n"`:                      "x",
		`Digest nonce="\n"`:                                "",
		`Digest nonce="n", Digest nonce="m"`:               "n",
		`Digest nonce="n" uri="sip:x"`:                     "n",
		`Digest nonce="n`:                                  "",
		`Digest nonce='n', nonce`:                          "'n'",
		"Digest nonce=\"n\x00\"":                           "",
	} {
		got, plain := Nonce(field)
		if plain {
			got += " plain"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
}

// FuzzNonce: a plain nonce is the one that Parse finds.
func FuzzNonce(f *testing.F) {
	for _, s := range []string{`Digest nonce="a", cnonce=b`, `Digest opaque=",nonce=", nonce = n`, `Digest nonce="a\"", nonce=b`, `A B="c`, `nonce="a"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		nonce, plain := Nonce(field)
		list := Parse(field)
		if plain && len(list) == 1 {
			if other, _ := list[0].Get("nonce"); other != nonce {
				t.Errorf("%q is read as %q and as %q", field, nonce, other)
			}
		}
	})
}

func TestRemembered(t *testing.T) {
	for value, want := range map[string]string{
		`Digest realm="example.com", nonce="abc", qop="auth"`: "abc",
		`Digest NONCE="abc"`:                                                      "abc",
		`Digest cnonce="wrong",nonce="abc"`:                                       "abc",
		`Digest username="nonce=", cnonce="x", response="y"`:                      "",
		`Digest username="204", realm="r", nonce="n,=1/", uri="sip:x", nc=000001`: "n,=1/",
		`Digest nonce="never ends`:                                                "",
		`Digest nonce=""`:                                                         "",
		``:                                                                        "",
		`Digest nonce="` + fmt.Sprintf("%0300d", 1) + `"`:                         "",
	} {
		if got := Remembered(value); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func FuzzRemembered(f *testing.F) {
	f.Add(`Digest cnonce="wrong",nonce="abc"`)
	f.Add(`nonce="nonce="nonce="`)
	f.Fuzz(func(t *testing.T, value string) {
		if n := Remembered(value); len(n) > nonceMost {
			t.Errorf("%q is too long to be kept", n)
		}
	})
}

// TestUsernames: all that somebody could take for one, and whether that is all.
func TestUsernames(t *testing.T) {
	for field, want := range map[string]string{
		`Digest username="204", nonce="n"`:                           `["204"] true`,
		"digest\tnonce=n,, USERNAME = 204 ,":                         `["204"] true`,
		` Digest username="2,username=5"`:                            `["2,username=5"] true`,
		`Digest username="dom\\204"`:                                 `["dom\\\\204"] true`,
		`Digest username*=UTF-8''J%C3%A4s%C3%B8n, nonce="n"`:         `["UTF-8''J%C3%A4s%C3%B8n"] true`,
		`Digest username="204", nonce="n", username="205"`:           `["204" "205"] true`,
		`Digest opaque=",username=", username="", cusername="205"`:   `[""] true`,
		`Digest nonce="n"`:                                           `[] true`,
		`Bearer eyJhbGciOiJ.x/y==`:                                   `[] true`,
		`Digest`:                                                     `[] true`,
		``:                                                           `[] true`,
		`Digest username="204" username="205"`:                       `["204"] false`,
		`Digest username="204", x; username="205"`:                   `["204"] false`,
		`Digest username="204`:                                       `[] false`,
		`Digest, username="205"`:                                     `[] false`,
		"Digest username=\"204\x00\"":                                `[] false`,
		`Digest x="` + strings.Repeat("x", 5000) + `", username="2"`: `[] false`,
	} {
		names, whole := Usernames(field)
		if got := fmt.Sprintf("%q %v", names, whole); got != want {
			t.Errorf("%.60s: %s, want %s", field, got, want)
		}
	}
}

// FuzzUsernames: credentials that Parse reads have the user name that it finds, and no other.
func FuzzUsernames(f *testing.F) {
	for _, s := range []string{`Digest username="a", nonce=b`, `Digest opaque=",username=", username = n`, `Digest username="a\"", nonce=b`, `A B="c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		names, whole := Usernames(field)
		list := Parse(field)
		if len(list) != 1 || !SameToken(list[0].Scheme, "Digest") {
			return
		}
		want, has := list[0].Get("username")
		if _, extended := list[0].Get("username*"); extended {
			return
		}
		if !whole || has != (len(names) == 1) || has && names[0] != want {
			t.Errorf("%q is read as %q (whole: %v) and as %q", field, names, whole, want)
		}
	})
}
