package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

var (
	registrarAt = netip.MustParseAddrPort("192.0.2.2:5060")
	boxAt       = netip.MustParseAddr("198.51.100.7")
	homeAt      = netip.MustParseAddrPort("192.168.77.20:5060")
)

// home is a phone behind a NAT and the registrar that it registers at, without a gate between them.
type home struct {
	t       *testing.T
	net     *natlab.Network
	box     *natlab.NAT
	phone   *Agent
	pbx     *Agent
	reg     *Registrar
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	outcomes []Registered
	visits   []Visit
}

// newHome must run inside a bubble. The phone is started by the test.
func newHome(t *testing.T, reg Registrar) *home {
	t.Helper()
	h := &home{t: t, net: natlab.New(natlab.Options{Seed: 5}), reg: &reg}
	h.ctx, h.stop = context.WithCancel(t.Context())
	h.box = h.net.NAT(boxAt, natlab.NATOptions{})
	h.pbx = NewAgent("pbx", registrarAt, h.listen(h.net.Host(registrarAt.Addr()), registrarAt.Port()), 1)
	h.pbx.Registrar = h.reg
	reg.Domain, reg.Users = "example.com", map[string]string{"201": "secret", "202": "other"}
	reg.Heard = func(v Visit) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.visits = append(h.visits, v)
	}
	h.phone = NewAgent("phone", homeAt, h.listen(h.box.Host(homeAt.Addr()), homeAt.Port()), 2)
	h.phone.Number, h.phone.Domain, h.phone.Password = "201", "example.com", "secret"
	h.running.Go(func() { h.pbx.Run(h.ctx) })
	return h
}

func (h *home) listen(host *natlab.Host, port uint16) *natlab.PacketConn {
	h.t.Helper()
	c, err := host.ListenUDP(port)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *home) start() { h.running.Go(func() { h.phone.Run(h.ctx) }) }

func (h *home) close() {
	h.stop()
	h.running.Wait()
	h.net.Close()
	synctest.Wait()
}

// register begins a registration.
func (h *home) register(opt RegisterOptions) (r *Registration) {
	h.t.Helper()
	opt.Heard = func(r Registered) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.outcomes = append(h.outcomes, r)
	}
	h.phone.ask(h.ctx, func() { r = h.phone.Register(registrarAt, opt) })
	time.Sleep(time.Second)
	return r
}

// heard is what the phone heard so far, by code, and what the registrar answered.
func (h *home) heard() (outcomes, visits string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var a, b []string
	for _, r := range h.outcomes {
		a = append(a, fmt.Sprint(r.Code))
	}
	for _, v := range h.visits {
		b = append(b, fmt.Sprint(v.Code))
	}
	return strings.Join(a, " "), strings.Join(b, " ")
}

func (h *home) want(outcomes, visits string) {
	h.t.Helper()
	if a, b := h.heard(); a != outcomes || b != visits {
		h.t.Errorf("the phone heard %q, want %q; the registrar answered %q, want %q", a, outcomes, b, visits)
	}
}

// contacts are those of the user 201.
func (h *home) contacts() (list []Contact) {
	h.pbx.ask(h.ctx, func() { list = h.reg.Contacts("201", h.pbx.now) })
	return list
}

func TestAPhoneStaysRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{Expires: 10 * time.Minute})
		defer h.close()
		h.start()
		h.register(RegisterOptions{Instance: "urn:uuid:00000000-0000-0000-0000-000000000001"})
		h.want("200", "401 200")
		if r := h.outcomes[0]; r.Expires != 10*time.Minute || len(r.Contacts) != 1 || r.Contacts[0].URI.Host != "192.168.77.20" {
			t.Errorf("%+v", r)
		}
		for range 24 {
			time.Sleep(5 * time.Minute)
			if list := h.contacts(); len(list) != 1 || !strings.Contains(list[0].Params, "+sip.instance") {
				t.Fatalf("contacts %+v", list)
			}
		}
		// A refresh each three quarters of the expiry, with the credentials of the first challenge.
		if a, b := h.heard(); a != strings.TrimSpace(strings.Repeat("200 ", 17)) || b != "401 "+a {
			t.Errorf("in two hours heard %q, answered %q", a, b)
		}
	})
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name     string
		reg      Registrar
		opt      RegisterOptions
		user     string
		password string
		heard    string
		answered string
		bound    int
	}{
		{"wrong password", Registrar{}, RegisterOptions{Retry: -1}, "201", "guess", "403", "401 403", 0},
		{"wrong password, again after 30 s", Registrar{}, RegisterOptions{}, "201", "guess", "403 403 403", "401 403 403 403", 0},
		{"no password", Registrar{}, RegisterOptions{Retry: -1}, "201", "", "401", "401", 0},
		{"unknown user", Registrar{}, RegisterOptions{Retry: -1}, "999", "secret", "403", "401 403", 0},
		{"password of another user", Registrar{}, RegisterOptions{Retry: -1}, "202", "secret", "403", "401 403", 0},
		{"too brief", Registrar{Min: 10 * time.Minute}, RegisterOptions{Expires: time.Minute}, "201", "secret", "200", "401 423 200", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t, tt.reg)
				defer h.close()
				h.phone.Number, h.phone.Password = tt.user, tt.password
				h.start()
				h.register(tt.opt)
				time.Sleep(70 * time.Second)
				h.want(tt.heard, tt.answered)
				if list := h.contacts(); len(list) != tt.bound {
					t.Errorf("contacts %+v", list)
				}
			})
		})
	}
}

func TestStaleNonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{Fresh: 1})
		defer h.close()
		h.start()
		h.register(RegisterOptions{Expires: 2 * time.Minute})
		time.Sleep(3 * time.Minute)
		h.want("200 200 200", "401 200 401 200 401 200")
	})
}

func TestRegistrationsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{})
		defer h.close()
		h.start()
		r := h.register(RegisterOptions{Expires: 2 * time.Minute})
		h.phone.Do(r.End)
		time.Sleep(time.Second)
		if list := h.contacts(); len(list) != 0 {
			t.Errorf("contacts after the end: %+v", list)
		}
		time.Sleep(time.Hour)
		h.want("200 200", "401 200 200") // and no refresh
		h.phone.Do(r.Now)
		time.Sleep(time.Second)
		h.phone.Do(r.Stop)
		if list := h.contacts(); len(list) != 1 {
			t.Errorf("contacts after another beginning: %+v", list)
		}
		time.Sleep(time.Hour)
		if list := h.contacts(); len(list) != 0 {
			t.Errorf("a phone that is switched off keeps its contact: %+v", list)
		}
	})
}

func TestNobodyAnswersARegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{})
		defer h.close()
		h.start()
		h.net.Host(registrarAt.Addr()).Down(true)
		h.register(RegisterOptions{Retry: time.Minute})
		time.Sleep(time.Minute)
		h.want("0", "")
		h.net.Host(registrarAt.Addr()).Down(false)
		time.Sleep(time.Minute)
		h.want("0 200", "401 200")
	})
}

// TestForgetLeavesRegistrationsAlone: they refresh although every call has been forgotten.
func TestForgetLeavesRegistrationsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{})
		defer h.close()
		h.start()
		h.register(RegisterOptions{Expires: time.Minute})
		if !h.phone.Forget(h.ctx) {
			t.Error("Forget refused")
		}
		time.Sleep(50 * time.Second)
		h.want("200 200", "401 200 200")
	})
}

// TestAPhoneIsCalledAndCalls by way of its NAT, before and after that has forgotten it.
func TestAPhoneIsCalledAndCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{Calls: true})
		defer h.close()
		h.start()
		r := h.register(RegisterOptions{})
		h.called()
		h.box.Rebind()
		fresh := h.listen(h.box.Host(homeAt.Addr()), 5070)
		h.phone.ask(h.ctx, func() { h.phone.Rebind(fresh) })
		h.phone.Do(r.Now)
		time.Sleep(time.Second)
		h.want("200 200", "401 200 200")
		h.called()
		for _, tt := range []struct {
			password   string
			code       int
			challenges int
		}{{"secret", 200, 1}, {"guess", 403, 1}, {"", 407, 0}} {
			done := make(chan Result, 1)
			h.phone.Do(func() {
				h.phone.Password = tt.password
				h.phone.Call("100", registrarAt, Script{SDP: aliceSDP, Hangup: later, Done: func(r Result) { done <- r }})
			})
			if r := <-done; r.Code != tt.code || r.Challenges != tt.challenges {
				t.Errorf("password %q: heard %d after %d challenges, want %d and %d", tt.password, r.Code, r.Challenges, tt.code, tt.challenges)
			}
		}
		time.Sleep(time.Minute)
		for _, a := range []*Agent{h.phone, h.pbx} {
			if calls, txs := a.Calls(h.ctx); calls+txs != 0 {
				t.Errorf("%s holds %d calls and %d transactions", a.Name, calls, txs)
			}
		}
	})
}

