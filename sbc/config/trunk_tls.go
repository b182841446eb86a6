package config

import (
	"crypto/tls"
	"net/netip"
	"strings"

	"sallyport/nat"
)

// TrunkTLSSection is how a provider and we prove to each other who we are, on connections of TLS. The files are PEM; a reload
// reads them anew.
type TrunkTLSSection struct {
	Certificate string `yaml:"certificate" reload:"live"` // what we show this provider; "": that of outside.tls
	Key         string `yaml:"key" reload:"live"`         // not readable by everybody
	CA          string `yaml:"ca" reload:"live"`          // authorities of its certificates; "": the system's
	Names       Words  `yaml:"names" reload:"live"`       // its certificate is for one of these; none: for what its peers are called
}

// TrunkTLS is how a provider proves who it is, and we to it.
type TrunkTLS struct {
	Certificate, Key string // "": that of the listeners
	CA               string // "": the system's
	Names            []string
}

// Given reports whether the trunk has a TLS of its own.
func (t *TrunkTLS) Given() bool { return t.Certificate != "" || t.CA != "" || len(t.Names) > 0 }

func buildTrunkTLS(s *TrunkTLSSection) TrunkTLS {
	return TrunkTLS{Certificate: s.Certificate, Key: s.Key, CA: s.CA, Names: s.Names}
}

// trunkTLS checks who a provider has to be.
func (c *checker) trunkTLS(path string, t *TrunkEntry) {
	s := &t.TLS
	if s.Certificate == "" && s.Key == "" && s.CA == "" && len(s.Names) == 0 {
		return
	}
	at := path + ".tls"
	if !c.speaksTLS(t) {
		c.fail(at, "give a peer transport: tls, or open tls: 5081 in outside.trunks", "the trunk has no way of TLS")
	}
	for i, name := range s.Names {
		if _, err := netip.ParseAddr(name); err != nil && !domainRE.MatchString(strings.TrimPrefix(name, "*.")) {
			c.fail(index(at+".names", i), "write the name as the certificate has it, such as sip.example.net", "%q is no name of a certificate", name)
		}
	}
	switch {
	case (s.Certificate == "") != (s.Key == ""):
		missing := at + ".key"
		if s.Key != "" {
			missing = at + ".certificate"
		}
		c.fail(missing, "name both files, or neither: then outside.tls is shown", "missing: neither works without the other")
	case s.Certificate != "":
		chain, chainOK := c.pemFile(at+".certificate", s.Certificate, false)
		key, keyOK := c.pemFile(at+".key", s.Key, true)
		if !chainOK || !c.certificates(at+".certificate", chain) || !keyOK {
			break
		}
		if _, err := tls.X509KeyPair(chain, key); err != nil {
			c.fail(at+".key", "give the PEM key, without a passphrase, that the first certificate of the chain was made for",
				"%s and %s: %s", s.Key, s.Certificate, strings.TrimPrefix(err.Error(), "tls: "))
		}
	}
	if data, ok := c.pemFile(at+".ca", s.CA, false); ok {
		c.certificates(at+".ca", data)
	}
}

// speaksTLS reports whether a connection of TLS to or from a trunk can be.
func (c *checker) speaksTLS(t *TrunkEntry) bool {
	if c.doc.Outside.Trunks.TLS != 0 {
		return true
	}
	for _, p := range t.places() {
		if p.Transport == nat.TLS.String() {
			return true
		}
	}
	return false
}
