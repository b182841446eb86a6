package demo

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// TestAPhoneOnAStream: it registers, calls and is called over one connection, answers pings, and after the end of the
// connection makes another one.
func TestAPhoneOnAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{Calls: true})
		defer h.close()
		l, err := h.net.Host(registrarAt.Addr()).ListenStream(netip.AddrPortFrom(registrarAt.Addr(), 5061))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at := netip.AddrPortFrom(registrarAt.Addr(), 5061)
		accepted := make(chan net.Conn, 4)
		h.running.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		})
		dial := func() *Stream {
			c, err := h.box.Host(homeAt.Addr()).DialStream(h.ctx, netip.AddrPort{}, at)
			if err != nil {
				t.Fatal(err)
			}
			return NewStream(c, nat.TCP)
		}
		// The registrar's end of the connection is an agent of its own, with the same book.
		serve := func() (*Agent, net.Conn) {
			c := <-accepted
			a := NewAgent("pbx", at, NewStream(c, nat.TCP), 7)
			a.Registrar = h.reg
			h.running.Go(func() { a.Run(h.ctx) })
			return a, c
		}
		first := dial()
		h.phone.Rebind(first)
		lost := make(chan bool, 1)
		h.phone.Lost = func() { lost <- true }
		h.start()
		pbx, conn := serve()
		var r *Registration
		h.phone.ask(h.ctx, func() { r = h.phone.Register(at, RegisterOptions{Retry: -1}) })
		time.Sleep(time.Second)
		call := func(a *Agent, target message.URI) Result {
			done := make(chan Result, 1)
			a.Do(func() {
				a.Invite(target, message.NameAddr{URI: target}, a.conn.(*Stream).remote, Script{SDP: bobSDP, Hangup: later, Done: func(r Result) { done <- r }})
			})
			return <-done
		}
		for what, got := range map[string]Result{
			"the phone calls": call(h.phone, message.URI{Scheme: "sip", User: "100", Host: "example.com"}),
			"it is called":    call(pbx, message.URI{Scheme: "sip", User: "201", Host: "192.168.77.20", Params: ";transport=tcp"}),
		} {
			if got.Code != 200 || got.Why != "BYE sent" {
				t.Errorf("%s: %d (%s)", what, got.Code, got.Why)
			}
		}
		for range 3 {
			if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if first.Pings() != 3 {
			t.Errorf("%d pings answered", first.Pings())
		}
		_ = conn.Close()
		<-lost
		time.Sleep(time.Minute) // it lives on without a connection
		h.phone.ask(h.ctx, func() { h.phone.Rebind(dial()) })
		pbx, _ = serve()
		h.phone.Do(r.Now)
		time.Sleep(time.Second)
		if got := call(pbx, message.URI{Scheme: "sip", User: "201", Host: "192.168.77.20", Params: ";transport=tcp"}); got.Code != 200 {
			t.Errorf("over the second connection: %d (%s)", got.Code, got.Why)
		}
		if _, visits := h.heard(); visits != "401 200 200" && visits != "401 200 401 200" {
			t.Errorf("the registrar answered %s", visits)
		}
	})
}

// TestAStreamThatEndsFailsWhatWaits: a call in the middle of its INVITE ends at once, not by a timer.
func TestAStreamThatEndsFailsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{})
		defer h.close()
		at := netip.AddrPortFrom(registrarAt.Addr(), 5061)
		l, err := h.net.Host(registrarAt.Addr()).ListenStream(at)
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.box.Host(homeAt.Addr()).DialStream(h.ctx, netip.AddrPort{}, at)
		if err != nil {
			t.Fatal(err)
		}
		h.phone.Rebind(NewStream(c, nat.TCP))
		h.start()
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan Result, 1)
		began := time.Now()
		h.phone.Do(func() { h.phone.Call("100", at, Script{SDP: bobSDP, Done: func(r Result) { done <- r }}) })
		time.Sleep(time.Second)
		if _, err := far.Write([]byte("this is no SIP\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if r := <-done; r.Code != 408 || time.Since(began) > 2*time.Second {
			t.Errorf("heard %d (%s) after %v", r.Code, r.Why, time.Since(began))
		}
		_ = far.Close()
		_ = l.Close()
	})
}
