package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/message"
)

// PacketConn is a UDP socket. A read error that has a method Unreachable() netip.AddrPort says that ICMP refused an
// earlier datagram to that address; after Close reads return net.ErrClosed. Writes never wait.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, src netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, dst netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// Guard judges a message by its bytes. It is called from every reader at once.
type Guard interface {
	Check(p *policy.Packet) policy.Verdict
}

// Packet is one message that passed the guard and the validator. It is shared and never changes.
type Packet struct {
	Interface *nat.Interface
	Flow      nat.Flow
	Msg       *message.Message // of a request, the topmost Via tells the true source (RFC 3261 §18.2.1, RFC 3581)
	Verdict   policy.Verdict
}

// Outcome is what became of a packet that was handed on.
type Outcome uint8

// The outcomes.
const (
	Accepted Outcome = iota // in the inbox
	Dropped                 // no room: lost, as on the wire
	Busy                    // too much to do: the sender is answered 503, statelessly
)

// Handler takes what arrives. Its methods are called from every reader at once and must not block.
type Handler interface {
	Deliver(Packet) Outcome
	// Unreachable says that ICMP refused a datagram that was sent to remote by an interface (RFC 3261 §18.4). Whoever
	// knows both addresses can forge that: it is a reason to try the next hop, never to end a call.
	Unreachable(iface uint16, remote netip.AddrPort)
}

// Config is what Listen needs.
type Config struct {
	Interfaces []nat.Interface
	Guard      Guard
	Handler    Handler

	// Listen opens a socket; nil opens real ones.
	Listen func(bind netip.AddrPort) (PacketConn, error)
	// Now is the clock of the guard; nil is time.Now.
	Now func() time.Time
	// ReceiveBuffer of each socket in bytes is asked for; 0 asks for 8 MiB. Counters tell what the kernel gave.
	ReceiveBuffer int
	// DSCP marks what is sent, 0 to 63 (RFC 4594 §2.3: signalling is CS5, 40).
	DSCP int
	// Log may be nil.
	Log *zap.Logger
}

// Validate names every setting that cannot work.
func (c *Config) Validate() error {
	var errs []error
	if c.Guard == nil || c.Handler == nil {
		errs = append(errs, errors.New("transport: Guard and Handler are needed"))
	}
	if c.DSCP < 0 || c.DSCP > 63 {
		errs = append(errs, fmt.Errorf("transport: dscp %d: give 0 to 63", c.DSCP))
	}
	if c.ReceiveBuffer < 0 || c.ReceiveBuffer > 1<<30 {
		errs = append(errs, fmt.Errorf("transport: receive buffer %d: give a size in bytes, at most 1GiB", c.ReceiveBuffer))
	}
	return errors.Join(errs...)
}

// The errors of Send.
var (
	// ErrLost says that the kernel had no room. Over UDP that is a lost datagram like any other: the sender's timers
	// repeat it.
	ErrLost = errors.New("datagram lost: the socket's send buffer is full")
	// ErrNoInterface says that the flow's interface is not open (any more).
	ErrNoInterface = errors.New("the flow's interface is not open")
)

// Set is the open sockets.
type Set struct {
	config Config
	table  atomic.Pointer[[]*endpoint] // by Interface.ID; replaced, never changed

	mu     sync.Mutex // of Add, Remove and Close
	closed bool
}

