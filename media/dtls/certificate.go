package dtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"sallyport/media"
)

// fingerprint hashes a certificate in DER.
func fingerprint(h media.Hash, certificate []byte) (f media.Fingerprint) {
	f.Hash = h
	switch h {
	case media.SHA256:
		sum := sha256.Sum256(certificate)
		copy(f.Value[:], sum[:])
	case media.SHA384:
		sum := sha512.Sum384(certificate)
		copy(f.Value[:], sum[:])
	case media.SHA512:
		sum := sha512.Sum512(certificate)
		copy(f.Value[:], sum[:])
	case media.NoHash:
	}
	return f
}

// lifetime is long, since nobody looks at it: the fingerprint alone counts, and it goes with signalling's process.
const lifetime = 10 * 365 * 24 * time.Hour

// NewCertificate makes a key and its own certificate, which says nothing of who we are.
func NewCertificate(now time.Time) (c tls.Certificate, own media.Fingerprint, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, own, fmt.Errorf("media/dtls: key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return c, own, fmt.Errorf("media/dtls: serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "media"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(lifetime),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return c, own, fmt.Errorf("media/dtls: certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint(media.SHA256, der), nil
}

// certificateOf is the certificate that is kept, or a new one, which is kept from now on.
func certificateOf(kept *media.Certificate, now time.Time) (c tls.Certificate, own media.Fingerprint, err error) {
	if kept == nil {
		return NewCertificate(now)
	}
	if c, err = restore(*kept); err == nil {
		return c, fingerprint(media.SHA256, c.Certificate[0]), nil
	}
	// Calls with other keys than those of handshakes are worth more than what was told of the one that cannot be read.
	if c, own, err = NewCertificate(now); err != nil {
		return c, own, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return c, own, fmt.Errorf("media/dtls: key: %w", err)
	}
	*kept = media.Certificate{DER: c.Certificate[0], Key: key}
	return c, own, nil
}

// restore reads a certificate and its key.
func restore(kept media.Certificate) (c tls.Certificate, err error) {
	leaf, err := x509.ParseCertificate(kept.DER)
	if err != nil {
		return c, fmt.Errorf("media/dtls: certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(kept.Key)
	if err != nil {
		return c, fmt.Errorf("media/dtls: key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(leaf.PublicKey) {
		return c, errors.New("media/dtls: the key is not that of the certificate")
	}
	return tls.Certificate{Certificate: [][]byte{kept.DER}, PrivateKey: key}, nil
}
