package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	"sallyport/sbc"
	"sallyport/sbc/config"
)

// load reads the configuration, and looks at the time and into the country database as well, which the reading of it does
// not.
func load(flags config.Flags) (*config.Snapshot, config.Report) {
	snap, report := config.Load(flags.Path(), flags)
	if snap != nil && snap.TLS.Certificate != "" {
		if leaf := leafOf(snap.TLS.Certificate); leaf != nil {
			lasts(snap, leaf, time.Now(), &report)
		}
	}
	if snap != nil && snap.Policy.Countries.Database != "" && !countries(snap, time.Now(), &report) {
		return nil, report
	}
	return snap, report
}

// countries looks into the country database. It reports false for one that cannot be read: rules would mean something else
// without it.
func countries(snap *config.Snapshot, now time.Time, report *config.Report) bool {
	path := snap.Policy.Countries.Database
	p := placed(snap, "policy.countries.database")
	db, err := sbc.OpenCountries(path)
	if err != nil {
		p.What, p.Hint = err.Error(), "name an MMDB file, a text or CSV list, or a file of `make geo`"
		report.Errors = append(report.Errors, p)
		return false
	}
	if p.What = sbc.CountriesWarning(path, db, now); p.What != "" {
		report.Warnings = append(report.Warnings, p)
	}
	return true
}

// leafOf is the first certificate of a file; nil if there is none: config has said so, unless the file changed since.
func leafOf(file string) *x509.Certificate {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return leaf
	}
	return nil
}

// lasts says how long a certificate counts (RFC 5280 §4.1.2.5). One that does not is no error: the phones that do not use
// TLS, or do not look, are served all the same.
func lasts(snap *config.Snapshot, leaf *x509.Certificate, now time.Time, report *config.Report) {
	const renew = "renew it (`certbot renew`), then sbc reload"
	p := placed(snap, "outside.tls.certificate")
	begins, ends := leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339)
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		p.What, p.Hint = "expired at "+ends+": phones that look at it do not connect", renew
	case now.Before(leaf.NotBefore):
		p.What, p.Hint = "counts from "+begins+" only: phones that look at it do not connect", "is the clock of this machine right?"
	case left < sbc.CertificateSoon:
		p.What, p.Hint = fmt.Sprintf("ends at %s, in %d days", ends, left/(24*time.Hour)), renew
	default:
		p.What = "good until " + ends
		if self := bytes.Equal(leaf.RawIssuer, leaf.RawSubject); self {
			p.What, p.Hint = p.What+", signed by itself", "phones must be told to trust it"
		}
		report.Notes = append(report.Notes, p)
		return
	}
	report.Warnings = append(report.Warnings, p)
}

// placed is a problem where a key of the file was written.
func placed(snap *config.Snapshot, key string) config.Problem {
	p := config.Problem{File: snap.Path(), Path: key}
	if _, err := fmt.Sscanf(strings.TrimPrefix(snap.Place(key), snap.Path()), ":%d:%d", &p.Line, &p.Col); err != nil {
		p.Line, p.Col = 0, 0
	}
	return p
}
