package tu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"time"
)

// Seed is what a user is born with; its ids and random delays are a function of it, so that a recorded run replays.
type Seed [16]byte

// TagKey signs the tags that we give out, so that the guard knows a tag of ours without a table. One a process. It may
// be used from any goroutine.
type TagKey struct{ k0, k1 uint64 }

// NewTagKey makes the key from 16 random bytes.
func NewTagKey(k [16]byte) *TagKey {
	return &TagKey{k0: binary.LittleEndian.Uint64(k[:8]), k1: binary.LittleEndian.Uint64(k[8:])}
}

// A tag is 64 random bits and a 32-bit MAC in base 32. The last letter holds one bit.
const (
	tagLen  = 20
	macSize = 4
)

func (k *TagKey) mac(random []byte) (sum [macSize]byte) {
	binary.LittleEndian.PutUint32(sum[:], uint32(sipHash(k.k0, k.k1, binary.LittleEndian.Uint64(random))))
	return sum
}

// Owns reports whether this process gave out the tag. It does not allocate. There is one spelling of a tag.
func (k *TagKey) Owns(tag []byte) bool {
	if len(tag) != tagLen {
		return false
	}
	var raw [tagLen * 5 / 8]byte
	if !decode(raw[:], tag) {
		return false
	}
	sum := k.mac(raw[:8])
	return subtle.ConstantTimeCompare(sum[:], raw[8:]) == 1
}

// IDs makes a user's identifiers: AES in counter mode under the user's seed. Make it with NewIDs, or with NewFewIDs.
type IDs struct {
	block   cipher.Block // nil: SipHash, and in is its key
	key     *TagKey
	n       uint64
	in, out [aes.BlockSize]byte
}

// NewIDs starts the sequence of a seed.
func NewIDs(seed Seed, key *TagKey) IDs {
	b, err := aes.NewCipher(seed[:])
	if err != nil {
		panic(err) // 16 bytes are always a key
	}
	return IDs{block: b, key: key}
}

// NewFewIDs starts the sequence of a seed for a user that lives shortly and needs an id or two: SipHash in the place of AES,
// which as a pseudorandom function of a secret seed serves as well and has no half kilobyte of round keys to be made first.
func NewFewIDs(seed Seed, key *TagKey) IDs { return IDs{key: key, in: seed} }

// next is 16 fresh bytes, good until the next call.
func (g *IDs) next() []byte {
	g.n++
	if g.block == nil {
		k0, k1 := binary.LittleEndian.Uint64(g.in[:8]), binary.LittleEndian.Uint64(g.in[8:])
		binary.LittleEndian.PutUint64(g.out[:8], sipHash(k0, k1, 2*g.n))
		binary.LittleEndian.PutUint64(g.out[8:], sipHash(k0, k1, 2*g.n+1))
		return g.out[:]
	}
	binary.BigEndian.PutUint64(g.in[8:], g.n)
	g.block.Encrypt(g.out[:], g.in[:])
	return g.out[:]
}

// CallID is a fresh Call-ID of 128 random bits. It names no host.
func (g *IDs) CallID() string { return encode("", g.next()) }

// Tag is a fresh tag: 64 random bits and a MAC by which the guard knows it (RFC 3261 §19.3 asks for 32 bits).
func (g *IDs) Tag() string {
	raw := g.next()[:8+macSize]
	sum := g.key.mac(raw[:8])
	copy(raw[8:], sum[:])
	return encode("", raw)
}

// Number is a fresh number below 2³¹: a first CSeq, an SDP session id.
func (g *IDs) Number() uint32 { return binary.BigEndian.Uint32(g.next()) >> 1 }

// Between is a random duration in [low, high): the back-off of RFC 3261 §14.1, jitter of a probe.
func (g *IDs) Between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(binary.BigEndian.Uint64(g.next())%uint64(high-low))
}

// Block is 16 fresh bytes: a seed.
func (g *IDs) Block() (b [16]byte) {
	copy(b[:], g.next())
	return b
}

// Branch is a fresh Via branch (RFC 3261 §8.1.1.7: the cookie, then what is unique across space and time).
func (g *IDs) Branch() string { return encode("z9hG4bK", g.next()[:15]) }
