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

// lifetime is long, since nobody looks at it: the fingerprint alone counts, and it goes with the process.
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
