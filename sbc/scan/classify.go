package scan

import "encoding/binary"

// Kind says what a datagram, or a piece of a stream, is.
type Kind uint8

// The kinds.
const (
	None      Kind = iota // of a stream: nothing complete yet
	Message               // begins like a SIP message
	KeepAlive             // CRLF, zero bytes, "jaK", nothing at all: harmless, needs no answer on UDP
	Stun                  // RFC 8489
	Junk                  // none of these
)

// maxKeepAlive is the longest run of line ends or zero bytes that passes as a keep-alive.
const maxKeepAlive = 64

// Classify tells by its first bytes what a datagram is, so that what is merely odd can be ignored without blame.
func Classify(data []byte) Kind {
	if keepAlive(data) {
		return KeepAlive
	}
	if isStun(data) {
		return Stun
	}
	for len(data) >= 2 && data[0] == '\r' && data[1] == '\n' {
		data = data[2:]
	}
	// The shortest start lines have a token, a space and more: "BYE sip:a SIP/2.0", "SIP/2.0 100 ".
	for i, c := range data[:min(len(data), MaxMethod+1)] {
		switch {
		case c == ' ' && i > 0:
			return Message
		case !isToken[c] && c != '/':
			return Junk
		}
	}
	return Junk
}

func keepAlive(data []byte) bool {
	if len(data) > maxKeepAlive {
		return false
	}
	// Sipura, Linksys and X-Lite phones hold their binding open with the three letters "jaK".
	if len(data) >= 3 && string(data[:3]) == "jaK" {
		data = data[3:]
	}
	for _, c := range data {
		if c != 0 && !isSpace(c) {
			return false
		}
	}
	return true
}

// isStun checks the STUN header: two zero bits, a length that fits, and the magic cookie, or the two message types of
// RFC 3489, which had none.
func isStun(data []byte) bool {
	if len(data) < 20 || data[0] > 3 {
		return false
	}
	if n := binary.BigEndian.Uint16(data[2:]); int(n) != len(data)-20 || n%4 != 0 {
		return false
	}
	const cookie = 0x2112A442
	kind := binary.BigEndian.Uint16(data)
	return binary.BigEndian.Uint32(data[4:]) == cookie || kind == 0x0001 || kind == 0x0101
}
