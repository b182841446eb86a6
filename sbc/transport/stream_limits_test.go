package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
)

// drip sends text, a byte a second, until the connection ends.
func drip(p *peer, text string) {
	for i := range len(text) {
		if _, err := p.Write([]byte(text[i : i+1])); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// Every connection that brings nothing good ends in bounded time; a phone that is registered may be silent for ever.
func TestPatience(t *testing.T) {
	body := request("INVITE", "a", "Content-Length: 100")
	knownPeer := func(c *Config) { c.Known = func(*nat.Interface, netip.Addr) bool { return true } }
	for _, c := range []struct {
		name   string
		change func(*Config)
		do     func(y *yard, p *peer)
		after  time.Duration // of the connection's life; 0: it goes on
		why    func(StreamCounters) uint64
	}{
		{"nothing", nil, func(*yard, *peer) {}, 30 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"slow dribble", nil, func(_ *yard, p *peer) { drip(p, body) }, 15 * time.Second,
			func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"slow dribble behind a good message", nil, func(_ *yard, p *peer) {
			p.send(request("INVITE", "b"))
			time.Sleep(20 * time.Second)
			drip(p, body)
		}, 35 * time.Second, func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"missing body", nil, func(_ *yard, p *peer) { p.send(body) }, 15 * time.Second,
			func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"missing body of a message that came with another", nil, func(_ *yard, p *peer) { p.send(request("ACK", "b") + body) },
			15 * time.Second, func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"endless header", nil, func(_ *yard, p *peer) {
			p.send("INVITE sip:b@example.com SIP/2.0\r\n")
			for p.write("X-Padding: " + strings.Repeat("x", 400) + "\r\n") {
				time.Sleep(10 * time.Millisecond)
			}
		}, 390 * time.Millisecond, func(c StreamCounters) uint64 { return c.ClosedFraming }},
		{"endless line", nil, func(_ *yard, p *peer) {
			for p.write(strings.Repeat("x", 1000)) {
				time.Sleep(10 * time.Millisecond)
			}
		}, 160 * time.Millisecond, func(c StreamCounters) uint64 { return c.ClosedFraming }},
		{"only pings", nil, func(_ *yard, p *peer) {
			for p.write(ping) {
				time.Sleep(10 * time.Second)
			}
		}, 30 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"only what the guard drops", func(c *Config) { c.Guard = guardFunc(drop) }, func(_ *yard, p *peer) {
			for p.write(request("INVITE", "x")) {
				time.Sleep(10 * time.Second)
			}
		}, 30 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"always in the middle of what the guard drops", func(c *Config) { c.Guard = guardFunc(drop) }, func(_ *yard, p *peer) {
			for p.write(request("INVITE", "x") + "INVITE") {
				time.Sleep(5 * time.Second)
				p.write(strings.TrimPrefix(request("INVITE", "x"), "INVITE"))
			}
		}, 30 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"one good message", nil, func(_ *yard, p *peer) {
			time.Sleep(10 * time.Second)
			p.send(request("INVITE", "a") + "\r\n")
		}, 130 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"one message sent to it", nil, func(y *yard, p *peer) {
			p.send(request("INVITE", "a"))
			time.Sleep(100 * time.Second)
			_ = y.set.Send(y.flow(), []byte("x"))
		}, 220 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"our pings alone", nil, func(y *yard, p *peer) {
			p.send(request("INVITE", "a"))
			for y.set.Send(y.flow(), []byte(ping)) == nil {
				time.Sleep(10 * time.Second)
			}
		}, 120 * time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"a known peer", knownPeer, func(*yard, *peer) {}, time.Hour, func(c StreamCounters) uint64 { return c.ClosedIdle }},
		{"a known peer's half message", knownPeer, func(_ *yard, p *peer) { p.send(body) }, 15 * time.Second,
			func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"a known peer's pings", knownPeer, func(_ *yard, p *peer) {
			for range 100 {
				p.write(ping)
				time.Sleep(time.Minute)
			}
		}, 0, nil},
		{"a registered phone", nil, func(y *yard, p *peer) {
			p.send(request("REGISTER", "a"))
			y.set.Keep(y.flow(), true)
			time.Sleep(1000 * time.Hour)
		}, 0, nil},
		{"a registered phone's half message", nil, func(y *yard, p *peer) {
			p.send(request("REGISTER", "a"))
			y.set.Keep(y.flow(), true)
			time.Sleep(time.Hour)
			p.send(body)
		}, time.Hour + 15*time.Second, func(c StreamCounters) uint64 { return c.ClosedDeadline }},
		{"a phone that was registered", nil, func(y *yard, p *peer) {
			p.send(request("REGISTER", "a"))
			y.set.Keep(y.flow(), true)
			time.Sleep(time.Hour)
			y.set.Keep(y.flow(), false)
		}, time.Hour + 120*time.Second, func(c StreamCounters) uint64 { return c.ClosedIdle }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inYard(t, c.change, func(y *yard) {
				p := y.connect(theirs)
				go c.do(y, p)
				time.Sleep(time.Hour + 10*time.Minute)
				over, after := p.closed()
				switch {
				case c.after == 0 && over:
					t.Errorf("closed after %v: %+v", after, y.counters())
				case c.after == 0:
				case !over || after != c.after || c.why(y.counters()) != 1:
					t.Errorf("ended: %v, after %v, want %v: %+v", over, after, c.after, y.counters())
				}
				y.set.Close()
				time.Sleep(1000 * time.Hour) // what still tries to send hears of the end
			})
		})
	}
}

// AST-2016-005: nobody takes all connections, neither one source nor many.
func TestConnectionsOfOneSource(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		var peers []*peer
		for i := range 600 {
			peers = append(peers, y.connect(fmt.Sprintf("203.0.113.20:%d", 1000+i)))
		}
		open := func() (n int) {
			for _, p := range peers {
				if over, _ := p.closed(); !over {
					n++
				}
			}
			return n
		}
		if c := y.counters(); open() != 32 || c.Accepted != 32 || c.Refused != 568 {
			t.Errorf("%d of 600 are open, %+v", open(), c)
		}
		other := y.connect("203.0.113.21:5060")
		if other.send(request("REGISTER", "a")); y.ids() != "a" {
			t.Error("another source is not served")
		}
		_ = peers[0].Close()
		synctest.Wait()
		if over, _ := y.connect("203.0.113.20:9").closed(); over {
			t.Error("a place that is free again cannot be taken")
		}
		// A registered phone gives its place to others behind its NAT.
		peers[1].send(request("REGISTER", "b"))
		y.set.Keep(y.flow(), true)
		if over, _ := y.connect("203.0.113.20:10").closed(); over {
			t.Error("a registered phone counts as a stranger")
		}
		g := y.set.Streams()
		if g.Open.Now != 34 || g.Kept.Now != 1 || g.Strangers.Now != 33 || g.Strangers.Limit != 4096 {
			t.Errorf("gauges %+v", g)
		}
		time.Sleep(time.Hour)
		if g := y.set.Streams(); g.Open.Now != 1 || g.Kept.Now != 1 || g.Open.High != 34 {
			t.Errorf("gauges %+v after an hour", g)
		}
	})
}

