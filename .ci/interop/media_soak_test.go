//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/media/load"
	"sallyport/nat"
)

// The networks that the audio of a full house comes from: each end of each call has an address of its own.
var fullNetworks = [2]struct{ ns, network, via, first string }{
	nat.Outside: {nsOutside, "198.18.0.0/16", provider, "198.18.1.0"},
	nat.Inside:  {nsInside, "10.1.0.0/16", node1, "10.1.1.0"},
}

// fullCall is a call between provider and PBX whose audio the generator makes.
type fullCall struct {
	leg    leg
	final  message // the answer that the provider has
	stream load.Stream
}

// house is a provider and a PBX with many calls.
type house struct {
	provider *party
	audio    *load.Generator

	mu    sync.Mutex
	calls map[string]*fullCall // by Call-ID of the provider's leg
	by    map[string]*fullCall // by number
	ready chan *fullCall       // has its final answer
	over  chan struct{}
}

func (w *world) house(t *testing.T) *house {
	t.Helper()
	for _, n := range fullNetworks {
		w.in(t, n.ns, "ip", "route", "add", "local", n.network, "dev", "lo")
		w.in(t, nsGate, "ip", "route", "add", n.network, "via", n.via)
	}
	x := &house{calls: map[string]*fullCall{}, by: map[string]*fullCall{}, ready: make(chan *fullCall, 1), over: make(chan struct{}, 1)}
	var err error
	x.audio, err = load.NewGeneratorAcross(func(side nat.Side, open func()) { w.visit(t, fullNetworks[side].ns, open) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.audio.Close)
	w.party(t, nsInside, node1+":5060", gateInside+":5080", x.inside)
	x.provider = w.party(t, nsOutside, provider+":5060", gateOutside+":5080", x.outside)
	return x
}

// offer is a description of the audio of an end of a call.
func (c *fullCall) offer(side nat.Side) string {
	at := c.stream.Peers[side]
	return described(at.Addr().String(), at.Port())
}

// inside is the PBX.
func (x *house) inside(m message) []string {
	switch m.method() {
	case "INVITE":
		user, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(m.text, "INVITE "), "sip:"), "@")
		x.mu.Lock()
		defer x.mu.Unlock()
		c := x.by[user]
		if c == nil {
			return []string{m.reply("404 Not Found", node1+":5060", "")}
		}
		c.stream.Relay[nat.Inside] = m.toldIn()
		return []string{m.reply("200 OK", node1+":5060", c.offer(nat.Inside))}
	case "BYE":
		return []string{m.reply("200 OK", node1+":5060", "")}
	}
	return nil
}

// outside is the provider.
func (x *house) outside(m message) (say []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.calls[m.get("Call-ID")]
	switch {
	case c == nil || m.status() < 200:
		return nil
	case m.method() == "BYE":
		x.over <- struct{}{}
		return nil
	case m.status() < 300:
		say = []string{within(m, "ACK", 1, "")}
	default:
		say = []string{refused(m)}
	}
	if c.final.text == "" {
		c.final = m
		c.stream.Relay[nat.Outside] = m.toldIn()
		x.ready <- c
	}
	return say
}

// call makes call i and waits for its final answer.
func (x *house) call(t *testing.T, i int) *fullCall {
	t.Helper()
	c := &fullCall{leg: newLeg("house", i)}
	ports := x.audio.Ports()
	for side, n := range fullNetworks {
		a := netip.MustParseAddr(n.first).As4()
		a[2], a[3] = a[2]+byte(i>>8), byte(i)
		c.stream.Peers[side] = netip.AddrPortFrom(netip.AddrFrom4(a), ports[side])
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(c.leg.uri, "sip:"), "@")
	x.mu.Lock()
	x.calls[c.leg.id], x.by[user] = c, c
	x.mu.Unlock()
	x.provider.send(c.leg.invite(c.offer(nat.Outside)))
	select {
	case <-x.ready:
	case <-time.After(10 * time.Second):
		t.Fatalf("call %d has no final answer", i)
	}
	return c
}

// hangUp ends calls from the provider's end.
func (x *house) hangUp(t *testing.T, list []*fullCall) {
	t.Helper()
	for i, c := range list {
		x.provider.send(within(c.final, "BYE", 2, ""))
		select {
		case <-x.over:
		case <-time.After(10 * time.Second):
			t.Fatalf("the BYE of call %d is not answered", i)
		}
	}
}

// fullHouse is a number of calls at once, and the audio that they have.
type fullHouse struct {
	ports   string // and what else belongs below media
	backend string // that is meant by it
	calls   int
	full    bool // the range has room for no more
	pace    time.Duration
	each    int // packets of each call and direction
}

// TestMediaSoak: five hundred calls at once, as many as the shipped range has room for, all with audio both ways; one more is
// refused. Afterwards all ports are back. Once over what the program chooses here, once over the back end for everywhere.
func TestMediaSoak(t *testing.T) {
	for name, c := range map[string]fullHouse{
		"as shipped": {ports: "30000-31000"},
		epollName:    {ports: "30000-31000, backend: " + epollName, backend: epollName},
	} {
		c.calls, c.full, c.pace, c.each = middleCalls, true, voicePace, measured
		t.Run(name, c.run)
	}
}

