package sbc_test

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"sallyport/media/sim"
	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// airPorts are the relay's ports in an audible lab: a socket of the network each, on either side.
const airPorts = "30000-30031"

// air joins the relay to the network: what a socket of its ports hears is injected, what the relay sends leaves by the
// socket of its port. So audio goes through NAT boxes as SIP does, and a hairpin really comes back to us.
type air struct {
	relay *sim.Backend
	conns map[netip.AddrPort]*natlab.PacketConn
}

func (a *air) option(opt *sbc.Options) {
	a.relay = sim.New(nil, a.carry)
	opt.Relay = a.relay
}

// open opens the ports. The network ends what reads from them.
func (a *air) open(l *lab) {
	for _, addr := range []netip.Addr{gateOutside, gateInside} {
		for port := uint16(30000); port <= 30031; port++ {
			conn, err := l.net.Host(addr).ListenUDP(port)
			if err != nil {
				l.t.Fatal(err)
			}
			at := netip.AddrPortFrom(addr, port)
			a.conns[at] = conn
			go a.listen(at, conn)
		}
	}
}

func (a *air) listen(at netip.AddrPort, conn *natlab.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		a.relay.Inject(at, from, buf[:n])
	}
}

func (a *air) carry(local, dest netip.AddrPort, payload []byte) {
	_, _ = a.conns[local].WriteToUDPAddrPort(payload, dest) // after the network's end nobody listens
}

// audible is a lab with a registrar as its PBX, and with audio.
type audible struct {
	*roaming
	air *air
}

// newAudible wraps the PBX's socket by wrap, unless it is nil.
func newAudible(t *testing.T, yaml string, o natlab.Options, wrap func(*natlab.PacketConn, *demo.Registrar) demo.PacketConn) *audible {
	t.Helper()
	a := &air{conns: map[netip.AddrPort]*natlab.PacketConn{}}
	l := newGate(t, rewritten(t, yaml, "30000-31000", airPorts), o, a.option)
	l.relay = a.relay
	a.open(l)
	l.net.Observe(func(d natlab.Datagram) {
		if len(d.Payload) > 4 && d.Payload[0] >= 'A' && d.Payload[0] <= 'Z' { // SIP: audio would be all that the ladder shows
			l.ladder.note(d)
		}
	})
	r := &roaming{lab: l, registrar: &demo.Registrar{Domain: "example.com", Users: map[string]string{}, Calls: true}}
	socket, err := l.listen(pbxAt)
	if err != nil {
		t.Fatal(err)
	}
	var conn demo.PacketConn = socket
	if wrap != nil {
		conn = wrap(socket, r.registrar)
	}
	l.pbx = demo.NewAgent("pbx", pbxAt, conn, 11)
	l.pbx.Domain, l.pbx.Registrar = "example.com", r.registrar
	l.running.Go(func() { l.pbx.Run(l.ctx) })
	l.provider = l.agent("provider", providerAt, 10)
	return &audible{r, a}
}

// settled checks that nothing is left once every phone has gone.
func (l *audible) settled() {
	l.t.Helper()
	l.empty()
	g := l.gate.Gauges()
	if g.Bindings != 0 || g.Subscriptions != 0 || g.KeptAside != 0 || g.Users != 0 || g.Leaks != 0 || g.PortsFree != 16 {
		l.t.Errorf("left behind: %+v", g)
	}
	if left := l.registered(); len(left) != 0 {
		l.t.Errorf("still registered: %v", left)
	}
}

// voice is one end's audio: it sends packets to where it was told, and counts those that it hears by their SSRC.
type voice struct {
	t    *testing.T
	conn *natlab.PacketConn
	says netip.AddrPort // what its descriptions name
	ssrc uint32
	pass *voice // of a PBX that relays: it says what this one hears

	mu    sync.Mutex // guards all below
	to    netip.AddrPort
	seq   uint16
	heard map[uint32]int
	odd   int // datagrams that are no RTP
}

// voice opens a port of a host. says is the address in its descriptions.
func (l *lab) voice(host *natlab.Host, port uint16, says netip.Addr) *voice {
	l.t.Helper()
	conn, err := host.ListenUDP(port)
	if err != nil {
		l.t.Fatal(err)
	}
	b := host.Addr().As4()
	v := &voice{
		t: l.t, conn: conn, says: netip.AddrPortFrom(says, port), ssrc: binary.BigEndian.Uint32(b[:]) ^ uint32(port)<<8, heard: map[uint32]int{},
	}
	go v.listen()
	return v
}

func (v *voice) listen() {
	buf := make([]byte, 2048)
	for {
		n, _, err := v.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		v.mu.Lock()
		if n >= 12 && buf[0] == 0x80 {
			v.heard[binary.BigEndian.Uint32(buf[8:])]++
		} else {
			v.odd++
		}
		v.mu.Unlock()
		if p := v.pass; p != nil {
			p.send(buf[:n])
		}
	}
}

func (v *voice) send(b []byte) {
	v.mu.Lock()
	to := v.to
	v.mu.Unlock()
	if to.IsValid() && to.Port() != 0 {
		_, _ = v.conn.WriteToUDPAddrPort(b, to)
	}
}

