package tu

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// NameKey makes names that are always the same for the same parts: over a retry, a refresh, and, since its key is kept,
// over a restart. It has a scratch of its own and belongs to one goroutine at a time.
type NameKey struct {
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// NewNameKey makes the key from 16 secret bytes.
func NewNameKey(k [16]byte) *NameKey { return &NameKey{mac: hmac.New(sha256.New, k[:])} }

// of is the keyed hash of the parts, each with its length in front: "a", "bc" is not "ab", "c". The kind keeps names of
// different use apart.
func (k *NameKey) of(kind string, parts []string) []byte {
	k.text = appendPart(k.text[:0], kind)
	for _, p := range parts {
		k.text = appendPart(k.text, p)
	}
	k.mac.Reset()
	k.mac.Write(k.text)
	return k.mac.Sum(k.sum[:0])
}

func appendPart(text []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint32(text, uint32(len(part))), part...)
}

// Token is a short opaque name of 80 bits: letters and digits, none of which a PBX mangles.
func (k *NameKey) Token(parts ...string) string { return encode("", k.of("token", parts)[:10]) }

// CallID is a Call-ID that names no host.
func (k *NameKey) CallID(parts ...string) string { return encode("", k.of("call-id", parts)[:16]) }

// Tag is a tag by which the guard knows that it is ours.
func (k *NameKey) Tag(tags *TagKey, parts ...string) string {
	raw := k.of("tag", parts)[:8+macSize]
	sum := tags.mac(raw[:8])
	copy(raw[8:], sum[:])
	return encode("", raw)
}
