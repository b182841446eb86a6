package demo

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// PacketConn is what an agent listens on: a UDP socket, or one of a test network.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// Agent is a scripted user agent: one goroutine that owns its transactions, calls and timers. Its exported fields are
// set before Run and read by that goroutine alone.
type Agent struct {
	Name string // in User-Agent, and the user of its own URIs where Number is empty
	// Addr is its signalling address as it knows it: in Via, Contact and Call-ID. Behind a NAT its packets come from
	// elsewhere.
	Addr netip.AddrPort
	// Number is the user of its own URIs: the caller's number.
	Number string
	// Domain is the host of its address-of-record and of the numbers that it calls; empty: the addresses.
	Domain string
	// Password answers challenges, under AuthName or, where that is empty, the user of its own URIs; empty: none is answered.
	Password, AuthName string
	// Incoming is asked for the script of each call that arrives.
	Incoming func(invite *message.Message) Script
	// Outside is asked for the answer to each other request that belongs to no call, those of other dialogs included
	// (NOTIFY). No answer, or no Outside: 481 within a dialog, else 200.
	Outside func(req *message.Message) *message.Message
	// Registrar makes it a PBX: it keeps the contacts of users. Nil: a REGISTER is a request as any other.
	Registrar *Registrar
	// Lost hears that its stream has ended (Rebind gives it another one).
	Lost func()
	// Trace hears each message, sent or received.
	Trace func(sent bool, peer netip.AddrPort, b []byte)

	table  *transaction.Table
	ids    tu.IDs
	timers timers
	calls  map[uint64]*Call                  // by user number of the transaction table
	asks   map[uint64]func(*message.Message) // likewise
	tags   map[string]*Call                  // by our tag
	lastID uint64
	now    time.Time

	transport nat.Transport
	serial    uint64 // of the stream
	gone      bool   // the stream has ended

	wake  chan struct{} // something was queued
	mu    sync.Mutex    // guards all below
	conn  PacketConn
	queue []func()
	until time.Time // the read deadline
}

// NewAgent makes an agent on a connection. Run starts it. Its identifiers are a function of its name and seed: thousands of phones
// behind NATs share a few private addresses, and a Call-ID is "a globally unique identifier over space and time" (RFC 3261 §8.1.1.4).
func NewAgent(name string, addr netip.AddrPort, conn PacketConn, seed byte) *Agent {
	key := [16]byte{seed, 1}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	own := tu.Seed{seed, 2}
	binary.BigEndian.PutUint64(own[8:], h.Sum64())
	a := &Agent{
		Name: name, Addr: addr, table: newTable(), ids: tu.NewIDs(own, tu.NewTagKey(key)),
		calls: map[uint64]*Call{}, asks: map[uint64]func(*message.Message){}, tags: map[string]*Call{}, wake: make(chan struct{}, 1),
	}
	a.take(conn)
	return a
}

// take makes a connection the agent's.
func (a *Agent) take(conn PacketConn) {
	a.conn, a.transport, a.gone = conn, nat.UDP, false
	if s, ok := conn.(*Stream); ok {
		a.transport = s.transport
		a.serial++
	}
}

// Rebind gives the agent another connection: after its NAT has forgotten the old one, or a stream has ended. It must run
// on the agent's goroutine. The old connection is the caller's to close. It tells nobody: register again.
func (a *Agent) Rebind(conn PacketConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.take(conn)
}

func newTable() *transaction.Table { return transaction.NewTable(transaction.Config{Max: 1 << 20}) }

// Run serves until the context ends or its socket is closed; a stream that ends it outlives. It leaves the connection open.
func (a *Agent) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { a.Do(func() {}) })
	defer stop()
	buf := make([]byte, 65536)
	for ctx.Err() == nil {
		a.now = time.Now()
		a.work()
		conn := a.sleep()
		if a.gone {
			a.idle(ctx)
			continue
		}
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		a.now = time.Now()
		switch {
		case err == nil:
			a.receive(buf[:n], from)
		case !errors.Is(err, net.ErrClosed):
		case a.transport.Reliable():
			a.ended()
		default:
			return
		}
	}
}

