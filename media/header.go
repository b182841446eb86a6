package media

import "encoding/binary"

// class is what a datagram is, by its first bytes.
type class uint8

const (
	classJunk   class = iota
	classRTP          // RFC 3550 §5.1, whole header present
	classRTCP         // RFC 3550 §6.1, first packet whole
	classSTUN         // or anything else in 0..3
	classDTLS         // 20..63
	classOpaque       // a leg without header checks
)

// header is what the engine reads of a datagram.
type header struct {
	class  class
	pt     uint8 // RTP payload type
	seq    uint16
	stamp  uint32
	ssrc   uint32
	latchy bool // may count towards a latch as far as the bytes say; the payload type is checked later
}

const (
	minRTP    = 12
	minRTCP   = 8
	minOpaque = 4 // UDPTL: sequence number, a primary IFP packet, the redundancy's kind
)

// parse reads a datagram that arrived on a leg with these flags. It never reads beyond buf, and looks at no payload.
func parse(f flags, buf []byte) (h header) {
	if len(buf) == 0 {
		return h
	}
	if f&flagOpaque != 0 {
		return parseOpaque(buf)
	}
	// RFC 7983 §7: the first byte tells the protocols apart.
	switch b := buf[0]; {
	case b < 4:
		h.class = classSTUN
	case b >= 20 && b < 64:
		h.class = classDTLS
	case b>>6 == 2:
		if f&flagControl != 0 || isControl(f, buf) {
			return parseRTCP(buf)
		}
		return parseRTP(buf)
	}
	return h
}

// isControl tells RTCP from RTP on an RTP port.
func isControl(f flags, buf []byte) bool {
	if len(buf) < 2 {
		return false
	}
	if f&flagMux != 0 {
		// RFC 5761 §4: payload types 64 to 95 are not used where RTCP shares the port.
		pt := buf[1] & 0x7f
		return pt >= 64 && pt <= 95
	}
	// RFC 3550 §12.1 and its extensions: SR to XR, seen on a port where it does not belong.
	return buf[1] >= 200 && buf[1] <= 207
}

func parseRTP(buf []byte) (h header) {
	if len(buf) < minRTP {
		return h
	}
	need := minRTP + 4*int(buf[0]&0x0f)
	if buf[0]&0x10 != 0 { // RFC 3550 §5.3.1: extension header
		if len(buf) < need+4 {
			return h
		}
		need += 4 + 4*int(binary.BigEndian.Uint16(buf[need+2:]))
	}
	if len(buf) < need {
		return h
	}
	return header{
		class: classRTP, latchy: true,
		pt:    buf[1] & 0x7f,
		seq:   binary.BigEndian.Uint16(buf[2:]),
		stamp: binary.BigEndian.Uint32(buf[4:]),
		ssrc:  binary.BigEndian.Uint32(buf[8:]),
	}
}

func parseRTCP(buf []byte) (h header) {
	// RFC 5761 §4: RTCP packet types are 192 to 223 as far as they are told from RTP. SRTCP has a trailer, so the first
	// packet may be shorter than the datagram, never longer.
	if len(buf) < minRTCP || buf[1] < 192 || buf[1] > 223 {
		return h
	}
	if 4+4*int(binary.BigEndian.Uint16(buf[2:])) > len(buf) {
		return h
	}
	return header{class: classRTCP, latchy: true, ssrc: binary.BigEndian.Uint32(buf[4:])}
}

func parseOpaque(buf []byte) header {
	// RFC 8489 §5: the magic cookie.
	if len(buf) >= 20 && buf[0] < 4 && binary.BigEndian.Uint32(buf[4:]) == 0x2112A442 {
		return header{class: classSTUN}
	}
	return header{class: classOpaque, latchy: len(buf) >= minOpaque}
}

// clockOf is the RTP clock of a static payload type in Hz (RFC 3551 §6). Dynamic ones count as 8000: narrow-band voice.
func clockOf(pt uint8) uint32 {
	switch {
	case pt == 6:
		return 16000
	case pt == 10 || pt == 11:
		return 44100
	case pt == 16:
		return 11025
	case pt == 17:
		return 22050
	case pt == 14 || pt >= 25 && pt <= 34:
		return 90000
	}
	return 8000
}
