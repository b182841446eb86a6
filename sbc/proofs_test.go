package sbc_test

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/nat/natlab/authority"
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
