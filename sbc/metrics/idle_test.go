package metrics

import (
	"bufio"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestIdleConnectionsKeepNobodyOut: as many connections as there may be, each of which has asked once and stays.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := NewServer(&program{}, nil).Serve(l)
	defer stop()
	connect := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err = c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return c
	}
	first := connect()
	for range 3 * maxConnections {
		connect()
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest is still open")
	}
}

// TestIdlers: only who is idle is closed, the longest first.
func TestIdlers(t *testing.T) {
	var i idlers
	conns := make([]net.Conn, maxConnections+1)
	for n := range conns {
		conns[n], _ = net.Pipe()
	}
	for n := range maxConnections - 1 {
		if i.note(conns[n], http.StateNew) != nil || i.note(conns[n], http.StateActive) != nil {
			t.Fatal("one is closed though there is room")
		}
	}
	i.note(conns[1], http.StateIdle)
	i.note(conns[0], http.StateIdle)
	i.note(conns[1], http.StateActive)
	if got := i.note(conns[maxConnections-1], http.StateNew); got != conns[0] {
		t.Error("another one than the idle one is closed")
	}
	if i.note(conns[0], http.StateClosed) != nil || i.open != maxConnections-1 || len(i.idle) != 0 {
		t.Errorf("%d open, %d idle", i.open, len(i.idle))
	}
	if i.note(conns[0], http.StateNew) != nil {
		t.Error("one that is busy is closed")
	}
	if got := i.note(conns[1], http.StateIdle); got != conns[1] {
		t.Error("with no room left the next one that is idle is not closed")
	}
}
