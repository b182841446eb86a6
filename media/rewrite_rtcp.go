package media

import "encoding/binary"

// RTCP packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2) and the formats within them that name more than SSRCs.
const (
	typeSR   = 200
	typeRR   = 201
	typeSDES = 202
	typeBYE  = 203
	typeAPP  = 204
	typeRTP  = 205 // transport-layer feedback
	typePS   = 206 // payload-specific feedback
	typeXR   = 207

	formatNACK  = 1 // RFC 4585 §6.2.1
	formatTMMBR = 3 // RFC 5104 §4.2.1
	formatTMMBN = 4
	formatFIR   = 4 // RFC 5104 §4.3.1, of payload-specific feedback

	reportBlock = 24
)

// reconcile keeps RTCP from leg i in step with what has been rewritten: what the sender says of itself becomes what the
// peer of leg out hears of it, and what it says of the other side what that side sends. Lengths stay. What is not well
// formed, and all that follows it, passes as it is: a receiver refuses it as we do (RFC 3550 §A.2).
func (e *Engine) reconcile(i int, out int32, l, p *leg, buf []byte) {
	var r reconciler
	if p.is(flagContinuous) {
		r.said = &e.heard[out>>1]
	}
	if l.is(flagContinuous) {
		r.heard = &e.heard[i>>1]
	}
	if r.said != nil && r.said.altered || r.heard != nil && r.heard.altered {
		r.compound(buf)
	}
}

// reconciler rewrites one datagram. Either continuity may be nil, or not altered: then its side stays.
type reconciler struct {
	said  *continuity // what the peer hears of the sender
	heard *continuity // what the sender hears
}

// compound rewrites each packet of a compound one (RFC 3550 §6.1).
func (r reconciler) compound(buf []byte) {
	for len(buf) >= 4 && buf[0]>>6 == 2 {
		size := 4 + 4*int(binary.BigEndian.Uint16(buf[2:]))
		if size > len(buf) {
			return
		}
		body := buf[4:size]
		if buf[0]&0x20 != 0 { // RFC 3550 §6.4.1: padding, counted by its last byte
			pad := len(body)
			if pad > 0 {
				pad = int(body[pad-1])
			}
			if pad == 0 || pad > len(body) {
				return
			}
			body = body[:len(body)-pad]
		}
		r.packet(buf[1], int(buf[0]&0x1f), body)
		buf = buf[size:]
	}
}

// packet rewrites what follows the first four bytes of a packet; count is the number in its first byte.
func (r reconciler) packet(kind uint8, count int, b []byte) {
	switch kind {
	case typeSR:
		if len(b) < 24 {
			return
		}
		r.stamp(b)
		r.sender(b)
		r.reports(count, b[24:])
	case typeRR:
		if len(b) >= 4 {
			r.sender(b)
			r.reports(count, b[4:])
		}
	case typeSDES:
		r.descriptions(count, b)
	case typeBYE:
		for ; count > 0 && len(b) >= 4; count-- {
			r.leaves(b)
			b = b[4:]
		}
	case typeAPP:
		if len(b) >= 4 {
			r.sender(b)
		}
	case typeRTP, typePS:
		if len(b) >= 8 {
			r.sender(b)
			r.feedback(kind, count, b[4:8], b[8:])
		}
	case typeXR:
		if len(b) >= 4 {
			r.sender(b)
			r.extended(b[4:])
		}
	}
}

// sender puts the SSRC that the peer knows in the place of the source's own at the beginning of b. That SSRC itself, of a
// source that is no more, becomes one that the peer does not know.
func (r reconciler) sender(b []byte) {
	if t := r.said; t != nil && t.altered {
		switch ssrc := binary.BigEndian.Uint32(b); {
		case t.of(ssrc) != nil:
			binary.BigEndian.PutUint32(b, t.ssrc)
		case ssrc == t.ssrc:
			binary.BigEndian.PutUint32(b, t.now.ssrc)
		}
	}
}

// of is the latest segment of a source, nil if it has none any more.
func (t *continuity) of(ssrc uint32) *segment {
	if ssrc == t.now.ssrc {
		return &t.now
	}
	for i := range t.before[:t.past] {
		if t.before[i].ssrc == ssrc {
			return &t.before[i]
		}
	}
	return nil
}

// leaves is sender in a BYE: one of a source that another has followed ends nothing that the peer hears.
func (r reconciler) leaves(b []byte) {
	if t := r.said; t != nil && t.altered {
		switch binary.BigEndian.Uint32(b) {
		case t.now.ssrc:
			binary.BigEndian.PutUint32(b, t.ssrc)
		case t.ssrc:
			binary.BigEndian.PutUint32(b, t.now.ssrc)
		}
	}
}

