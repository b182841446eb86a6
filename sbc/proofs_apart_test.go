package sbc_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/nat/natlab/authority"
	"sallyport/sbc/demo"
)

// exchangeAt is where two providers are reached: they share a machine, and have nothing else in common.
var exchangeAt = netip.MustParseAddrPort("203.0.113.20:5061")

// tenant is one of them: the name that its certificate is for, and who signs those of its customers.
type tenant struct {
	name      string
	cert      tls.Certificate
	customers *authority.Authority
}

// line is a connection that the exchange has taken.
type line struct {
	tenant, shown string // by SNI; the name in the certificate that it was shown
	agent         *demo.Agent
	conn          net.Conn

	mu    sync.Mutex
	heard []string // methods
}

func (l *line) methods() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

// exchange is the machine of the two.
type exchange struct {
	mu      sync.Mutex
	tenants map[string]*tenant // by the name that is asked for
	lines   []*line
}

func (x *exchange) all() []*line {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.lines)
}

// config is a tenant's, by the name that a client asks for (RFC 6066 §3).
func (x *exchange) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.tenants[hello.ServerName]
	if t == nil {
		return nil, fmt.Errorf("nobody is called %q", hello.ServerName)
	}
	return &tls.Config{Certificates: []tls.Certificate{t.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: t.customers.Pool()}, nil
}

// opens serves the lines that come.
func (x *exchange) opens(l *lab) net.Listener {
	l.t.Helper()
	ln, err := l.net.Host(exchangeAt.Addr()).ListenStream(exchangeAt)
	if err != nil {
		l.t.Fatal(err)
	}
	l.running.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, &tls.Config{GetConfigForClient: x.config})
			if conn.HandshakeContext(l.ctx) != nil {
				_ = raw.Close()
				continue
			}
			x.take(l, conn)
		}
	})
	return ln
}

func (x *exchange) take(l *lab, conn *tls.Conn) {
	s := conn.ConnectionState()
	n := &line{tenant: s.ServerName, shown: s.PeerCertificates[0].Subject.CommonName, conn: conn}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lines = append(x.lines, n)
	a := demo.NewAgent("gw", exchangeAt, demo.NewStream(conn, nat.TLS), byte(30+len(x.lines)))
	a.Incoming = scriptOf(demo.Script{}, sdpAt(exchangeAt.Addr(), 4000))
	a.Trace = func(sent bool, _ netip.AddrPort, b []byte) {
		if method, _, _ := strings.Cut(string(b), " "); !sent && !strings.HasPrefix(method, "SIP/") {
			n.mu.Lock()
			n.heard = append(n.heard, method)
			n.mu.Unlock()
		}
	}
	n.agent = a
	l.running.Go(func() { a.Run(l.ctx) })
}

// apart are two trunks at one address, each with its own certificates. What it returns writes ours for one of them anew.
func apart(t *testing.T, x *exchange, shows map[string]string) (yaml string, renew func(name, as string)) {
	dir := t.TempDir()
	gate := authority.New("gate")
	cert, key := authority.Write(t, dir, "gate", gate.Issue("gate.example"))
	yaml = strings.Replace(labConfig, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5080, tls: 5081 }, tls: { certificate: "+cert+", key: "+key+" } }\ninside", 1)
	head, tail, _ := strings.Cut(yaml, "  - name: itsp\n")
	_, tail, _ = strings.Cut(tail, "policy:")
	x.tenants = map[string]*tenant{}
	for i, name := range []string{"a.example", "b.example"} {
		ca, customers := authority.New("of "+name), authority.New("customers of "+name)
		x.tenants[name] = &tenant{name, ca.Issue(shows[name]), customers}
		authority.Write(t, dir, name+"-ca", ca.Certificate)
		authority.Write(t, dir, name, customers.Issue("account at "+name))
		head += fmt.Sprintf(`  - name: %s
    peers: [ { address: %q, transport: tls } ]
    tls: { certificate: %[3]s/%[4]s.crt, key: %[3]s/%[4]s.key, ca: %[3]s/%[4]s-ca.crt, names: [ %[4]s ] }
    outbound: { match: ["%d.*"] }
    keepalive: { method: none }
`, name[:1], exchangeAt, dir, name, i+1)
	}
	return head + "policy:" + tail, func(name, as string) { authority.Write(t, dir, name, x.tenants[name].customers.Issue(as)) }
}

