package demo

import (
	"container/heap"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
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

// Agent is a scripted user agent: one goroutine that owns its transactions, calls and timers.
type Agent struct {
	Name string
	Addr netip.AddrPort // signalling address
	// Incoming is asked for the script of each call that arrives.
	Incoming func(invite *message.Message) Script
	// Trace hears each message, sent or received.
	Trace func(sent bool, peer netip.AddrPort, b []byte)

	conn   PacketConn
	table  *transaction.Table
	ids    tu.IDs
	timers timers
	calls  map[uint64]*Call // by user number of the transaction table
	lastID uint64
	now    time.Time

	mu     sync.Mutex
	queue  []func()
	closed bool
}

// NewAgent makes an agent on a connection. Run starts it.
func NewAgent(name string, addr netip.AddrPort, conn PacketConn, seed byte) *Agent {
	key := [16]byte{seed, 1}
	return &Agent{
		Name: name, Addr: addr, conn: conn, table: transaction.NewTable(transaction.Config{Max: 1 << 20}),
		ids: tu.NewIDs(tu.Seed{seed, 2}, tu.NewTagKey(key)), calls: map[uint64]*Call{},
	}
}

// Run serves until the context ends.
func (a *Agent) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { a.Do(func() {}) })
	defer stop()
	buf := make([]byte, 65536)
	for ctx.Err() == nil {
		a.now = time.Now()
		a.work()
		_ = a.conn.SetReadDeadline(a.wake())
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		a.now = time.Now()
		if err == nil {
			a.receive(buf[:n], from)
		}
	}
}

// Do runs f on the agent's goroutine, soon.
func (a *Agent) Do(f func()) {
	a.mu.Lock()
	a.queue = append(a.queue, f)
	a.mu.Unlock()
	_ = a.conn.SetReadDeadline(time.Unix(1, 0))
}

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

// wake is when the next timer is due; now, if something is queued.
func (a *Agent) wake() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) > 0 {
		return time.Unix(1, 0)
	}
	next := a.table.Next()
	if len(a.timers) > 0 && (next.IsZero() || a.timers[0].at.Before(next)) {
		next = a.timers[0].at
	}
	return next
}

// after runs f on the agent's goroutine in d.
func (a *Agent) after(d time.Duration, f func()) {
	heap.Push(&a.timers, timer{at: a.now.Add(d), do: f})
}

func (a *Agent) receive(b []byte, from netip.AddrPort) {
	if a.Trace != nil {
		a.Trace(false, from, b)
	}
	var v scan.View
	if scan.Scan(b, &v) != nil {
		return
	}
	m, err := message.Parse(b, &v)
	if err != nil {
		return
	}
	m.SetSource(from)
	f := nat.Flow{Remote: from}
	if m.IsRequest() {
		a.apply(a.table.Request(a.now, m, f, f, nil))
	} else {
		a.apply(a.table.Response(a.now, m, f, nil))
	}
}

// apply does what the transaction table asks for.
func (a *Agent) apply(effects []transaction.Effect) {
	for i := range effects {
		e := &effects[i]
		switch e.Kind {
		case transaction.Transmit:
			a.write(e.Bytes, e.Flow.Remote)
		case transaction.NewRequest:
			a.request(e)
		case transaction.Cancelled:
			a.call(e.User, func(c *Call) { c.cancelled() })
		case transaction.AckFor2xx:
			a.call(e.User, func(c *Call) { c.acked(e.Msg) })
		case transaction.NotAcked:
			a.call(e.User, func(c *Call) { c.finish("no ACK") })
		case transaction.Response, transaction.Provisional:
			a.call(e.User, func(c *Call) { c.response(e.Ref, e.Msg) })
		case transaction.Timeout, transaction.Failed:
			a.call(e.User, func(c *Call) { c.failed(e.Ref) })
		}
	}
}

func (a *Agent) call(id uint64, f func(*Call)) {
	if c := a.calls[id]; c != nil {
		f(c)
	}
}

func (a *Agent) write(b []byte, to netip.AddrPort) {
	if a.Trace != nil {
		a.Trace(true, to, b)
	}
	_, _ = a.conn.WriteToUDPAddrPort(b, to) // a lost datagram is repeated by its transaction
}

// request takes a request that opened a server transaction.
func (a *Agent) request(e *transaction.Effect) {
	m := e.Msg
	if m.To.Tag != "" {
		for _, c := range a.calls {
			if c.owns(m) {
				a.table.Own(e.ID, c.id, "")
				c.request(e.ID, m)
				return
			}
		}
		a.respond(e.ID, message.Reply(m, 481, ""))
		return
	}
	if m.Method != "INVITE" {
		resp := message.Reply(m, 200, "")
		resp.To.Tag = a.ids.Tag()
		a.respond(e.ID, resp)
		return
	}
	script := Script{Answer: 10 * time.Millisecond}
	if a.Incoming != nil {
		script = a.Incoming(m)
	}
	c := a.newCall(script)
	a.table.Own(e.ID, c.id, c.tag)
	c.incoming(e.ID, m, e.Flow.Remote)
}

func (a *Agent) respond(id transaction.ID, m *message.Message) {
	effects, err := a.table.Respond(a.now, id, m, nil)
	if err == nil {
		a.apply(effects)
	}
}

// send opens a client transaction for a call.
func (a *Agent) send(c *Call, ref uint32, m *message.Message, to netip.AddrPort) {
	m.Via = []message.Via{{Transport: "UDP", Host: a.Addr.Addr().String(), Port: a.Addr.Port(), Branch: a.ids.Branch()}}
	effects, err := a.table.Send(a.now, c.id, ref, m, nat.Flow{Remote: to}, nil)
	if err == nil {
		a.apply(effects)
	}
}

// Calls is how many calls the agent holds, and how many transactions. It may be called from any goroutine.
func (a *Agent) Calls(ctx context.Context) (calls, transactions int) {
	done := make(chan struct{})
	a.Do(func() {
		calls = len(a.calls)
		s, c := a.table.Len()
		transactions = s + c
		close(done)
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
	return calls, transactions
}

type timer struct {
	at time.Time
	do func()
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}
