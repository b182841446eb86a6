package replay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The pcapng blocks that a replay needs (draft-ietf-opsawg-pcapng §4).
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacket     = 2 // obsolete
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6
)

const (
	byteOrderMagic = 0x1a2b3c4d
	maxPacket      = 256 << 10 // bytes of one captured packet; what tcpdump takes at most
	maxBlock       = maxPacket + 4<<10
	maxDescription = 64 << 10 // bytes of a block that describes
	maxFaces       = 1024     // interfaces of a section
)

// blocks passes on the blocks that are needed, and only if their sizes make sense: what a hostile file describes at
// length (names, secrets, a million interfaces) is never held in memory.
type blocks struct {
	r     *bufio.Reader
	order binary.ByteOrder
	head  [12]byte
	ready []byte // of head
	left  int    // bytes of the block that have not been passed on
	faces int
	err   error // how it ended; io.EOF between two blocks
}

// Read passes on the next bytes.
func (b *blocks) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	for len(b.ready) == 0 && b.left == 0 {
		if b.err = b.block(); b.err != nil {
			return 0, b.err
		}
	}
	if len(b.ready) > 0 {
		n := copy(p, b.ready)
		b.ready = b.ready[n:]
		return n, nil
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil {
		b.err = whole(err)
	}
	return n, b.err
}

// block begins the next block that is needed.
func (b *blocks) block() error {
	head := b.head[:8]
	if _, err := io.ReadFull(b.r, head); err != nil {
		return err // io.EOF where no byte of it is there
	}
	if binary.BigEndian.Uint32(head) == blockSection {
		head = b.head[:12]
		if _, err := io.ReadFull(b.r, head[8:]); err != nil {
			return whole(err)
		}
		switch {
		case binary.LittleEndian.Uint32(head[8:]) == byteOrderMagic:
			b.order = binary.LittleEndian
		case binary.BigEndian.Uint32(head[8:]) == byteOrderMagic:
			b.order = binary.BigEndian
		default:
			return errors.New("a section has no byte order")
		}
		b.faces = 0
	}
	if b.order == nil {
		return errors.New("it does not begin with a section header")
	}
	kind, size := b.order.Uint32(head), b.order.Uint32(head[4:])
	if size < uint32(len(head))+4 || size%4 != 0 {
		return fmt.Errorf("a block says that it is %d bytes long", size)
	}
	most := uint32(maxDescription)
	switch kind {
	case blockPacket, blockSimple, blockEnhanced:
		most = maxBlock
	case blockSection, blockStatistics:
	case blockInterface:
		if b.faces++; b.faces > maxFaces {
			return fmt.Errorf("it describes more than %d interfaces", maxFaces)
		}
	default:
		return b.skip(int64(size) - int64(len(head)))
	}
	if size > most {
		return fmt.Errorf("a block is %d bytes long; at most %d are read", size, most)
	}
	b.ready, b.left = head, int(size)-len(head)
	return nil
}

// skip passes over a block that is not needed.
func (b *blocks) skip(n int64) error {
	_, err := io.CopyN(io.Discard, b.r, n)
	return whole(err)
}

// whole makes an end within something an error.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
