package media

import (
	"errors"
	"fmt"
	"net/netip"

	"sallyport/nat"
)

// Config is the relay's part of the configuration.
type Config struct {
	// Addresses are the bind addresses, by nat.Side. Equal ones make both sides share one pool, so that a stream takes
	// two pairs of it.
	Addresses [2]netip.Addr
	// First and Last bound the port range, inclusive. An RTP port is even and RTCP is the port above (RFC 3550 §11), so
	// 30000-31000 holds 500 pairs: 31000 alone is none.
	First, Last uint16
	// DSCP marks what we send, 0 to 63; 46 is expedited forwarding (RFC 3246).
	DSCP int
	// ReceiveBuffer is asked for each socket, in bytes; 0 means 64 KiB, a second of ordinary audio.
	ReceiveBuffer int
}

// Validate reports what the administrator must change. All errors are joined.
func (c Config) Validate() error {
	var errs []error
	for side, a := range c.Addresses {
		a = a.Unmap()
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			errs = append(errs, fmt.Errorf("media: %s address %q cannot be bound: name one address of this machine", nat.Side(side), a))
		}
	}
	switch pairs := c.layout().Pairs; {
	case c.First == 0 || c.Last < c.First:
		errs = append(errs, fmt.Errorf("media: port range %d-%d is empty: write first-last, such as 30000-31000", c.First, c.Last))
	case pairs == 0 || pairs == 1 && c.Shared():
		errs = append(errs, fmt.Errorf("media: port range %d-%d holds no call: a stream needs an even port and the next one on each side", c.First, c.Last))
	}
	if c.DSCP < 0 || c.DSCP > 63 {
		errs = append(errs, fmt.Errorf("media: dscp %d is out of range: use 0 to 63 (46 for voice)", c.DSCP))
	}
	if c.ReceiveBuffer < 0 {
		errs = append(errs, fmt.Errorf("media: receive buffer of %d bytes: use 0 for the default", c.ReceiveBuffer))
	}
	return errors.Join(errs...)
}

// Shared reports whether both sides draw from one pool.
func (c Config) Shared() bool { return c.Addresses[0].Unmap() == c.Addresses[1].Unmap() }

func (c Config) layout() Layout {
	first := int(c.First) + int(c.First)&1
	l := Layout{
		Addresses: [2]netip.Addr{c.Addresses[0].Unmap(), c.Addresses[1].Unmap()},
		First:     first, Blocks: 2,
		Pairs: max(0, (int(c.Last)-first+1)/2),
		DSCP:  c.DSCP, ReceiveBuffer: c.ReceiveBuffer,
	}
	if c.Shared() {
		l.Blocks = 1
	}
	if l.ReceiveBuffer == 0 {
		l.ReceiveBuffer = 64 << 10
	}
	return l
}

// Layout is the shape of the leg table, which Plane, Engine and back end must agree on. Legs are numbered by port: one
// block for each bind address, the even numbers RTP, the odd ones RTCP.
type Layout struct {
	Addresses     [2]netip.Addr // by nat.Side
	First         int           // lowest RTP port
	Pairs         int           // on each address
	Blocks        int           // 2, or 1 where both sides share an address
	DSCP          int
	ReceiveBuffer int
}

// Legs is the length of the table.
func (l Layout) Legs() int { return l.Blocks * l.Pairs * 2 }

// Local is the address that a leg is bound to.
func (l Layout) Local(leg int) netip.AddrPort {
	per := l.Pairs * 2
	return netip.AddrPortFrom(l.Addresses[leg/per], uint16(l.First+leg%per))
}

// Leg finds the leg that is bound to an address of ours.
func (l Layout) Leg(at netip.AddrPort) (leg int, ok bool) {
	n := int(at.Port()) - l.First
	if n < 0 || n >= l.Pairs*2 {
		return 0, false
	}
	for block := range l.Blocks {
		if l.Addresses[block] == at.Addr().Unmap() {
			return block*l.Pairs*2 + n, true
		}
	}
	return 0, false
}
