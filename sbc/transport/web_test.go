package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
	"sallyport/policy"
)

func TestWebSocketDeliver(t *testing.T) {
	webYard(t, nil, func(y *webs) {
		p := y.browse(theirs)
		p.send(masked(ws.OpText, bare("REGISTER", "a")))
		p.send(masked(ws.OpBinary, request("INVITE", "b", "Content-Length: 9000")+strings.Repeat("\xff", 9000)))
		m := masked(ws.OpText, bare("MESSAGE", "c")+"hä")
		p.send(m[:1], m[1:5], m[5:40])
		p.send(m[40:] + part(ws.OpText, false, bare("OPTIONS", "d")[:50]))
		p.send(masked(ws.OpPing, "?"))
		p.send(part(ws.OpContinuation, true, bare("OPTIONS", "d")[50:]) + masked(ws.OpText, request("ACK", "e")))
		all := y.in.all()
		if y.ids() != "a b c d e" || string(all[2].Msg.Body) != "hä" || len(all[1].Msg.Body) != 9000 {
			t.Fatalf("delivered %q", y.ids())
		}
		f := y.flow()
		if f.Transport != nat.WSS || f.Conn == 0 || all[0].Msg.Via[0].Transport != "WSS" || all[0].Msg.Via[0].Received != f.Remote.Addr().String() {
			t.Errorf("flow %+v, Via %+v", f, all[0].Msg.Via[0])
		}
		y.must(f, "answer")
		y.must(f, "with \xff in it")
		y.must(f, strings.Repeat("long", 5000))
		y.must(f, ping)
		if got, want := p.says(), "pong ?|text answer|binary with \xff in it|text "+strings.Repeat("long", 5000)+"|ping"; got != want {
			t.Errorf("got %.100q", got)
		}
		if g := y.set.Streams(); g.Handshakes.Now != 0 || g.Handshakes.High != 1 || g.Buffers.Now != 0 {
			t.Errorf("gauges %+v", g)
		}
		y.set.Keep(f, true)
		time.Sleep(100 * time.Hour)
		if p.send(masked(ws.OpPong, "")); y.set.Streams().Buffers.Now != 0 {
			t.Error("an idle connection holds a buffer")
		}
		if p.send(masked(ws.OpText, bare("REGISTER", "z"))); !strings.HasSuffix(y.ids(), "z") {
			t.Errorf("delivered %q after a long silence", y.ids())
		}
	})
}

// TestWebSocketKeepsAlive: browsers' scripts ping by an empty line, other clients by the protocol's own means; both are answered.
func TestWebSocketKeepsAlive(t *testing.T) {
	webYard(t, nil, func(y *webs) {
		p := y.browse(theirs)
		if p.send(masked(ws.OpText, ping)); p.says() != "" {
			t.Error("a stranger that has shown nothing is answered")
		}
		if p.send(masked(ws.OpPing, "a"), masked(ws.OpPing, "")); p.says() != "pong a|pong" {
			t.Error("a Ping is not answered (RFC 6455 §5.5.2)")
		}
		p.send(masked(ws.OpText, bare("REGISTER", "a")))
		p.send(masked(ws.OpText, ping), masked(ws.OpBinary, pong), masked(ws.OpPong, "unasked"))
		if got := p.says(); got != "text \r\n" {
			t.Errorf("got %q", got)
		}
		if c := y.set.Counters()[0]; c.Streams.Pings != 4 || c.Received != 1 || y.ids() != "a" {
			t.Errorf("%+v", c)
		}
		for range 20 { // it is no stranger's any more, but pings are no messages
			time.Sleep(25 * time.Second)
			if !p.send(masked(ws.OpPing, "")) {
				break
			}
		}
		if over, after := p.closed(); !over || after > 125*time.Second {
			t.Errorf("%v after %v", over, after)
		}
		if got := p.says(); !strings.HasSuffix(got, "|close 1001") {
			t.Errorf("got %q", got)
		}
	})
}

