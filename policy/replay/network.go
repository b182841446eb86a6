package replay

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// The link types of BSD for packets without a link header; on files they may stand for themselves.
const (
	linkRawBSD     = 12
	linkRawOpenBSD = 14
)

// internet finds the IP packet in a captured frame, and where the frame was seen. It reports false for what carries no
// IP, and for link types that are not known.
func internet(link layers.LinkType, data []byte) (ip []byte, place int, known bool) {
	switch link {
	case layers.LinkTypeEthernet:
		if len(data) < 14 {
			return nil, 0, true
		}
		return tagged(binary.BigEndian.Uint16(data[12:]), data[14:]), 0, true
	case layers.LinkTypeLinuxSLL: // of the interface `any`
		if len(data) < 16 {
			return nil, 0, true
		}
		return tagged(binary.BigEndian.Uint16(data[14:]), data[16:]), int(binary.BigEndian.Uint16(data)), true
	case layers.LinkTypeLinuxSLL2: // likewise, of newer programs
		if len(data) < 20 {
			return nil, 0, true
		}
		place := int(binary.BigEndian.Uint32(data[4:]))<<8 | int(data[10])
		return tagged(binary.BigEndian.Uint16(data), data[20:]), place, true
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		if len(data) < 4 {
			return nil, 0, true
		}
		return data[4:], 0, true // the version of IP says what the family would
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6, linkRawBSD, linkRawOpenBSD:
		return data, 0, true
	default:
		return nil, 0, false
	}
}

// tagged steps over VLAN tags (IEEE 802.1Q, 802.1ad) and PPPoE (RFC 2516 §4).
func tagged(kind uint16, data []byte) []byte {
	for range 4 {
		switch kind {
		case 0x8100, 0x88a8, 0x9100:
			if len(data) < 4 {
				return nil
			}
			kind, data = binary.BigEndian.Uint16(data[2:]), data[4:]
		case 0x8864:
			if len(data) < 8 {
				return nil
			}
			kind = map[uint16]uint16{0x0021: 0x0800, 0x0057: 0x86dd}[binary.BigEndian.Uint16(data[6:])]
			data = data[8:]
		case 0x0800, 0x86dd:
			return data
		default:
			return nil
		}
	}
	return nil
}

// datagram is what one IP packet, or all fragments of one, carried.
type datagram struct {
	from, to netip.Addr
	protocol uint8
	data     []byte
	cut      bool // bytes at the end are missing
}

// The protocols that matter (IANA).
const (
	protocolTCP      = 6
	protocolUDP      = 17
	protocolFragment = 44
)

// fragment says where in its datagram a piece belongs.
type fragment struct {
	id     uint32
	offset int
	more   bool
}

// decode takes an IP packet apart. It reports false for what is no IP packet.
func decode(ip []byte) (d datagram, f fragment, ok bool) {
	if len(ip) == 0 {
		return d, f, false
	}
	switch ip[0] >> 4 {
	case 4:
		return decode4(ip)
	case 6:
		return decode6(ip)
	}
	return d, f, false
}

// decode4 is RFC 791 §3.1.
func decode4(ip []byte) (d datagram, f fragment, ok bool) {
	if len(ip) < 20 {
		return d, f, false
	}
	head, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if total == 0 {
		total = len(ip) // segmented by the network card only after it was captured
	}
	if head < 20 || head > len(ip) || total < head {
		return d, f, false
	}
	flags := binary.BigEndian.Uint16(ip[6:])
	f = fragment{id: uint32(binary.BigEndian.Uint16(ip[4:])), offset: int(flags&0x1fff) * 8, more: flags&0x2000 != 0}
	d = datagram{
		from: netip.AddrFrom4([4]byte(ip[12:])), to: netip.AddrFrom4([4]byte(ip[16:])), protocol: ip[9], cut: total > len(ip),
		data: ip[head:min(total, len(ip))], // behind it may be padding of the frame
	}
	return d, f, true
}