// TestTwoTrunksAtOneAddress: each is verified by its own name and shown its own certificate, on a connection of its own; one that is
// not who it should be leaves the other one working. A call that comes in is of the trunk whose connection it comes by.
func TestTwoTrunksAtOneAddress(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shows map[string]string // the names in their certificates
		works [2]bool
	}{
		{"both are who they should be", map[string]string{"a.example": "a.example", "b.example": "b.example"}, [2]bool{true, true}},
		{"the first is somebody else", map[string]string{"a.example": "b.example", "b.example": "b.example"}, [2]bool{false, true}},
		{"the second is somebody else", map[string]string{"a.example": "a.example", "b.example": "a.example"}, [2]bool{true, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &exchange{}
				yaml, _ := apart(t, x, tt.shows)
				l := newLab(t, yaml, natlab.Options{Seed: 1})
				defer l.close()
				defer x.opens(l).Close()
				l.pbx.Incoming = scriptOf(demo.Script{}, sdpAt(pbxAt.Addr(), 4002))
				for i, name := range []string{"a.example", "b.example"} {
					l.cdrs.forget()
					for range 2 {
						r := l.call(l.pbx, pbxSocket, fmt.Sprint(i+1, "0049301234"), demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second})
						if (r.Code == 200) != tt.works[i] {
							t.Errorf("a call by %s ended with %d", name, r.Code)
						}
					}
					list, err := l.gate.Control(nil).Trunks(l.ctx)
					if err != nil || strings.Contains(list[i].Peers[0].Reason, "and not for "+name) == tt.works[i] {
						t.Errorf("%s: %q %v", name, list[i].Peers[0].Reason, err)
					}
					mine := slices.DeleteFunc(x.all(), func(n *line) bool { return n.tenant != name })
					if !tt.works[i] {
						if len(mine) > 0 && len(mine[0].methods()) > 0 {
							t.Errorf("%s was sent %v", name, mine[0].methods())
						}
						continue
					}
					if len(mine) != 1 || mine[0].shown != "account at "+name {
						t.Fatalf("%s has %d connections", name, len(mine))
					}
					r := l.call(mine[0].agent, netip.AddrPortFrom(gateOutside, 5081), "204", demo.Script{SDP: sdpAt(exchangeAt.Addr(), 4000), Hangup: time.Second})
					cdrs := l.cdrs.all()
					if r.Code != 200 || len(cdrs) != 3 || cdrs[2].Trunk != name[:1] || cdrs[2].Direction != "inbound" {
						t.Errorf("a call of %s ended with %d, records %+v", name, r.Code, cdrs)
					}
				}
				l.empty()
			})
		})
	}
}

