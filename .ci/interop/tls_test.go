//go:build interop

package interop

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport/nat/natlab/authority"
)

// certificates writes ca.crt, and tls.crt and tls.key of the gate.
func (w *world) certificates(t *testing.T) {
	t.Helper()
	ca := authority.New("interop CA")
	authority.Write(t, w.dir, "ca", ca.Certificate)
	authority.Write(t, w.dir, "tls", ca.Sign(x509.Certificate{
		Subject: pkix.Name{CommonName: domain}, IPAddresses: []net.IP{net.ParseIP(gateOutside)},
		DNSNames: []string{domain, gateOutside}, // linphone looks for an address among the names
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), // telephones look at how long it counts
	}))
}

// trust is how a client of the test's own knows the gate.
func (w *world) trust(t *testing.T) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: pool, ServerName: domain, MinVersion: tls.VersionTLS12}
}

// tunnel is a listener at a phone's host whose connections continue over TLS to the gate: its address.
func (w *world) tunnel(t *testing.T, x extension, gate string) string {
	t.Helper()
	l := w.listen(t, x.ns, x.address+":0")
	trust := w.trust(t)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			conn, err := w.dial(t, x.ns, "", gate)
			if err != nil {
				near.Close()
				continue
			}
			go join(near, tls.Client(conn, trust))
		}
	}()
	return l.Addr().String()
}

// join copies both ways until one side ends.
func join(a, b net.Conn) {
	go func() {
		_, _ = io.Copy(a, b)
		a.Close()
		b.Close()
	}()
	_, _ = io.Copy(b, a)
	a.Close()
	b.Close()
}
