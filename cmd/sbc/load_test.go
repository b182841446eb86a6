package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/config"
)

// writePair writes a certificate for sip.example.com that counts from and until these times, signed by itself or not.
func writePair(t *testing.T, dir string, from, until time.Time, self bool) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sip.example.com"}, DNSNames: []string{"sip.example.com"},
		NotBefore: from, NotAfter: until,
	}
	issuer := leaf
	if !self {
		issuer = &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "authority"}}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestHowLongACertificateLasts: what does not count, or soon no more, is a warning with its place; a good one a note.
func TestHowLongACertificateLasts(t *testing.T) {
	now := time.Now()
	day := 24 * time.Hour
	for _, c := range []struct {
		name          string
		from, until   time.Duration
		self          bool
		warning, note string
	}{
		{"expired", -90 * day, -time.Hour, false, "expired at ", ""},
		{"to come", day, 90 * day, false, "counts from ", ""},
		{"soon", -80 * day, 5*day + time.Hour, false, "in 5 days", ""},
		{"good", -day, 89 * day, false, "", "good until "},
		{"self-made", -day, 89 * day, true, "", "signed by itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cert, key := writePair(t, dir, now.Add(c.from), now.Add(c.until), c.self)
			file := filepath.Join(dir, "sbc.yaml")
			text := "outside:\n  address: 203.0.113.10\n  tls: { certificate: " + cert + ", key: " + key + " }\ninside: { address: 10.0.0.2 }\n" +
				"pbx: { domain: sip.example.com, nodes: [ { address: 10.0.0.10 } ] }\npolicy: { rate_limits: [] }\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			snap, report := load(config.Flags{Config: file})
			if snap == nil {
				t.Fatal(report.Err())
			}
			found(t, report.Warnings, c.warning)
			found(t, report.Notes, c.note)
		})
	}
}

// found checks that exactly one problem of a certificate says so, with line and column; that none is there if want is
// empty.
func found(t *testing.T, problems []config.Problem, want string) {
	t.Helper()
	var of []config.Problem
	for _, p := range problems {
		if p.Path == "outside.tls.certificate" {
			of = append(of, p)
		}
	}
	switch {
	case want == "" && len(of) == 0:
	case want == "" || len(of) != 1 || !strings.Contains(of[0].What, want) || of[0].Line != 3 || of[0].Col == 0:
		t.Errorf("%+v, want %q at line 3", of, want)
	}
}

// TestCountryDatabase: check reads it; one that is none is an error, an old one a warning.
func TestCountryDatabase(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, content string
		ok            bool
		says          string
	}{
		{"fresh", "# made today\n198.51.100.0,198.51.100.255,DE\n", true, ""},
		{"none", "<html>not here</html>\n", false, "country database"},
	} {
		base := filepath.Join(dir, c.name)
		if err := os.WriteFile(base+".csv", []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		yaml := "outside: { address: 127.0.0.1 }\ninside: { address: 127.0.0.2 }\npbx: { domain: example.com, nodes: [ { address: \"127.0.0.3:5060\" } ] }\n" +
			"policy: { countries: { database: " + base + ".csv, list: [ DE ] } }\n"
		if err := os.WriteFile(base+".yaml", []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		snap, report := load(config.Flags{Config: base + ".yaml"})
		if (snap != nil) != c.ok || !strings.Contains(report.String(), c.says) {
			t.Errorf("%s: %v\n%s", c.name, snap != nil, report.String())
		}
	}
}