// Listen opens all interfaces and starts their readers. An error lists every interface that cannot be opened, why, and
// what to do; then none is open.
func Listen(c Config) (*Set, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ReceiveBuffer == 0 {
		c.ReceiveBuffer = 8 << 20
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	s := &Set{config: c}
	s.table.Store(new([]*endpoint))
	if err := s.Add(c.Interfaces...); err != nil {
		return nil, err
	}
	return s, nil
}

// Add opens further interfaces: all or, with an error, none. A reload opens its new ones so, before it removes any.
func (s *Set) Add(interfaces ...nat.Interface) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	table := append([]*endpoint(nil), *s.table.Load()...)
	var opened []*endpoint
	var errs []error
	for i := range interfaces {
		e, err := s.open(interfaces[i], table)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		opened = append(opened, e)
		for int(e.face.ID) >= len(table) {
			table = append(table, nil)
		}
		table[e.face.ID] = e
	}
	if len(errs) > 0 {
		for _, e := range opened {
			_ = e.conn.Close()
		}
		return errors.Join(errs...)
	}
	s.table.Store(&table)
	smallest := s.config.ReceiveBuffer
	for _, e := range opened {
		e.done.Go(e.run)
		if e.buffer > 0 {
			smallest = min(smallest, e.buffer)
		}
	}
	if smallest < s.config.ReceiveBuffer {
		s.config.Log.Warn(fmt.Sprintf("receive buffers are smaller than the %d bytes asked for, bursts may be lost: "+
			"set net.core.rmem_max to that, or grant CAP_NET_ADMIN", s.config.ReceiveBuffer), zap.Int("bytes", smallest))
	}
	return nil
}

func (s *Set) open(face nat.Interface, table []*endpoint) (*endpoint, error) {
	bind := face.Bind
	switch {
	case face.Transport != nat.UDP:
		return nil, fmt.Errorf("%s: only udp interfaces can be opened", &face)
	case !bind.IsValid() || bind.Addr().IsUnspecified() || bind.Addr().IsMulticast():
		return nil, fmt.Errorf("%s: bind to one address of this machine, not to a wildcard", &face)
	case int(face.ID) < len(table) && table[face.ID] != nil:
		return nil, fmt.Errorf("%s: interface number %d is open already (%s)", &face, face.ID, &table[face.ID].face)
	}
	conn, buffer, err := s.listen(bind)
	if err != nil {
		return nil, listenError(&face, err, s.config.Listen == nil)
	}
	return newEndpoint(&s.config, face, conn, buffer), nil
}

// listen opens a socket and tells the receive buffer that it got, 0 where that is unknown.
func (s *Set) listen(bind netip.AddrPort) (PacketConn, int, error) {
	if s.config.Listen != nil {
		c, err := s.config.Listen(bind)
		return c, 0, err
	}
	k, err := openSocket(bind, s.config.ReceiveBuffer, s.config.DSCP)
	if err != nil {
		return nil, 0, err
	}
	return k, k.buffer, nil
}

func (s *Set) find(id uint16) *endpoint {
	table := *s.table.Load()
	if int(id) >= len(table) {
		return nil
	}
	return table[id]
}

// Send sends one datagram on a flow: one system call, never waiting, without an allocation. After ErrLost the datagram
// counts as lost on the wire; any other error means that this destination cannot be reached now (RFC 3261 §8.1.3.1).
func (s *Set) Send(f nat.Flow, b []byte) error {
	e := s.find(f.Interface)
	if e == nil || f.Transport != e.face.Transport {
		return ErrNoInterface
	}
	return e.send(b, f.Remote)
}

// Remove closes an interface and waits for its reader. Who wants its dialogs to end first waits before calling. It
// reports false if there is none of that number. It must not be called from a Handler.
func (s *Set) Remove(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if e == nil {
		return false
	}
	table := append([]*endpoint(nil), *s.table.Load()...)
	table[id] = nil
	s.table.Store(&table)
	e.close()
	return true
}

// Close closes all interfaces and waits for their readers: nothing is delivered after it returns. It must not be called
// from a Handler.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	table := *s.table.Load()
	s.table.Store(new([]*endpoint))
	for _, e := range table {
		if e != nil {
			e.close()
		}
	}
}

// Counters returns the sums of each open interface, in the order of their numbers.
func (s *Set) Counters() []Counters {
	var out []Counters
	for _, e := range *s.table.Load() {
		if e != nil {
			out = append(out, e.snapshot())
		}
	}
	return out
}
