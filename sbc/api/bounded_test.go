package api

import (
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// TestConnectionsAreBounded: the third connection waits until one of two is closed, and the end of the listener ends
// the wait.
func TestConnectionsAreBounded(t *testing.T) {
	l := listenOrFail(t, filepath.Join(t.TempDir(), socketName))
	b := newBounded(l, 2)
	var accepted []net.Conn
	dial := func() net.Conn {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for range 2 {
		defer dial().Close()
		c, err := b.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted = append(accepted, c)
	}
	defer dial().Close()
	third := make(chan net.Conn)
	go func() {
		c, _ := b.Accept()
		third <- c
	}()
	select {
	case <-third:
		t.Fatal("a third connection was accepted")
	default:
	}
	for range 2 { // a second Close gives no second slot
		_ = accepted[0].Close()
	}
	c := <-third
	if c == nil {
		t.Fatal("no third connection")
	}
	defer c.Close()
	defer accepted[1].Close()
	if len(b.slots) != 2 {
		t.Errorf("%d slots taken", len(b.slots))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := b.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted after the end: %v", err)
		}
	})
	_ = b.Close()
	_ = b.Close()
	wg.Wait()
}
