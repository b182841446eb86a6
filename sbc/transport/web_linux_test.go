package transport

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
)

// realWeb is a set with a WebSocket interface on a real socket.
func realWeb(t *testing.T) (s *Set, in *inbox, connect func() *tls.Conn) {
	t.Helper()
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	in = &inbox{news: make(chan struct{}, 1)}
	s, at := realStreams(t, nat.WSS, "127.0.0.1", in, set)
	return s, in, func() *tls.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", at.String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		return conn
	}
}

// empties waits until no connection is left.
func empties(t *testing.T, s *Set) {
	t.Helper()
	look, limit := time.NewTicker(time.Millisecond), time.After(patience)
	defer look.Stop()
	for s.Streams().Open.Now > 0 {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("connections are left: %+v", s.Streams())
		}
	}
}

// TestRealWebSocket: the library's client is let in, and frames go both ways. It may offer to compress, which is not taken up.
func TestRealWebSocket(t *testing.T) {
	s, in, connect := realWeb(t)
	conn := connect()
	if err := greet(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, masked(ws.OpText, bare("REGISTER", "a"))); err != nil {
		t.Fatal(err)
	}
	in.wait(t, "a message", func() bool { return len(in.all()) == 1 })
	f := in.all()[0].Flow
	if err := s.Send(f, []byte(strings.Repeat("answer", 3000))); err != nil {
		t.Fatal(err)
	}
	if frame, err := ws.ReadFrame(conn); err != nil || string(frame.Payload) != strings.Repeat("answer", 3000) {
		t.Fatalf("got %d bytes, %v", len(frame.Payload), err)
	}
	s.CloseFlow(f)
	rest, err := io.ReadAll(conn) // until the end, which is a proper one
	if err != nil || shown(string(rest)) != "close 1000" {
		t.Errorf("the end is %q, %v", shown(string(rest)), err)
	}
	in.wait(t, "the end", func() bool { return len(in.closed()) == 1 })
}

// TestRealHostileWebSockets: whoever speaks something else hears the right word and is rid of, on real sockets too, where a
// connection that is closed with bytes unread is reset.
func TestRealHostileWebSockets(t *testing.T) {
	s, in, connect := realWeb(t)
	message := masked(ws.OpText, bare("REGISTER", "a"))
	for _, c := range []struct{ name, first, then, want string }{
		{"not masked", "\x81\x05hello", "", "close 1002"},
		{"not masked, and more of it", "\x81\x05hello", strings.Repeat("\x81\x05hello", 2000), "close 1002"},
		{"a huge frame", "\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("x", 60000), "close 1009"},
		{"endless fragments", part(ws.OpText, false, ""), strings.Repeat(part(ws.OpContinuation, false, ""), 5000), "close 1008"},
		{"a ping flood", "", strings.Repeat(masked(ws.OpPing, "x"), 5000), "close 1008"},
		{"compressed", "\xc1\x85\x00\x00\x00\x00hello", "", "close 1002"},
		{"a Close behind a message", message + closeWith(1001, ""), "", "close 1001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := connect()
			if err := greet(conn); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, c.first+c.then)
			rest, err := io.ReadAll(conn)
			if got := shown(string(rest)); err != nil || !strings.HasSuffix(got, c.want) {
				t.Errorf("ends by %.100q, %v; want %s", got, err, c.want)
			}
			_ = conn.Close()
		})
	}
	for _, c := range []struct{ name, text, want string }{
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", httpRefused},
		{"no subprotocol", without("Sec-WebSocket-Protocol"), httpRefused},
		{"SIP", request("REGISTER", "x"), ""},
		{"zeros", strings.Repeat("\x00", 100) + "\n", ""},
	} {
		conn := connect()
		_, _ = io.WriteString(conn, c.text)
		rest, _ := io.ReadAll(conn)
		if string(rest) != c.want {
			t.Errorf("%s is answered %q", c.name, rest)
		}
	}
	t.Cleanup(func() {
		if empties(t, s); len(in.all()) != 1 {
			t.Errorf("delivered %d messages", len(in.all()))
		}
	})
}

// TestRealHalfOpen: a peer that has shut its sending side, or has gone without a word, leaves nothing behind.
func TestRealHalfOpen(t *testing.T) {
	s, _, connect := realWeb(t)
	for _, leave := range []func(*tls.Conn){
		func(c *tls.Conn) { _ = c.CloseWrite() },
		func(c *tls.Conn) { _ = c.NetConn().(*net.TCPConn).CloseWrite() },
		func(c *tls.Conn) { _ = c.NetConn().(*net.TCPConn).SetLinger(0); _ = c.NetConn().Close() },
	} {
		for _, early := range []bool{true, false} {
			conn := connect()
			if !early {
				if err := greet(conn); err != nil {
					t.Fatal(err)
				}
			}
			leave(conn)
			empties(t, s)
		}
	}
}
