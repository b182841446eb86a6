//go:build linux

package process

import (
	"encoding/binary"
	"sync"

	"sallyport/media"
)

// copies is what the server holds of copies on their way to signalling.
type copies struct {
	mu   sync.Mutex
	buf  []byte
	lost int // not told yet
}

const (
	copiesAt = headLen + 4 // where records begin: behind how many copies were lost
	// copiesWait bounds the bytes of copies that signalling has not read: hints and keys find room in the socket's buffer,
	// 208 KiB by default, whatever is copied.
	copiesWait = 96 << 10
)

// tapped sends copies to signalling. Where that is away, or does not read fast enough, they are lost and counted.
func (s *server) tapped(list []media.Tapped, lost int) {
	c := &s.copies
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost += lost; c.lost == 0 && len(list) == 0 {
		return
	}
	mine := s.current.Load()
	if mine == nil {
		c.lost = 0 // nobody has asked
		return
	}
	for first := true; first || len(list) > 0; first = false {
		n := c.fill(list)
		if offerUpTo(mine.conn, c.buf, copiesWait) {
			c.lost = 0
		} else {
			c.lost += n
		}
		list = list[n:]
	}
}

// fill makes a datagram of as many copies as it can hold.
func (c *copies) fill(list []media.Tapped) (n int) {
	c.buf = append(c.buf[:0], make([]byte, copiesAt)...)
	for n < min(len(list), perPacket) && len(c.buf)+list[n].Size() <= maxDatagram {
		c.buf = list[n].AppendTo(c.buf)
		n++
	}
	head(c.buf[:0], kindTapped, n)
	binary.LittleEndian.PutUint32(c.buf[headLen:], uint32(c.lost))
	return n
}

// decodeTapped appends the copies of a datagram to list. They are part of it.
func decodeTapped(list []media.Tapped, count int, rest []byte) (_ []media.Tapped, lost int, err error) {
	if len(rest) < copiesAt-headLen || count > perPacket {
		return list, 0, errDatagram
	}
	lost, rest = int(binary.LittleEndian.Uint32(rest)), rest[copiesAt-headLen:]
	for range count {
		var t media.Tapped
		if t, rest, err = media.DecodeTapped(rest); err != nil {
			return list, 0, err
		}
		list = append(list, t)
	}
	if len(rest) > 0 {
		return list, 0, errDatagram
	}
	return list, lost, nil
}

// copied hands the copies of a datagram to signalling.
func (b *Backend) copied(list []media.Tapped, count int, rest []byte) ([]media.Tapped, error) {
	list, lost, err := decodeTapped(list, count, rest)
	if err == nil && b.hears.Tapped != nil {
		b.hears.Tapped(list, lost)
	}
	return list, err
}