// Each way to go wrong, with the code that the connection is closed with.
func TestWebSocketDoubts(t *testing.T) {
	good := masked(ws.OpText, bare("REGISTER", "a"))
	for _, c := range []struct {
		name string
		do   func(y *webs, p *peer)
		want string        // what the peer hears
		life time.Duration // at most
		why  func(StreamCounters) uint64
	}{
		{"not masked", sends("\x81\x05hello"), "close 1002", 0, framingDoubt},
		{"a reserved bit", sends("\xc1\x85\x00\x00\x00\x00hello"), "close 1002", 0, framingDoubt},
		{"a fragment of nothing", sends(part(ws.OpContinuation, true, "x")), "close 1002", 0, framingDoubt},
		{"a large message", sends("\x81\xff\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00"), "close 1009", 0, framingDoubt},
		{"a large message in fragments", func(_ *webs, p *peer) {
			for op := ws.OpText; p.send(part(op, false, strings.Repeat("x", 4000))); op = ws.OpContinuation {
			}
		}, "close 1009", 0, framingDoubt},
		{"text that is none", sends(masked(ws.OpText, bare("REGISTER", "a")+"\xff")), "close 1007", 0, framingDoubt},
		{"endless fragments", func(_ *webs, p *peer) {
			for op := ws.OpText; p.send(part(op, false, "")); op = ws.OpContinuation {
			}
		}, "close 1008", 0, framingDoubt},
		{"fragments that come slowly", func(_ *webs, p *peer) {
			for op := ws.OpText; p.send(part(op, false, "I")); op = ws.OpContinuation {
				time.Sleep(time.Second)
			}
		}, "close 1008", 15 * time.Second, func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"half a frame", sends(good[:20]), "close 1008", 15 * time.Second, func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"a ping flood", func(_ *webs, p *peer) {
			for p.send(masked(ws.OpPing, "")) {
			}
		}, strings.Repeat("pong|", idleFrames) + "close 1008", 0, framingDoubt},
		{"a flood of nothing", func(_ *webs, p *peer) {
			for p.send(masked(ws.OpText, "")) {
			}
		}, "close 1008", 0, framingDoubt},
		{"nothing", sends(""), "close 1001", 30 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"a bad Close", sends(closeWith(1006, "")), "close 1002", 0, framingDoubt},
		{"a Close of one byte", sends(masked(ws.OpClose, "x")), "close 1002", 0, framingDoubt},
		{"a Close", sends(closeWith(1000, "bye")), "close 1000", 0, peerLeft},
		{"a Close of an application", sends(closeWith(4001, "")), "close 4001", 0, peerLeft},
		{"a Close of a server that restarts", sends(closeWith(1012, "")), "close 1012", 0, peerLeft},
		{"a Close without a word", sends(masked(ws.OpClose, "")), "close", 0, peerLeft},
		{"gone", func(_ *webs, p *peer) { _ = p.Close() }, "", 0, peerLeft},
	} {
		t.Run(c.name, func(t *testing.T) {
			webYard(t, nil, func(y *webs) {
				p := y.browse(theirs)
				c.do(y, p)
				time.Sleep(c.life + flushTime)
				over, after := p.closed()
				if got := p.says(); got != c.want || !over || after > c.life+flushTime {
					t.Errorf("%q, ended %v after %v", got, over, after)
				}
				if c.why(y.counters()) != 1 || len(y.in.closed()) != 0 {
					t.Errorf("%+v, told %v", y.counters(), y.in.closed())
				}
			})
		})
	}
}

func sends(text string) func(*webs, *peer) { return func(_ *webs, p *peer) { p.send(text) } }

func framingDoubt(c StreamCounters) uint64 { return c.ClosedFraming }
func peerLeft(c StreamCounters) uint64     { return c.ClosedByPeer }

// TestWebSocketMessagesAreJudged: a message is refused like a datagram, and the connection lives on; known peers hear why.
func TestWebSocketMessagesAreJudged(t *testing.T) {
	var asked []string
	webYard(t, func(c *Config) {
		c.Guard = guardFunc(func(p *policy.Packet) policy.Verdict {
			asked = append(asked, fmt.Sprint(string(p.View.Bytes(p.View.CallID)), " ", p.ScanErr != nil))
			return known(p)
		})
	}, func(y *webs) {
		p := y.browse(theirs)
		p.send(masked(ws.OpText, request("INVITE", "short", "Content-Length: 4")+"12345"))
		p.send(masked(ws.OpText, request("INVITE", "long", "Content-Length: 6")+"12345"))
		p.send(masked(ws.OpText, bare("INVITE", "two")+bare("INVITE", "three"))) // the second is the first one's body
		p.send(masked(ws.OpText, strings.Replace(bare("INVITE", "foul"), ";tag=", ";gat=", 1)))
		p.send(masked(ws.OpText, "hello"))
		if got := strings.Join(asked, ", "); got != "short true, long true, two false, foul false, foul true,  true" || y.ids() != "two" {
			t.Errorf("asked about %s; delivered %s", got, y.ids())
		}
		got := p.says()
		if strings.Count(got, "SIP/2.0 400 ") != 3 || strings.Count(got, "Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=") != 1 {
			t.Errorf("answered %q", got)
		}
		asked = nil
		if p.send("\x83\x80"); len(asked) != 1 || p.says() != "close 1002" {
			t.Errorf("the guard was asked about %q", asked)
		}
	})
}

