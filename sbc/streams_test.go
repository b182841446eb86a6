package sbc_test

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// streamConfig lets strangers ask often, so that what bounds a connection is the connection's own.
func streamConfig(t *testing.T) string {
	return certified(t, rewritten(t, roamingConfig, "30000-31000 }", "30000-31000, timeout: 12h }", "policy: {", "policy: { strangers: { rate: 1000/second, burst: 2000 },"))
}

// raid is what an attacker does with each of his connections, until it fails.
type raid struct {
	name   string
	tls    bool // of the handshake's end on; half handshakes go to the same door
	port   uint16
	do     func(c net.Conn)
	deaf   bool          // he never reads
	within time.Duration // each of his connections has ended by then
	bytes  int           // and he has written no more than that
}

func lie(length string) string {
	return "INVITE sip:100@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKlie\r\nFrom: <sip:204@example.com>;tag=1\r\n" +
		"To: <sip:100@example.com>\r\nCall-ID: lie\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n" + length + "\r\n\r\nv=0\r\n"
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) } // its end shows when it is read
}

// drips sends a byte at a time.
func drips(text string, every time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(every)
		}
	}
}

// floods sends the same over and over.
func floods(first, then string, every time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, first)
		for err == nil {
			time.Sleep(every)
			_, err = io.WriteString(c, then)
		}
	}
}

var deaf atomic.Int64 // connections of those who never read

