package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// tls checks that TLS and WebSocket listeners have what they prove themselves by, and that the files fit together.
func (c *checker) tls() {
	t := &c.doc.Outside.TLS
	var wanted string // the key of a TLS listener
	for _, l := range listeners(c.doc) {
		if l.transport.Secure() && wanted == "" {
			wanted = l.path
		}
	}
	switch {
	case wanted == "" && *t == (TLSSection{}):
		return
	case wanted == "" && t.Certificate != "" && t.Key != "":
		c.warn("outside.tls", "add tls: 5061 to outside.phones or outside.trunks, or remove the section", "nobody listens on TLS")
	}
	whose := "a client_ca alone proves nothing to clients"
	if wanted != "" {
		whose = wanted + " needs it"
	}
	for _, f := range []struct{ path, value string }{{"outside.tls.certificate", t.Certificate}, {"outside.tls.key", t.Key}} {
		switch {
		case f.value != "":
		case t.Certificate != "" || t.Key != "":
			c.fail(f.path, "write outside: { tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key } }", "missing: neither works without the other")
		default:
			c.fail(f.path, "write outside: { tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key } }", "missing: %s", whose)
		}
	}
	c.pair(t)
	if data, ok := c.pemFile("outside.tls.client_ca", t.ClientCA, false); ok {
		c.certificates("outside.tls.client_ca", data)
	}
}

// pair reads certificate and key.
func (c *checker) pair(t *TLSSection) {
	chain, chainOK := c.pemFile("outside.tls.certificate", t.Certificate, false)
	key, keyOK := c.pemFile("outside.tls.key", t.Key, true)
	if !chainOK || !c.certificates("outside.tls.certificate", chain) || !keyOK {
		return
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		c.fail("outside.tls.key", "give the PEM key, without a passphrase, that the first certificate of the chain was made for",
			"%s and %s: %s", t.Key, t.Certificate, strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	c.names(pair.Leaf)
}

// names looks whether the certificate is for a name that phones may call their server by: they compare (RFC 5922 §7.2),
// and the name that they call stands in their REGISTER.
func (c *checker) names(leaf *x509.Certificate) {
	const path = "outside.tls.certificate"
	matches := func(host string) bool { return leaf.VerifyHostname(host) == nil }
	switch {
	case leaf == nil || slices.ContainsFunc(servedDomains(c.doc), matches):
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		c.warn(path, "get one with the server's name as subjectAltName", "names no host: phones that look at it refuse it")
	case len(leaf.DNSNames) > 0 && c.doc.registrar():
		c.report.note(c.from.problem(path, "it is for "+leaf.DNSNames[0]+", which is none of the domains that phones may register in",
			"add the name to phones.domains, or make it the outbound proxy of phones"))
	}
}

// pemFile reads a file; false if it is not named or cannot be used, which has been said then.
func (c *checker) pemFile(path, name string, secret bool) ([]byte, bool) {
	if name == "" || c.unread(path) {
		return nil, false
	}
	if !strings.HasPrefix(name, "/") {
		c.absolute(path, name)
		return nil, false
	}
	data, mode, err := c.disk.read(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.fail(path, "let the user that runs sbc read it: chown root:sbc, chmod 0640", "%s: %s", name, err)
		return nil, false
	case err != nil:
		c.fail(path, "name a PEM file", "%s: %s", name, err)
		return nil, false
	case secret && mode.Perm()&0o007 != 0:
		c.fail(path, "chown root:sbc "+name+" and chmod 0640 it; if it was readable for long, make a new key",
			"%s is open to every user of this machine (%#o)", name, mode.Perm())
		return nil, false
	}
	return data, true
}

// certificates checks that a file holds certificates, all of which can be read.
func (c *checker) certificates(path string, data []byte) bool {
	found := false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			c.fail(path, "write it anew from the authority's files", "a certificate in it cannot be read: %s", strings.TrimPrefix(err.Error(), "x509: "))
			return false
		}
		found = true
	}
	if !found {
		c.fail(path, "name a PEM file that begins with -----BEGIN CERTIFICATE-----", "no certificate in it")
	}
	return found
}
