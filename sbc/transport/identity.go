package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/policy"
)

// Identity is who a peer must prove to be on a connection that we make, and who we are to it. It never changes.
type Identity struct {
	Names       []string         // its certificate must be for one of them; none: for its address
	Roots       *x509.CertPool   // authorities that may say so; nil: the system's
	Certificate *tls.Certificate // what we show where it asks; nil: this side's
	Peer        *policy.Peer     // who speaks on such a connection; nil: its address says it
}

// Recogniser tells who a client is by the certificates that it showed, its own first; nil: nobody it knows.
type Recogniser func(chain []*x509.Certificate) *policy.Peer

// ProvesServer reports whether a chain of certificates that a server has shown, verified up to the roots, is for one of the names;
// the error says why not. nil roots are the system's.
func ProvesServer(chain []*x509.Certificate, roots *x509.CertPool, names []string) error {
	return proves(chain, roots, names, x509.ExtKeyUsageServerAuth)
}

// ProvesClient is ProvesServer for who has connected. A server that calls shows the certificate that it has as a server: public
// authorities make no others.
func ProvesClient(chain []*x509.Certificate, roots *x509.CertPool, names []string) error {
	return proves(chain, roots, names, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
}

func proves(chain []*x509.Certificate, roots *x509.CertPool, names []string, usages ...x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errNoCertificate
	}
	if err := verify(chain, roots, usages...); err != nil {
		return untrusted(chain[0], err)
	}
	if slices.ContainsFunc(names, func(name string) bool { return certifies(chain[0], name) }) {
		return nil
	}
	return differs(chain[0], names)
}

var errNoCertificate = errors.New("it has shown no certificate")

func verify(chain []*x509.Certificate, roots *x509.CertPool, usages ...x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: usages})
	return err
}

// identities are the names that a certificate is for, as RFC 5922 §7.1 finds them: SIP domains among its URIs, "if and only
// if [they] do not [exist] … any … DNS" names.
func identities(c *x509.Certificate) []string {
	var out []string
	sip := false
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "sip") {
			sip = true
			if !strings.Contains(u.Opaque, "@") { // a user's is no identity of a domain
				out = append(out, u.Opaque)
			}
		}
	}
	if sip {
		return out
	}
	out = append(out, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

// certifies compares whole names: "Implementations MUST NOT match any form of wildcard" (RFC 5922 §7.2). One that stands in
// the certificate with its wildcard can be named like that.
func certifies(c *x509.Certificate, name string) bool {
	if ip, err := netip.ParseAddr(name); err == nil {
		name = ip.Unmap().String()
	}
	return slices.ContainsFunc(identities(c), func(have string) bool {
		return strings.EqualFold(strings.TrimSuffix(have, "."), strings.TrimSuffix(name, "."))
	})
}

// demands is the side of a TLS client towards a peer.
func (t *TLS) demands(who *Identity, remote netip.AddrPort) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: remote.Addr().WithZone("").String(), RootCAs: t.trusts.Load(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.now.Load().certificate, nil },
	}
	if who == nil {
		return c
	}
	if who.Certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return who.Certificate, nil }
	}
	if who.Roots != nil {
		c.RootCAs = who.Roots
	}
	if len(who.Names) > 0 {
		c.ServerName = who.Names[0]
		roots, names := c.RootCAs, who.Names
		c.InsecureSkipVerify = true // the library would ask for one name, and take wildcards
		c.VerifyConnection = func(s tls.ConnectionState) error {
			return ProvesServer(s.PeerCertificates, roots, names)
		}
	}
	return c
}

// recognise finds out who a client is by its certificate, where somebody is known so at the interface. Who is not must satisfy
// client_ca as everywhere.
func (c *connection) recognise(who Recogniser) error {
	conn, ok := c.conn.(*tls.Conn)
	if who == nil || !ok {
		return nil
	}
	chain := conn.ConnectionState().PeerCertificates
	if len(chain) > 0 {
		if c.peer = who(chain); c.peer != nil {
			c.hub.recognised(c)
			return nil
		}
	}
	clients := c.hub.tls.Load().now.Load().clients
	switch {
	case clients == nil:
		return nil
	case len(chain) == 0:
		return errNoCertificate
	}
	return verify(chain, clients, x509.ExtKeyUsageClientAuth)
}

// recogniser is who knows clients of an interface by their certificates, or nil.
func (e *streams) recogniser() Recogniser {
	if e.Recognise == nil || e.face.Transport != nat.TLS {
		return nil
	}
	return e.Recognise(&e.face)
}

// recognised takes a connection off the strangers.
func (h *hub) recognised(c *connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.known {
		return
	}
	h.quiet(c)
	h.rested(c)
	if c.counted {
		h.gauges.Strangers.add(-1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = true
	if c.stranger {
		c.stranger = false
		h.strange.Add(-c.charged)
	}
}

// Peer names the system that a connection has proven to be by its certificate, also where we have made it; "": none, or the flow
// names no live connection.
func (s *Set) Peer(f nat.Flow) string {
	if f.Conn == 0 || f.Transport != nat.TLS {
		return ""
	}
	c := s.hub.find(f)
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer == nil {
		return ""
	}
	return c.peer.Name
}
