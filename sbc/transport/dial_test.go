package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
)

// pbx is where a node listens.
var pbx = nat.Flow{Interface: 3, Transport: nat.TCP, Remote: netip.MustParseAddrPort("203.0.113.30:5060")}

func (y *yard) must(f nat.Flow, text string) {
	y.Helper()
	if err := y.set.Send(f, []byte(text)); err != nil {
		y.Fatal(err)
	}
	synctest.Wait()
}

func TestDialOnceAndUseAgain(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		y.must(pbx, "one ")
		y.must(pbx, "two ")
		mapped := pbx
		mapped.Remote = netip.AddrPortFrom(netip.AddrFrom16(pbx.Remote.Addr().As16()), pbx.Remote.Port())
		y.must(mapped, "three")
		p := y.last()
		if y.calls() != 1 || p.text() != "one two three" {
			t.Errorf("%d dialled", y.calls())
		}
		if local := p.RemoteAddr().String(); !strings.HasPrefix(local, "203.0.113.10:") {
			t.Errorf("dialled from %s, not from the interface's address", local)
		}
		// The peer's messages carry the connection; answers to them use it.
		p.send(request("OPTIONS", "a"))
		f := y.flow()
		if f.Conn == 0 || f.Remote != pbx.Remote {
			t.Errorf("flow %+v", f)
		}
		y.must(f, "answer")
		if p.text() != "answer" {
			t.Error("no answer")
		}
		// What the peer connects is another connection, whatever its address.
		accepted := y.connect(pbx.Remote.String())
		accepted.send(request("OPTIONS", "b"))
		y.must(pbx, "three")
		if accepted.text() != "" || p.text() != "three" || y.calls() != 1 {
			t.Error("the accepted connection is taken for the dialled one")
		}
		if g := y.set.Streams(); g.Dialled.Now != 1 || g.Open.Now != 2 || g.Strangers.Now != 1 || y.counters().Dialled != 1 {
			t.Errorf("gauges %+v", g)
		}
		// The end of it is told, and the next message dials again.
		_ = p.Close()
		synctest.Wait()
		if got := y.in.closed(); len(got) != 1 || got[0] != f || y.in.own != 1 {
			t.Errorf("closed %+v", got)
		}
		if err := y.set.Send(f, nil); !errors.Is(err, ErrGone) {
			t.Errorf("sending on the old one: %v", err)
		}
		y.must(pbx, "four")
		if y.calls() != 2 || y.last().text() != "four" {
			t.Error("not dialled again")
		}
		time.Sleep(59 * time.Minute)
		y.must(pbx, "five")
		time.Sleep(59 * time.Minute)
		y.must(pbx, "six")
		if y.calls() != 2 {
			t.Error("a connection in use ended")
		}
		_ = accepted.Close()
	})
}

func TestDialFails(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		y.behave(func() { y.refusing = true })
		y.must(pbx, "one")
		if got := y.in.unreachable(); len(got) != 1 || got[0] != pbx || len(y.in.closed()) != 0 {
			t.Errorf("unreachable %+v, closed %+v", got, y.in.closed())
		}
		if y.counters().DialFailures != 1 || y.logs.Len() != 1 || !strings.Contains(y.logs.All()[0].Message, "connect") {
			t.Errorf("%+v, log %v", y.counters(), y.logs.All())
		}
		y.behave(func() { y.refusing = false })
		y.must(pbx, "two")
		if y.last().text() != "two" {
			t.Error("the first message came late")
		}
	})
}

// While the peer does not answer, the sender never waits and the queue stays bounded.
func TestDialTakesLong(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		y.behave(func() { y.slow = true })
		start, n := time.Now(), 0
		var err error
		for ; err == nil; n++ {
			err = y.set.Send(pbx, []byte(request("INVITE", fmt.Sprint(n))))
		}
		if !errors.Is(err, ErrSlow) || n < 1000 || n > 4097 || time.Since(start) != 0 || y.calls() > 1 {
			t.Errorf("%d messages wait after %v: %v", n, time.Since(start), err)
		}
		if g := y.set.Streams(); g.Buffers.Now < 500_000 || g.Buffers.Now > 1<<20 {
			t.Errorf("buffers %+v", g.Buffers)
		}
		time.Sleep(10*time.Second - 1)
		synctest.Wait()
		if len(y.in.unreachable()) != 0 {
			t.Error("given up early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(y.in.unreachable()) != 1 || y.set.Streams().Open.Now != 0 {
			t.Errorf("not given up: %+v", y.set.Streams())
		}
		y.must(pbx, "one")
		y.set.Close() // does not wait for the answer
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("Close took until %v", d)
		}
		time.Sleep(time.Hour)
	})
}

func TestDialledLimit(t *testing.T) {
	inYard(t, func(c *Config) { c.Streams.Dialled = 2 }, func(y *yard) {
		f := pbx
		for i := range 3 {
			f.Remote = netip.AddrPortFrom(pbx.Remote.Addr(), uint16(6000+i))
			if err := y.set.Send(f, []byte("x")); errors.Is(err, ErrSlow) != (i == 2) {
				t.Errorf("connection %d: %v", i, err)
			}
			synctest.Wait()
		}
		_ = y.last().Close()
		synctest.Wait()
		y.must(f, "x")
	})
}

// Remove ends an interface's connections, of both kinds, and no others; a listener can come back at once.
func TestRemoveAndAddStreams(t *testing.T) {
	second := stream(4, nat.TCP)
	second.Bind = netip.MustParseAddrPort("203.0.113.10:5090")
	inYard(t, func(c *Config) { c.Interfaces = append(c.Interfaces, second) }, func(y *yard) {
		p := y.connect(theirs)
		p.send(request("REGISTER", "a"))
		other := pbx
		other.Interface = 4
		y.must(pbx, "x")
		y.must(other, "y")
		stays, goes := y.last(), y.dialled[0]
		y.must(y.flow(), "last words")
		if !y.set.Remove(3) {
			t.Fatal("not removed")
		}
		over1, _ := p.closed()
		over2, _ := goes.closed()
		over3, _ := stays.closed()
		if !over1 || !over2 || over3 || p.text() != "last words" {
			t.Errorf("ended: %v %v %v", over1, over2, over3)
		}
		if n := len(y.in.closed()); n != 2 || y.in.own != 1 {
			t.Errorf("%d told", n)
		}
		if err := y.set.Add(stream(3, nat.TCP)); err != nil {
			t.Fatal(err)
		}
		if p := y.connect(theirs); !p.send(request("REGISTER", "b")) || y.ids() != "a b" {
			t.Error("the new one does not work")
		}
		taken := second
		taken.ID = 9
		err := y.set.Add(stream(8, nat.TCP), taken)
		if err == nil || !strings.Contains(err.Error(), "tcp 203.0.113.10:5090: cannot listen: the port is held by") {
			t.Errorf("a taken port: %v", err)
		}
		if n := len(y.set.Counters()); n != 2 {
			t.Errorf("%d interfaces after a refused Add", n)
		}
	})
}
