package authority

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

func TestAuthority(t *testing.T) {
	a, b := New("a"), New("b")
	for _, when := range []time.Time{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Now()} {
		for _, c := range []struct {
			what string
			cert tls.Certificate
			name string
			ok   bool
		}{
			{"a name", a.Issue("gw.example", "192.0.2.1"), "gw.example", true},
			{"an address", a.Issue("gw.example", "192.0.2.1"), "192.0.2.1", true},
			{"an IPv6 address", a.Issue("2001:db8::1"), "2001:db8::1", true},
			{"another name", a.Issue("gw.example"), "evil.example", false},
			{"another authority", b.Issue("gw.example"), "gw.example", false},
			{"signed by itself", (*Authority)(nil).Issue("gw.example"), "gw.example", false},
			{"out of its time", a.Sign(x509.Certificate{DNSNames: []string{"gw.example"}, NotAfter: time.Date(1999, 6, 1, 0, 0, 0, 0, time.UTC)}), "gw.example", false},
		} {
			_, err := c.cert.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: c.name, CurrentTime: when})
			if (err == nil) != c.ok {
				t.Errorf("%s in %d: %v", c.what, when.Year(), err)
			}
		}
	}
}

func TestWrite(t *testing.T) {
	a := New("a")
	own := a.Issue("gw.example")
	cert, key := Write(t, t.TempDir(), "gw", own)
	back, err := tls.LoadX509KeyPair(cert, key)
	if err != nil || !back.Leaf.Equal(own.Leaf) {
		t.Errorf("read back: %v", err)
	}
	if p := x509.NewCertPool(); !p.AppendCertsFromPEM(a.PEM()) || !p.Equal(a.Pool()) {
		t.Error("the authority's own file is another one")
	}
	if one, two := a.Issue("x").Leaf.SerialNumber, a.Issue("x").Leaf.SerialNumber; one.Cmp(two) == 0 {
		t.Error("two certificates with one serial number")
	}
}
