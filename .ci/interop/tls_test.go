//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// identity is a certificate with its key.
type identity struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue makes an identity, signed by another one or, with nil, by itself.
func issue(t *testing.T, template x509.Certificate, by *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{certificate, key}
}

// certificates writes ca.crt, and tls.crt and tls.key of the gate.
func (w *world) certificates(t *testing.T) {
	t.Helper()
	ca := issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: "interop CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	own := issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: domain}, IPAddresses: []net.IP{net.ParseIP(gateOutside)},
		DNSNames: []string{domain, gateOutside}, // linphone looks for an address among the names
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca)
	key, err := x509.MarshalPKCS8PrivateKey(own.key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"ca.crt":  {Type: "CERTIFICATE", Bytes: ca.certificate.Raw},
		"tls.crt": {Type: "CERTIFICATE", Bytes: own.certificate.Raw},
		"tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(w.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
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
