package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

const roamingConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0 }
phones: { domains: [ voice.example.net ] }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{5,15}$"] }
    keepalive: { method: none }
policy: { rate_limits: [] }
`

var (
	phoneSocket  = netip.AddrPortFrom(gateOutside, 5060)
	phonesInside = netip.AddrPortFrom(gateInside, 5060)
)

// roaming is a lab whose PBX is a registrar.
type roaming struct {
	*lab
	registrar *demo.Registrar
}

func newRoaming(t *testing.T, yaml string, o natlab.Options, change ...func(*sbc.Options)) *roaming {
	t.Helper()
	l := &roaming{lab: newGate(t, yaml, o, change...)}
	l.registrar = &demo.Registrar{Domain: "example.com", Users: map[string]string{}, Calls: true}
	conn, err := l.listen(pbxAt)
	if err != nil {
		t.Fatal(err)
	}
	l.pbx = demo.NewAgent("pbx", pbxAt, conn, 11)
	l.pbx.Domain, l.pbx.Registrar = "example.com", l.registrar
	l.running.Go(func() { l.pbx.Run(l.ctx) })
	l.provider = l.agent("provider", providerAt, 10)
	return l
}

// phone is a phone at a host, with a user at the PBX.
func (l *roaming) phone(host *natlab.Host, user string, port uint16, transport nat.Transport) *demo.Agent {
	l.t.Helper()
	at := netip.AddrPortFrom(host.Addr(), port)
	var conn demo.PacketConn
	var err error
	if transport == nat.UDP {
		conn, err = host.ListenUDP(port)
	} else {
		conn, err = l.dial(host)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	n := 0
	for _, c := range user {
		n = n*7 + int(c)
	}
	a := demo.NewAgent("phone "+user, at, conn, byte(n))
	a.Number, a.Domain, a.Password = user, "example.com", "secret of "+user
	secret := a.Password
	l.pbx.Do(func() { l.registrar.Users[user] = secret })
	l.running.Go(func() { a.Run(l.ctx) })
	return a
}

func (l *roaming) dial(host *natlab.Host) (*demo.Stream, error) {
	conn, err := host.DialStream(l.ctx, netip.AddrPort{}, phoneSocket)
	if err != nil {
		return nil, err
	}
	return demo.NewStream(conn, nat.TCP), nil
}

// register registers a phone and waits for the outcome.
func (l *roaming) register(a *demo.Agent, o demo.RegisterOptions) (*demo.Registration, demo.Registered) {
	l.t.Helper()
	heard := make(chan demo.Registered, 16)
	o.Heard = func(r demo.Registered) {
		select {
		case heard <- r:
		default:
		}
	}
	got := make(chan *demo.Registration, 1)
	a.Do(func() { got <- a.Register(phoneSocket, o) })
	r := <-got
	select {
	case out := <-heard:
		return r, out
	case <-time.After(time.Minute):
		l.t.Fatalf("%s: no outcome of its REGISTER", a.Name)
		return nil, demo.Registered{}
	}
}

// ring lets the PBX call a registered user, and returns what the PBX heard.
func (l *roaming) ring(user string, s demo.Script) demo.Result {
	l.t.Helper()
	done := make(chan demo.Result, 1)
	s.Done = func(r demo.Result) { done <- r }
	l.pbx.Do(func() {
		list := l.registrar.Contacts(user, time.Now())
		if len(list) == 0 {
			done <- demo.Result{Why: "not registered at the PBX"}
			return
		}
		l.pbx.Invite(list[0].URI, message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: "example.com"}}, phonesInside, s)
	})
	select {
	case r := <-done:
		return r
	case <-time.After(5 * time.Minute):
		l.t.Fatalf("the call to %s did not end", user)
		return demo.Result{}
	}
}

// home is a household behind a NAT of its own.
func (l *roaming) home(n int, o natlab.NATOptions) *natlab.NAT {
	return l.net.NAT(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), o)
}

var private = netip.MustParseAddr("192.168.77.20")

func TestAPhoneRegistersAndCallsAndIsCalled(t *testing.T) {
	for _, transport := range []nat.Transport{nat.UDP, nat.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newRoaming(t, roamingConfig, natlab.Options{Seed: 3})
				defer l.close()
				home := l.home(7, natlab.NATOptions{Mapping: natlab.AddressAndPortDependent, Filtering: natlab.AddressAndPortDependent})
				phone := l.phone(home.Host(private), "204", 5060, transport)
				phone.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(private, 4000))
				l.pbx.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(pbxAt.Addr(), 4002))
				registration, out := l.register(phone, demo.RegisterOptions{})
				if out.Code != 200 || out.Expires != time.Minute || len(out.Contacts) != 1 || out.Contacts[0].URI.Host != private.String() {
					t.Fatalf("registered with %+v", out)
				}
				time.Sleep(10 * time.Minute) // silent but for what keeps its way open
				r := l.ring("204", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: 2 * time.Second})
				if r.Code != 200 {
					t.Errorf("the PBX heard %d (%s)", r.Code, r.Why)
				}
				r = l.call(phone, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: 2 * time.Second})
				if r.Code != 200 || r.Challenges != 1 {
					t.Errorf("the phone heard %d after %d challenges (%s)", r.Code, r.Challenges, r.Why)
				}
				phone.Do(registration.End)
				l.empty()
				if left := l.registered(); len(left) != 0 {
					t.Errorf("after it has left: %v", left)
				}
				records := l.cdrs.all()
				if len(records) != 2 {
					t.Fatalf("%d records of 2 calls: %+v", len(records), records)
				}
				for i, r := range records {
					if r.AoR != "204@example.com" || r.Code != 200 || r.Direction != []string{"outbound", "inbound"}[i] {
						t.Errorf("record %+v", r)
					}
				}
			})
		})
	}
}

func TestAWrongPasswordStaysThePBXs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, roamingConfig, natlab.Options{Seed: 3})
		defer l.close()
		phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
		phone.Password = "wrong"
		_, out := l.register(phone, demo.RegisterOptions{Retry: -1})
		if out.Code != 403 {
			t.Errorf("heard %d, the PBX says 403", out.Code)
		}
		if n := l.gate.Gauges().Bindings; n != 0 {
			t.Errorf("%d bindings", n)
		}
		l.empty()
	})
}

// registered are the bindings as the administrator sees them.
func (l *roaming) registered() []string {
	var out []string
	list, err := l.gate.Control(nil).Registrations(l.ctx, "")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range list {
		out = append(out, fmt.Sprint(r.AoR, " ", r.Flow))
	}
	slices.Sort(out)
	return out
}