// TestWebSocketSurvivesFaults: a fault of ours costs one message; in a doubt it does not keep the connection open.
func TestWebSocketSurvivesFaults(t *testing.T) {
	webYard(t, func(c *Config) {
		c.Guard = guardFunc(func(p *policy.Packet) policy.Verdict {
			if p.ScanErr != nil || string(p.View.Bytes(p.View.CallID)) == "bad" {
				panic("a fault")
			}
			return known(p)
		})
	}, func(y *webs) {
		p := y.browse(theirs)
		p.send(masked(ws.OpText, bare("REGISTER", "bad")), masked(ws.OpText, bare("REGISTER", "good")))
		if n := y.set.Counters()[0].Panics; n != 1 || y.ids() != "good" {
			t.Errorf("%d faults, delivered %q", n, y.ids())
		}
		p.send("\x83\x80")
		if got := p.says(); got != "close 1002" || y.set.Counters()[0].Panics != 2 {
			t.Errorf("heard %q", got)
		}
	})
}

// TestWebSocketEnds: what a peer hears when this side ends the connection, and that nobody reaches it afterwards.
func TestWebSocketEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(y *webs, f nat.Flow)
		want string
		wait time.Duration // who removes an interface waits for the peers' Close
	}{
		"asked":   {func(y *webs, f nat.Flow) { y.set.CloseFlow(f) }, "text last words|close 1000", 0},
		"where":   {func(y *webs, _ nat.Flow) { y.set.CloseWhere(func(*nat.Interface, netip.AddrPort) bool { return true }) }, "text last words|close 1000", 0},
		"removed": {func(y *webs, _ nat.Flow) { y.set.Remove(3) }, "text last words|close 1001", flushTime},
		"crowded": {func(y *webs, _ nat.Flow) {
			y.set.hub.accepted()[0].end(crowded)
		}, "text last words", 0},
	} {
		t.Run(name, func(t *testing.T) {
			webYard(t, nil, func(y *webs) {
				p := y.browse(theirs)
				p.send(masked(ws.OpText, bare("REGISTER", "a")))
				f := y.flow()
				y.must(f, "last words")
				synctest.Wait()
				c.end(y, f)
				synctest.Wait()
				if err := y.set.Send(f, []byte("x")); err == nil {
					t.Error("it takes messages still")
				}
				if y.set.Keep(f, true) {
					t.Error("it can be kept still")
				}
				if len(y.in.closed()) != 1 {
					t.Errorf("told of %v", y.in.closed())
				}
				p.send(closeWith(1000, "")) // who answers is not waited for any longer
				if over, after := p.closed(); !over || after != c.wait {
					t.Errorf("ended %v after %v", over, after)
				}
				if got := p.says(); got != c.want {
					t.Errorf("heard %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestWebSocketLingers: who never answers our Close is waited for a second, what it sends meanwhile leads to nothing.
func TestWebSocketLingers(t *testing.T) {
	webYard(t, nil, func(y *webs) {
		p := y.browse(theirs)
		p.send(masked(ws.OpText, bare("REGISTER", "a")))
		start := time.Now()
		y.set.CloseFlow(y.flow())
		for p.send(masked(ws.OpText, bare("INVITE", "b"))) {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(start); d < flushTime || d > flushTime+200*time.Millisecond || y.ids() != "a" {
			t.Errorf("after %v, delivered %q", d, y.ids())
		}
		if n := y.set.hub.lingering.Load(); n != 0 {
			t.Errorf("%d linger", n)
		}
	})
}

// TestWebSocketSlowReader: a peer that does not read is cut off; what it is owed is bounded.
func TestWebSocketSlowReader(t *testing.T) {
	webYard(t, nil, func(y *webs) {
		conn := y.shakes(theirs)
		if err := greet(conn); err != nil {
			t.Fatal(err)
		}
		p := newPeer(t, conn, false)
		p.send(masked(ws.OpText, bare("REGISTER", "a")))
		f, sent := y.flow(), 0
		for range 200 {
			if err := y.set.Send(f, []byte(strings.Repeat("x", 1000))); errors.Is(err, ErrSlow) {
				break
			}
			sent++
		}
		if sent < 32 || sent > 66 {
			t.Errorf("%d messages are queued", sent)
		}
		for range 40 { // a Ping that finds no room for its Pong changes nothing
			p.write(masked(ws.OpPing, "x"))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if c := y.counters(); c.ClosedSlow != 1 || len(y.in.closed()) != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// TestUpgradeIsBounded: who does not ask for a WebSocket in time, or in bounds, has no connection.
func TestUpgradeIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(p *peer)
		after time.Duration
		want  string
	}{
		{"nothing", func(*peer) {}, 10 * time.Second, ""},
		{"half a request", func(p *peer) { p.send(hello[:100]) }, 10 * time.Second, ""},
		{"a byte a second", func(p *peer) { drip(p, hello) }, 10 * time.Second, ""},
		{"SIP", func(p *peer) { p.send(request("REGISTER", "a")) }, 0, ""},
		{"frames", func(p *peer) { p.send("\x81\x85\n\n\n\nhello") }, 0, ""},
		{"a page", func(p *peer) { p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n") }, 0, httpRefused},
		{"no subprotocol", func(p *peer) { p.send(without("Sec-WebSocket-Protocol")) }, 0, httpRefused},
		{"an old version", func(p *peer) { p.send(strings.Replace(hello, "Version: 13", "Version: 8", 1)) }, 0, httpVersion},
		{"endless headers", func(p *peer) {
			p.send("GET / HTTP/1.1\r\n")
			for p.send("X-More: " + strings.Repeat("x", 500) + "\r\n") {
			}
		}, 0, httpRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			webYard(t, nil, func(y *webs) {
				p := newPeer(t, y.shakes(theirs), true)
				synctest.Wait()
				c.do(p)
				time.Sleep(c.after)
				over, after := p.closed()
				if got := p.text(); got != c.want || !over || after != c.after {
					t.Errorf("%q, ended %v after %v", got, over, after)
				}
				if n := y.counters(); n.HandshakeFailures != 1 || n.Accepted != 1 || len(y.ids()) != 0 {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}

// TestUpgradesAreFewAtATime: they count among the TLS handshakes, and the oldest gives way to a phone.
func TestUpgradesAreFewAtATime(t *testing.T) {
	webYard(t, func(c *Config) { c.Streams.Handshakes, c.Streams.PerSource = 4, 100 }, func(y *webs) {
		var slow []*peer
		for i := range 4 {
			slow = append(slow, newPeer(t, y.shakes(fmt.Sprintf("203.0.113.20:%d", 1000+i)), true))
		}
		if g := y.set.Streams().Handshakes; g.Now != 4 {
			t.Fatalf("%+v", g)
		}
		if over, _ := newPeer(t, y.plug("203.0.113.20:2000"), true).closed(); !over {
			t.Error("one more than there may be")
		}
		time.Sleep(grace)
		if p := y.browse("203.0.113.21:1"); !p.send(masked(ws.OpText, bare("REGISTER", "a"))) || y.ids() != "a" {
			t.Error("an honest phone is kept out")
		}
		if over, _ := slow[0].closed(); !over {
			t.Error("the oldest goes on")
		}
		start := time.Now()
		y.set.Close()
		if d := time.Since(start); d > 2*flushTime {
			t.Errorf("Close took %v", d)
		}
	})
}

// TestWebSocketIsNeverDialled: RFC 7118 §5.3.
func TestWebSocketIsNeverDialled(t *testing.T) {
	webYard(t, nil, func(y *webs) {
		f := pbx
		f.Transport = nat.WSS
		if err := y.set.Send(f, []byte("x")); !errors.Is(err, ErrGone) || y.calls() != 0 {
			t.Errorf("%v, %d calls", err, y.calls())
		}
	})
}

// TestWebSocketCertificate: a reload holds for what connects later, a closed port is one of TLS.
func TestWebSocketCertificate(t *testing.T) {
	webYard(t, nil, func(y *webs) {
		p := y.browse(theirs)
		ca := authority.New("another")
		set, _ := loadTLS(t, ca, "")
		y.set.SetTLS(set)
		y.phone = &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"}
		other := y.browse("203.0.113.21:1")
		p.send(masked(ws.OpText, bare("REGISTER", "a")))
		other.send(masked(ws.OpText, bare("REGISTER", "b")))
		if y.ids() != "a b" {
			t.Errorf("delivered %q", y.ids())
		}
	})
	inYard(t, nil, func(y *yard) {
		if err := y.set.Add(stream(5, nat.WSS)); err == nil || !strings.Contains(err.Error(), "wss needs a certificate: set tls.certificate") {
			t.Error(err)
		}
	})
}
