package sbc_test

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/nat/natlab/authority"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// provenConfig is the lab's with a listener of TLS for trunks, and a trunk that is known by its certificate.
func provenConfig(t *testing.T, ca *authority.Authority) string {
	dir := t.TempDir()
	cert, key := authority.Write(t, dir, "gate", ca.Issue("gate.example"))
	own, ownKey := authority.Write(t, dir, "account", ca.Issue("account.example"))
	known, _ := authority.Write(t, dir, "ca", ca.Certificate)
	text := strings.Replace(labConfig, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5080, tls: 5081 }, tls: { certificate: "+cert+", key: "+key+" } }\ninside", 1)
	return strings.Replace(text, `    peers: [ { address: "203.0.113.20:5060" } ]`+"\n", `    peers: [ { address: "203.0.113.20:5061", transport: tls, priority: 1 }, { address: "203.0.113.21:5061", transport: tls, priority: 2 } ]
    tls: { certificate: `+own+", key: "+ownKey+", ca: "+known+", names: [ gw.example, gw2.example ] }\n", 1)
}

// TestTrunkIsKnownByItsCertificate: a provider that shows the certificate of its trunk calls in from wherever it likes, is called
// back on its connection, and nobody else is let in.
func TestTrunkIsKnownByItsCertificate(t *testing.T) {
	for _, tt := range []struct {
		name string
		show func(ca, foreign *authority.Authority) []tls.Certificate
		ok   bool
	}{
		{"its own", func(ca, _ *authority.Authority) []tls.Certificate { return []tls.Certificate{ca.Issue("gw2.example")} }, true},
		{"another name", func(ca, _ *authority.Authority) []tls.Certificate { return []tls.Certificate{ca.Issue("gw3.example")} }, false},
		{"another authority", func(_, f *authority.Authority) []tls.Certificate { return []tls.Certificate{f.Issue("gw.example")} }, false},
		{"none", func(_, _ *authority.Authority) []tls.Certificate { return nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, foreign := authority.New("ca"), authority.New("foreign")
				l := newLab(t, provenConfig(t, ca), natlab.Options{Seed: 1})
				defer l.close()
				l.pbx.Incoming = scriptOf(demo.Script{Hangup: 3 * time.Second}, sdpAt(pbxAt.Addr(), 4002))
				at := netip.MustParseAddr("198.51.100.77")
				raw, err := l.net.Host(at).DialStream(l.ctx, netip.AddrPort{}, netip.AddrPortFrom(gateOutside, 5081))
				if err != nil {
					t.Fatal(err)
				}
				conn := tls.Client(raw, &tls.Config{RootCAs: ca.Pool(), ServerName: "gate.example", Certificates: tt.show(ca, foreign)})
				if err := conn.HandshakeContext(l.ctx); err != nil {
					t.Fatal(err)
				}
				a := demo.NewAgent("gw", netip.AddrPortFrom(at, 5061), demo.NewStream(conn, nat.TLS), 20)
				l.running.Go(func() { a.Run(l.ctx) })
				done := make(chan demo.Result, 1)
				a.Do(func() {
					a.Call("204", trunkSocket, demo.Script{SDP: sdpAt(at, 4000), Done: func(r demo.Result) { done <- r }})
				})
				time.Sleep(time.Minute)
				select {
				case r := <-done:
					if (r.Code == 200) != tt.ok {
						t.Errorf("the call ended with %d", r.Code)
					}
				default:
					if tt.ok {
						t.Error("no answer")
					}
				}
				cdrs := l.cdrs.all()
				if tt.ok && (len(cdrs) != 1 || cdrs[0].Trunk != "itsp" || cdrs[0].EndedBy != "callee" || !strings.HasPrefix(cdrs[0].Source, at.String())) || !tt.ok && len(cdrs) > 0 {
					t.Errorf("records %+v", cdrs)
				}
				_ = conn.Close()
				l.empty()
			})
		})
	}
}

