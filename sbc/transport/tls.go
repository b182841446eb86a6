package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// TLS is this side's certificate, and whose certificates it believes.
type TLS struct {
	certificate, key, clientCA string

	accepts *tls.Config // one for all connections: it holds the keys of session tickets
	now     atomic.Pointer[identity]
	trusts  atomic.Pointer[x509.CertPool] // of servers; nil: the system's
}

// identity is what one reading of the files gave. It never changes.
type identity struct {
	server      *tls.Config
	asking      *tls.Config    // of who may be known by a certificate
	clients     *x509.CertPool // authorities of clients; nil: they need no certificate
	certificate *tls.Certificate
}

// LoadTLS reads a certificate (PEM, with the intermediate ones behind it) and its key. With clientCA, a PEM file of one
// or more authorities, who connects must show a certificate of theirs; "" asks for none.
//
// TLS 1.2 is the least (RFC 8996), the library's choice of ciphers holds, and there is no renegotiation.
func LoadTLS(certFile, keyFile, clientCA string) (*TLS, error) {
	t := &TLS{certificate: certFile, key: keyFile, clientCA: clientCA}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	t.accepts = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.now.Load().server, nil },
	}
	return t, nil
}

// Reload reads the files again. Connections that are made later use what it found, live ones stay as they are. With an
// error everything is as before.
func (t *TLS) Reload() error {
	cert, err := tls.LoadX509KeyPair(t.certificate, t.key)
	if err != nil {
		return fmt.Errorf("tls: certificate %s with key %s: %w", t.certificate, t.key, err)
	}
	server := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if t.clientCA != "" {
		pem, err := os.ReadFile(t.clientCA)
		if err != nil {
			return fmt.Errorf("tls: client_ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls: client_ca %s holds no certificate: give a PEM file", t.clientCA)
		}
		server.ClientCAs, server.ClientAuth = pool, tls.RequireAndVerifyClientCert
		// A resumed session would not show its certificate again, and an authority may be taken out of the file.
		server.SessionTicketsDisabled = true
	}
	// A session that is resumed would be one of before its certificate was judged.
	asking := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
	}
	t.now.Store(&identity{server: server, asking: asking, clients: server.ClientCAs, certificate: &cert})
	return nil
}

// Ends is when the certificate ends (RFC 5280 §4.1.2.5).
func (t *TLS) Ends() time.Time {
	if leaf := t.now.Load().certificate.Leaf; leaf != nil {
		return leaf.NotAfter
	}
	return time.Time{}
}

// Trust adds authorities, in PEM, to those of the system that servers' certificates may come from.
func (t *TLS) Trust(pem []byte) error {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without any
	}
	if old := t.trusts.Load(); old != nil {
		pool = old.Clone()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("tls: no certificate of an authority: give PEM")
	}
	t.trusts.Store(pool)
	return nil
}

// server puts TLS on an accepted connection. asks has the client shown its certificate if it has one, whoever signed it:
// somebody else judges it.
func (t *TLS) server(raw net.Conn, asks bool) net.Conn {
	if asks {
		return tls.Server(raw, t.now.Load().asking)
	}
	return tls.Server(raw, t.accepts)
}

// client puts TLS on a dialled connection. The peer must prove who it is; it may ask for our certificate.
func (t *TLS) client(raw net.Conn, who *Identity, remote netip.AddrPort) net.Conn {
	return tls.Client(raw, t.demands(who, remote))
}
