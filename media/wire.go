package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Commands and layouts cross the border between two processes as records of a fixed length, little-endian. What comes
// from there is checked as if a stranger had written it.

// CommandSize and LayoutSize are the records' lengths in bytes.
const (
	endpointSize = 18
	networkSize  = 17
	CommandSize  = 5 + 5*4 + 2*8 + 4*endpointSize + 16 + MaxSources*networkSize + extrasSize
	LayoutSize   = 4*16 + 4*4 + 4 + 8
)

const wireFree = 1 // in the record's first byte

// AppendTo appends the command's record.
func (c *Command) AppendTo(b []byte) []byte {
	var free byte
	if c.Free {
		free = wireFree
	}
	b = append(b, free, byte(c.mode), byte(c.flags), byte(c.flags>>8), c.nsources)
	for _, v := range [...]uint32{uint32(c.Leg), uint32(c.Peer), c.Generation, c.clock, c.epoch} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for _, v := range c.payloads {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, e := range [...]Endpoint{c.rtp, c.rtcp, c.learned[0], c.learned[1]} {
		b = e.appendTo(b)
	}
	b = binary.LittleEndian.AppendUint64(b, c.fallback.hi)
	b = binary.LittleEndian.AppendUint64(b, c.fallback.lo)
	for _, n := range c.sources {
		b = binary.LittleEndian.AppendUint64(b, n.hi)
		b = binary.LittleEndian.AppendUint64(b, n.lo)
		b = append(b, n.bits)
	}
	return c.extras.appendTo(b)
}

func (p Endpoint) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, p.hi)
	b = binary.LittleEndian.AppendUint64(b, p.lo)
	return binary.LittleEndian.AppendUint16(b, p.port)
}

// errRecord says that a record was not written by this program.
var errRecord = errors.New("media: a record is not well formed: both processes must be of one build")

// DecodeCommand reads a record of CommandSize bytes for legs of a layout.
func DecodeCommand(b []byte, layout Layout) (c Command, err error) {
	if len(b) != CommandSize {
		return c, errRecord
	}
	r := record{b}
	free := r.byte()
	c.Free, c.mode, c.flags, c.nsources = free == wireFree, Mode(r.byte()), flags(r.uint16()), r.byte()
	c.Leg, c.Peer = int32(r.uint32()), int32(r.uint32())
	c.Generation, c.clock, c.epoch = r.uint32(), r.uint32(), r.uint32()
	for i := range c.payloads {
		c.payloads[i] = r.uint64()
	}
	for _, e := range [...]*Endpoint{&c.rtp, &c.rtcp, &c.learned[0], &c.learned[1]} {
		*e = Endpoint{r.uint64(), r.uint64(), r.uint16()}
	}
	c.fallback = Endpoint{hi: r.uint64(), lo: r.uint64()}
	for i := range c.sources {
		c.sources[i] = network{r.uint64(), r.uint64(), r.byte()}
		if c.sources[i].bits > 128 {
			return Command{}, errRecord
		}
	}
	if !c.extras.read(&r) || free > wireFree || c.mode > Ported || c.nsources > MaxSources || c.flags&flagControl != 0 || c.flags >= flagsEnd || !layout.serves(&c) {
		return Command{}, errRecord
	}
	return c, nil
}

// AppendTo appends the layout's record.
func (l Layout) AppendTo(b []byte) []byte {
	for _, a := range [4]netip.Addr{l.Addresses[0], l.Addresses[1], l.Others[0], l.Others[1]} {
		var b16 [16]byte // of an address that is missing
		if a.IsValid() {
			b16 = a.As16()
		}
		b = append(b, b16[:]...)
	}
	for _, v := range [...]int{l.First, l.Pairs, l.ReceiveBuffer, l.Workers} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	var low byte
	if l.LowLatency {
		low = 1
	}
	b = append(b, byte(l.Blocks), byte(l.DSCP), low, byte(l.Choice))
	return binary.LittleEndian.AppendUint64(b, uint64(l.Silence))
}

// The bounds of what a layout may ask for.
const (
	maxBuffer  = 64 << 20
	maxSilence = 24 * time.Hour
)

// DecodeLayout reads a record of LayoutSize bytes.
func DecodeLayout(b []byte) (l Layout, err error) {
	if len(b) != LayoutSize {
		return l, errRecord
	}
	r := record{b}
	for side := range l.Addresses {
		l.Addresses[side] = netip.AddrFrom16([16]byte(r.take(16))).Unmap()
	}
	for side := range l.Others {
		if a := [16]byte(r.take(16)); a != [16]byte{} {
			l.Others[side] = netip.AddrFrom16(a).Unmap()
		}
	}
	l.First, l.Pairs, l.ReceiveBuffer, l.Workers = int(r.uint32()), int(r.uint32()), int(r.uint32()), int(r.uint32())
	l.Blocks, l.DSCP, l.LowLatency = int(r.byte()), int(r.byte()), r.byte() == 1
	l.Choice = Choice(r.byte())
	l.Silence = time.Duration(r.uint64())
	// What a Config makes is what may come.
	c := Config{
		Addresses: l.Addresses, Others: l.Others, First: uint16(l.First), Last: uint16(l.First + 2*l.Pairs - 1), DSCP: l.DSCP,
		ReceiveBuffer: l.ReceiveBuffer, Workers: l.Workers, LowLatency: l.LowLatency, Choice: l.Choice, Silence: l.Silence,
	}
	if l.ReceiveBuffer > maxBuffer || l.Silence > maxSilence || l.Workers > MaxWorkers {
		return Layout{}, errRecord
	}
	if err := c.Validate(); err != nil {
		return Layout{}, err
	}
	if c.layout() != l {
		return Layout{}, errRecord
	}
	return l, nil
}

// Fits reports whether signalling that wants another layout can use a table of this one: the ports and who serves them
// are the same. The rest may differ until the ports are opened anew.
func (l Layout) Fits(other Layout) bool {
	return l.Addresses == other.Addresses && l.Others == other.Others && l.First == other.First && l.Pairs == other.Pairs && l.Blocks == other.Blocks && l.Workers == other.Workers
}

// Differences says in words what another layout has that this one has not; "": nothing.
func (l Layout) Differences(other Layout) (text string) {
	differ := func(what string, here, there any) {
		if here != there {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s %v instead of %v", what, there, here)
		}
	}
	differ("outside address", l.Addresses[0], other.Addresses[0])
	differ("inside address", l.Addresses[1], other.Addresses[1])
	differ("second outside address", l.Others[0], other.Others[0])
	differ("second inside address", l.Others[1], other.Others[1])
	differ("ports", l.ports(), other.ports())
	differ("dscp", l.DSCP, other.DSCP)
	differ("receive buffer", l.ReceiveBuffer, other.ReceiveBuffer)
	differ("workers", l.Workers, other.Workers)
	differ("low latency", l.LowLatency, other.LowLatency)
	differ("back end", l.Choice, other.Choice)
	differ("silence", l.Silence, other.Silence)
	return text
}

func (l Layout) ports() string { return fmt.Sprintf("%d-%d", l.First, l.First+2*l.Pairs-1) }

// record is what is left of a record whose length has been checked.
type record struct{ b []byte }

func (r *record) take(n int) (b []byte) {
	b, r.b = r.b[:n], r.b[n:]
	return b
}

func (r *record) byte() byte     { return r.take(1)[0] }
func (r *record) uint16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *record) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *record) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
