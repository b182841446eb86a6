package media

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"sallyport/nat"
)

// Config is the relay's part of the configuration.
type Config struct {
	// Addresses are the bind addresses, by nat.Side. Equal ones make both sides share one pool, so that a stream takes
	// two pairs of it.
	Addresses [2]netip.Addr
	// Others are the bind addresses in the other family, by side; invalid: a side has one family. Each port is bound on both
	// addresses of its side, and is one leg.
	Others [2]netip.Addr
	// First and Last bound the port range, inclusive. An RTP port is even and RTCP is the port above (RFC 3550 §11), so
	// 30000-31000 holds 500 pairs: 31000 alone is none.
	First, Last uint16
	// DSCP marks what we send, 0 to 63; 46 is expedited forwarding (RFC 3246).
	DSCP int
	// ReceiveBuffer is asked for each socket, in bytes; 0 means 64 KiB, a second of ordinary audio.
	ReceiveBuffer int
	// Workers is how many threads share the calls; 0 means 1. A range too narrow to be shared has one.
	Workers int
	// LowLatency relays each packet as soon as it comes. Otherwise a process that does nothing but media gathers those of
	// a millisecond while it has little to do, which saves a third of its processor time.
	LowLatency bool
	// Choice is the back end that is wanted, where there is more than one.
	Choice Choice
	// Silence is how long a call whose signalling is gone may be silent before its ports are freed; 0 means 60 s.
	Silence time.Duration
}

// MaxWorkers bounds Config.Workers.
const MaxWorkers = 64

// Choice is what signalling wants datagrams to be carried by. Whoever owns the back ends decides what Auto is.
type Choice uint8

// The choices; the names are those of the back ends' packages.
const (
	Auto Choice = iota
	Epoll
	Steer
)

// String is the choice's name in the configuration.
func (c Choice) String() string {
	return [...]string{"auto", "epoll", "steer", "unknown"}[min(c, Steer+1)]
}

// ParseChoice reads the name of a choice.
func ParseChoice(name string) (c Choice, ok bool) {
	for c = Auto; c <= Steer; c++ {
		if c.String() == name {
			return c, true
		}
	}
	return Auto, false
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
	errs = append(errs, c.families())
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
	if c.Workers < 0 || c.Workers > MaxWorkers {
		errs = append(errs, fmt.Errorf("media: %d workers: use 1 to %d, or 0 for the default", c.Workers, MaxWorkers))
	}
	if c.Choice > Steer {
		errs = append(errs, fmt.Errorf("media: back end %d: use auto, epoll or steer", c.Choice))
	}
	if c.Silence < 0 {
		errs = append(errs, fmt.Errorf("media: silence of %v: use 0 for the default", c.Silence))
	}
	return errors.Join(errs...)
}

func (c Config) layout() Layout {
	first := int(c.First) + int(c.First)&1
	addresses, others := c.bound()
	l := Layout{
		Addresses: addresses, Others: others,
		First: first, Blocks: 2,
		Pairs: max(0, (int(c.Last)-first+1)/2),
		DSCP:  c.DSCP, ReceiveBuffer: c.ReceiveBuffer, LowLatency: c.LowLatency, Choice: c.Choice, Silence: c.Silence,
	}
	if c.Shared() {
		l.Blocks = 1
	}
	if l.ReceiveBuffer == 0 {
		l.ReceiveBuffer = 64 << 10
	}
	if l.Silence == 0 {
		l.Silence = time.Minute
	}
	l.Workers = c.workers(l)
	return l
}

// workers is how many threads share the calls. Each needs pairs for more than one call of its own.
func (c Config) workers(l Layout) int { return max(1, min(c.Workers, l.Pairs*l.Blocks/4)) }

// Layout is the shape of the leg table, which Plane, Engine and back end must agree on. Legs are numbered by port: one
// block for each bind address, the even numbers RTP, the odd ones RTCP.
type Layout struct {
	Addresses     [2]netip.Addr // by nat.Side
	Others        [2]netip.Addr // in the other family; invalid: none
	First         int           // lowest RTP port
	Pairs         int           // on each address
	Blocks        int           // 2, or 1 where both sides share an address
	DSCP          int
	ReceiveBuffer int
	Workers       int // at least 1
	LowLatency    bool
	Choice        Choice
	Silence       time.Duration // Config.Silence
}

// Legs is the length of the table.
func (l Layout) Legs() int { return l.Blocks * l.Pairs * 2 }

// Worker is the worker that a leg belongs to. Calls are shared by pair number, and both legs of a call, on either side,
// have one worker.
func (l Layout) Worker(leg int) int { return leg / 2 % l.Pairs % max(1, l.Workers) }

// serves reports whether a command is for legs of the table, both of one worker.
func (l Layout) serves(c *Command) bool {
	legs := int32(l.Legs())
	return c.Leg >= 0 && c.Leg+1 < legs && c.Peer >= 0 && c.Peer+1 < legs && (c.Leg|c.Peer)&1 == 0 &&
		l.Worker(int(c.Leg)) == l.Worker(int(c.Peer))
}
