package transport

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat"
)

// yard is a set with one stream interface and peers that are connected to it in memory.
type yard struct {
	*testing.T
	set  *Set
	in   *inbox
	logs *observer.ObservedLogs

	mu       sync.Mutex
	doors    map[netip.AddrPort]*doorstep
	refusing bool    // whom we dial
	slow     bool    // whom we dial answers after a minute
	dialled  []*peer // whom we dialled
	dials    int
}

// doorstep is a listener in memory.
type doorstep struct {
	addr   netip.AddrPort
	queue  chan net.Conn
	errs   chan error
	closed chan struct{}
	once   sync.Once
}

func (d *doorstep) Accept() (net.Conn, error) {
	select {
	case c := <-d.queue:
		return c, nil
	case err := <-d.errs:
		return nil, err
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *doorstep) Addr() net.Addr { return net.TCPAddrFromAddrPort(d.addr) }

func (d *doorstep) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// wire is one end of a pipe, with addresses. Nothing is stored in it: who writes waits for who reads.
type wire struct {
	net.Conn
	local, remote netip.AddrPort
}

func (w *wire) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(w.local) }
func (w *wire) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(w.remote) }

// peer is the other end of a connection. It reads all the time unless it is told not to.
type peer struct {
	net.Conn
	t  *testing.T
	mu sync.Mutex

	got   []byte
	over  bool
	ended time.Duration // after what time the connection ended
}

func newPeer(t *testing.T, c net.Conn, reads bool) *peer {
	p := &peer{Conn: c, t: t}
	if reads {
		go p.read()
	}
	return p
}

func (p *peer) read() {
	start, buf := time.Now(), make([]byte, 4096)
	for {
		n, err := p.Conn.Read(buf)
		p.mu.Lock()
		p.got = append(p.got, buf[:n]...)
		if err != nil {
			p.over, p.ended = true, time.Since(start)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// write sends. It tells whether it could.
func (p *peer) write(texts ...string) bool {
	for _, text := range texts {
		if _, err := p.Conn.Write([]byte(text)); err != nil {
			return false
		}
	}
	return true
}

// send writes and waits until all that follows from it has happened.
func (p *peer) send(texts ...string) bool {
	ok := p.write(texts...)
	synctest.Wait()
	return ok
}

// text is what the peer has received since it was asked last.
func (p *peer) text() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := string(p.got)
	p.got = nil
	return s
}

// closed reports whether the connection has ended, and after what time.
func (p *peer) closed() (bool, time.Duration) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over, p.ended
}

func stream(id uint16, t nat.Transport) nat.Interface {
	f := face(id, nat.Outside, nat.Phones, ours)
	f.Transport = t
	return f
}

// inYard runs f in virtual time. change may be nil; the interface is a TCP one then, and the guard lets everything pass.
func inYard(t *testing.T, change func(*Config), f func(y *yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, change)
		f(y)
		y.close()
	})
}

func newYard(t *testing.T, change func(*Config)) *yard {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	y := &yard{T: t, in: &inbox{}, logs: logs, doors: map[netip.AddrPort]*doorstep{}}
	c := Config{
		Interfaces: []nat.Interface{stream(3, nat.TCP)}, Guard: guardFunc(stranger), Handler: y.in,
		ListenStream: y.listen, Dial: y.dial, Log: zap.New(core),
	}
	if change != nil {
		change(&c)
	}
	var err error
	if y.set, err = Listen(c); err != nil {
		t.Fatal(err)
	}
	return y
}

// close ends the set; nothing of it may be left.
func (y *yard) close() {
	y.Helper()
	y.set.Close()
	g := y.set.Streams()
	for name, l := range map[string]Level{
		"open": g.Open, "strangers": g.Strangers, "kept": g.Kept, "dialled": g.Dialled, "handshakes": g.Handshakes, "buffers": g.Buffers,
	} {
		if l.Now != 0 {
			y.Errorf("%s: %d are left", name, l.Now)
		}
	}
	h := y.set.hub
	if n := len(h.conns) + len(h.dialled) + len(h.sources) + h.silent.Len() + h.shaking.Len() + int(h.strange.Load()); n != 0 {
		y.Errorf("%d entries are left in the hub", n)
	}
	for _, p := range y.dialled {
		_ = p.Close()
	}
}

func (y *yard) listen(bind netip.AddrPort) (net.Listener, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if d := y.doors[bind]; d != nil {
		select {
		case <-d.closed:
		default:
			return nil, syscall.EADDRINUSE
		}
	}
	d := &doorstep{addr: bind, queue: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
	y.doors[bind] = d
	return d, nil
}

func (y *yard) dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.dials++
	if y.slow {
		y.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
		y.mu.Lock()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if y.refusing {
		return nil, syscall.ECONNREFUSED
	}
	here, there := net.Pipe()
	at := netip.AddrPortFrom(local, uint16(40000+y.dials))
	y.dialled = append(y.dialled, newPeer(y.T, &wire{there, remote, at}, y.set.hub.tls.Load() == nil))
	return &wire{here, at, remote}, nil
}

// behave changes how those behave whom we dial.
func (y *yard) behave(change func()) {
	y.mu.Lock()
	defer y.mu.Unlock()
	change()
}

// calls is how often we dialled.
func (y *yard) calls() int {
	synctest.Wait()
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.dials
}

// last is whom we dialled last.
func (y *yard) last() *peer {
	synctest.Wait()
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.dialled) == 0 {
		y.Fatal("nobody was dialled")
	}
	return y.dialled[len(y.dialled)-1]
}

// plug connects a wire from an address.
func (y *yard) plug(from string) net.Conn {
	y.Helper()
	to, at := netip.MustParseAddrPort(ours), netip.MustParseAddrPort(from)
	y.mu.Lock()
	d := y.doors[to]
	y.mu.Unlock()
	here, there := net.Pipe()
	d.queue <- &wire{here, to, at}
	return &wire{there, at, to}
}

// connect connects a peer from an address.
func (y *yard) connect(from string) *peer {
	y.Helper()
	p := newPeer(y.T, y.plug(from), true)
	synctest.Wait()
	return p
}

// flow is where the last message came from.
func (y *yard) flow() nat.Flow {
	y.Helper()
	all := y.in.all()
	if len(all) == 0 {
		y.Fatal("nothing was delivered")
	}
	return all[len(all)-1].Flow
}

func (y *yard) counters() StreamCounters { return y.set.Counters()[0].Streams }

// ids are the Call-IDs of what was delivered.
func (y *yard) ids() string {
	var ids []string
	for _, p := range y.in.all() {
		ids = append(ids, p.Msg.CallID)
	}
	return strings.Join(ids, " ")
}
