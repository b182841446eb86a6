package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
)

func put(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// loadTLS is what a set gets, with a folder that holds its files.
func loadTLS(t testing.TB, a *authority.Authority, clientCA string) (*TLS, string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := authority.Write(t, dir, "tls", a.Issue("sbc.example.com", "203.0.113.10", "127.0.0.1"))
	s, err := LoadTLS(cert, key, clientCA)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func tlsYard(t *testing.T, set *TLS, change func(*Config), f func(y *yard)) {
	t.Helper()
	inYard(t, func(c *Config) {
		c.Interfaces, c.TLS = []nat.Interface{stream(3, nat.TLS)}, set
		if change != nil {
			change(c)
		}
	}, f)
}

// connectTLS connects a TLS phone.
func (y *yard) connectTLS(from string, c *tls.Config) (*peer, *tls.Conn) {
	conn := tls.Client(y.plug(from), c)
	p := newPeer(y.T, conn, true) // its first read does the handshake
	synctest.Wait()
	return p, conn
}

func TestTLSDeliver(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tlsYard(t, set, nil, func(y *yard) {
			p, conn := y.connectTLS(theirs, &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com", MaxVersion: version})
			p.send(request("REGISTER", "a")[:30])
			p.send(request("REGISTER", "a")[30:] + request("INVITE", "b", "Content-Length: 12000") + strings.Repeat("x", 12000))
			if y.ids() != "a b" || y.flow().Transport != nat.TLS || y.flow().Conn == 0 {
				t.Errorf("delivered %q on %+v", y.ids(), y.flow())
			}
			y.must(y.flow(), strings.Repeat("answer", 5000))
			if p.text() != strings.Repeat("answer", 5000) || conn.ConnectionState().Version != version {
				t.Error("no answer")
			}
			if g := y.set.Streams(); g.Handshakes.Now != 0 || g.Handshakes.High != 1 || g.Buffers.Now != 0 {
				t.Errorf("gauges %+v", g)
			}
			y.set.Keep(y.flow(), true)
			time.Sleep(100 * time.Hour)
			if p.send(request("REGISTER", "c")); y.ids() != "a b c" {
				t.Errorf("delivered %q after a long silence", y.ids())
			}
			y.set.CloseFlow(y.flow())
			synctest.Wait()
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the peer is told %v, not that this is the end", err)
			}
		})
	}
}

func TestHandshakeIsBounded(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	trunk := netip.MustParseAddr("203.0.113.99")
	tlsYard(t, set, func(c *Config) {
		c.Streams.PerSource = 1000
		c.Known = func(_ *nat.Interface, a netip.Addr) bool { return a == trunk }
	}, func(y *yard) {
		half := func(i int) *peer {
			p := newPeer(t, y.plug(fmt.Sprintf("203.0.113.20:%d", 1000+i)), true)
			p.send("\x16\x03\x01\x02\x00") // the head of a record that does not come
			return p
		}
		var peers []*peer
		for i := range 64 {
			peers = append(peers, half(i))
		}
		if over, _ := half(64).closed(); !over || y.counters().Refused != 1 {
			t.Errorf("one more handshake than there may be: %+v", y.counters())
		}
		known, _ := y.connectTLS(trunk.String()+":5061", &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"})
		if known.send(request("OPTIONS", "t")); y.ids() != "t" {
			t.Error("a known peer is kept out")
		}
		// Those that are slow give way.
		time.Sleep(grace)
		honest, _ := y.connectTLS("203.0.113.21:5060", &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"})
		if honest.send(request("REGISTER", "a")); y.ids() != "t a" {
			t.Error("an honest phone is kept out")
		}
		if over, _ := peers[0].closed(); !over || y.counters().ClosedCrowded != 1 {
			t.Error("the oldest handshake goes on")
		}
		time.Sleep(8 * time.Second)
		for i, p := range peers[1:] {
			if over, after := p.closed(); !over || after != 10*time.Second {
				t.Fatalf("handshake %d ended: %v after %v", i+1, over, after)
			}
		}
		if c := y.counters(); c.HandshakeFailures != 64 || y.set.Streams().Handshakes.High != 64 {
			t.Errorf("%+v", c)
		}
		for _, junk := range []string{request("REGISTER", "plain"), strings.Repeat("\x00", 100), strings.Repeat("\x16\x03\x03\x02\x00", 200)} {
			p := y.connect("203.0.113.22:1")
			p.send(junk)
			p.send(junk)
			if over, _ := p.closed(); !over {
				t.Errorf("%.20q: still open", junk)
			}
		}
		if y.ids() != "t a" {
			t.Errorf("delivered %q", y.ids())
		}
		_ = half(99)
		start := time.Now()
		y.set.Close() // does not wait for handshakes
		if d := time.Since(start); d > flushTime {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	tlsYard(t, set, nil, func(y *yard) {
		p, conn := y.connectTLS(theirs, &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if over, _ := p.closed(); !over || conn.ConnectionState().HandshakeComplete {
			t.Error("TLS 1.1 is taken")
		}
	})
}

func TestTLSReload(t *testing.T) {
	ca := authority.New("ca")
	set, dir := loadTLS(t, ca, "")
	phone := &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"}
	tlsYard(t, set, nil, func(y *yard) {
		first, was := y.connectTLS(theirs, phone)
		first.send(request("REGISTER", "a"))
		flow := y.flow()

		put(t, filepath.Join(dir, "tls.crt"), []byte("nonsense"))
		if err := set.Reload(); err == nil || !strings.Contains(err.Error(), "tls.crt") {
			t.Errorf("a bad file: %v", err)
		}
		_, still := y.connectTLS("203.0.113.21:1", phone)
		authority.Write(t, dir, "tls", ca.Issue("sbc.example.com", "new.example.com"))
		if err := set.Reload(); err != nil {
			t.Fatal(err)
		}
		_, now := y.connectTLS("203.0.113.21:2", phone)
		number := func(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].SerialNumber.String() }
		if number(was) != number(still) || number(now) == number(was) {
			t.Errorf("certificates %s, %s after a bad file, %s after a good one", number(was), number(still), number(now))
		}
		y.must(flow, "answer")
		if first.text() != "answer" {
			t.Error("the live connection did not go on")
		}
		other, _ := loadTLS(t, ca, "")
		y.set.SetTLS(other)
		if _, c := y.connectTLS("203.0.113.21:3", phone); number(c) == number(now) {
			t.Error("SetTLS changed nothing")
		}
	})
}

func TestClientCertificates(t *testing.T) {
	ca, phones, foreign := authority.New("ca"), authority.New("phones"), authority.New("foreign")
	file := filepath.Join(t.TempDir(), "phones.pem")
	put(t, file, phones.PEM())
	set, _ := loadTLS(t, ca, file)
	for _, c := range []struct {
		name string
		show []tls.Certificate
		ok   bool
	}{
		{"none", nil, false},
		{"of another authority", []tls.Certificate{foreign.Issue("a")}, false},
		{"good", []tls.Certificate{phones.Issue("a")}, true},
	} {
		tlsYard(t, set, nil, func(y *yard) {
			p, _ := y.connectTLS(theirs, &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com", Certificates: c.show})
			p.write(request("REGISTER", "a"))
			synctest.Wait()
			if over, _ := p.closed(); over == c.ok || (y.ids() == "a") != c.ok {
				t.Errorf("%s: delivered %q", c.name, y.ids())
			}
		})
	}
}

func TestLoadTLSRefuses(t *testing.T) {
	ca, dir := authority.New("ca"), t.TempDir()
	cert, key := authority.Write(t, dir, "tls", ca.Issue("a"))
	bad := filepath.Join(dir, "bad.pem")
	put(t, bad, []byte("nothing"))
	for _, c := range [][4]string{
		{"no.crt", key, "", "no.crt"}, {cert, "no.key", "", "no.key"}, {bad, key, "", "bad.pem"}, {cert, bad, "", "bad.pem"},
		{cert, key, "no.pem", "client_ca"}, {cert, key, bad, "client_ca"},
	} {
		if _, err := LoadTLS(c[0], c[1], c[2]); err == nil || !strings.Contains(err.Error(), c[3]) {
			t.Errorf("%v: %v", c, err)
		}
	}
	set, err := LoadTLS(cert, key, "")
	if err != nil || set.Trust([]byte("nothing")) == nil || set.Trust(ca.PEM()) != nil || set.Trust(authority.New("b").PEM()) != nil {
		t.Errorf("%v", err)
	}
}

// RFC 5922 §7, CVE-2020-15260: who is dialled must prove the name that was meant, at each connection.
func TestNameOfWhoIsDialled(t *testing.T) {
	ca, foreign := authority.New("ca"), authority.New("foreign")
	set, _ := loadTLS(t, ca, "")
	if err := set.Trust(ca.PEM()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, host string
		shows      tls.Certificate
		ok         bool
	}{
		{"the name", "pbx.example.com", ca.Issue("pbx.example.com"), true},
		{"another name", "pbx.example.com", ca.Issue("evil.example.com"), false},
		{"a name of an unknown authority", "pbx.example.com", foreign.Issue("pbx.example.com"), false},
		{"the address", "", ca.Issue("203.0.113.30"), true},
		{"another address", "", ca.Issue("203.0.113.31"), false},
		{"the address where a name is meant", "pbx.example.com", ca.Issue("203.0.113.30"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tlsYard(t, set, func(conf *Config) {
				conf.Identity = func(nat.Flow) *Identity {
					if c.host == "" {
						return nil
					}
					return &Identity{Names: []string{c.host}}
				}
			}, func(y *yard) {
				f := pbx
				f.Transport = nat.TLS
				y.must(f, "hello")
				// The node asks for our certificate.
				conn := tls.Server(y.last().Conn, &tls.Config{
					Certificates: []tls.Certificate{c.shows}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
				})
				p := newPeer(t, conn, true)
				synctest.Wait()
				time.Sleep(11 * time.Second) // the pipe stores nothing: an alert waits for the peer's own last word
				if got := p.text(); (got == "hello") != c.ok {
					t.Errorf("the peer got %q", got)
				}
				if got := y.in.unreachable(); (len(got) == 0) != c.ok || !c.ok && (got[0] != f || y.counters().DialFailures != 1) {
					t.Errorf("unreachable %+v, %+v", got, y.counters())
				}
				if c.ok {
					if conn.ConnectionState().PeerCertificates[0].Subject.CommonName != "sbc.example.com" {
						t.Error("not our certificate")
					}
					p.send(request("OPTIONS", "a"))
					y.must(y.flow(), "answer")
					if p.text() != "answer" {
						t.Error("no answer")
					}
				}
			})
		})
	}
}

// Who is dialled and does not shake hands is given up.
func TestDialledHandshakeIsBounded(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	tlsYard(t, set, nil, func(y *yard) {
		f := pbx
		f.Transport = nat.TLS
		y.must(f, "hello")
		p := newPeer(t, y.last().Conn, true)
		time.Sleep(10 * time.Second)
		if over, _ := p.closed(); !over || len(y.in.unreachable()) != 1 {
			t.Errorf("ended: %v, told %+v", over, y.in.unreachable())
		}
		y.must(f, "again")
		_ = newPeer(t, y.last().Conn, true)
		start := time.Now()
		y.set.Close()
		if d := time.Since(start); d > flushTime {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestTLSPeerThatNeverReads(t *testing.T) {
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	tlsYard(t, set, nil, func(y *yard) {
		conn := tls.Client(y.plug(theirs), &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com", MaxVersion: tls.VersionTLS12})
		if _, err := conn.Write([]byte(request("REGISTER", "a"))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f := y.flow()
		y.must(f, strings.Repeat("x", 60000))
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if err := y.set.Send(f, nil); !errors.Is(err, ErrGone) || y.counters().ClosedSlow != 1 {
			t.Errorf("%v, %+v", err, y.counters())
		}
	})
}