// ended notes that the stream is no more: what waits for an answer on it waits in vain.
func (a *Agent) ended() {
	a.gone = true
	if s, ok := a.conn.(*Stream); ok {
		_ = s.Close()
		a.apply(a.table.Unreachable(a.now, a.flow(s.remote), nil))
	}
	if a.Lost != nil {
		a.Lost()
	}
}

// idle waits for what is queued or due while there is nothing to read from.
func (a *Agent) idle(ctx context.Context) {
	a.mu.Lock()
	until := a.until
	a.mu.Unlock()
	var due <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-due:
	}
}

// flow is a peer as the transaction table knows it.
func (a *Agent) flow(remote netip.AddrPort) nat.Flow {
	f := nat.Flow{Transport: a.transport, Remote: remote}
	if a.transport.Reliable() {
		f.Conn = a.serial
	}
	return f
}

// Do runs f on the agent's goroutine, soon.
func (a *Agent) Do(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, f)
	_ = a.conn.SetReadDeadline(past)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// past is a read deadline that wakes the reader at once.
var past = time.Unix(1, 0)

// work runs what was asked for and what is due.
func (a *Agent) work() {
	a.mu.Lock()
	queue := a.queue
	a.queue = nil
	a.mu.Unlock()
	for _, f := range queue {
		f()
	}
	for len(a.timers) > 0 && !a.timers[0].at.After(a.now) {
		heap.Pop(&a.timers).(timer).do()
	}
	a.apply(a.table.Tick(a.now, nil))
}

// sleep sets how long the next read may wait: until a timer is due, not at all if something is queued. It holds the lock
// throughout, or it would overwrite the deadline of a Do that comes between. It returns what to read from.
func (a *Agent) sleep() PacketConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.table.Next()
	if len(a.timers) > 0 && (next.IsZero() || a.timers[0].at.Before(next)) {
		next = a.timers[0].at
	}
	if len(a.queue) > 0 {
		next = past
	}
	a.until = next
	_ = a.conn.SetReadDeadline(next)
	return a.conn
}

// after runs f on the agent's goroutine in d.
func (a *Agent) after(d time.Duration, f func()) {
	heap.Push(&a.timers, timer{at: a.now.Add(d), do: f})
}

// keep is after for what is no call's.
func (a *Agent) keep(d time.Duration, f func()) {
	heap.Push(&a.timers, timer{at: a.now.Add(d), do: f, stays: true})
}

// Calls is how many calls the agent holds, ended ones that it still remembers included, and how many transactions. It
// may be called from any goroutine.
func (a *Agent) Calls(ctx context.Context) (calls, transactions int) {
	a.ask(ctx, func() {
		calls = len(a.calls)
		s, c := a.table.Len()
		transactions = s + c
	})
	return calls, transactions
}

// Forget drops what the agent only remembers: ended calls and finished transactions. It reports false, and does nothing,
// if a call is in progress. For measurements: nothing may be on its way to the agent any more.
func (a *Agent) Forget(ctx context.Context) (done bool) {
	a.ask(ctx, func() {
		for _, c := range a.calls {
			if !c.ended {
				return
			}
		}
		a.table = newTable()
		a.timers = slices.Clone(slices.DeleteFunc(a.timers, func(t timer) bool { return !t.stays }))
		heap.Init(&a.timers)
		a.calls, a.tags, a.asks = map[uint64]*Call{}, map[string]*Call{}, map[uint64]func(*message.Message){}
		done = true
	})
	return done
}

// ask runs f on the agent's goroutine and waits for it.
func (a *Agent) ask(ctx context.Context, f func()) {
	done := make(chan struct{})
	a.Do(func() { f(); close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	}
}

type timer struct {
	at    time.Time
	do    func()
	stays bool // Forget leaves it alone
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	old[len(old)-1] = timer{} // or the array would keep the call that it was for
	*t = old[:len(old)-1]
	return x
}
