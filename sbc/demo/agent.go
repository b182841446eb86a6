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

// Agent is a scripted user agent: one goroutine that owns its transactions, calls and timers. Its exported fields are
// set before Run and read by that goroutine alone.
type Agent struct {
	Name string         // in User-Agent, and the user of its own URIs where Number is empty
	Addr netip.AddrPort // signalling address
	// Number is the user of its own URIs: the caller's number.
	Number string
	// Incoming is asked for the script of each call that arrives.
	Incoming func(invite *message.Message) Script
	// Trace hears each message, sent or received.
	Trace func(sent bool, peer netip.AddrPort, b []byte)

	conn   PacketConn
	table  *transaction.Table
	ids    tu.IDs
	timers timers
	calls  map[uint64]*Call // by user number of the transaction table
	tags   map[string]*Call // by our tag
	lastID uint64
	now    time.Time

	mu    sync.Mutex
	queue []func()
}

// NewAgent makes an agent on a connection. Run starts it.
func NewAgent(name string, addr netip.AddrPort, conn PacketConn, seed byte) *Agent {
	key := [16]byte{seed, 1}
	return &Agent{
		Name: name, Addr: addr, conn: conn, table: newTable(),
		ids: tu.NewIDs(tu.Seed{seed, 2}, tu.NewTagKey(key)), calls: map[uint64]*Call{},
		tags: map[string]*Call{},
	}
}

func newTable() *transaction.Table { return transaction.NewTable(transaction.Config{Max: 1 << 20}) }

// Run serves until the context ends or the connection is closed. It leaves the connection open.
func (a *Agent) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { a.Do(func() {}) })
	defer stop()
	buf := make([]byte, 65536)
	for ctx.Err() == nil {
		a.now = time.Now()
		a.work()
		a.sleep()
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
	defer a.mu.Unlock()
	a.queue = append(a.queue, f)
	_ = a.conn.SetReadDeadline(past)
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
// throughout, or it would overwrite the deadline of a Do that comes between.
func (a *Agent) sleep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.table.Next()
	if len(a.timers) > 0 && (next.IsZero() || a.timers[0].at.Before(next)) {
		next = a.timers[0].at
	}
	if len(a.queue) > 0 {
		next = past
	}
	_ = a.conn.SetReadDeadline(next)
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
			a.call(e.User, func(c *Call) { c.unacked() })
		case transaction.Response, transaction.Provisional:
			a.call(e.User, func(c *Call) { c.response(e.Ref, e.Msg) })
		case transaction.Timeout, transaction.Failed:
			a.call(e.User, func(c *Call) { c.failed(e.Ref) })
		case transaction.StrayAck, transaction.Full, transaction.LateAnswer:
			// Nothing an agent on a quiet network would act on.
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
		if c := a.tags[m.To.Tag]; c != nil && c.dlg.CallID == m.CallID {
			a.table.Own(e.ID, c.id, "")
			c.request(e.ID, m)
			return
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
		a.table, a.timers = newTable(), nil
		a.calls, a.tags = map[uint64]*Call{}, map[string]*Call{}
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