// TestTwoTrunksAreNotMixedByAReload: the certificate that one trunk is shown changes. Its next call has a connection of its own; the call
// that stands ends on the one that it began on, and the other trunk's connection serves on.
func TestTwoTrunksAreNotMixedByAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchange{}
		yaml, renew := apart(t, x, map[string]string{"a.example": "a.example", "b.example": "b.example"})
		l := newLab(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		defer x.opens(l).Close()
		dial := func(number string, lasts time.Duration) <-chan demo.Result {
			done := make(chan demo.Result, 1)
			l.pbx.Do(func() {
				l.pbx.Call(number, pbxSocket, demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: lasts, Done: func(r demo.Result) { done <- r }})
			})
			time.Sleep(time.Second)
			return done
		}
		long := dial("1001", time.Minute)
		other := dial("2001", time.Minute)
		if r := l.reload(yaml); !r.Applied { // nothing has changed
			t.Fatalf("%+v", r)
		}
		for _, n := range []string{"1002", "2002"} {
			if r := <-dial(n, time.Second); r.Code != 200 {
				t.Fatalf("%d", r.Code)
			}
		}
		if n := len(x.all()); n != 2 {
			t.Fatalf("%d connections, where nothing has changed", n)
		}
		renew("a.example", "renewed at a.example")
		if r := l.reload(yaml); !r.Applied {
			t.Fatalf("%+v", r)
		}
		for _, n := range []string{"1003", "2003"} {
			if r := <-dial(n, time.Second); r.Code != 200 {
				t.Fatalf("%d", r.Code)
			}
		}
		if a, b := <-long, <-other; a.Code != 200 || b.Code != 200 {
			t.Errorf("%+v %+v", a, b)
		}
		time.Sleep(time.Second) // the PBX hears of the end before the provider does
		var got []string
		for _, n := range x.all() {
			got = append(got, n.shown+": "+strings.Join(n.methods(), " "))
		}
		want := []string{
			"account at a.example: INVITE ACK INVITE ACK BYE BYE",
			"account at b.example: INVITE ACK INVITE ACK BYE INVITE ACK BYE BYE",
			"renewed at a.example: INVITE ACK BYE",
		}
		if !slices.Equal(got, want) {
			t.Errorf("connections were %q", got)
		}
		// What began before the change and finds its connection gone goes on by one with the new certificate.
		last := dial("1004", time.Minute)
		renew("a.example", "renewed again at a.example")
		if r := l.reload(yaml); !r.Applied {
			t.Fatalf("%+v", r)
		}
		_ = x.all()[2].conn.Close()
		if r := <-last; r.Code != 200 {
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Minute)
		if n := x.all(); len(n) != 4 || n[3].shown != "renewed again at a.example" || !slices.Equal(n[3].methods(), []string{"BYE"}) {
			t.Errorf("%d connections, the last %+v", len(n), n[len(n)-1])
		}
		l.empty()
	})
}

// TestTrunksOfOneCertificate: a provider that shows one certificate for two of our trunks is either of them; which one a call is of, its
// number says, wherever the connection comes from.
func TestTrunksOfOneCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := authority.New("ca")
		yaml := provenConfig(t, ca)
		head, tail, _ := strings.Cut(yaml, "  - name: itsp\n")
		trunk, rest, _ := strings.Cut(tail, "policy:")
		for name, match := range map[string]string{"berlin": `\+4930.*`, "hamburg": `\+4940.*`} {
			head += "  - name: " + name + "\n    inbound: { match: '" + match + "' }\n" + trunk
		}
		l := newLab(t, head+"policy:"+rest, natlab.Options{Seed: 1})
		defer l.close()
		l.pbx.Incoming = scriptOf(demo.Script{}, sdpAt(pbxAt.Addr(), 4002))
		at := netip.MustParseAddrPort("198.51.100.77:5061")
		raw, err := l.net.Host(at.Addr()).DialStream(l.ctx, netip.AddrPort{}, netip.AddrPortFrom(gateOutside, 5081))
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, &tls.Config{RootCAs: ca.Pool(), ServerName: "gate.example", Certificates: []tls.Certificate{ca.Issue("gw.example")}})
		if err := conn.HandshakeContext(l.ctx); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		a := demo.NewAgent("gw", at, demo.NewStream(conn, nat.TLS), 20)
		l.running.Go(func() { a.Run(l.ctx) })
		for i, of := range []struct{ number, trunk string }{{"+4930555", "berlin"}, {"+4940666", "hamburg"}, {"+4930556", "berlin"}} {
			r := l.call(a, netip.AddrPortFrom(gateOutside, 5081), of.number, demo.Script{SDP: sdpAt(at.Addr(), 4000), Hangup: time.Second})
			if cdrs := l.cdrs.all(); r.Code != 200 || len(cdrs) != i+1 || cdrs[i].Trunk != of.trunk {
				t.Errorf("a call to %s ended with %d, records %+v", of.number, r.Code, cdrs)
			}
		}
		l.empty()
	})
}
