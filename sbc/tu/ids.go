package tu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// Seed is what a user is born with; its ids and random delays are a function of it, so that a recorded run replays.
type Seed [16]byte

// TagKey signs the tags that we give out, so that the guard knows a tag of ours without a table. One a process.
type TagKey struct{ block cipher.Block }

// NewTagKey makes the key from 16 random bytes.
func NewTagKey(k [16]byte) *TagKey {
	b, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // 16 bytes are always a key
	}
	return &TagKey{block: b}
}

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// tagLen is the length of a tag: 64 random bits and a 32-bit MAC in base 32.
const tagLen = 20

func (k *TagKey) mac(random []byte) (sum [4]byte) {
	var in, out [16]byte
	copy(in[:], random)
	in[15] = 't'
	k.block.Encrypt(out[:], in[:])
	copy(sum[:], out[:4])
	return sum
}

// Owns reports whether this process gave out the tag. It does not allocate.
func (k *TagKey) Owns(tag []byte) bool {
	if len(tag) != tagLen {
		return false
	}
	var raw [13]byte
	if n, err := idText.Decode(raw[:], tag); err != nil || n != 12 {
		return false
	}
	sum := k.mac(raw[:8])
	return subtle.ConstantTimeCompare(sum[:], raw[8:12]) == 1
}

// IDs makes a user's identifiers: AES in counter mode under the user's seed.
type IDs struct {
	block cipher.Block
	key   *TagKey
	n     uint64
}

// NewIDs starts the sequence of a seed.
func NewIDs(seed Seed, key *TagKey) IDs {
	b, err := aes.NewCipher(seed[:])
	if err != nil {
		panic(err) // 16 bytes are always a key
	}
	return IDs{block: b, key: key}
}

func (g *IDs) next() (out [16]byte) {
	var in [16]byte
	g.n++
	binary.BigEndian.PutUint64(in[8:], g.n)
	g.block.Encrypt(out[:], in[:])
	return out
}

// CallID is a fresh Call-ID of 128 random bits. It names no host.
func (g *IDs) CallID() string {
	r := g.next()
	return idText.EncodeToString(r[:])
}

// Tag is a fresh tag: 64 random bits and a MAC by which the guard knows it (RFC 3261 §19.3 asks for 32 bits).
func (g *IDs) Tag() string {
	var raw [12]byte
	r := g.next()
	copy(raw[:8], r[:8])
	sum := g.key.mac(raw[:8])
	copy(raw[8:], sum[:])
	return idText.EncodeToString(raw[:])
}

// Number is a fresh number below 2³¹: a first CSeq, an SDP session id.
func (g *IDs) Number() uint32 {
	r := g.next()
	return binary.BigEndian.Uint32(r[:4]) >> 1
}

// Between is a random duration in [low, high): the back-off of RFC 3261 §14.1, jitter of a probe.
func (g *IDs) Between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	r := g.next()
	return low + time.Duration(binary.BigEndian.Uint64(r[:8])%uint64(high-low))
}

// Block is 16 fresh bytes: a seed, a branch.
func (g *IDs) Block() []byte {
	r := g.next()
	return r[:]
}

// Branch is a fresh Via branch (RFC 3261 §8.1.1.7: the cookie, then what is unique across space and time).
func (g *IDs) Branch() string {
	r := g.next()
	return "z9hG4bK" + idText.EncodeToString(r[:15])
}