// TestMediaSoakWide: two thousand calls at once over either back end.
func TestMediaSoakWide(t *testing.T) {
	if !*bench {
		t.Skip("make soak runs it")
	}
	for _, backend := range []string{steerName, epollName} {
		t.Run(backend, func(t *testing.T) {
			fullHouse{ports: "30000-37999, backend: " + backend, backend: backend, calls: 2000, pace: 10 * voicePace, each: 50}.run(t)
		})
	}
}

func (c fullHouse) run(t *testing.T) {
	w := newWorld(t)
	g := w.gate(t, settings{log: "warn", ports: c.ports})
	x := w.house(t)
	free := g.pool(t).Free
	relay := w.mediaProcess(t)
	sizes := func() string {
		return fmt.Sprintf("signalling %d kB, media %d kB", resident(t, g.pid()), resident(t, relay))
	}
	empty, begun := sizes(), time.Now()
	var list []*fullCall
	for i := range c.calls {
		call := x.call(t, i)
		if code := call.final.status(); code != 200 {
			t.Fatalf("call %d gets %d\n%s", i, code, g.tail())
		}
		list = append(list, call)
		x.audio.Add(call.stream)
	}
	t.Logf("%d calls set up in %v; before: %s, now: %s", c.calls, time.Since(begun).Round(time.Millisecond), empty, sizes())
	if out, code := g.verb("media"); code != 0 || !strings.Contains(out, c.backend) {
		t.Errorf("sbc media: exit code %d; %s is meant to carry:\n%s", code, c.backend, out)
	}
	if c.full {
		x.tooMany(t, c.calls)
	}
	c.speak(t, w, x, g, relay)
	t.Logf("%s after the audio", sizes())
	begun = time.Now()
	x.hangUp(t, list)
	until(t, "all ports are back", 10*time.Second, func() bool { return g.pool(t).Free == free })
	t.Logf("%d calls ended in %v: %s", c.calls, time.Since(begun).Round(time.Millisecond), sizes())
	records := c.calls
	if c.full {
		records++
	}
	g.recorded(t, 0, records)
	if t.Failed() {
		t.Log(g.tail())
	}
	g.stop(t)
}

// tooMany makes one call more than there is room for.
func (x *house) tooMany(t *testing.T, i int) {
	t.Helper()
	if m := x.call(t, i).final; m.status() != 503 || !strings.Contains(m.text, "\r\nRetry-After: ") {
		t.Errorf("call %d, for which there is no port: %s", i+1, m.text)
	}
}

// speak has all calls talk, and counts at the ends.
func (c fullHouse) speak(t *testing.T, w *world, x *house, g *gate, relay int) {
	t.Helper()
	spent := func() (total [2]time.Duration) {
		for i, pid := range []int{g.pid(), relay} {
			d, err := load.ProcessorTime(pid)
			if err != nil {
				t.Fatal(err)
			}
			total[i] = d
		}
		return total
	}
	x.audio.Run(c.pace, warmUp) // until each leg has learned where its peer is
	full, before := w.overflows(t), spent()
	r := x.audio.Run(c.pace, c.each)
	after := spent()
	// What the ends themselves had no room for is no loss of the gate's.
	lost, theirs := r.Sent-r.Arrived, w.overflows(t)-full
	t.Logf("%d calls, %.0f packets a second for %v: %d sent, %d arrived, at least %d of %d in each direction of each call, %d lost at the ends; "+
		"%v to %v late; processor time: signalling %v, media %v, %.2f µs a packet",
		c.calls, r.Rate(), r.Took.Round(time.Millisecond), r.Sent, r.Arrived, r.Least, c.each, theirs, r.Delays.Quantile(0.5), r.Delays.Quantile(0.99),
		(after[0] - before[0]).Round(time.Millisecond), (after[1] - before[1]).Round(time.Millisecond),
		float64((after[1]-before[1]).Microseconds())/float64(max(1, r.Arrived)))
	if r.Strange != 0 || r.Least < c.each/2 || lost > theirs+r.Sent/1000 {
		t.Errorf("%d of %d packets lost, %d at the ends; %d from another port than the call was told, or of another call", lost, r.Sent, theirs, r.Strange)
	}
}

// overflows are the datagrams that sockets of the ends had no room for.
func (w *world) overflows(t *testing.T) (n int) {
	t.Helper()
	for _, ns := range []string{nsOutside, nsInside} {
		w.visit(t, ns, func() {
			text, err := os.ReadFile("/proc/thread-self/net/snmp")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for line := range strings.Lines(string(text)) {
				f := strings.Fields(line)
				if f[0] != "Udp:" {
					continue
				}
				if i := slices.Index(names, "RcvbufErrors"); i > 0 {
					v, _ := strconv.Atoi(f[i])
					n += v
				}
				names = f
			}
		})
	}
	return n
}
