// Package authority signs the certificates of tests: of gates, providers, nodes and phones, good ones and ones that must not be
// believed. They count in virtual time, which begins in the year 2000, and in ours. It is for tests alone.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Authority signs certificates. That of nil are signed by themselves.
type Authority struct{ tls.Certificate }

// New is an authority by a name.
func New(name string) *Authority {
	return &Authority{(*Authority)(nil).Sign(x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})}
}

var serial atomic.Int64

// Sign makes a key and a certificate for it. Serial number and, where the template has none, times are given to it.
func (a *Authority) Sign(template x509.Certificate) tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template.SerialNumber = big.NewInt(serial.Add(1))
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	parent, by := &template, any(key)
	if a != nil {
		parent, by = a.Leaf, a.PrivateKey
	}
	der := must(x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, by))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

// Issue is a certificate for names and IP addresses; the first one is its subject, too.
func (a *Authority) Issue(names ...string) tls.Certificate {
	c := x509.Certificate{}
	for i, n := range names {
		if i == 0 {
			c.Subject.CommonName = n
		}
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	return a.Sign(c)
}

// Pool is what whoever trusts the authority trusts.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Leaf)
	return p
}

// PEM is the authority's own certificate, as files have it.
func (a *Authority) PEM() []byte {
	cert, _ := PEM(a.Certificate)
	return cert
}

// PEM is a certificate and its key as files have them.
func PEM(c tls.Certificate) (cert, key []byte) {
	der := must(x509.MarshalPKCS8PrivateKey(c.PrivateKey))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write puts a certificate and its key into NAME.crt and NAME.key of a folder.
func Write(t testing.TB, dir, name string, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	cert, key := PEM(c)
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// must ends a test whose machine can make no key.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("authority: %v", err))
	}
	return v
}
