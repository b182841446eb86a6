package sbc_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/media/sim"
	"sallyport/nat/natlab"
	"sallyport/policy"
	"sallyport/sbc"
	"sallyport/sbc/config"
	"sallyport/sbc/demo"
	"sallyport/sbc/transport"
	"sallyport/sbc/tu"
)

// The addresses of the lab.
var (
	gateOutside = netip.MustParseAddr("203.0.113.10")
	gateInside  = netip.MustParseAddr("10.0.0.2")
	providerAt  = netip.MustParseAddrPort("203.0.113.20:5060")
	pbxAt       = netip.MustParseAddrPort("10.0.0.10:5060")
	otherPBXAt  = netip.MustParseAddrPort("10.0.0.11:5060")
	strangerAt  = netip.MustParseAddrPort("203.0.113.66:5060")
	trunkSocket = netip.AddrPortFrom(gateOutside, 5080)
	pbxSocket   = netip.AddrPortFrom(gateInside, 5080)
)

const labConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes:
    - { address: "10.0.0.10:5060" }
    - { address: "10.0.0.11:5060", priority: 2 }
  health: { interval: 0 }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
policy: { rate_limits: [] }
`

// ledger collects CDRs.
type ledger struct {
	mu   sync.Mutex
	cdrs []tu.CDR
}

func (l *ledger) Write(r tu.CDR) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cdrs = append(l.cdrs, r)
}

func (l *ledger) all() []tu.CDR {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]tu.CDR(nil), l.cdrs...)
}

func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cdrs = nil
}

// lab is the whole program on a network in memory, with a provider and two PBX nodes.
type lab struct {
	t        *testing.T
	net      *natlab.Network
	relay    *sim.Backend
	gate     *sbc.SBC
	cdrs     ledger
	doors    [2]netip.AddrPort // of the only call, see callID
	sounds   sounds
	ladder   ladder
	provider *demo.Agent
	pbx      *demo.Agent
	other    *demo.Agent
	running  sync.WaitGroup
	gateGone sync.WaitGroup
	stopGate context.CancelFunc
	stop     context.CancelFunc
	ctx      context.Context
}

// fewSources is room enough for a test's sources. There are a thousand labs: to clear what a gate has for the evidence of eight thousand
// sources would be most of what a small one takes, and to look through its tables each second most of a long one.
var fewSources = policy.Sizes{StrangerSources: 512, KnownSources: 512, StrangerScores: 1024, KnownScores: 512, Blocks: 1024}

// newLab must run inside a bubble. close ends everything.
func newLab(t *testing.T, yaml string, options natlab.Options) *lab {
	t.Helper()
	l := newGate(t, yaml, options)
	l.provider = l.agent("provider", providerAt, 10)
	l.pbx = l.agent("pbx", pbxAt, 11)
	l.other = l.agent("other", otherPBXAt, 12)
	return l
}

// newGate is the program alone on its network: the test plays the peers. It must run inside a bubble.
func newGate(t *testing.T, yaml string, options natlab.Options, change ...func(*sbc.Options)) *lab {
	t.Helper()
	return gateOn(t, yaml, natlab.New(options), change...)
}

// gateOn is newGate on a network of the test's.
func gateOn(t *testing.T, yaml string, network *natlab.Network, change ...func(*sbc.Options)) *lab {
	t.Helper()
	l := &lab{t: t, net: network}
	l.ctx, l.stop = context.WithCancel(t.Context())
	l.relay = sim.New(nil, l.sounds.take)
	opt := sbc.Options{
		Relay: l.relay, Records: &l.cdrs, Key: [16]byte{1, 2, 3}, Tables: fewSources,
		Listen:       func(at netip.AddrPort) (transport.PacketConn, error) { return l.listen(at) },
		ListenStream: func(at netip.AddrPort) (net.Listener, error) { return l.net.Host(at.Addr()).ListenStream(at) },
		Dial: func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
			return l.net.Host(local).DialStream(ctx, netip.AddrPortFrom(local, 0), remote)
		},
	}
	for _, f := range change {
		f(&opt)
	}
	gate, err := sbc.New(parse(t, yaml), opt)
	if err != nil {
		t.Fatal(err)
	}
	l.gate = gate
	l.net.Observe(l.ladder.note)
	ctx, stop := context.WithCancel(l.ctx)
	l.stopGate = stop
	l.gateGone.Go(func() { gate.Run(ctx) })
	l.running.Go(l.gateGone.Wait)
	return l
}

func parse(t *testing.T, yaml string) *config.Snapshot {
	t.Helper()
	snap, report := config.Parse("lab.yaml", []byte(yaml), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	return snap
}

func (l *lab) listen(at netip.AddrPort) (*natlab.PacketConn, error) {
	host := l.net.Host(at.Addr())
	host.ReceiveErrors(true)
	return host.ListenUDP(at.Port())
}

func (l *lab) agent(name string, at netip.AddrPort, seed byte) *demo.Agent {
	l.t.Helper()
	conn, err := l.listen(at)
	if err != nil {
		l.t.Fatal(err)
	}
	a := demo.NewAgent(name, at, conn, seed)
	l.running.Go(func() { a.Run(l.ctx) })
	return a
}

func (l *lab) close() {
	if l.t.Failed() {
		l.t.Log(l.ladder.String())
	}
	l.stop()
	l.running.Wait()
	l.net.Close()
	synctest.Wait()
}

func sdpAt(addr netip.Addr, port int) []byte {
	kind := "IP4"
	if addr.Is6() {
		kind = "IP6"
	}
	return fmt.Appendf(nil, "v=0\r\no=FreeSWITCH 1 1 IN %s %s\r\ns=FreeSWITCH\r\nc=IN %s %s\r\nt=0 0\r\n"+
		"m=audio %d RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n", kind, addr, kind, addr, port)
}

// call places a call and returns how it went at both ends.
func (l *lab) call(from *demo.Agent, to netip.AddrPort, number string, script demo.Script) demo.Result {
	l.t.Helper()
	done := make(chan demo.Result, 1)
	script.Done = func(r demo.Result) { done <- r }
	from.Do(func() { from.Call(number, to, script) })
	select {
	case r := <-done:
		return r
	case <-time.After(10 * time.Minute):
		l.t.Fatal("the call never ended")
		return demo.Result{}
	}
}

// empty checks promise 1: after any load nothing is left.
func (l *lab) empty() {
	l.t.Helper()
	time.Sleep(5 * time.Minute)
	g := l.gate.Gauges()
	if g.Calls != 0 || g.Streams != 0 || g.Dialogs != 0 || g.Transactions != 0 || g.Panics != 0 {
		l.t.Errorf("left behind: %+v", g)
	}
	l.unplaced()
}
