package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/policy"
)

const ours, theirs = "203.0.113.10:5080", "203.0.113.20:5060"

// lab is a set with one interface and one peer on a network in memory.
type lab struct {
	*testing.T
	net  *natlab.Network
	set  *Set
	in   *inbox
	peer *natlab.PacketConn
	logs *observer.ObservedLogs
}

func listenOn(n *natlab.Network) func(netip.AddrPort) (PacketConn, error) {
	return func(bind netip.AddrPort) (PacketConn, error) {
		h := n.Host(bind.Addr())
		h.ReceiveErrors(true)
		c, err := h.ListenUDP(bind.Port())
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

func inLab(t *testing.T, guard guardFunc, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		l := &lab{T: t, net: natlab.New(natlab.Options{Buffer: 64 << 20}), in: &inbox{}, logs: logs}
		defer l.net.Close()
		var err error
		l.set, err = Listen(Config{
			Interfaces: []nat.Interface{face(3, nat.Outside, nat.Trunks, ours)},
			Guard:      guard, Handler: l.in, Listen: listenOn(l.net), Log: zap.New(core),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.set.Close()
		at := netip.MustParseAddrPort(theirs)
		if l.peer, err = l.net.Host(at.Addr()).ListenUDP(at.Port()); err != nil {
			t.Fatal(err)
		}
		f(l)
	})
}

// send makes the peer send, and waits until the reader is idle again.
func (l *lab) send(messages ...string) {
	l.Helper()
	for _, m := range messages {
		if _, err := l.peer.WriteToUDPAddrPort([]byte(m), netip.MustParseAddrPort(ours)); err != nil {
			l.Fatal(err)
		}
	}
	synctest.Wait()
}

// answer is the next datagram that the peer has got, or nothing.
func (l *lab) answer() string {
	l.Helper()
	buf := make([]byte, 65535)
	_ = l.peer.SetReadDeadline(time.Now().Add(time.Millisecond))
	n, src, err := l.peer.ReadFromUDPAddrPort(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil || src != netip.MustParseAddrPort(ours) {
		l.Fatalf("answer from %v: %v", src, err)
	}
	return string(buf[:n])
}

func (l *lab) counters() Counters { return l.set.Counters()[0] }

func TestDeliver(t *testing.T) {
	inLab(t, known, func(l *lab) {
		l.send(request("INVITE", "one", "Content-Length: 5")+"hello", response("two"),
			request("INVITE", "three", "Content-Length: 5")+"other")
		got := l.in.all()
		if len(got) != 3 {
			t.Fatalf("%d packets", len(got))
		}
		p := got[0]
		want := nat.Flow{Interface: 3, Transport: nat.UDP, Remote: netip.MustParseAddrPort(theirs)}
		if p.Flow != want || p.Interface.Realm != nat.Trunks || p.Verdict.Action != policy.Allow {
			t.Errorf("packet %+v", p)
		}
		if p.Msg.Method != "INVITE" || p.Msg.CallID != "one" || string(p.Msg.Body) != "hello" {
			t.Errorf("message %+v (is it a view of a buffer used again?)", p.Msg)
		}
		if p.Msg.Via[0].Received != "203.0.113.20" {
			t.Errorf("received=%q", p.Msg.Via[0].Received)
		}
		if r := got[1].Msg; r.Status != 200 || r.Via[0].Received != "" {
			t.Errorf("response %+v", r)
		}
		c := l.counters()
		if c.Received != 3 || c.Delivered != 3 || c.Interface.ID != 3 || c.ReceivedBytes == 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestOrderOfArrival(t *testing.T) {
	const calls = 10000
	inLab(t, known, func(l *lab) {
		for i := range calls {
			id := fmt.Sprint(i)
			for _, m := range []string{request("INVITE", id), request("CANCEL", id)} {
				if _, err := l.peer.WriteToUDPAddrPort([]byte(m), netip.MustParseAddrPort(ours)); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		got := l.in.all()
		if len(got) != 2*calls {
			t.Fatalf("%d of %d arrived, counters %+v", len(got), 2*calls, l.net.Counters())
		}
		for i, p := range got {
			method := [...]string{"INVITE", "CANCEL"}[i%2]
			if p.Msg.Method != method || p.Msg.CallID != fmt.Sprint(i/2) {
				t.Fatalf("message %d is %s of call %s", i, p.Msg.Method, p.Msg.CallID)
			}
		}
	})
}

// RFC 3261 §8.2.7: a stateless server gives every repeat of a request the same tag.
// What the parser refuses reaches the guard as evidence, under the name malformed.
func TestReaderSurvivesPanics(t *testing.T) {
	inLab(t, func(p *policy.Packet) policy.Verdict {
		if strings.Contains(string(p.Data), "poison") {
			panic("guard")
		}
		return known(p)
	}, func(l *lab) {
		l.in.outcome = func(p Packet) Outcome {
			if p.Msg.CallID == "venom" {
				panic("handler")
			}
			return Accepted
		}
		l.send(request("INVITE", "poison"), request("INVITE", "venom"), request("INVITE", "venom"), request("INVITE", "good"))
		if got := l.in.all(); len(got) != 1 || got[0].Msg.CallID != "good" {
			t.Errorf("delivered %v", got)
		}
		if c := l.counters(); c.Panics != 3 || c.Received != 4 {
			t.Errorf("counters %+v", c)
		}
		if l.logs.Len() != 1 {
			t.Errorf("%d log lines, want one a minute", l.logs.Len())
		}
		for _, f := range l.logs.All()[0].Context {
			if strings.Contains(f.String, "Call-ID") {
				t.Errorf("the log shows the message: %v", f)
			}
		}
	})
}

func TestUnreachable(t *testing.T) {
	inLab(t, known, func(l *lab) {
		closed := netip.AddrPortFrom(netip.MustParseAddrPort(theirs).Addr(), 9)
		flow := nat.Flow{Interface: 3, Remote: closed}
		if err := l.set.Send(flow, []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := l.in.unreachable(); len(got) != 1 || got[0] != flow {
			t.Errorf("unreachable %v", got)
		}
		if c := l.counters(); c.Unreachable != 1 || c.ReadErrors != 0 {
			t.Errorf("counters %+v", c)
		}
		l.send(request("INVITE", "a"))
		if len(l.in.all()) != 1 {
			t.Error("reading stopped")
		}
	})
}

func TestSourcePortZero(t *testing.T) {
	inLab(t, known, func(l *lab) {
		forged := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.20"), 0)
		if err := l.net.Inject(forged, netip.MustParseAddrPort(ours), []byte(request("INVITE", "a"))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(l.in.all()) != 0 || l.counters().Ignored != 1 {
			t.Errorf("delivered a message that cannot be answered, %+v", l.counters())
		}
	})
}

func TestSend(t *testing.T) {
	inLab(t, known, func(l *lab) {
		flow := nat.Flow{Interface: 3, Transport: nat.UDP, Remote: netip.MustParseAddrPort(theirs)}
		if err := l.set.Send(flow, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got := l.answer(); got != "hello" {
			t.Errorf("peer got %q", got)
		}
		for _, bad := range []nat.Flow{
			{Interface: 2, Remote: flow.Remote}, {Interface: 4, Remote: flow.Remote},
			{Interface: 3, Transport: nat.TCP, Remote: flow.Remote},
		} {
			if err := l.set.Send(bad, []byte("x")); !errors.Is(err, ErrNoInterface) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		if err := l.set.Send(nat.Flow{Interface: 3}, []byte("x")); err == nil {
			t.Error("sent to nowhere")
		}
		if c := l.counters(); c.Sent != 1 || c.SentBytes != 5 || c.Failed != 1 || c.Replies != 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestAddAndRemove(t *testing.T) {
	inLab(t, known, func(l *lab) {
		inside := face(1, nat.Inside, nat.Trunks, "10.0.0.2:5080")
		taken := face(5, nat.Outside, nat.Phones, theirs) // the peer's own socket
		err := l.set.Add(inside, taken)
		if err == nil || !strings.Contains(err.Error(), "outside/phones udp "+theirs) || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("taken address: %v", err)
		}
		if len(l.set.Counters()) != 1 {
			t.Error("half of a refused Add is open")
		}
		if err := l.set.Add(inside); err != nil { // its port is free again
			t.Fatal(err)
		}
		if got := l.set.Counters(); len(got) != 2 || got[0].Interface.ID != 1 || got[1].Interface.ID != 3 {
			t.Errorf("interfaces %+v", got)
		}
		if err := l.set.Add(face(1, nat.Inside, nat.Phones, "10.0.0.2:5060")); err == nil {
			t.Error("a number was used twice")
		}
		if !l.set.Remove(3) || l.set.Remove(3) || l.set.Remove(99) {
			t.Error("Remove tells wrongly what there was")
		}
		l.send(request("INVITE", "a"))
		if len(l.in.all()) != 0 || l.set.Send(nat.Flow{Interface: 3}, nil) == nil {
			t.Error("a removed interface still works")
		}
		if err := l.set.Add(face(3, nat.Outside, nat.Trunks, ours)); err != nil {
			t.Errorf("the removed one's place cannot be taken: %v", err)
		}
		l.set.Close()
		l.set.Close()
		if err := l.set.Add(inside); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Add after Close: %v", err)
		}
	})
}

func TestListenRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no guard", func(c *Config) { c.Guard = nil }, "Guard"},
		{"dscp", func(c *Config) { c.DSCP = 64 }, "dscp"},
		{"buffer", func(c *Config) { c.ReceiveBuffer = -1 }, "buffer"},
		{"wildcard", func(c *Config) { c.Interfaces[0].Bind = netip.MustParseAddrPort("0.0.0.0:5080") }, "wildcard"},
		{"wildcard v6", func(c *Config) { c.Interfaces[0].Bind = netip.MustParseAddrPort("[::]:5080") }, "wildcard"},
		{"no address", func(c *Config) { c.Interfaces[0].Bind = netip.AddrPort{} }, "wildcard"},
		{"wss", func(c *Config) { c.Interfaces[0].Transport = nat.WSS }, "tls.certificate"},
		{"unknown", func(c *Config) { c.Interfaces[0].Transport = nat.WSS + 1 }, "only udp, tcp, tls and wss"},
		{"tls", func(c *Config) { c.Interfaces[0].Transport = nat.TLS }, "tls.certificate"},
		{"same number", func(c *Config) { c.Interfaces = append(c.Interfaces, c.Interfaces[0]) }, "number 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := natlab.New(natlab.Options{})
			defer n.Close()
			conf := Config{
				Interfaces: []nat.Interface{face(0, nat.Outside, nat.Trunks, ours)},
				Guard:      guardFunc(known), Handler: &inbox{}, Listen: listenOn(n),
			}
			c.change(&conf)
			if s, err := Listen(conf); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("set %v, error %v, want %q", s, err, c.want)
			}
		})
	}
}
