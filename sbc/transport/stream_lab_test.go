package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/nat/natlab/authority"
)

// On the test network, which behaves like real sockets in virtual time: both transports, accepted and dialled, with a
// path that takes its time and loses segments.
func TestStreamsOnTheTestNetwork(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	if err := set.Trust(ca.PEM()); err != nil {
		t.Fatal(err)
	}
	phone := &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"}
	node := &tls.Config{Certificates: []tls.Certificate{ca.Issue(pbx.Remote.Addr().String())}}
	for _, kind := range []nat.Transport{nat.TCP, nat.TLS} {
		synctest.Test(t, func(t *testing.T) {
			n := natlab.New(natlab.Options{Seed: 1, Link: natlab.Link{Delay: 50 * time.Millisecond, Loss: 0.05}})
			defer n.Close()
			in := &inbox{}
			s, err := Listen(Config{
				Interfaces: []nat.Interface{stream(3, kind)}, Guard: guardFunc(stranger), Handler: in, TLS: set,
				ListenStream: func(bind netip.AddrPort) (net.Listener, error) { return n.Host(bind.Addr()).ListenStream(bind) },
				Dial: func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
					return n.Host(local).DialStream(ctx, netip.AddrPortFrom(local, 0), remote)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			y := &yard{T: t, set: s, in: in}

			home := netip.MustParseAddr("203.0.113.20")
			conn, err := n.Host(home).DialStream(t.Context(), netip.AddrPortFrom(home, 0), netip.MustParseAddrPort(ours))
			if err != nil {
				t.Fatal(err)
			}
			if kind == nat.TLS {
				c := tls.Client(conn, phone)
				if err := c.Handshake(); err != nil { // before a reader and a writer wait for it on a mutex: time stands still then
					t.Fatal(err)
				}
				conn = c
			}
			p := newPeer(t, conn, true)
			talk(y, p, "phone")

			l, err := n.Host(pbx.Remote.Addr()).ListenStream(pbx.Remote)
			if err != nil {
				t.Fatal(err)
			}
			f := pbx
			f.Transport = kind
			y.must(f, "hello")
			if conn, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			if kind == nat.TLS {
				conn = tls.Server(conn, node)
			}
			other := newPeer(t, conn, true)
			time.Sleep(5 * time.Second)
			if got := other.text(); got != "hello" {
				t.Errorf("the node got %q", got)
			}
			talk(y, other, "node")
			_, _, _ = p.Close(), other.Close(), l.Close()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if len(in.closed()) != 2 || in.own != 1 || s.Streams().Open.Now != 0 {
				t.Errorf("told %+v, %+v", in.closed(), s.Streams())
			}
			y.must(f, "hello")
			time.Sleep(15 * time.Second)
			synctest.Wait()
			if got := in.unreachable(); len(got) != 1 || got[0] != f {
				t.Errorf("unreachable %+v", got)
			}
		})
	}
}

// talk sends messages from a peer and to it.
func talk(y *yard, p *peer, id string) {
	y.Helper()
	text := request("INVITE", id, "Content-Length: 9000") + strings.Repeat("x", 9000)
	p.send(text + text + text)
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if !strings.HasSuffix(y.ids(), strings.Repeat(id+" ", 2)+id) {
		y.Fatalf("delivered %q, %+v", y.ids(), y.set.Counters()[0])
	}
	want := strings.Repeat("answer", 5000)
	y.must(y.flow(), want)
	time.Sleep(10 * time.Second)
	if got := p.text(); got != want {
		y.Errorf("%d bytes of %d came back", len(got), len(want))
	}
}
