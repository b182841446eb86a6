package registrar

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// version leads every encoded binding. The first one did not say what the node was told: the phone's next REGISTER goes to the
// PBX then.
const (
	versionFirst = 1
	version      = 2
)

// The errors of UnmarshalBinary.
var (
	ErrVersion = errors.New("binding of another version; its phone must register again")
	ErrBinding = errors.New("binding cannot be read; its phone must register again")
)

// MarshalBinary writes a binding for the store: a version byte, then strings with their length in front and numbers as
// varints. Interface and Conn of the flow are this run's own; the reader sets them anew.
func (b *Binding) MarshalBinary() ([]byte, error) { return b.AppendBinary(nil) }

// AppendBinary is MarshalBinary behind out.
func (b *Binding) AppendBinary(out []byte) ([]byte, error) {
	var room [192]byte
	contact := b.Contact.Append(room[:0])
	out = slices.Grow(out, 160+len(contact)+len(b.AoR)+len(b.CallID)+len(b.UserAgent)+len(b.Instance)+len(b.Node))
	out = append(out, version)
	for _, s := range [...]string{b.AoR, b.Token, b.Instance, b.CallID, b.UserAgent, b.Node} {
		out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
	}
	out = append(binary.AppendUvarint(out, uint64(len(contact))), contact...)
	out = append(binary.AppendUvarint(out, uint64(len(b.Q))), b.Q...)
	remote, err := b.Flow.Remote.AppendBinary(room[:0])
	if err != nil {
		return nil, err
	}
	out = append(binary.AppendUvarint(out, uint64(len(remote))), remote...)
	out = binary.AppendUvarint(out, uint64(b.Flow.Interface))
	out = binary.AppendUvarint(out, b.Flow.Conn)
	out = append(out, byte(b.Flow.Transport), byte(b.NAT), bit(b.Lost))
	out = binary.AppendUvarint(out, uint64(b.CSeq))
	for _, t := range [...]time.Time{b.Since, b.Refreshed, b.Expires, b.ExpiresPBX, b.Answered} {
		out = binary.AppendVarint(out, nanoseconds(t))
	}
	out = binary.AppendUvarint(out, uint64(len(b.ALG)))
	for _, s := range b.ALG {
		out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
	}
	out = binary.AppendVarint(out, nanoseconds(b.Accepted))
	told, err := b.Told.AppendBinary(room[:0])
	if err != nil {
		return nil, err
	}
	out = append(binary.AppendUvarint(out, uint64(len(told))), told...)
	return binary.AppendUvarint(binary.AppendUvarint(out, uint64(b.Local)), uint64(b.Passed)), nil
}

// nanoseconds since the epoch; 0: no time.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// UnmarshalBinary reads what MarshalBinary wrote. b is as it was with an error.
func (b *Binding) UnmarshalBinary(data []byte) error {
	if len(data) == 0 || data[0] != version && data[0] != versionFirst {
		return ErrVersion
	}
	d := decoder{rest: data[1:]}
	var x Binding
	var contact string
	for _, s := range [...]*string{&x.AoR, &x.Token, &x.Instance, &x.CallID, &x.UserAgent, &x.Node, &contact, &x.Q} {
		*s = string(d.bytes())
	}
	if err := x.Flow.Remote.UnmarshalBinary(d.bytes()); err != nil || !x.Flow.Remote.IsValid() {
		return ErrBinding
	}
	x.Flow.Interface = uint16(d.number(1<<16 - 1))
	x.Flow.Conn = d.number(1<<64 - 1)
	x.Flow.Transport = nat.Transport(d.byte(byte(nat.WSS)))
	x.NAT = nat.Kind(d.byte(byte(nat.KindAddress)))
	x.Lost = d.byte(1) == 1
	x.CSeq = uint32(d.number(1<<31 - 1))
	for _, t := range [...]*time.Time{&x.Since, &x.Refreshed, &x.Expires, &x.ExpiresPBX, &x.Answered} {
		*t = d.time()
	}
	for range d.number(clausesMost) {
		x.ALG = append(x.ALG, string(d.bytes()))
	}
	if x.Accepted = x.Refreshed; data[0] > versionFirst {
		x.Accepted = d.time()
		if err := x.Told.UnmarshalBinary(d.bytes()); err != nil {
			return ErrBinding
		}
		x.Local, x.Passed = uint32(d.number(math.MaxUint32)), uint32(d.number(math.MaxUint32))
	}
	var err error
	if x.Contact, err = message.ParseNameAddr(contact); err != nil || d.bad || len(d.rest) > 0 || x.AoR == "" || x.Token == "" {
		return ErrBinding
	}
	*b = x
	return nil
}

// decoder reads fields off the front; bad: one was not there.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number(most uint64) uint64 {
	n, used := binary.Uvarint(d.rest)
	if used <= 0 || n > most {
		d.rest, d.bad = nil, true
		return 0
	}
	d.rest = d.rest[used:]
	return n
}

func (d *decoder) bytes() []byte {
	n := d.number(uint64(len(d.rest)))
	if n > uint64(len(d.rest)) {
		d.rest, d.bad = nil, true
		return nil
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) byte(most byte) byte {
	if len(d.rest) == 0 || d.rest[0] > most {
		d.rest, d.bad = nil, true
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) time() time.Time {
	n, used := binary.Varint(d.rest)
	if used <= 0 {
		d.rest, d.bad = nil, true
		return time.Time{}
	}
	d.rest = d.rest[used:]
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
