package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
)

func TestStreamDeliver(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		a, b := y.connect(theirs), y.connect("203.0.113.20:5061")
		a.send(request("INVITE", "one", "Content-Length: 5")+"hello", response("two"))
		b.send(request("INVITE", "three"))
		got := y.in.all()
		if y.ids() != "one two three" || string(got[0].Msg.Body) != "hello" {
			t.Fatalf("delivered %q", y.ids())
		}
		first, other := got[0].Flow, got[2].Flow
		want := nat.Flow{Interface: 3, Transport: nat.TCP, Remote: netip.MustParseAddrPort(theirs), Conn: first.Conn}
		if first != want || first.Conn == 0 || got[1].Flow != first || other.Conn == first.Conn || other.Conn == 0 {
			t.Errorf("flows %+v, %+v", first, other)
		}
		if got[0].Msg.Via[0].Received != "203.0.113.20" || got[0].Interface.Transport != nat.TCP {
			t.Errorf("message %+v", got[0].Msg)
		}
		for range 3 {
			if err := y.set.Send(first, []byte("answer ")); err != nil {
				t.Fatal(err)
			}
		}
		if got := a.text(); got != "answer answer answer " || b.text() != "" {
			t.Errorf("the peer got %q", got)
		}
		c := y.set.Counters()[0]
		if c.Received != 3 || c.Delivered != 3 || c.Sent != 3 || c.SentBytes != 21 || c.Streams.Accepted != 2 || c.ReceivedBytes == 0 {
			t.Errorf("counters %+v", c)
		}
		_ = a.Close()
		synctest.Wait()
		if got := y.in.closed(); len(got) != 1 || got[0] != first || y.in.own != 0 {
			t.Errorf("closed %+v", got)
		}
	})
}

// A connection that brought nothing and took nothing is nobody's news.
func TestClosedTellsOnlyOfUsedConnections(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		_ = y.connect(theirs).Close()
		synctest.Wait()
		if got := y.in.closed(); len(got) != 0 || y.counters().ClosedByPeer != 1 {
			t.Errorf("closed %+v, %+v", got, y.counters())
		}
	})
}

// RFC 3261 §18.3: however the bytes come, the messages are the same.
func TestSplitAtEveryByte(t *testing.T) {
	stream := "\r\n" + request("INVITE", "one", "Content-Length: 5") + "hello" + request("ACK", "two") + "\r\n\r\n\r\n" + response("three")
	for _, size := range []int{1, 2, 3, 5, 7, 64, 1023, 1024, 1025, len(stream)} {
		inYard(t, nil, func(y *yard) {
			p := y.connect(theirs)
			for at := 0; at < len(stream); at += size {
				p.send(stream[at:min(at+size, len(stream))])
			}
			if y.ids() != "one two three" || p.text() != pong {
				t.Errorf("in pieces of %d: %q", size, y.ids())
			}
		})
	}
	inYard(t, nil, func(y *yard) {
		p := y.connect(theirs)
		for at := range stream {
			p.send(stream[:at], stream[at:])
		}
		if n := len(y.in.all()); n != 3*len(stream) {
			t.Errorf("%d messages of %d, cut in two at every byte", n, 3*len(stream))
		}
	})
}

func TestPipelined(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		p := y.connect(theirs)
		var all strings.Builder
		for i := range 500 {
			all.WriteString(request("INVITE", fmt.Sprint(i), "Content-Length: 3") + "abc")
		}
		p.send(all.String())
		for i, p := range y.in.all() {
			if p.Msg.CallID != fmt.Sprint(i) || string(p.Msg.Body) != "abc" {
				t.Fatalf("message %d is %s", i, p.Msg.CallID)
			}
		}
		if n := len(y.in.all()); n != 500 {
			t.Errorf("%d messages", n)
		}
		if b := y.set.Streams().Buffers; b.Now != 0 || b.High == 0 {
			t.Errorf("an idle connection holds %+v", b)
		}
	})
}

