// Package cname gives the participants of a call other names.
//
// A CNAME (RFC 3550 §6.5.1) tells which streams are of one participant, whose clock they have in common: lip sync goes by it. Most
// say more, as the user and the host, or the address, of a machine. The name that the other side gets in its place is the same in
// all streams of a call, in RTCP and in descriptions (RFC 5576 §6.1), and another one in every call, so that nobody is found again
// by it (RFC 7022 §1).
package cname

import (
	"crypto/sha256"
	"encoding/base64"
)

// Key is the key of one call.
type Key [16]byte

// String tells no key: what prints a value that holds one prints no secret.
func (Key) String() string { return "CNAME key" }

// GoString does the same for %#v.
func (k Key) GoString() string { return k.String() }

// Len is the length of the longest other name: 96 bits in base64, as random names have them (RFC 7022 §4.2).
const Len = 16

// longest is the length of the longest name that an item has room for (RFC 3550 §6.5).
const longest = 255

// Alias is what a name is replaced by, and how much of that is to be taken: it is no longer than the name, so that it has room
// wherever that had. It allocates nothing.
func (k *Key) Alias(name []byte) (text [Len]byte, n int) {
	var in [len(Key{}) + longest]byte
	at := copy(in[:], k[:])
	at += copy(in[at:], name)
	sum := sha256.Sum256(in[:at])
	base64.StdEncoding.Encode(text[:], sum[:Len/4*3])
	return text, min(len(name), Len)
}
