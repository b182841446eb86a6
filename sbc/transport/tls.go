package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
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
	t.now.Store(&identity{server: server, certificate: &cert})
	return nil
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

// server puts TLS on an accepted connection.
func (t *TLS) server(raw net.Conn) net.Conn { return tls.Server(raw, t.accepts) }

// client puts TLS on a dialled connection. The peer must prove the name; it may ask for this side's certificate.
func (t *TLS) client(raw net.Conn, name string) net.Conn {
	return tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: name, RootCAs: t.trusts.Load(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.now.Load().certificate, nil },
	})
}
