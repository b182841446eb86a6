//go:build linux

package steer

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) of datagrams that leave through a raw socket: the kernel fills in the sum of the IPv4
// header, never that of UDP. Sums are kept as 64-bit one's complement sums of words in network byte order, and folded
// once at the end: 2^64 ≡ 1 (mod 2^16−1), so carries of wide additions may be brought around as those of narrow ones.

// sum adds bytes to a one's complement sum. Only the last piece of a datagram may have an odd length (RFC 1071 §4.1). The
// carry is brought around in each turn: one that is kept over a loop's end is moved out of the processor's flags and back,
// which takes longer than all the additions.
func sum(s uint64, b []byte) uint64 {
	var c uint64
	for len(b) >= 32 {
		p := (*[32]byte)(b)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(p[0:]), 0)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(p[8:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(p[16:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(p[24:]), c)
		s += c // Without a further carry: only from all ones and a carry would all ones and a carry come.
		b = b[32:]
	}
	for len(b) >= 8 {
		s = add(s, binary.BigEndian.Uint64(b))
		b = b[8:]
	}
	if len(b) >= 4 {
		s = add(s, uint64(binary.BigEndian.Uint32(b)))
		b = b[4:]
	}
	if len(b) >= 2 {
		s = add(s, uint64(binary.BigEndian.Uint16(b)))
		b = b[2:]
	}
	if len(b) > 0 {
		s = add(s, uint64(b[0])<<8) // padded with zeros
	}
	return s
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