// called lets the PBX call the phone where its NAT shows it.
func (h *home) called() {
	h.t.Helper()
	list := h.contacts()
	if len(list) != 1 {
		h.t.Fatalf("contacts %+v", list)
	}
	at, ok := h.box.Mapped(netip.AddrPortFrom(homeAt.Addr(), h.port()), registrarAt)
	if !ok {
		h.t.Fatal("the NAT has no mapping for the phone")
	}
	done := make(chan Result, 1)
	to := message.NameAddr{URI: message.URI{Scheme: "sip", User: "201", Host: "example.com"}}
	h.pbx.Do(func() {
		h.pbx.Invite(list[0].URI, to, at, Script{SDP: bobSDP, Hangup: later, Done: func(r Result) { done <- r }})
	})
	if r := <-done; r.Code != 200 || r.Why != "BYE sent" {
		h.t.Errorf("the PBX heard %d (%s) from its phone", r.Code, r.Why)
	}
}

func (h *home) port() (port uint16) {
	h.phone.ask(h.ctx, func() {
		port = h.phone.conn.(*natlab.PacketConn).LocalAddr().(*net.UDPAddr).AddrPort().Port()
	})
	return port
}

// TestAskAndOutside: requests outside calls, both ways.
func TestAskAndOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, Registrar{})
		defer h.close()
		var heard []string
		h.phone.Outside = func(m *message.Message) *message.Message {
			heard = append(heard, m.Method)
			if m.Method == "BYE" {
				return nil
			}
			return message.Reply(m, 202, "")
		}
		h.start()
		h.register(RegisterOptions{})
		ask := func(a *Agent, method string, to netip.AddrPort) int {
			code := make(chan int, 1)
			a.Do(func() {
				uri := sipURI("x", to)
				a.Ask(a.Request(method, uri, message.NameAddr{URI: uri}), to, func(m *message.Message) {
					if m == nil {
						code <- 0
					} else {
						code <- m.Status
					}
				})
			})
			return <-code
		}
		at, _ := h.box.Mapped(homeAt, registrarAt)
		if code := ask(h.pbx, "OPTIONS", at); code != 202 {
			t.Errorf("OPTIONS met %d", code)
		}
		if code := ask(h.pbx, "NOTIFY", at); code != 202 {
			t.Errorf("NOTIFY met %d", code)
		}
		// Of a dialog that is no call's: the phone's own affair, and 481 where it does not care.
		for method, want := range map[string]int{"NOTIFY": 202, "BYE": 481} {
			code := make(chan int, 1)
			h.pbx.Do(func() {
				m := h.pbx.Request(method, sipURI("201", at), message.NameAddr{URI: sipURI("201", at), Tag: "subscribed"})
				h.pbx.Ask(m, at, func(m *message.Message) { code <- m.Status })
			})
			if got := <-code; got != want {
				t.Errorf("%s within a dialog met %d, want %d", method, got, want)
			}
			heard = heard[:2]
		}
		if code := ask(h.phone, "MESSAGE", registrarAt); code != 200 {
			t.Errorf("MESSAGE met %d", code)
		}
		if code := ask(h.phone, "MESSAGE", netip.MustParseAddrPort("192.0.2.99:5060")); code != 0 {
			t.Errorf("a request to nobody met %d", code)
		}
		if !slices.Equal(heard, []string{"OPTIONS", "NOTIFY"}) {
			t.Errorf("the phone heard %v", heard)
		}
	})
}
