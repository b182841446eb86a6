package transport

import (
	"context"
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

// Shedder is a Guard that may tell from its source alone that there is no time to look at a datagram.
type Shedder interface {
	Shed(now time.Time, i *nat.Interface, source netip.AddrPort) bool
}

// Witness is a Guard that hears of what readers answer by themselves.
type Witness interface {
	Answered(i *nat.Interface, to netip.AddrPort, b []byte)
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
	// Unreachable says that ICMP refused a datagram that was sent on a flow, or that no connection to its remote address
	// could be made (RFC 3261 §18.4); Conn is 0. Whoever knows both addresses can forge an ICMP error: it is a reason to
	// try the next hop, never to end a call.
	Unreachable(f nat.Flow)
	// Closed says that a connection is gone that a message came from or was sent on, whoever ended it. It comes after the
	// last Deliver of that connection, and once. What was sent last may not have arrived. dialled tells that it was this
	// side's: what was sent on the flow with Conn 0 may be lost too, and the next message there dials anew.
	Closed(f nat.Flow, dialled bool)
}

// Config is what Listen needs.
type Config struct {
	Interfaces []nat.Interface
	Guard      Guard
	Handler    Handler

	// Listen opens a UDP socket; nil opens real ones.
	Listen func(bind netip.AddrPort) (PacketConn, error)
	// ListenStream opens a TCP listener, for TLS and WebSocket too; nil opens real ones.
	ListenStream func(bind netip.AddrPort) (net.Listener, error)
	// Dial connects from an interface's address; nil does so really. It must give up when the context ends.
	Dial func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	// TLS is needed by interfaces of that transport and of WebSocket; SetTLS gives another one later.
	TLS *TLS
	// Identity is who a peer must prove to be, of a connection dialled by a flow: its class says for whom; nil: its address.
	Identity func(to nat.Flow) *Identity
	// Recognise is asked who knows clients of a TLS interface by their certificates; nil, or where it says nil: nobody, and they
	// are asked for one only where the TLS has a client_ca.
	Recognise func(face *nat.Interface) Recogniser
	// Known reports whether the guard knows an address at an interface; nil: nobody. Its connections are not strangers'.
	Known func(face *nat.Interface, remote netip.Addr) bool
	// Unwelcome reports whether a connection from an address is closed as soon as it is accepted; nil: none is.
	Unwelcome func(face *nat.Interface, remote netip.AddrPort) bool
	// Origin reports whether pages of a web site may open a WebSocket (RFC 6455 §10.2); nil: all may. Who is no browser names
	// none, and is not asked about.
	Origin func(origin string) bool
	// Streams bounds connections; zero values are the defaults.
	Streams StreamLimits
	// Now is the clock of the guard; nil is time.Now.
	Now func() time.Time
	// ReceiveBuffer of each UDP socket in bytes is asked for; 0 asks for 8 MiB. Counters tell what the kernel gave.
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
	return errors.Join(append(errs, c.Streams.Validate())...)
}

// The errors of Send.
var (
	// ErrLost says that the kernel had no room. Over UDP that is a lost datagram like any other: the sender's timers
	// repeat it.
	ErrLost = errors.New("datagram lost: the socket's send buffer is full")
	// ErrNoInterface says that the flow's interface is not open (any more).
	ErrNoInterface = errors.New("the flow's interface is not open")
	// ErrGone says that the connection that the flow names has ended. No other one takes its messages.
	ErrGone = errors.New("the flow's connection is gone")
	// ErrSlow says that a connection's queue is full, of a peer that reads too slowly or does not answer the dialling.
	ErrSlow = errors.New("the connection's queue is full")
)

// opening is an open interface of whatever transport.
type opening interface {
	about() *door
	start()
	send(f nat.Flow, b []byte) error
	snapshot() Counters
	close() // ends the readers and waits for them
}

// Set is the open sockets.
type Set struct {
	config Config
	hub    *hub
	table  atomic.Pointer[[]opening] // by Interface.ID; replaced, never changed

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
	c.Streams = c.Streams.filled()
	s := &Set{config: c, hub: newHub(&c)}
	s.table.Store(new([]opening))
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
	table := append([]opening(nil), *s.table.Load()...)
	var opened []opening
	var errs []error
	for i := range interfaces {
		e, err := s.open(interfaces[i], table)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		opened = append(opened, e)
		id := int(e.about().face.ID)
		for id >= len(table) {
			table = append(table, nil)
		}
		table[id] = e
	}
	if len(errs) > 0 {
		for _, e := range opened {
			e.close()
		}
		return errors.Join(errs...)
	}
	s.table.Store(&table)
	for _, e := range opened {
		e.start()
	}
	s.complainOfBuffers(opened)
	return nil
}

// complainOfBuffers says when the kernel gave less than was asked for.
func (s *Set) complainOfBuffers(opened []opening) {
	smallest := s.config.ReceiveBuffer
	for _, o := range opened {
		if e, ok := o.(*endpoint); ok && e.buffer > 0 {
			smallest = min(smallest, e.buffer)
		}
	}
	if smallest < s.config.ReceiveBuffer {
		s.config.Log.Warn(fmt.Sprintf("receive buffers are smaller than the %d bytes asked for, bursts may be lost: "+
			"set net.core.rmem_max to that, or grant CAP_NET_ADMIN", s.config.ReceiveBuffer), zap.Int("bytes", smallest))
	}
}

func (s *Set) open(face nat.Interface, table []opening) (opening, error) {
	bind := face.Bind
	switch {
	case face.Transport > nat.WSS:
		return nil, fmt.Errorf("interface %d: only udp, tcp, tls and wss ones can be opened", face.ID)
	case face.Transport.Secure() && s.hub.tls.Load() == nil:
		return nil, fmt.Errorf("%s: %s needs a certificate: set tls.certificate and tls.key", &face, face.Transport)
	case !bind.IsValid() || bind.Addr().IsUnspecified() || bind.Addr().IsMulticast():
		return nil, fmt.Errorf("%s: bind to one address of this machine, not to a wildcard", &face)
	case int(face.ID) < len(table) && table[face.ID] != nil:
		return nil, fmt.Errorf("%s: interface number %d is open already (%s)", &face, face.ID, &table[face.ID].about().face)
	case face.Transport.Reliable():
		l, err := s.listenStream(bind)
		if err != nil {
			return nil, listenError(&face, err, s.config.ListenStream == nil)
		}
		return newStreams(s.hub, &s.config, face, l), nil
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

// listenStream opens a listener for connections.
func (s *Set) listenStream(bind netip.AddrPort) (net.Listener, error) {
	if s.config.ListenStream != nil {
		return s.config.ListenStream(bind)
	}
	return openListener(bind, s.config.DSCP)
}

func (s *Set) find(id uint16) opening {
	table := *s.table.Load()
	if int(id) >= len(table) {
		return nil
	}
	return table[id]
}

// Send sends one message on a flow. It never waits.
//
// Over UDP it is one system call without an allocation. After ErrLost the datagram counts as lost on the wire; any other
// error means that this destination cannot be reached now (RFC 3261 §8.1.3.1).
//
// Over streams it queues a copy. A flow with a Conn means exactly that connection, or ErrGone. With Conn 0 it is the
// connection that this interface dialled to the remote address in the flow's class; if there is none, one is dialled with the message
// waiting in its queue, and Handler.Unreachable tells if that fails. CRLF CRLF is a ping like any message (RFC 5626 §3.5.1);
// on a WebSocket it leaves as a Ping frame. There is no dialling of WebSockets: with Conn 0 it is ErrGone.
func (s *Set) Send(f nat.Flow, b []byte) error {
	e := s.find(f.Interface)
	if e == nil || f.Transport != e.about().face.Transport {
		return ErrNoInterface
	}
	return e.send(f, b)
}

// Remove closes an interface with its connections and waits for its readers. Who wants its dialogs to end first waits before calling. It
// reports false if there is none of that number. It must not be called from a Handler.
func (s *Set) Remove(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if e == nil {
		return false
	}
	table := append([]opening(nil), *s.table.Load()...)
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
	s.table.Store(new([]opening))
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