func TestSourceOfIPv6IsTheSubscribersPrefix(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		for i := range 40 {
			y.connect(fmt.Sprintf("[2001:db8:1:2::%x]:5060", i+1))
		}
		if c := y.counters(); c.Accepted != 32 || c.Refused != 8 {
			t.Errorf("%+v", c)
		}
		if over, _ := y.connect("[2001:db8:1:3::1]:5060").closed(); over {
			t.Error("the next subscriber is not served")
		}
		y.set.Close()
	})
}

// Strangers that fill the table by silence lose their places to newcomers, those that have brought something do not.
func TestStrangersTable(t *testing.T) {
	inYard(t, func(c *Config) {
		c.Streams = StreamLimits{Strangers: 4, PerSource: 1, PerKnown: 2}
		c.Known = func(_ *nat.Interface, a netip.Addr) bool { return a == netip.MustParseAddr("203.0.113.99") }
	}, func(y *yard) {
		at := func(i int) string { return fmt.Sprintf("203.0.113.%d:5060", i) }
		honest := y.connect(at(1))
		honest.send(request("REGISTER", "a"))
		first, second := y.connect(at(2)), y.connect(at(3))
		y.connect(at(4))
		if over, _ := y.connect(at(5)).closed(); !over {
			t.Error("newcomers are driven out by newer ones")
		}
		time.Sleep(grace)
		newcomer := y.connect(at(6))
		newcomer.send(request("REGISTER", "b"))
		over1, _ := first.closed()
		over2, _ := second.closed()
		if !over1 || over2 || y.ids() != "a b" || y.counters().ClosedCrowded != 1 {
			t.Errorf("oldest ended: %v, next: %v, delivered %q, %+v", over1, over2, y.ids(), y.counters())
		}
		if over, _ := honest.closed(); over {
			t.Error("an honest one was driven out")
		}
		// Peers that the guard knows need none of these places.
		trunk := y.connect("203.0.113.99:5060")
		if over, _ := trunk.closed(); over || y.set.Streams().Strangers.Now != 4 {
			t.Errorf("a known peer was turned away, or counts: %+v", y.set.Streams())
		}
		y.connect("203.0.113.99:5061")
		if over, _ := y.connect("203.0.113.99:5062").closed(); !over {
			t.Error("a known source has no limit")
		}
		y.set.Close()
	})
}

