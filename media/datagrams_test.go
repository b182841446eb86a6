package media_test

import (
	pionrtcp "github.com/pion/rtcp"
	pionrtp "github.com/pion/rtp"
)

// The datagrams of the tests come from pion's encoders, an oracle for our own reading of them.

// rtp is a 20 ms packet of narrow-band audio.
func rtp(pt uint8, seq uint16, ssrc uint32) []byte {
	p := pionrtp.Packet{
		Header: pionrtp.Header{
			Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: uint32(seq) * 160, SSRC: ssrc,
		},
		Payload: make([]byte, 160),
	}
	return must(p.Marshal())
}

// rtcp is a compound packet: sender report and source description.
func rtcp(ssrc uint32) []byte {
	return must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.SenderReport{SSRC: ssrc, NTPTime: 1 << 40, RTPTime: 160, PacketCount: 1, OctetCount: 160},
		pionrtcp.NewCNAMESourceDescription(ssrc, "a@b"),
	}))
}

// stun is a Binding request (RFC 8489 §5).
func stun() []byte { return append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...) }

// dtls begins a ClientHello record.
func dtls() []byte {
	return append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40}, make([]byte, 40)...)
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