// asksAndNeverReads sends REGISTERs, each of which the PBX answers by a challenge.
func asksAndNeverReads(c net.Conn) {
	who := deaf.Add(1)
	for i := range 20_000 {
		m := strings.ReplaceAll(lie("Contact: <sip:204@192.0.2.1>\r\nContent-Length: 0"), "INVITE", "REGISTER")
		m = strings.Replace(strings.TrimSuffix(m, "v=0\r\n"), "bKlie", fmt.Sprintf("bK%d-%d", who, i), 1)
		m = strings.Replace(strings.Replace(m, "To: <sip:100@", "To: <sip:204@", 1), "Call-ID: lie", fmt.Sprintf("Call-ID: deaf-%d-%d", who, i), 1)
		if _, err := io.WriteString(c, m); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// raids are the ways to hold a connection, or to confuse who reads it.
var raids = []raid{
	{name: "idle", do: says(""), within: 30 * time.Second},
	{name: "idle after a handshake", tls: true, port: 5061, do: says(""), within: 30 * time.Second},
	{name: "half a handshake", port: 5061, do: says("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), within: 10 * time.Second},
	{name: "no handshake", port: 5061, do: says(""), within: 10 * time.Second},
	{name: "SIP where TLS is spoken", port: 5061, do: says(lie("Content-Length: 5")), within: 10 * time.Second},
	{name: "a handshake a byte a second", port: 5061, do: drips(strings.Repeat("\x16\x03\x01\x02\x00\x01", 50), time.Second), within: 10 * time.Second},
	{name: "dribble", do: drips(lie("Content-Length: 5"), time.Second), within: 16 * time.Second},
	{name: "dribble over TLS", tls: true, port: 5061, do: drips(lie("Content-Length: 5"), time.Second), within: 16 * time.Second},
	{name: "endless header", do: floods("INVITE sip:b@example.com SIP/2.0\r\n", "X-More: "+strings.Repeat("x", 500)+"\r\n", time.Millisecond), within: time.Second, bytes: 200 << 10},
	{name: "endless line", do: floods("INVITE sip:b@example.com SIP/2.0\r\nX: ", strings.Repeat("x", 500), time.Millisecond), within: time.Second, bytes: 200 << 10},
	{name: "missing body", do: says(lie("Content-Length: 500")), within: 15 * time.Second},
	{name: "a body that is never whole", do: floods(lie("Content-Length: 6000"), "x", 100*time.Millisecond), within: 16 * time.Second},
	{name: "too little said", do: says(lie("Content-Length: 1")), within: time.Second},
	{name: "too much said", do: says(lie("Content-Length: 99999999999999999999")), within: time.Second},
	{name: "a negative length", do: says(lie("Content-Length: -5")), within: time.Second},
	{name: "two lengths", do: says(lie("Content-Length: 5\r\nContent-Length: 50")), within: time.Second},
	{name: "a length and its short form", do: says(lie("Content-Length: 5\r\nl: 50")), within: time.Second},
	{name: "no length", do: says(lie("X: y")), within: time.Second},
	{name: "no SIP", do: says("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), within: time.Second},
	{name: "pings", do: floods("\r\n\r\n", "\r\n\r\n", time.Second), within: 31 * time.Second},
	{name: "zeros", do: floods("", strings.Repeat("\x00", 1000), time.Millisecond), within: time.Second, bytes: 200 << 10},
	{name: "never reads", do: asksAndNeverReads, deaf: true, within: 30 * time.Second, bytes: 1 << 20},
}

// battle is what a raid came to.
type battle struct {
	mu       sync.Mutex
	open     int
	atOnce   int           // ended when they had hardly begun
	longest  time.Duration // life of a connection
	written  int           // most by one connection
	received int           // by all
}

func (b *battle) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
}

func (b *battle) leave(life time.Duration, written, received int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if life < 50*time.Millisecond {
		b.atOnce++
	}
	b.longest, b.written, b.received = max(b.longest, life), max(b.written, written), b.received+received
}

// counted counts what is written.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// fights makes n connections from a host and plays the raid on each, until all have ended.
func (r *raid) fights(l *lab, host *natlab.Host, n int, b *battle, all *sync.WaitGroup) {
	port := cmp.Or(r.port, phoneSocket.Port())
	for range n {
		all.Go(func() {
			raw, err := host.DialStream(l.ctx, netip.AddrPort{}, netip.AddrPortFrom(gateOutside, port))
			if err != nil {
				b.enter()
				b.leave(0, 0, 0)
				return
			}
			began, sent, got := time.Now(), &atomic.Int64{}, 0
			b.enter()
			conn := net.Conn(counted{raw, sent})
			if r.tls {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			done := make(chan struct{})
			go func() { r.do(conn); close(done) }()
			if r.deaf {
				<-done
			} else {
				got = ends(conn)
			}
			b.leave(time.Since(began), int(sent.Load()), got)
			_ = raw.Close()
			<-done
		})
	}
}

// ends reads until the connection ends.
func ends(c net.Conn) (n int) {
	buf := make([]byte, 4096)
	for {
		k, err := c.Read(buf)
		if n += k; err != nil {
			return n
		}
	}
}

// siege is a lab with phones that go on while others attack.
type siege struct {
	*roaming
	phones []*demo.Agent
	calls  int
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{roaming: newRoaming(t, streamConfig(t), natlab.Options{Seed: 8})}
	s.pbx.Incoming = scriptOf(demo.Script{Ring: 10 * time.Millisecond, Answer: 100 * time.Millisecond}, sdpAt(pbxAt.Addr(), 4002))
	home := s.home(7, natlab.NATOptions{})
	for i, tr := range []nat.Transport{nat.UDP, nat.TCP} {
		a := s.phone(home.Host(netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)})), fmt.Sprint(204+i), 5060, tr)
		a.Incoming = scriptOf(demo.Script{Ring: 10 * time.Millisecond, Answer: 100 * time.Millisecond}, sdpAt(private, 4000))
		s.register(a, demo.RegisterOptions{Heard: func(demo.Registered) {}})
		s.phones = append(s.phones, a)
	}
	return s
}

// goesOn lets each phone be called and call.
func (s *siege) goesOn(during string) {
	s.t.Helper()
	for _, a := range s.phones {
		began := time.Now()
		if r := s.call(a, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: 100 * time.Millisecond}); r.Code != 200 {
			s.t.Errorf("during %s a call of %s meets %d (%s)", during, a.Name, r.Code, r.Why)
		}
		if r := s.ring(a.Number, demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: 100 * time.Millisecond}); r.Code != 200 {
			s.t.Errorf("during %s a call to %s meets %d (%s)", during, a.Name, r.Code, r.Why)
		}
		if took := time.Since(began); took > 450*time.Millisecond { // in virtual time: nothing waited for anything
			s.t.Errorf("during %s the calls of %s took %v, which is what nothing but their scripts should", during, a.Name, took)
		}
		s.calls += 2
	}
}

// standing is a call that goes on all the while.
func (s *siege) standing() (*demo.Call, chan demo.Result) {
	s.t.Helper()
	up, done := make(chan *demo.Call, 1), make(chan demo.Result, 1)
	a := s.phones[1]
	a.Do(func() {
		a.Call("100", phoneSocket, demo.Script{SDP: sdpAt(private, 4010), Up: func(c *demo.Call) { up <- c }, Done: func(r demo.Result) { done <- r }})
	})
	return <-up, done
}

// heapNow is for what -v tells, and zero without: the collections would be most of what a raid takes.
func heapNow() uint64 {
	if !testing.Verbose() {
		return 0
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestHostileStreamsAreBounded: every way to hold a connection ends in its time and takes no more than its share, while
// phones register, call and are called, and a call stands.
func TestHostileStreamsAreBounded(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		s := newSiege(t)
		defer s.close()
		call, done := s.standing()
		for i, r := range append(raids, webRaids...) {
			b, all := &battle{}, &sync.WaitGroup{}
			before := heapNow()
			host := s.net.Host(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}))
			r.fights(s.lab, host, 64, b, all)
			time.Sleep(300 * time.Millisecond)
			peak := heapNow()
			b.mu.Lock()
			open := b.open
			b.mu.Unlock()
			s.goesOn(r.name)
			all.Wait()
			s.goesOn("the time after " + r.name)
			most := r.bytes
			if most == 0 {
				most = 4096
			}
			t.Logf("%-28s of 64: %d closed at once, %d open a moment later, longest %v, %d bytes written by one, %d heard by all, %d KiB held at both ends",
				r.name, b.atOnce, open, b.longest, b.written, b.received, (int64(peak)-int64(before))>>10)
			if b.longest > r.within || b.written > most || b.atOnce < 32 || open > 32 {
				t.Errorf("%s: %d closed at once, %d open, longest %v (bound %v), %d bytes (bound %d)", r.name, b.atOnce, open, b.longest, r.within, b.written, most)
			}
		}
		select {
		case r := <-done:
			t.Errorf("the standing call has ended: %+v", r)
		default:
			s.phones[1].Do(call.Hangup)
			if r := <-done; r.Why != "BYE sent" {
				t.Errorf("the standing call ended by %q", r.Why)
			}
		}
		if left := s.registered(); len(left) != 2 {
			t.Errorf("registered are %v", left)
		}
		time.Sleep(time.Minute)
		g := s.gate.Gauges()
		if g.Calls != 0 || g.Dialogs != 0 || g.Streams != 0 || g.Panics != 0 || g.Overload != 0 || g.InboxDropped != 0 {
			t.Errorf("left behind: %+v", g)
		}
		t.Logf("%d calls went on meanwhile, at most %d transactions", s.calls, g.TransactionsHigh)
	})
}

