package sbc_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media/epoll"
	"sallyport/sbc"
	"sallyport/sbc/config"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

const soakConfig = `
outside: { address: %s, phones: {}, trunks: { udp: %d } }
inside: { address: %s, phones: {}, trunks: { udp: %d } }
media: { ports: %d-%d }
pbx:
  domain: example.com
  nodes: [ { address: "%s" } ]
  health: { interval: 0 }
trunks:
  - name: itsp
    peers: [ { address: "%s" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
policy: { rate_limits: [] }
`

// tally takes CDRs and keeps a byte a call, so that it weighs the same at the start and at the end.
type tally struct {
	records [10_000]atomic.Uint32 // by the call's number
	wrong   atomic.Int64
	first   atomic.Pointer[tu.CDR] // a wrong one
	total   atomic.Int64
}

func (y *tally) Write(r tu.CDR) {
	y.total.Add(1)
	i, err := strconv.Atoi(strings.TrimPrefix(r.To, "+49"))
	if err != nil || i >= len(y.records) {
		i = 0
	}
	y.records[i].Add(1)
	if e := endings[i%len(endings)]; r.Code != e.code || e.by != "" && r.EndedBy != e.by {
		y.wrong.Add(1)
		y.first.CompareAndSwap(nil, &r)
	}
}

// soak is the gate on real sockets between a provider and a PBX.
type soak struct {
	t             *testing.T
	gate          *sbc.SBC
	cdrs          *tally
	ahead         atomic.Int64 // how far the gate's clock is ahead of the real one
	outside       netip.AddrPort
	inside        netip.AddrPort
	provider, pbx *demo.Agent
	conns         []*net.UDPConn
	running       sync.WaitGroup
	stop          context.CancelFunc

	placed int
	ended  atomic.Int64
	codes  atomic.Int64 // callers that heard another code than their ending has
	again  atomic.Int64 // callers that were told to come back
}