func (v *voice) sdp() []byte { return sdpAt(v.says.Addr(), int(v.says.Port())) }

// aim takes the far side's description.
func (v *voice) aim(sdp []byte) {
	at := told(v.t, sdp, 0)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.to = at
}

// packet is the next packet of a stream.
func (v *voice) packet() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seq++
	b := make([]byte, 12+40)
	b[0] = 0x80
	binary.BigEndian.PutUint16(b[2:], v.seq)
	binary.BigEndian.PutUint32(b[4:], uint32(v.seq)*160)
	binary.BigEndian.PutUint32(b[8:], v.ssrc)
	return b
}

// forget sets the counts to nothing.
func (v *voice) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.heard)
	v.odd = 0
}

// of is how many packets of another voice were heard, and how many of anybody else.
func (v *voice) of(other *voice) (packets, foreign int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	foreign = v.odd
	for ssrc, n := range v.heard {
		if ssrc != other.ssrc {
			foreign += n
		}
	}
	return v.heard[other.ssrc], foreign
}

// tick is the time from packet to packet.
const tick = 20 * time.Millisecond

// speak lets voices send n packets each, all at a time.
func speak(n int, voices ...*voice) {
	for range n {
		for _, v := range voices {
			v.send(v.packet())
		}
		time.Sleep(tick)
	}
	time.Sleep(tick)
}

// latching is how many of its first packets a call behind NAT may lose while the relay learns where its phone is.
const latching = 30

// bothWays lets two voices speak to each other, and checks that each hears all but the first few packets of the other,
// and nobody else.
func (l *audible) bothWays(a, b *voice, n, lost int) {
	l.t.Helper()
	a.forget()
	b.forget()
	speak(n, a, b)
	for _, v := range [][2]*voice{{a, b}, {b, a}} {
		if got, foreign := v[0].of(v[1]); got < n-lost || got > n || foreign != 0 {
			l.t.Errorf("%s hears %d of the %d packets of %s, and %d others", v[0].says, got, n, v[1].says, foreign)
		}
	}
}

// end is one end of a call with audio.
type end struct {
	l     *audible
	agent *demo.Agent
	voice *voice
	up    chan *demo.Call
	done  chan demo.Result
}

func (l *audible) end(a *demo.Agent, v *voice) *end {
	return &end{l: l, agent: a, voice: v, up: make(chan *demo.Call, 1), done: make(chan demo.Result, 1)}
}

// script is what a call has of its end.
func (e *end) script(s demo.Script) demo.Script {
	s.SDP, s.Media = e.voice.sdp(), e.voice.aim
	s.Up = func(c *demo.Call) { e.up <- c }
	s.Done = func(r demo.Result) { e.done <- r }
	return s
}

// answers makes the end take the calls that arrive.
func (e *end) answers() *end {
	e.l.do(e.agent, func() {
		e.agent.Incoming = func(*message.Message) demo.Script {
			return e.script(demo.Script{Ring: 100 * time.Millisecond, Answer: 500 * time.Millisecond})
		}
	})
	return e
}

// do runs f on an agent's goroutine.
func (l *audible) do(a *demo.Agent, f func()) {
	done := make(chan struct{})
	a.Do(func() { f(); close(done) })
	<-done
}

// stands waits until the call stands.
func (e *end) stands() *demo.Call {
	e.l.t.Helper()
	select {
	case c := <-e.up:
		return c
	case r := <-e.done:
		e.l.t.Fatalf("%s: the call ended with %d (%s)", e.agent.Name, r.Code, r.Why)
	case <-time.After(time.Minute):
		e.l.t.Fatalf("%s: the call never stood", e.agent.Name)
	}
	return nil
}

// ended waits for the end of the call and checks how it went.
func (e *end) ended(why string) {
	e.l.t.Helper()
	select {
	case r := <-e.done:
		if r.Why != why {
			e.l.t.Errorf("%s: the call ended by %q with %d, want %q", e.agent.Name, r.Why, r.Code, why)
		}
	case <-time.After(time.Minute):
		e.l.t.Errorf("%s: the call goes on, want %q", e.agent.Name, why)
	}
}

// dials calls a number at the gate's outside, or, as the PBX, at its inside.
func (e *end) dials(to netip.AddrPort, number string) {
	e.agent.Do(func() { e.agent.Call(number, to, e.script(demo.Script{})) })
}

// rings is the PBX that calls a user where he has registered.
func (e *end) rings(user string) {
	e.agent.Do(func() {
		list := e.l.registrar.Contacts(user, time.Now())
		if len(list) == 0 {
			e.done <- demo.Result{Why: "not registered at the PBX"}
			return
		}
		to := message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: "example.com"}}
		e.agent.Invite(list[0].URI, to, phonesInside, e.script(demo.Script{}))
	})
}

// hangs ends a standing call from one end.
func hangs(c *demo.Call, by, other *end) {
	by.l.t.Helper()
	by.agent.Do(c.Hangup)
	by.ended("BYE sent")
	other.ended("BYE received")
}
