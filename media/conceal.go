package media

import (
	"encoding/binary"

	"sallyport/media/cname"
)

// RTCP tells more of a peer than how its packets fare: who it is and on which machine, in CNAME and the other items of SDES,
// what made it (TOOL), and why it goes (BYE). Of all that the far peer needs one thing, which streams are of one participant.
// So CNAME stays under another name, and of the rest passes what is known to be figures.

// CNAMEKey is the key of one call under which the CNAMEs of its peers are replaced. The zero key leaves RTCP as it is: of a
// stream whose peers hold the keys nothing else is possible.
type CNAMEKey = cname.Key

const (
	typeFIR  = 192 // RFC 2032 §5.2.1: INTRA-frame request, and the NACK of the same age
	typeNACK = 193

	minFeedback = 12
	itemCNAME   = 1 // RFC 3550 §6.5.1
)

// conceal takes out of RTCP from leg i what the far peer is not to know, in place. Nothing is left of what has nothing else.
func (e *Engine) conceal(i int, buf []byte) []byte {
	if k := &e.cnames[i>>1]; *k != (CNAMEKey{}) {
		return concealer{k}.compound(buf)
	}
	return buf
}

// concealer works on one datagram.
type concealer struct{ key *CNAMEKey }

// compound does it for each packet of a compound one (RFC 3550 §6.1). What is not well formed, and all that follows it, is cut
// off: a receiver would refuse it, as we do (RFC 3550 §A.2), and nobody can say what it shows.
func (c concealer) compound(buf []byte) []byte {
	n := 0
	for parts := (compound{buf, maxParts}); ; {
		p, ok := parts.next()
		if !ok {
			return buf[:n]
		}
		if p = c.packet(p); len(p) >= minRTCP { // an SDES or BYE of nobody says nothing
			n += copy(buf[n:], p)
		}
	}
}

// packet is what is left of a packet, in its place; nothing of one that is not well formed, or of a kind that is not known.
func (c concealer) packet(p []byte) []byte {
	count := int(p[0] & 0x1f)
	if p = unpadded(p); len(p) < minRTCP {
		return nil
	}
	size := len(p)
	switch p[1] {
	case typeSR:
		size, count = reportsOnly(p, 28, count)
	case typeRR:
		size, count = reportsOnly(p, 8, count)
	case typeSDES:
		size, count = c.descriptions(p, count)
	case typeBYE: // RFC 3550 §6.6: behind the SSRCs there may be a text
		count = min(count, size/4-1)
		size = 4 + 4*count
	case typeRTP, typePS:
		if size < minFeedback {
			return nil
		}
	case typeXR:
		size = blocksOnly(p)
	case typeFIR:
		size = 8
	case typeNACK:
		size = min(size, 12)
	default:
		// RFC 3550 §6.7: the data of APP are the application's own and may be anything, and so may those of packets that nobody
		// here knows, as the addresses of RFC 5760 §7.1. §6.1: receivers "SHOULD ignore" packets "with types unknown to them".
		return nil
	}
	p[0] = 2<<6 | byte(count)
	binary.BigEndian.PutUint16(p[2:], uint16(size/4-1))
	return p[:size]
}

// unpadded is a packet without its padding (RFC 3550 §6.4.1), whose bytes may be anything; none if there is no sense in it.
func unpadded(p []byte) []byte {
	if p[0]&0x20 == 0 {
		return p
	}
	pad := int(p[len(p)-1])
	if pad == 0 || pad > len(p)-4 {
		return nil
	}
	return p[:(len(p)-pad)&^3]
}

// reportsOnly is how long a report is whose blocks begin at an index, without the extension of a profile behind them (RFC 3550
// §6.4.3), and how many blocks there are.
func reportsOnly(p []byte, at, count int) (size, blocks int) {
	if len(p) < at {
		return 0, 0
	}
	blocks = min(count, (len(p)-at)/reportBlock)
	return at + blocks*reportBlock, blocks
}

// blocksOnly leaves in an extended report the blocks of RFC 3611 §4, which are figures, and returns its length. Of others nobody
// here knows what they have.
func blocksOnly(p []byte) (size int) {
	size = 8
	for b := p[size:]; len(b) >= 4; {
		n := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) {
			break
		}
		if b[0] >= blockLoss && b[0] <= blockVoIP {
			size += copy(p[size:], b[:n])
		}
		b = b[n:]
	}
	return size
}

// descriptions writes SDES anew: chunks of an SSRC and a CNAME, and nothing else (RFC 3550 §6.5). It returns the length and how
// many chunks there are.
func (c concealer) descriptions(p []byte, count int) (size, chunks int) {
	size = 4
	for rest := p[size:]; chunks < count && len(rest) >= 8; {
		name, end := described(rest)
		alias, n := c.key.Alias(name)
		n = min(n, end-7)
		out := p[size:]
		at := copy(out, rest[:4])
		if n > 0 {
			out[at], out[at+1] = itemCNAME, byte(n)
			at += 2 + copy(out[at+2:], alias[:n])
		}
		pad := out[at : (at+4)&^3] // one null at least ends the items
		clear(pad)
		size += at + len(pad)
		rest = rest[end:]
		chunks++
	}
	return size, chunks
}

// described finds the CNAME of the chunk that b begins with, and where the next chunk begins. Of one that b is too short for,
// what is whole counts: some leave out the null where the items fill the last word.
func described(b []byte) (name []byte, end int) {
	at := 4
	for at+1 < len(b) && b[at] != 0 {
		next := at + 2 + int(b[at+1])
		if next > len(b) {
			return name, len(b)
		}
		if b[at] == itemCNAME && name == nil {
			name = b[at+2 : next]
		}
		at = next
	}
	return name, min((at+4)&^3, len(b))
}