// Unfinished messages of strangers share one budget.
func TestBuffersOfStrangers(t *testing.T) {
	inYard(t, func(c *Config) { c.Streams.Buffers = 3 * workSize }, func(y *yard) {
		half := request("INVITE", "a", "Content-Length: 1")
		kept := y.connect(theirs)
		kept.send(request("REGISTER", "k"))
		y.set.Keep(y.flow(), true)
		kept.send(half)
		var peers []*peer
		for i := range 4 {
			p := y.connect(fmt.Sprintf("203.0.113.%d:5060", 30+i))
			p.send(half)
			peers = append(peers, p)
		}
		for i, p := range peers {
			if over, _ := p.closed(); over != (i == 3) {
				t.Errorf("connection %d ended: %v", i, over)
			}
		}
		if b := y.set.Streams().Buffers; b.Now != 4*workSize || b.Limit != 3*workSize || y.counters().ClosedCrowded != 1 {
			t.Errorf("buffers %+v, %+v", b, y.counters())
		}
		if kept.send("x"); !strings.HasSuffix(y.ids(), "k a") {
			t.Errorf("delivered %q", y.ids())
		}
		// A message that grows needs more than it had.
		peers[0].send("x" + request("INVITE", "big", "Content-Length: 9000") + strings.Repeat("x", 8999))
		if over, _ := peers[0].closed(); !over {
			t.Error("a large message did not count")
		}
		y.set.Close()
	})
}

// Errors of a listener that stay neither end it nor make it spin.
func TestAcceptErrors(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		d := y.doors[netip.MustParseAddrPort(ours)]
		start := time.Now()
		for range 20 {
			d.errs <- syscall.EMFILE
		}
		if took := time.Since(start); took < 2*time.Second || took > time.Minute {
			t.Errorf("20 errors took %v", took)
		}
		if p := y.connect(theirs); !p.send(request("INVITE", "a")) || y.ids() != "a" {
			t.Error("nothing is accepted any more")
		}
		if n := y.set.Counters()[0].ReadErrors; n != 20 || y.logs.Len() != 1 {
			t.Errorf("%d errors, %d lines", n, y.logs.Len())
		}
		d.errs <- errors.New("last")
		y.set.Close() // does not wait for the pause
		synctest.Wait()
	})
}

func TestStreamLimitsRefuse(t *testing.T) {
	bad := StreamLimits{Strangers: -1, Queue: -1, Idle: -1, Slow: -1}
	err := bad.Validate()
	for _, want := range []string{"strangers", "queue", "idle", "slow"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	good := StreamLimits{}.filled()
	if err := good.Validate(); err != nil || good != good.filled() || good.PerSource != 32 {
		t.Errorf("defaults %+v: %v", good, err)
	}
}
