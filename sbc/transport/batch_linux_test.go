package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestRealBatches: everything that waits arrives whole, in order, with its own source, a batch at a time.
func TestRealBatches(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			k, err := openSocket(netip.AddrPortFrom(netip.MustParseAddr(host), 0), 4<<20, 0)
			if err != nil {
				t.Skip(err)
			}
			defer k.Close()
			at := k.LocalAddr().(*net.UDPAddr)
			var peers [2]*net.UDPConn
			for i := range peers {
				if peers[i], err = net.DialUDP("udp", nil, at); err != nil {
					t.Fatal(err)
				}
				defer peers[i].Close()
			}
			var sent [][]byte
			for i := range 3*mostBatch + 5 {
				b := bytes.Repeat([]byte{byte(i)}, 1+i*37%3000)
				switch i {
				case 7:
					b = nil
				case 20:
					b = bytes.Repeat([]byte("L"), 60_000)
				}
				sent = append(sent, b)
				if _, err := peers[i%2].Write(b); err != nil {
					t.Fatal(err)
				}
			}
			largest := 0
			for got := 0; got < len(sent); {
				_ = k.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, err := k.ReadBatch()
				if err != nil {
					t.Fatalf("after %d: %v", got, err)
				}
				largest = max(largest, n)
				for i := range n {
					b, src := k.Datagram(i)
					if want := peers[got%2].LocalAddr().(*net.UDPAddr).AddrPort(); src != want || !bytes.Equal(b, sent[got]) {
						t.Errorf("datagram %d: %d bytes from %v, want %d from %v", got, len(b), src, len(sent[got]), want)
					}
					got++
				}
			}
			if largest != mostBatch {
				t.Errorf("the largest batch has %d datagrams, want %d", largest, mostBatch)
			}
		})
	}
}

// TestRealOneByOne: who reads single datagrams gets all of a batch before the next one is read.
func TestRealOneByOne(t *testing.T) {
	k, err := openSocket(netip.MustParseAddrPort("127.0.0.1:0"), 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	self := k.LocalAddr().(*net.UDPAddr).AddrPort()
	for i := range 40 {
		if _, err := k.WriteToUDPAddrPort(fmt.Append(nil, i), self); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	for i := range 40 {
		n, src, err := k.ReadFromUDPAddrPort(b)
		if err != nil || string(b[:n]) != fmt.Sprint(i) || src != self {
			t.Fatalf("datagram %d: %q from %v, %v", i, b[:n], src, err)
		}
	}
}

// TestRealBatchAfterClose: a reader that waits hears of the end.
func TestRealBatchAfterClose(t *testing.T) {
	k, err := openSocket(netip.MustParseAddrPort("127.0.0.1:0"), 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { _, err := k.ReadBatch(); ended <- err }()
	_ = k.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

func TestRealBatchDoesNotAllocate(t *testing.T) {
	k, err := openSocket(netip.MustParseAddrPort("127.0.0.1:0"), 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	self, b := k.LocalAddr().(*net.UDPAddr).AddrPort(), []byte("x")
	if n := testing.AllocsPerRun(500, func() {
		for range 3 {
			if _, err := k.WriteToUDPAddrPort(b, self); err != nil {
				t.Error(err)
			}
		}
		if n, err := k.ReadBatch(); err != nil || n == 0 {
			t.Error(n, err)
		}
		k.Datagram(0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
