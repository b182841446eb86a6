//go:build linux

package process

import (
	"encoding/binary"

	"sallyport/media"
)

// appendAgreement writes the datagram of the keys that a handshake has come to. Who reads it is the same user, by his
// credentials.
func appendAgreement(b []byte, a *media.Agreement) []byte {
	b = append(b, head(nil, kindAgreement, 1)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Leg))
	b = binary.LittleEndian.AppendUint32(b, a.Generation)
	from := a.From.As16()
	b = append(b, from[:]...)
	b = binary.LittleEndian.AppendUint16(b, a.From.Port())
	b = append(b, byte(a.Peer.Role), byte(a.Peer.Print.Hash))
	b = append(b, a.Peer.Print.Value[:]...)
	b = append(b, byte(a.Crypto.Suite))
	b = append(b, a.Crypto.Receive[:]...)
	return append(b, a.Crypto.Send[:]...)
}

func decodeAgreement(count int, rest []byte) (a media.Agreement, err error) {
	if count != 1 || len(rest) != agreeLen-headLen {
		return a, errDatagram
	}
	a.Leg, a.Generation = int32(binary.LittleEndian.Uint32(rest)), binary.LittleEndian.Uint32(rest[4:])
	a.From = media.Endpoint16([16]byte(rest[8:24]), binary.LittleEndian.Uint16(rest[24:]))
	a.Peer.Role, a.Peer.Print.Hash = media.Role(rest[26]), media.Hash(rest[27])
	copy(a.Peer.Print.Value[:], rest[28:])
	rest = rest[28+printLen:]
	if a.Crypto.Suite = media.Suite(rest[0]); a.Crypto.Suite > media.AEADAES256GCM || a.Peer.Role > media.Active || !a.Peer.Print.Hash.Valid() {
		return a, errDatagram
	}
	copy(a.Crypto.Receive[:], rest[1:])
	copy(a.Crypto.Send[:], rest[1+keyLen:])
	return a, nil
}

// agreed tells signalling of keys. A handshake waits for nobody: where signalling is away, or does not read, it does not
// hear of them, and this process alone has them.
func (s *server) agreed(a media.Agreement) {
	if mine := s.current.Load(); mine != nil {
		offer(mine.conn, appendAgreement(make([]byte, 0, agreeLen), &a))
	}
}
