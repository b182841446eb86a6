package media

// Hash is the function of a certificate's fingerprint (RFC 8122 §5). SHA-1 and MD5 are none: who can make two certificates of
// one fingerprint can be anybody.
type Hash uint8

// The hash functions.
const (
	NoHash Hash = iota
	SHA256
	SHA384
	SHA512

	hashes
)

// Valid reports whether it is one of the functions.
func (h Hash) Valid() bool { return h > NoHash && h < hashes }

// Size is the length of its fingerprints in bytes.
func (h Hash) Size() int { return [...]int{0, 32, 48, 64}[h%hashes] }

// String is the function's name in SDP.
func (h Hash) String() string { return [...]string{"none", "sha-256", "sha-384", "sha-512"}[h%hashes] }

// Fingerprint is a hash over a certificate; the bytes behind the hash's length are zero.
type Fingerprint struct {
	Hash  Hash
	Value [64]byte
}

// Role is who begins a DTLS handshake (RFC 8842 §5.2: setup).
type Role uint8

// The roles.
const (
	NoDTLS  Role = iota
	Passive      // the peer begins
	Active       // we begin

	roles
)

// Identity is how a leg's peer shows who it is: by the certificate of a DTLS handshake, whose keys protect the leg (RFC 5763).
type Identity struct {
	Role  Role
	Print Fingerprint // of the peer's certificate, as signalling vouched for
}
