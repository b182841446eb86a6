package trace

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"sallyport/nat"
)

// blockSize is what a ring is overwritten by at a time, and what a dump copies at a time: the writers wait no longer
// than one such copy takes.
const blockSize = 64 << 10

// maxData is how much of a message is kept. The guard refuses larger ones.
const maxData = 16 << 10

// ring is a ring of blocks of records. A record never crosses the end of its block.
type ring struct {
	mu     sync.Mutex
	memory []byte
	blocks []block
	at     int    // the block that is being filled
	last   uint64 // its number
	noted  uint64 // records since the start
}

// block is a part of the memory: which one of all that ever were, and how much of it is filled.
type block struct {
	number uint64
	used   int
}

func newRing(size int) *ring {
	n := max(2, size/blockSize)
	return &ring{memory: make([]byte, n*blockSize), blocks: make([]block, n)}
}

// The layout of a record's head. The message follows.
const (
	headTime   = 0  // nanoseconds since 1970
	headLocal  = 8  // address
	headRemote = 24 // address
	headPorts  = 40 // local, remote
	headSide   = 44
	headRealm  = 45
	headKind   = 46 // transport
	headFlags  = 47
	headLength = 48 // of the message, and how much of it is here
	headReason = 56 // as text, filled up with zero bytes
	headSize   = 72
)

const (
	flagSent = 1 << iota
	flagRefused
)

// encode fills a record's head.
func (n *Note) encode(head *[headSize]byte, kept int) {
	binary.LittleEndian.PutUint64(head[headTime:], uint64(n.At.UnixNano()))
	i := n.Interface
	local, remote := i.Bind.Addr().As16(), n.Remote.Addr().As16()
	copy(head[headLocal:], local[:])
	copy(head[headRemote:], remote[:])
	binary.LittleEndian.PutUint16(head[headPorts:], i.Bind.Port())
	binary.LittleEndian.PutUint16(head[headPorts+2:], n.Remote.Port())
	head[headSide], head[headRealm], head[headKind] = byte(i.Side), byte(i.Realm), byte(i.Transport)
	if n.Sent {
		head[headFlags] |= flagSent
	}
	if n.Refused {
		head[headFlags] |= flagRefused
	}
	binary.LittleEndian.PutUint32(head[headLength:], uint32(len(n.Data)))
	binary.LittleEndian.PutUint32(head[headLength+4:], uint32(kept))
	copy(head[headReason:], n.Reason)
}

// write appends a record, over the oldest block if need be.
func (r *ring) write(n *Note) {
	var head [headSize]byte
	kept := min(len(n.Data), maxData)
	n.encode(&head, kept)
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &r.blocks[r.at]
	if b.used+headSize+kept > blockSize {
		r.at = (r.at + 1) % len(r.blocks)
		r.last++
		b = &r.blocks[r.at]
		*b = block{number: r.last}
	}
	to := r.memory[r.at*blockSize+b.used:]
	copy(to, head[:])
	copy(to[headSize:], n.Data[:kept])
	b.used += headSize + kept
	r.noted++
}

// copyBlock copies a block, or the oldest one after it that has not been overwritten yet, and tells its number.
func (r *ring) copyBlock(number uint64, into []byte) (found uint64, filled []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if oldest := r.last - min(r.last, uint64(len(r.blocks)-1)); number < oldest {
		number = oldest
	}
	i := int(number % uint64(len(r.blocks))) // blocks are filled in turn from the first
	n := copy(into, r.memory[i*blockSize:][:r.blocks[i].used])
	return number, into[:n]
}

// newest is the number of the block that is being filled.
func (r *ring) newest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// record is one record of a dump; its message belongs to the cursor.
type record struct {
	at            time.Time
	face          nat.Interface
	remote        netip.AddrPort
	sent, refused bool
	reason        string
	length        int // of the whole message
	data          []byte
}

// cursor reads a ring from its oldest record to the newest one at the time that the cursor was made.
type cursor struct {
	ring    *ring
	next    uint64 // block
	end     uint64 // the last one
	done    bool
	buffer  []byte
	left    []byte
	current record
}

func (r *ring) cursor() *cursor {
	return &cursor{ring: r, end: r.newest(), buffer: make([]byte, blockSize)}
}

// advance makes the next record the current one; it reports false at the end.
func (c *cursor) advance() bool {
	for len(c.left) == 0 {
		if c.done {
			return false
		}
		var number uint64
		number, c.left = c.ring.copyBlock(c.next, c.buffer)
		c.next = number + 1
		if number >= c.end {
			c.done = true
		}
		if number > c.end {
			c.left = nil // overwritten since: what stands there is newer than the dump
		}
	}
	c.left = c.current.decode(c.left)
	return true
}

// decode reads the first record and returns what follows it.
func (r *record) decode(b []byte) []byte {
	r.at = time.Unix(0, int64(binary.LittleEndian.Uint64(b[headTime:]))).UTC()
	port := func(at, addr int) netip.AddrPort {
		a := netip.AddrFrom16([16]byte(b[addr:])).Unmap()
		return netip.AddrPortFrom(a, binary.LittleEndian.Uint16(b[at:]))
	}
	local := port(headPorts, headLocal)
	r.face = nat.Interface{
		Side: nat.Side(b[headSide]), Realm: nat.Realm(b[headRealm]), Transport: nat.Transport(b[headKind]),
		Bind: local, Advertised: local,
	}
	r.remote = port(headPorts+2, headRemote)
	r.sent, r.refused = b[headFlags]&flagSent != 0, b[headFlags]&flagRefused != 0
	r.length = int(binary.LittleEndian.Uint32(b[headLength:]))
	kept := int(binary.LittleEndian.Uint32(b[headLength+4:]))
	text := b[headReason:headSize]
	for len(text) > 0 && text[len(text)-1] == 0 {
		text = text[:len(text)-1]
	}
	r.reason = string(text)
	r.data = b[headSize : headSize+kept]
	return b[headSize+kept:]
}