// TestCrowdsOfConnections: one source gets its share, all strangers together theirs, and a phone that comes then gets in.
func TestCrowdsOfConnections(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	idle := &raid{name: "idle", do: says(""), within: 30 * time.Second}
	for _, c := range []struct {
		name          string
		sources, each int
		most          int // open a moment later
	}{
		{"600 from one source", 1, 600, 32},
		{"4800 from 150 sources", 150, 32, 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSiege(t)
				defer s.close()
				b, all := &battle{}, &sync.WaitGroup{}
				before := heapNow()
				for i := range c.sources {
					idle.fights(s.lab, s.net.Host(netip.AddrFrom4([4]byte{192, 0, byte(2 + i/200), byte(1 + i%200)})), c.each, b, all)
				}
				time.Sleep(time.Second)
				b.mu.Lock()
				open := b.open
				b.mu.Unlock()
				t.Logf("%s: %d open, %d not taken, %d KiB for all (both ends)", c.name, open, c.sources*c.each-open, (heapNow()-before)>>10)
				if open != c.most {
					t.Errorf("%d are open, want %d", open, c.most)
				}
				s.goesOn(c.name)
				time.Sleep(1500 * time.Millisecond) // a newcomer is safe for so long
				late := s.phone(s.home(8, natlab.NATOptions{}).Host(private), "209", 5060, nat.TCP)
				if _, out := s.register(late, demo.RegisterOptions{}); out.Code != 200 {
					t.Errorf("a phone that comes now hears %d", out.Code)
				}
				all.Wait()
				if b.longest > idle.within {
					t.Errorf("one lived for %v", b.longest)
				}
				if left := s.registered(); len(left) != 3 {
					t.Errorf("registered are %v", left)
				}
			})
		})
	}
}