// freePort opens and closes a socket: nobody else uses these addresses.
func freePort(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(at)})
	if err != nil {
		t.Skipf("no socket at %s, a loopback address that Linux has by itself: %v", at, err)
	}
	return c
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, cdrs: &tally{}}
	network := fmt.Sprintf("127.0.%d", 1+os.Getpid()%250) // two runs at a time have networks of their own
	s.conns = []*net.UDPConn{freePort(t, network+".40"), freePort(t, network+".30")}
	addr := func(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
	for i, at := range []string{network + ".10", network + ".20"} {
		c := freePort(t, at)
		*[]*netip.AddrPort{&s.outside, &s.inside}[i] = addr(c)
		_ = c.Close()
	}
	const first, last = 31000, 32199 // 600 calls at a time
	yaml := fmt.Sprintf(soakConfig, s.outside.Addr(), s.outside.Port(), s.inside.Addr(), s.inside.Port(), first, last, addr(s.conns[1]), addr(s.conns[0]))
	snap, report := config.Parse("soak.yaml", []byte(yaml), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	gate, err := sbc.New(snap, sbc.Options{
		Relay: epoll.New(epoll.Options{}), Records: s.cdrs, Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.gate = gate
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.provider = demo.NewAgent("provider", addr(s.conns[0]), s.conns[0], 1)
	s.pbx = demo.NewAgent("pbx", addr(s.conns[1]), s.conns[1], 2)
	for _, a := range []*demo.Agent{s.provider, s.pbx} {
		a.Incoming = func(m *message.Message) demo.Script {
			i, _ := strconv.Atoi(strings.TrimPrefix(m.URI.User, "+49"))
			return quick(endings[i%len(endings)].callee, a)
		}
		s.running.Go(func() { a.Run(ctx) })
	}
	s.running.Go(func() { gate.Run(ctx) })
	return s
}

func (s *soak) close() {
	s.stop()
	s.running.Wait()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// hurry is how much shorter than in virtual time a call is here.
const hurry = 20

// quick is a script in a hurry, with descriptions of the agent's own address.
func quick(s demo.Script, a *demo.Agent) demo.Script {
	for _, d := range []*time.Duration{&s.Ring, &s.Answer, &s.Cancel, &s.Reinvite, &s.Hangup} {
		if *d > time.Millisecond {
			*d = max(*d/hurry, time.Millisecond)
		}
	}
	s.SDP = sdpAt(a.Addr.Addr(), 4000)
	if s.Early != nil {
		s.Early = s.SDP
	}
	if s.Hold != nil {
		s.Hold = hold(s.SDP)
	}
	return s
}

// pace is the time between two calls: 250 a second are an hour's calls of a large PBX in a minute.
const pace = 4 * time.Millisecond

// place makes calls up to the nth, at most a hundred at a time, and waits until all have ended.
func (s *soak) place(n int) {
	room := make(chan struct{}, 100)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ; s.placed < n; s.placed++ {
		<-tick.C
		select {
		case room <- struct{}{}:
		case <-time.After(time.Minute): // 64·T1 and more
			s.t.Fatalf("calls hang: %d placed, %d ended: %+v", s.placed, s.ended.Load(), s.gate.Gauges())
		}
		s.call(s.placed, func() { <-room })
	}
	s.poll("an end of every call", func() bool { return s.ended.Load() == int64(n) })
	s.poll("a CDR of every call", func() bool { return s.cdrs.total.Load() >= int64(n) })
}

// call places one call. The stateless 503 of a gate that is busy (other programs take the processor from it) leaves no
// call and no record: the caller tries again.
func (s *soak) call(i int, done func()) {
	e := endings[i%len(endings)]
	from, to := s.provider, s.outside
	if (i/len(endings))%2 == 1 {
		from, to = s.pbx, s.inside
	}
	script := quick(e.caller, from)
	script.Done = func(r demo.Result) {
		if r.Code == 503 && s.again.Add(1) < 10_000 {
			time.AfterFunc(time.Second, func() { s.call(i, done) })
			return
		}
		if r.Code != e.code {
			s.codes.Add(1)
		}
		s.ended.Add(1)
		done()
	}
	from.Do(func() { from.Call(fmt.Sprintf("+49%05d", i), to, script) })
}

// poll waits for something that must come about.
func (s *soak) poll(what string, reached func() bool) {
	s.t.Helper()
	for range 1200 {
		if reached() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("two minutes were too short for %s: %d placed, %d ended, %d CDRs, %+v", what, s.placed, s.ended.Load(),
		s.cdrs.total.Load(), s.gate.Gauges())
}

// jump moves the gate's clock on. It does so while the gate sleeps and lets it notice: a clock that jumps while it works
// looks like 40 s of work, and a gate as busy as that refuses calls for a second.
func (s *soak) jump() {
	s.t.Helper()
	s.poll("the calls to end", func() bool { return s.gate.Gauges().Calls == 0 })
	s.ahead.Add(int64(40 * time.Second))
	s.poll("the gate to be idle", func() bool { return s.gate.Gauges().BusyPermille < 100 })
}

// empty waits until the gate holds nothing, and measures the heap then.
func (s *soak) empty() (heap uint64) {
	s.t.Helper()
	s.poll("the gate to be empty", func() bool {
		g := s.gate.Gauges()
		return g.Calls+g.Users+g.Dialogs+g.Streams+g.Transactions+g.Retained+g.PortsResting == 0
	})
	for _, a := range []*demo.Agent{s.provider, s.pbx} {
		if !a.Forget(s.t.Context()) {
			s.t.Errorf("%s still has a call in progress", a.Name)
		}
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestTenThousandCallsOnRealSockets is promise 1 of the design on the real thing: whatever the calls, nothing is left.
func TestTenThousandCallsOnRealSockets(t *testing.T) {
	first, all := 1000, 10_000
	if testing.Short() {
		first, all = 100, 300
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newSoak(t)
	defer s.close()
	free := s.gate.Gauges().PortsFree
	s.place(first)
	// The gate's clock jumps over the 32 s that finished transactions are kept. With -full they are waited for at the end.
	s.jump()
	before := s.empty()
	s.place(all)
	if !*full {
		s.jump()
	}
	after := s.empty()
	g := s.gate.Gauges()
	t.Logf("heap %d KiB after %d calls, %d KiB after %d; %d tried again; %+v", before>>10, first, after>>10, all, s.again.Load(), g)
	if !testing.Short() && after > before+before/20 {
		t.Errorf("heap grew from %d to %d bytes between %d calls and %d, more than a twentieth", before, after, first, all)
	}
	if g.PortsFree != free || g.Panics+g.LeaksFatal+g.InboxDropped != 0 || g.Total != uint64(all) {
		t.Errorf("%d of %d port pairs are free; %+v", g.PortsFree, free, g)
	}
	for i := range all {
		if n := s.cdrs.records[i].Load(); n != 1 {
			t.Fatalf("call %d (%s) has %d CDRs, want exactly one", i, endings[i%len(endings)].name, n)
		}
	}
	if n := s.cdrs.wrong.Load(); n > 0 {
		t.Errorf("%d CDRs do not say how their call went, the first is %+v", n, *s.cdrs.first.Load())
	}
	if n := s.codes.Load(); n > 0 {
		t.Errorf("%d callers heard another code than they should", n)
	}
}
