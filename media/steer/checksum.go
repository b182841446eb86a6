//go:build linux

package steer

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) of datagrams that leave through a raw socket: the kernel fills in the sum of the IPv4
// header, never that of UDP. Sums are kept as 64-bit one's complement sums of words in network byte order, and folded
// once at the end: 2^64 ≡ 1 (mod 2^16−1), so carries of wide additions may be brought around as those of narrow ones.

// sum adds bytes to a one's complement sum. Only the last piece of a datagram may have an odd length (RFC 1071 §4.1).
func sum(s uint64, b []byte) uint64 {
	var c uint64
	for len(b) >= 32 {
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[24:]), c)
		b = b[32:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b), c)
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte // padded with zeros
		copy(last[:], b)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(last[:]), c)
	}
	// The end-around carry may carry once more.
	s, c = bits.Add64(s, 0, c)
	return s + c
}

// add adds one value to a sum.
func add(s, v uint64) uint64 {
	s, c := bits.Add64(s, v, 0)
	return s + c
}

// fold ends a sum and gives the checksum's field. A UDP checksum of zero means none, so that it is sent as all ones
// (RFC 768; RFC 8200 §8.1 forbids none on IPv6).
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	if v := ^uint16(s); v != 0 {
		return v
	}
	return 0xffff
}
