package transaction

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// Keys are texts, their parts set apart by a byte that no header field can hold. A peer chooses the length of its
// parts; a key longer than keyMost is stored as its SHA-256, so that nobody can make a table grow by long names, nor
// find two requests that share a key.
const keyMost = 120

// seal turns a built key into what the maps hold. The result shares the buffer.
func seal(b []byte) []byte {
	if len(b) <= keyMost {
		return b
	}
	sum := sha256.Sum256(b)
	return append(append(b[:0], 0), sum[:]...)
}

// serverKey matches a request to its server transaction: branch, sent-by and method, INVITE standing for the ACK to a
// non-2xx (RFC 3261 §17.2.3), and at its end the source: the interface and the address, not the port, which a NAT may
// move. Two clients behind different NATs may well have chosen the same private address and branch.
func serverKey(b []byte, m *message.Message, method string, from nat.Flow) []byte {
	via := &m.Via[0]
	b = append(b, via.Branch...)
	b = append(b, 0)
	b = appendFold(b, via.Host)
	b = append(b, 0)
	b = strconv.AppendUint(b, uint64(via.Port), 10)
	b = append(b, 0)
	b = append(b, method...)
	b = seal(b)
	addr := from.Remote.Addr().As16()
	b = append(b, addr[:]...)
	return binary.BigEndian.AppendUint16(b, from.Interface)
}

// sourceLen is the length of the source in a server key.
const sourceLen = 16 + 2

// anySource is a server key without its source.
func anySource[K string | []byte](key K) K { return key[:len(key)-sourceLen] }

// clientKey matches a response to its client transaction: branch and CSeq method (RFC 3261 §17.1.3).
func clientKey(b []byte, branch, method string) []byte {
	b = append(b, branch...)
	b = append(b, 0)
	b = append(b, method...)
	return seal(b)
}

// mergedKey is what two copies of one request that came by different ways have in common (RFC 3261 §8.2.2.2). The
// Request-URI is part of it: a fork to two phones behind us, and a spiral, are legal.
func mergedKey(b []byte, m *message.Message) []byte {
	b = append(b, m.CallID...)
	b = append(b, 0)
	b = append(b, m.From.Tag...)
	b = append(b, 0)
	b = append(b, m.Method...)
	b = append(b, 0)
	b = strconv.AppendUint(b, uint64(m.CSeq), 10)
	for _, part := range [...]string{m.URI.Scheme, m.URI.User, m.URI.Params, m.URI.Headers} {
		b = append(b, 0)
		b = append(b, part...)
	}
	b = append(b, 0)
	b = appendFold(b, m.URI.Host)
	b = append(b, 0)
	b = strconv.AppendUint(b, uint64(m.URI.Port), 10)
	return seal(b)
}

// ackKey matches an ACK to the 2xx it acknowledges: the dialog and the CSeq number (RFC 3261 §13.2.2.4). local is our
// tag.
func ackKey(b []byte, m *message.Message, local string) []byte {
	b = append(b, m.CallID...)
	b = append(b, 0)
	b = append(b, local...)
	b = append(b, 0)
	b = append(b, m.From.Tag...)
	b = append(b, 0)
	b = strconv.AppendUint(b, uint64(m.CSeq), 10)
	return seal(b)
}

// appendFold appends a host name in lower case: host names are compared without regard to case (RFC 3261 §19.1.4).
func appendFold(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