// Whatever leaves the length of a message open ends the connection; behind it nothing is read.
func TestFramingDoubt(t *testing.T) {
	for _, c := range []struct{ name, send, answer string }{
		{"two lengths", request("INVITE", "a", "Content-Length: 3\r\nContent-Length: 4") + "abcd", "SIP/2.0 400 "},
		{"the same twice", request("INVITE", "a", "Content-Length: 0\r\nl: 0"), "SIP/2.0 400 "},
		{"negative", request("INVITE", "a", "Content-Length: -1"), "SIP/2.0 400 "},
		{"no number", request("INVITE", "a", "Content-Length: 0x5"), "SIP/2.0 400 "},
		{"huge", request("INVITE", "a", "Content-Length: 4294967296"), "SIP/2.0 400 "},
		{"more than a message may have", request("INVITE", "a", "Content-Length: 16384"), "SIP/2.0 513 "},
		{"missing", strings.Replace(request("INVITE", "a"), "Content-Length: 0\r\n", "", 1), "SIP/2.0 400 "},
		{"shorter than the body", request("INVITE", "a", "Content-Length: 2") + "{}{}", ""},
		{"of a response", strings.Replace(response("a"), "Content-Length: 0\r\n", "", 1), ""},
		{"garbage between messages", request("INVITE", "good") + "\x00", ""},
		{"TLS to a TCP port", "\x16\x03\x01\x02\x00\x01\x00", ""},
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"a lone LF", "INVITE sip:a SIP/2.0\nVia: x\r\n\r\n", ""},
	} {
		for _, guard := range []guardFunc{known, stranger} {
			inYard(t, func(conf *Config) { conf.Guard = guard }, func(y *yard) {
				p := y.connect(theirs)
				p.send(c.send)
				p.send(request("INVITE", "smuggled"))
				got := p.text()
				answer := c.answer
				if guard(&policy.Packet{ScanErr: errNowhere}).Action == policy.Drop {
					answer = "" // a stranger hears nothing
				}
				if !strings.HasPrefix(got, answer) || (got == "") != (answer == "") {
					t.Errorf("%s: told %q, want %q", c.name, got, answer)
				}
				if over, after := p.closed(); !over || after > flushTime {
					t.Errorf("%s: still open", c.name)
				}
				if y.counters().ClosedFraming != 1 || strings.Contains(y.ids(), "smuggled") {
					t.Errorf("%s: delivered %q, %+v", c.name, y.ids(), y.counters())
				}
			})
		}
	}
}

// A message that is framed well and wrong otherwise harms nobody but itself.
func TestStreamGoesOnAfterBadMessages(t *testing.T) {
	drops := func(p *policy.Packet) policy.Verdict {
		if strings.Contains(string(p.Data), "dropped") {
			return verdict(policy.Drop, 0, reason.Ban)
		}
		return known(p)
	}
	inYard(t, func(c *Config) { c.Guard = guardFunc(drops) }, func(y *yard) {
		p := y.connect(theirs)
		p.send(request("INVITE", "dropped") + request("INVITE", "bad", "CSeq: 1 OPTIONS") + request("INVITE", "good"))
		if got := p.text(); !strings.HasPrefix(got, "SIP/2.0 400 ") || y.ids() != "good" {
			t.Errorf("told %q, delivered %q", got, y.ids())
		}
		c := y.set.Counters()[0]
		if c.Received != 3 || c.Dropped != 1 || c.Malformed != 1 || c.Delivered != 1 || c.Replies != 1 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestStreamSurvivesPanics(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		y.in.outcome = func(p Packet) Outcome {
			if p.Msg.CallID == "venom" {
				panic("handler")
			}
			return Accepted
		}
		p := y.connect(theirs)
		p.send(request("INVITE", "venom") + request("INVITE", "good"))
		if y.ids() != "good" || y.set.Counters()[0].Panics != 1 {
			t.Errorf("delivered %q, %+v", y.ids(), y.set.Counters()[0])
		}
		_ = p.Close()
	})
	inYard(t, func(c *Config) {
		c.Known = func(*nat.Interface, netip.Addr) bool { panic("known") }
	}, func(y *yard) {
		if over, _ := y.connect(theirs).closed(); !over || y.set.Counters()[0].Panics != 1 {
			t.Error("no panic, or the connection stays")
		}
	})
	inYard(t, nil, func(y *yard) {
		here, there := net.Pipe()
		y.doors[netip.MustParseAddrPort(ours)].queue <- &bomb{wire{here, netip.MustParseAddrPort(ours), netip.MustParseAddrPort(theirs)}}
		p := newPeer(t, there, true)
		if over, _ := p.closed(); !over || y.set.Counters()[0].Panics != 1 || y.counters().ClosedByPeer != 1 {
			t.Errorf("%+v", y.counters())
		}
	})
}

// bomb is a connection with a fault in it.
type bomb struct{ wire }

func (*bomb) Read([]byte) (int, error) { panic("read") }

type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }

type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