// TestTrunkMustProveItself: our calls go to who has the certificate of the trunk, and to nobody else; it is shown ours for it.
func TestTrunkMustProveItself(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  string // the name in the first peer's certificate; the second one has gw2.example
		reach  int    // which of them
		shown  string
		second string
	}{
		{"the first one", "gw.example", 0, "account.example", "gw2.example"},
		{"an impostor is passed over", "evil.example", 1, "account.example", "gw2.example"},
		{"two impostors", "evil.example", -1, "", "evil.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := authority.New("ca")
				l := newLab(t, provenConfig(t, ca), natlab.Options{Seed: 1})
				defer l.close()
				reached, shown := make(chan int, 2), make(chan string, 2)
				for i, name := range []string{tt.first, tt.second} {
					at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(20 + i)}), 5061)
					ln, err := l.net.Host(at.Addr()).ListenStream(at)
					if err != nil {
						t.Fatal(err)
					}
					defer ln.Close()
					cert := ca.Issue(name)
					l.running.Go(func() {
						for {
							raw, err := ln.Accept()
							if err != nil {
								return
							}
							conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()})
							if conn.HandshakeContext(l.ctx) != nil {
								_ = raw.Close()
								continue
							}
							shown <- conn.ConnectionState().PeerCertificates[0].DNSNames[0]
							a := demo.NewAgent("gw", at, demo.NewStream(conn, nat.TLS), byte(30+i))
							a.Incoming = func(*message.Message) demo.Script {
								reached <- i
								return demo.Script{SDP: sdpAt(at.Addr(), 4000)}
							}
							l.running.Go(func() { a.Run(l.ctx) })
						}
					})
				}
				r := l.call(l.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second})
				if (r.Code == 200) != (tt.reach >= 0) {
					t.Errorf("the call ended with %d", r.Code)
				}
				list, err := l.gate.Control(nil).Trunks(l.ctx)
				const complaint = "the certificate is for evil.example, and not for gw.example or gw2.example"
				if err != nil || strings.Contains(list[0].Peers[0].Reason, complaint) != (tt.first == "evil.example") || list[0].Denied {
					t.Errorf("%v, the first peer is told of as %q", err, list[0].Peers[0].Reason)
				}
				select {
				case i := <-reached:
					if name := <-shown; i != tt.reach || name != tt.shown {
						t.Errorf("peer %d was reached, and shown %s", i, name)
					}
				default:
					if tt.reach >= 0 {
						t.Error("nobody was reached")
					}
				}
				l.empty()
			})
		})
	}
}

// TestARegistrarMustProveItself: one that has somebody else's certificate is sent nothing, and the warning says whose it is. Its own, later,
// is seen within moments.
func TestARegistrarMustProveItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := authority.New("ca")
		yaml := strings.Replace(provenConfig(t, ca), "  - name: itsp\n", `  - name: itsp
    mode: register
    registration: { registrar: sip.example.net, proxy: "203.0.113.20:5061", transport: tls, username: "4930555", password: s3cret }
`, 1)
		core, logs := observer.New(zapcore.InfoLevel)
		l := newGate(t, yaml, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Log = zap.New(core) })
		defer l.close()
		at := netip.MustParseAddrPort("203.0.113.20:5061")
		ln, err := l.net.Host(at.Addr()).ListenStream(at)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		var mu sync.Mutex
		var heard []string // names that it showed, and what it was sent then
		hear := func(text string) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, text)
		}
		said := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Compact(slices.Clone(heard))
		}
		shows := make(chan tls.Certificate, 1)
		shows <- ca.Issue("evil.example")
		l.running.Go(func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				cert := <-shows
				shows <- cert
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()})
				if conn.HandshakeContext(l.ctx) != nil {
					hear(cert.Leaf.DNSNames[0])
					_ = raw.Close()
					continue
				}
				a := demo.NewAgent("registrar", at, demo.NewStream(conn, nat.TLS), 30)
				a.Outside = func(m *message.Message) *message.Message {
					list, _ := m.Get("Contact")
					hear(cert.Leaf.DNSNames[0] + " " + m.Method + " " + m.URI.String() + " " + list)
					out := message.Reply(m, 200, "")
					out.Add("Contact", list)
					return out
				}
				l.running.Go(func() { a.Run(l.ctx) })
			}
		})
		time.Sleep(10 * time.Second)
		const want = "registration failed: unreachable: the certificate is for evil.example, and not for gw.example or gw2.example"
		all := logs.FilterMessageSnippet("registration failed").All()
		if len(all) != 1 || !strings.HasPrefix(all[0].Message, want) || !strings.Contains(all[0].Message, "hint: what the registrar must prove to be") {
			t.Errorf("%d warnings: %v", len(all), all)
		}
		if got := said(); len(got) != 1 || got[0] != "evil.example" {
			t.Errorf("it heard %q", got)
		}
		<-shows
		shows <- ca.Issue("gw.example")
		time.Sleep(2 * time.Minute)
		if got := said(); got[len(got)-1] != "gw.example REGISTER sip:sip.example.net <sip:4930555@203.0.113.10:5081;transport=tls>" {
			t.Errorf("it heard %q", got)
		}
		if list, err := l.gate.Control(nil).Trunks(l.ctx); err != nil || list[0].Registration.State != "registered" || list[0].Peers[0].Reason != "" {
			t.Errorf("%v %+v", err, list)
		}
	})
}
