package config

import (
	"crypto/tls"
	"net/netip"
	"slices"
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

// Same reports whether two trunks want the same.
func (t *TrunkTLS) Same(o *TrunkTLS) bool {
	return t.Certificate == o.Certificate && t.Key == o.Key && t.CA == o.CA && slices.Equal(t.Names, o.Names)
}

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

// sharedTLS warns of trunks that lead to one place by TLS and do not want the same of it: connections to an address are shared, and
// the first section counts. What DNS alone leads together shows when it has been asked, in the log.
func (c *checker) sharedTLS() {
	type section struct {
		TrunkTLS
		trunk string
		given bool
	}
	first := map[string]*section{} // by place
	for i := range c.doc.Trunks {
		t := &c.doc.Trunks[i]
		s := &section{TrunkTLS: buildTrunkTLS(&t.TLS), trunk: t.Name}
		s.given = s.Given()
		for _, place := range t.placesOfTLS() {
			old := first[place]
			switch {
			case old == nil:
				first[place] = s
				continue
			case old.trunk == s.trunk || old.Same(&s.TrunkTLS):
				continue
			case old.given:
				c.warn(index("trunks", i)+".tls", "give both the same tls, or ask the provider for another address or port",
					"trunk %s leads to %s by TLS as well: connections are shared, and its tls counts for both", old.trunk, place)
			default:
				c.warn(index("trunks", i)+".tls", "give trunk "+old.trunk+" the same tls, or ask the provider for another address or port",
					"trunk %s leads to %s by TLS as well, without tls: connections are shared, and what stands here counts for both", old.trunk, place)
				first[place] = s
			}
			break // said once of a trunk
		}
	}
}

// placesOfTLS are the places that connections of TLS are made to for a trunk, as they are written.
func (t *TrunkEntry) placesOfTLS() (out []string) {
	list := slices.Clone(t.Peers)
	if t.registers() {
		e, _ := t.Registration.target()
		list = append(list, PeerEntry{Address: e, Transport: t.Registration.Transport})
	}
	for _, p := range list {
		switch {
		case p.Transport != nat.TLS.String() || !p.Address.given():
		case p.Address.Name.Host != "":
			out = append(out, p.Address.Name.String())
		default:
			out = append(out, p.Address.AddrPort.String())
		}
	}
	return out
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