// TestMessagesAreCutFromAStream: however a phone's messages are packed, each is answered once and in order.
func TestMessagesAreCutFromAStream(t *testing.T) {
	for _, pack := range []string{"one at a time", "pipelined", "byte by byte", "split in the middle", "with pings between"} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprint(pack, "/tls ", secure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSiege(t)
					defer s.close()
					port := map[bool]uint16{false: 5060, true: 5061}[secure]
					raw, err := s.net.Host(strangerAt.Addr()).DialStream(s.ctx, netip.AddrPort{}, netip.AddrPortFrom(gateOutside, port))
					if err != nil {
						t.Fatal(err)
					}
					conn := raw
					if secure {
						conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
					}
					var all strings.Builder
					const n = 20
					for i := range n {
						all.WriteString(strings.Replace(queryOver(i), "\r\n\r\n", "\r\n\r\nbody", 1))
						if pack == "with pings between" {
							all.WriteString("\r\n\r\n\r\n")
						}
					}
					go writes(conn, all.String(), pack)
					stream := demo.NewStream(conn, nat.TCP)
					buf := make([]byte, 65536)
					for i := range n {
						_ = stream.SetReadDeadline(time.Now().Add(time.Minute))
						k, _, err := stream.ReadFromUDPAddrPort(buf)
						if err != nil {
							t.Fatalf("answer %d: %v", i, err)
						}
						if m := read(t, buf[:k]); m.CallID != fmt.Sprint("packed-", i) || m.Status != 401 {
							t.Fatalf("answer %d is\n%s", i, m)
						}
					}
					_ = conn.Close()
					s.restsWithTwo()
				})
			})
		}
	}
}

// restsWithTwo checks that nothing is left but two phones.
func (s *siege) restsWithTwo() {
	time.Sleep(time.Minute)
	if g := s.gate.Gauges(); g.Bindings != 2 || g.Panics != 0 || g.InboxDropped != 0 {
		s.t.Errorf("left behind: %+v", g)
	}
}

// queryOver is a REGISTER without Contact and with a body, for which the PBX wants a password.
func queryOver(i int) string {
	m := message.Message{
		Method: "REGISTER", URI: message.URI{Scheme: "sip", Host: "example.com"}, CallID: fmt.Sprint("packed-", i), CSeq: uint32(i + 1), MaxForwards: 70,
		Via:  []message.Via{{Transport: "TCP", Host: "192.0.2.9", Branch: fmt.Sprint("z9hG4bKpacked", i), RPort: -1}},
		From: message.NameAddr{URI: user("204", "example.com"), Tag: fmt.Sprint("t", i)}, To: message.NameAddr{URI: user("204", "example.com")},
		Headers: []message.Header{{Name: "Content-Type", Value: "text/plain"}}, Body: []byte("body"),
	}
	b, _ := m.Append(nil)
	return strings.TrimSuffix(string(b), "body")
}

// writes sends text packed in one way or another.
func writes(c net.Conn, text, pack string) {
	size := len(text)
	switch pack {
	case "one at a time":
		for part := range strings.SplitAfterSeq(text, "\r\n\r\nbody") {
			_, _ = io.WriteString(c, part)
			time.Sleep(100 * time.Millisecond)
		}
		return
	case "byte by byte":
		size = 1
	case "split in the middle":
		size = len(text)/37 + 1
	}
	for ; len(text) > 0; text = text[min(size, len(text)):] {
		_, _ = io.WriteString(c, text[:min(size, len(text))])
		time.Sleep(time.Millisecond)
	}
}
