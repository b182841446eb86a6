//go:build linux

package process

import (
	"bytes"
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

// appendCertificate writes our certificate with its private key, for the same user alone as well. One that is too long for
// the room that there is, which none of ours is, is left out: the next media process makes another one.
func appendCertificate(b []byte, c media.Certificate) []byte {
	if 4+len(c.DER)+len(c.Key) > certLen {
		c = media.Certificate{}
	}
	end := len(b) + certLen
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.DER)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.Key)))
	b = append(append(b, c.DER...), c.Key...)
	return append(b, make([]byte, end-len(b))...)
}

// decodeCertificate reads one; it may be an empty one.
func decodeCertificate(b []byte) (c media.Certificate, err error) {
	if len(b) != certLen {
		return c, errDatagram
	}
	der, key := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	switch {
	case (der == 0) != (key == 0) || 4+der+key > certLen:
		return c, errDatagram
	case der == 0:
		return c, nil
	}
	b = bytes.Clone(b[4:][:der+key])
	return media.Certificate{DER: b[:der:der], Key: b[der:]}, nil
}
