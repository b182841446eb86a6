package media

import "github.com/pion/srtp/v3"

// suiteTable is what the suites differ in. Lengths are in bytes.
var suiteTable = [suites]struct {
	name      string
	profile   srtp.ProtectionProfile
	key, salt int
	tag       int // of an SRTP packet
	control   int // tag of an SRTCP packet, where it stands behind the index; 0: before it
}{
	NoCrypto: {name: "none"},
	// RFC 4568 §6.2: the short tag is for SRTP alone, SRTCP always has 80 bits.
	AES128CM80: {"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14, 10, 10},
	AES128CM32: {"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14, 4, 10},
	// RFC 6188 §4.
	AES256CM80: {"AES_256_CM_HMAC_SHA1_80", srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14, 10, 10},
	AES256CM32: {"AES_256_CM_HMAC_SHA1_32", srtp.ProtectionProfileAes256CmHmacSha1_32, 32, 14, 4, 10},
	// RFC 7714 §12; §9.3: the index is the last word of an SRTCP packet.
	AEADAES128GCM: {"AEAD_AES_128_GCM", srtp.ProtectionProfileAeadAes128Gcm, 16, 12, 16, 0},
	AEADAES256GCM: {"AEAD_AES_256_GCM", srtp.ProtectionProfileAeadAes256Gcm, 32, 12, 16, 0},
}

// String is the suite's name as SDP writes it.
func (s Suite) String() string { return suiteTable[s%suites].name }

// KeyLen is the length of a master key with its salt, in bytes; 0 for NoCrypto.
func (s Suite) KeyLen() int { return suiteTable[s%suites].key + suiteTable[s%suites].salt }

// String tells the suite and no key: what prints a Want or a leg prints no secret.
func (c Crypto) String() string { return c.Suite.String() }

// GoString does the same for %#v.
func (c Crypto) GoString() string { return c.Suite.String() }

// context makes the state of one direction of a stream under a master key. The replay lists are our own: see index.
func (s Suite) context(master *[maxKey]byte) (*srtp.Context, error) {
	t := &suiteTable[s%suites]
	return srtp.CreateContext(master[:t.key], master[t.key:t.key+t.salt], t.profile)
}