// decode6 is RFC 8200 §3, §4.
func decode6(ip []byte) (d datagram, f fragment, ok bool) {
	if len(ip) < 40 {
		return d, f, false
	}
	d.from, d.to = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	size, rest := int(binary.BigEndian.Uint16(ip[4:])), ip[40:]
	if size == 0 {
		size = len(rest)
	}
	d.cut = size > len(rest)
	rest = rest[:min(size, len(rest))]
	next := ip[6]
	for range 8 {
		length := 8
		switch next {
		case 0, 43, 60, 135: // hop by hop, routing, destination, mobility
			if len(rest) < 8 {
				return d, f, false
			}
			length = int(rest[1])*8 + 8
		case 51: // authentication (RFC 4302 §2.2)
			if len(rest) < 8 {
				return d, f, false
			}
			length = int(rest[1])*4 + 8
		case protocolFragment:
			if len(rest) < 8 {
				return d, f, false
			}
			at := binary.BigEndian.Uint16(rest[2:])
			f = fragment{id: binary.BigEndian.Uint32(rest[4:]), offset: int(at &^ 7), more: at&1 != 0}
		default:
			d.protocol, d.data = next, rest
			return d, f, true
		}
		if length > len(rest) {
			return d, f, false
		}
		if next, rest = rest[0], rest[length:]; f.offset > 0 {
			d.protocol, d.data = next, rest // what follows is the middle of something
			return d, f, true
		}
	}
	return d, f, false
}

// The bounds of fragments that wait for others.
const (
	fragmentsMost  = 256      // datagrams
	fragmentsBytes = 4 << 20  // of all of them
	piecesMost     = 64       // of one datagram
	datagramMost   = 64 << 10 // bytes
	fragmentsWait  = 30 * time.Second
)

type fragmentKey struct {
	from, to netip.Addr
	protocol uint8
	id       uint32
}

// partial is a datagram of which pieces are missing.
type partial struct {
	key    fragmentKey
	began  time.Time
	pieces []piece
	total  int // -1: the last piece has not come
	bytes  int
}

type piece struct {
	offset int
	data   []byte
}

// fragments puts datagrams together.
type fragments struct {
	waiting map[fragmentKey]*partial
	order   []*partial // oldest first; those that are done are still in it
	bytes   int
	lost    uint64 // datagrams that were never complete
}

// add takes a piece. It returns the whole of what the datagram carried once all pieces are there.
func (a *fragments) add(now time.Time, d *datagram, f fragment) []byte {
	if a.waiting == nil {
		a.waiting = map[fragmentKey]*partial{}
	}
	key := fragmentKey{d.from, d.to, d.protocol, f.id}
	p := a.waiting[key]
	if p != nil && now.Sub(p.began) > fragmentsWait {
		a.drop(p)
		p = nil
	}
	if p == nil {
		p = &partial{key: key, began: now, total: -1}
		a.waiting[key] = p
		a.order = append(a.order, p)
	}
	defer a.bound(now) // whatever becomes of this one
	end := f.offset + len(d.data)
	// RFC 5722: pieces that overlap are an attack, or a mistake; the datagram is gone.
	if d.cut || end > datagramMost || len(p.pieces) == piecesMost || p.overlaps(f.offset, end) || f.more && len(d.data)%8 != 0 {
		a.drop(p)
		return nil
	}
	if !f.more {
		p.total = end
	}
	p.pieces = append(p.pieces, piece{f.offset, append([]byte(nil), d.data...)})
	p.bytes += len(d.data)
	a.bytes += len(d.data)
	if p.total >= 0 && p.bytes == p.total {
		whole := make([]byte, p.total)
		for _, x := range p.pieces {
			if x.offset+len(x.data) > p.total {
				a.drop(p)
				return nil
			}
			copy(whole[x.offset:], x.data)
		}
		a.forget(p)
		return whole
	}
	return nil
}

func (p *partial) overlaps(from, to int) bool {
	if p.total >= 0 && to > p.total {
		return true
	}
	for _, x := range p.pieces {
		if from < x.offset+len(x.data) && x.offset < to {
			return true
		}
	}
	return false
}

// drop gives a datagram up.
func (a *fragments) drop(p *partial) {
	a.lost++
	a.forget(p)
}

func (a *fragments) forget(p *partial) {
	if a.waiting[p.key] == p {
		delete(a.waiting, p.key)
		a.bytes -= p.bytes
		p.pieces = nil
	}
}

// bound gives up what has waited too long and, until the rest fits, what has waited longest.
func (a *fragments) bound(now time.Time) {
	if len(a.order) > 2*fragmentsMost {
		a.order = slices.DeleteFunc(a.order, func(p *partial) bool { return a.waiting[p.key] != p })
	}
	for len(a.order) > 0 {
		p := a.order[0]
		over := len(a.waiting) > fragmentsMost || a.bytes > fragmentsBytes || now.Sub(p.began) > fragmentsWait
		gone := a.waiting[p.key] != p
		if !gone && !over {
			return
		}
		if !gone {
			a.drop(p)
		}
		a.order = a.order[1:]
	}
}

// waitingNow is how many datagrams would need more pieces.
func (a *fragments) waitingNow() uint64 { return uint64(len(a.waiting)) }