// stamp shifts the RTP timestamp of a sender report (RFC 3550 §6.4.1). b begins with the sender's own SSRC.
func (r reconciler) stamp(b []byte) {
	if t := r.said; t != nil && t.altered {
		if g := t.of(binary.BigEndian.Uint32(b)); g != nil {
			binary.BigEndian.PutUint32(b[12:], binary.BigEndian.Uint32(b[12:])+g.clock)
		}
	}
}

// reports rewrites report blocks (RFC 3550 §6.4.1): the SSRC and the highest number received are the far source's own.
func (r reconciler) reports(count int, b []byte) {
	for ; count > 0 && len(b) >= reportBlock; count-- {
		highest := binary.BigEndian.Uint32(b[8:])
		// RFC 3550 §A.1: a receiver counts the cycles from the first packet that it has heard itself, which may be a later one.
		if g := r.source16(b, uint16(highest)); g != nil {
			binary.BigEndian.PutUint32(b, g.ssrc)
			binary.BigEndian.PutUint32(b[8:], highest-g.shift)
		}
		b = b[reportBlock:]
	}
}

// source is the segment that a number belongs to, of the stream whose SSRC is at the beginning of b; nil if that is not
// what the sender hears from us.
func (r reconciler) source(b []byte, highest uint32) *segment {
	t := r.heard
	if t == nil || !t.altered || binary.BigEndian.Uint32(b) != t.ssrc {
		return nil
	}
	g := &t.now
	for i := range t.before[:t.past] {
		if x := &t.before[i]; int32(highest-x.max-x.shift) <= 0 {
			g = x
		}
	}
	return g
}

// source16 is source for a number without cycles.
func (r reconciler) source16(b []byte, seq uint16) *segment {
	t := r.heard
	if t == nil {
		return nil
	}
	top := t.now.max + t.now.shift
	return r.source(b, top+uint32(int32(int16(seq-uint16(top)))))
}

// descriptions rewrites the SSRCs of SDES chunks (RFC 3550 §6.5).
func (r reconciler) descriptions(count int, b []byte) {
	for ; count > 0 && len(b) >= 4; count-- {
		end, ok := chunk(b)
		if !ok {
			return
		}
		r.sender(b)
		b = b[end:]
	}
}

// chunk is the length of the SDES chunk that b begins with: items, a null, padding to the next 32 bits.
func chunk(b []byte) (end int, ok bool) {
	for at := 4; at < len(b); {
		if b[at] == 0 {
			end = (at + 4) &^ 3
			return end, end <= len(b)
		}
		if at+1 >= len(b) {
			break
		}
		at += 2 + int(b[at+1])
	}
	return 0, false
}

// feedback rewrites the media source of a feedback packet and what names it or its numbers (RFC 4585 §6.1).
func (r reconciler) feedback(kind uint8, format int, media, info []byte) {
	switch {
	case kind == typeRTP && format == formatNACK:
		if len(info) < 4 {
			return
		}
		g := r.source16(media, binary.BigEndian.Uint16(info))
		if g == nil {
			return
		}
		binary.BigEndian.PutUint32(media, g.ssrc)
		for ; len(info) >= 4; info = info[4:] {
			binary.BigEndian.PutUint16(info, binary.BigEndian.Uint16(info)-uint16(g.shift))
		}
	case kind == typeRTP && (format == formatTMMBR || format == formatTMMBN), kind == typePS && format == formatFIR:
		r.latest(media)
		for ; len(info) >= 8; info = info[8:] {
			r.latest(info)
		}
	default:
		r.latest(media)
	}
}

// latest puts the far source's own SSRC in the place of the one that the sender hears.
func (r reconciler) latest(b []byte) {
	if t := r.heard; t != nil && t.altered && binary.BigEndian.Uint32(b) == t.ssrc {
		binary.BigEndian.PutUint32(b, t.now.ssrc)
	}
}

// Block types of extended reports (RFC 3611 §4).
const (
	blockLoss       = 1
	blockDuplicates = 2
	blockTimes      = 3
	blockDLRR       = 5
	blockSummary    = 6
	blockVoIP       = 7
)

// extended rewrites the report blocks of an extended report.
func (r reconciler) extended(b []byte) {
	for len(b) >= 4 {
		size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			return
		}
		switch body := b[4:size]; b[0] {
		case blockLoss, blockDuplicates, blockTimes, blockSummary:
			if len(body) < 8 {
				break
			}
			// First and last sequence number, the latter one too far.
			first, end := binary.BigEndian.Uint16(body[4:]), binary.BigEndian.Uint16(body[6:])
			if g := r.source16(body, end-1); g != nil {
				binary.BigEndian.PutUint32(body, g.ssrc)
				binary.BigEndian.PutUint16(body[4:], first-uint16(g.shift))
				binary.BigEndian.PutUint16(body[6:], end-uint16(g.shift))
			}
		case blockDLRR:
			for ; len(body) >= 12; body = body[12:] {
				r.latest(body)
			}
		case blockVoIP:
			if len(body) >= 4 {
				r.latest(body)
			}
		}
		b = b[size:]
	}
}
