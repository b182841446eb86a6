package sbc_test

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/nat/natlab/authority"
	"sallyport/sbc/demo"
)

// handset is a phone with a voice behind a NAT.
type handset struct {
	*end
	user      string
	host      *natlab.Host
	transport nat.Transport
	stream    *demo.Stream // nil over UDP
	browser   *browser     // nil but over WebSocket
	bound     *demo.Registration
}

// certified is a configuration with TLS for phones. The certificate is valid in virtual time, which starts in 2000.
func certified(t *testing.T, yaml string) string {
	t.Helper()
	cert, key := authority.Write(t, t.TempDir(), "gate", (*authority.Authority)(nil).Issue("example.com"))
	return rewritten(t, yaml, "phones: { udp: 5060, tcp: 5060 }",
		"phones: { udp: 5060, tcp: 5060, tls: 5061, wss: 443 }, tls: { certificate: "+cert+", key: "+key+" }")
}

// portOf is the gate's socket for phones of a transport.
func portOf(tr nat.Transport) netip.AddrPort {
	switch tr {
	case nat.TLS:
		return netip.AddrPortFrom(gateOutside, 5061)
	case nat.WSS:
		return netip.AddrPortFrom(gateOutside, 443)
	}
	return phoneSocket
}

// handset is a phone of a user at a host; says is the address in its descriptions.
func (l *audible) handset(host *natlab.Host, user string, port uint16, tr nat.Transport, says netip.Addr) *handset {
	l.t.Helper()
	h := &handset{user: user, host: host, transport: tr}
	var conn demo.PacketConn
	if tr == nat.UDP {
		socket, err := host.ListenUDP(port)
		if err != nil {
			l.t.Fatal(err)
		}
		conn = socket
	} else {
		h.stream, h.browser = l.joins(host, tr)
		conn = h.stream
	}
	a := demo.NewAgent("phone "+user, netip.AddrPortFrom(host.Addr(), port), conn, user[len(user)-1])
	a.Number, a.Domain, a.Password = user, "example.com", "secret of "+user
	if tr != nat.UDP {
		a.Trace = func(sent bool, peer netip.AddrPort, b []byte) { // the network shows no streams
			src, dst := peer, a.Addr
			if sent {
				src, dst = dst, src
			}
			l.ladder.note(natlab.Datagram{At: time.Now(), Src: src, Dst: dst, Payload: b})
		}
	}
	l.do(l.pbx, func() { l.registrar.Users[user] = "secret of " + user })
	h.end = l.end(a, l.voice(host, port+1000, says))
	l.running.Go(func() { a.Run(l.ctx) })
	h.answers()
	return h
}

// joins is a phone's connection to the gate.
func (l *audible) joins(host *natlab.Host, tr nat.Transport) (*demo.Stream, *browser) {
	l.t.Helper()
	conn, err := host.DialStream(l.ctx, netip.AddrPort{}, portOf(tr))
	if err != nil {
		l.t.Fatal(err)
	}
	if tr.Secure() {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := secure.HandshakeContext(l.ctx); err != nil {
			l.t.Fatal(err)
		}
		conn = secure
	}
	var b *browser
	if tr == nat.WSS {
		if b, err = browses(conn, host.Addr().String()+":5060"); err != nil {
			l.t.Fatal(err)
		}
		conn = b
	}
	return demo.NewStream(conn, tr), b
}

// registers registers the phone for as long as the test wants.
func (h *handset) registers() *handset {
	h.l.t.Helper()
	heard := make(chan demo.Registered, 1)
	h.l.do(h.agent, func() {
		h.bound = h.agent.Register(portOf(h.transport), demo.RegisterOptions{Heard: func(r demo.Registered) {
			select {
			case heard <- r:
			default:
			}
		}})
	})
	select {
	case r := <-heard:
		if r.Code != 200 || len(r.Contacts) != 1 || !strings.HasPrefix(r.Contacts[0].URI.User, h.user) {
			h.l.t.Fatalf("%s registered with %+v", h.user, r)
		}
	case <-time.After(time.Minute):
		h.l.t.Fatalf("%s heard nothing of its REGISTER", h.user)
	}
	return h
}

// leaves takes the registration back.
func (h *handset) leaves() { h.l.do(h.agent, h.bound.End) }

// calls places a call by way of the gate.
func (h *handset) calls(number string) { h.dials(portOf(h.transport), number) }
