package dtls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/media"
)

// A certificate that is kept is shown again; one that cannot be is replaced, and the new one is kept.
func TestCertificateIsKept(t *testing.T) {
	var kept media.Certificate
	first, own, err := certificateOf(&kept, time.Now())
	if err != nil || kept.Empty() || !bytes.Equal(first.Certificate[0], kept.DER) {
		t.Fatalf("%v, empty: %v", err, kept.Empty())
	}
	said := kept
	again, print, err := certificateOf(&kept, time.Now())
	if err != nil || print != own || !again.PrivateKey.(*ecdsa.PrivateKey).Equal(first.PrivateKey) || !bytes.Equal(kept.Key, said.Key) {
		t.Errorf("%v: another one", err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]media.Certificate{
		"nothing":            {},
		"no key":             {DER: said.DER},
		"another key":        {DER: said.DER, Key: key},
		"no certificate":     {DER: []byte("junk"), Key: said.Key},
		"a key that is none": {DER: said.DER, Key: []byte("junk")},
	} {
		c, print, err := certificateOf(&bad, time.Now())
		if err != nil || print == own || print != fingerprint(media.SHA256, c.Certificate[0]) || !bytes.Equal(bad.DER, c.Certificate[0]) {
			t.Errorf("%s: %v", name, err)
		}
		if _, again, err := certificateOf(&bad, time.Now()); err != nil || again != print {
			t.Errorf("%s: the new one is not kept: %v", name, err)
		}
	}
	if _, print, err := certificateOf(nil, time.Now()); err != nil || print == own {
		t.Errorf("%v: nobody keeps one", err)
	}
}

// Whatever prints one by mistake prints no key.
func TestKeyIsNotPrinted(t *testing.T) {
	c := media.Certificate{DER: []byte("public"), Key: []byte("secret")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, &c} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "secret") || strings.Contains(text, fmt.Sprint([]byte("secret"))) || strings.Contains(text, "0x73") {
				t.Errorf("%s: %s", verb, text)
			}
		}
	}
}