func TestRemoteAddress(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.1"), Port: 5060}, "203.0.113.1:5060"}, // in sixteen bytes
		{named("203.0.113.1:5060"), "203.0.113.1:5060"},
		{named("[::ffff:203.0.113.1]:5060"), "203.0.113.1:5060"},
		{named("[2001:db8::1]:5060"), "[2001:db8::1]:5060"},
		{named("pipe"), ""},
		{nil, ""},
		{&net.TCPAddr{}, ""},
	} {
		got, ok := remoteOf(from{addr: c.addr})
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%v: %v, %v", c.addr, got, ok)
		}
	}
}

// A stream that finds the inbox full is not read any further, and no message of it is lost or repeated.
func TestInboxFullStopsReading(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		var full atomic.Bool
		var tries atomic.Int32
		y.in.outcome = func(Packet) Outcome {
			if tries.Add(1); full.Load() {
				return Dropped
			}
			return Accepted
		}
		full.Store(true)
		p := y.connect(theirs)
		go p.write(request("INVITE", "one") + request("INVITE", "two") + request("INVITE", "three"))
		time.Sleep(4 * time.Second)
		full.Store(false)
		time.Sleep(time.Second)
		if y.ids() != "one two three" || tries.Load() < 10 || tries.Load() > 60 || y.set.Counters()[0].Overflow != 0 {
			t.Errorf("delivered %q in %d tries", y.ids(), tries.Load())
		}
		full.Store(true)
		p.send(request("INVITE", "four"))
		time.Sleep(6 * time.Second)
		if over, _ := p.closed(); !over || y.counters().ClosedOverload != 1 || y.set.Counters()[0].Overflow != 1 {
			t.Errorf("still open after 6 s, %+v", y.counters())
		}
		if len(y.in.closed()) != 1 {
			t.Error("nobody was told")
		}
	})
}

func TestBusyIsAnsweredOnTheConnection(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		y.in.outcome = func(Packet) Outcome { return Busy }
		p := y.connect(theirs)
		p.send(request("INVITE", "a"))
		if got := p.text(); !strings.HasPrefix(got, "SIP/2.0 503 ") || !strings.Contains(got, "Retry-After") {
			t.Errorf("told %q", got)
		}
	})
}

// RFC 5626 §4.4.1: CRLF CRLF is answered by CRLF, however it is cut; a lone CRLF is not.
func TestPings(t *testing.T) {
	for _, c := range []struct {
		send []string
		want string
	}{
		{[]string{"\r\n\r\n"}, "\r\n"},
		{[]string{"\r", "\n", "\r", "\n"}, "\r\n"},
		{[]string{"\r\n"}, ""},
		{[]string{"\r\n", "\r\n"}, "\r\n"},
		{[]string{"\r\n", "\r\n", "\r\n"}, "\r\n"},
		{[]string{"\r\n\r", "\n\r\n"}, "\r\n"},
		{[]string{"\r\n\r\n" + request("ACK", "b")}, "\r\n"},
		{[]string{request("ACK", "b") + "\r\n\r\n"}, "\r\n"},
		{[]string{"\r\n", request("ACK", "b")}, ""},
		{[]string{request("ACK", "b") + "\r\n", "\r\n"}, "\r\n"},
		{[]string{request("ACK", "b") + "\r\n", request("ACK", "c")}, ""},
	} {
		inYard(t, nil, func(y *yard) {
			p := y.connect(theirs)
			if p.send(c.send...); p.text() != "" && len(y.in.all()) == 0 {
				t.Errorf("%q: a stranger that has shown nothing learned that SIP is spoken here", c.send)
			}
			p = y.connect(theirs)
			p.send(request("OPTIONS", "a"))
			p.send(c.send...)
			if got := p.text(); got != c.want {
				t.Errorf("%q: told %q", c.send, got)
			}
			if over, _ := p.closed(); over {
				t.Errorf("%q: closed", c.send)
			}
			if b := y.set.Streams().Buffers; b.Now != 0 {
				t.Errorf("%q: an idle connection holds %d bytes", c.send, b.Now)
			}
		})
	}
}

// The answer to our own ping is no half of one of the peer's.
func TestPongsOfThePeer(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		p := y.connect(theirs)
		p.send(request("REGISTER", "a"))
		for range 3 {
			if err := y.set.Send(y.flow(), []byte(ping)); err != nil {
				t.Fatal(err)
			}
			if got := p.text(); got != ping {
				t.Errorf("the peer got %q", got)
			}
			if p.send(pong); p.text() != "" {
				t.Error("a pong was answered")
			}
		}
	})
}
