//go:build linux

// Package rig is what the tests of back ends with sockets stand on: loopback addresses that no other run uses, peers that
// send and receive packets of audio, calls between them; and Suite, the tests that each such back end has to pass, whatever
// way its datagrams take. What is a back end's own it proves beside them. It stands beside the program and is never part of
// it.
package rig

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

// patience is a bound for failure, not a measure.
const patience = 5 * time.Second

// Packet is one of G.711 (RFC 3551 §4.5.14). Nobody changes it.
var Packet = append([]byte{0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9}, make([]byte, 160)...)

// Own is a loopback address that no other run of tests uses, one for each kind.
func Own(kind byte) string {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, kind, byte(pid >> 8), byte(pid)}).String()
}

// Config is a relay of one worker and eight pairs of ports with one address on both sides, or two.
func Config(first uint16, addresses ...string) media.Config {
	c := media.Config{First: first, Last: first + 15, DSCP: 46, Workers: 1}
	for side := range c.Addresses {
		c.Addresses[side] = netip.MustParseAddr(addresses[min(side, len(addresses)-1)])
	}
	return c
}

// Plane opens a back end for the time of a test.
func Plane(t testing.TB, cfg media.Config, b media.Backend) *media.Plane {
	t.Helper()
	p, err := media.New(cfg, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Listen is a peer at an address and port; port 0 is any. On a machine without ::1 a test that needs it is skipped.
func Listen(t testing.TB, at string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	want := netip.MustParseAddrPort(at)
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(want))
	switch {
	case err != nil && want.Addr() == netip.IPv6Loopback() && !errors.Is(err, unix.EADDRINUSE):
		t.Skipf("no %s here: %v", at, err)
	case err != nil:
		t.Fatalf("no %s here: %v", at, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// At is a peer at any port of an address.
func At(t testing.TB, address string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	return Listen(t, netip.AddrPortFrom(netip.MustParseAddr(address), 0).String())
}

// Call points one stream of a plane at two peers, by nat.Side.
func Call(t testing.TB, p *media.Plane, peers [2]netip.AddrPort) (id media.ID, local [2]netip.AddrPort) {
	t.Helper()
	id, local, err := p.Reserve(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for side, at := range peers {
		if err := p.Point(id, nat.Side(side), media.Want{RTP: at, Send: true, Receive: true}); err != nil {
			t.Fatal(err)
		}
	}
	return id, local
}

// Send sends a payload from a peer.
func Send(t testing.TB, from *net.UDPConn, payload []byte, to netip.AddrPort) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(payload, to); err != nil {
		t.Fatal(err)
	}
}

// Receive waits for a datagram at a peer.
func Receive(c *net.UDPConn, buf []byte) (n int, from netip.AddrPort, err error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, from, err = c.ReadFromUDPAddrPort(buf)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// Pass sends a payload to a port of the relay and expects it at a peer, from another port of it.
func Pass(t testing.TB, from *net.UDPConn, in netip.AddrPort, to *net.UDPConn, out netip.AddrPort, payload []byte) {
	t.Helper()
	Send(t, from, payload, in)
	buf := make([]byte, 4096)
	n, source, err := Receive(to, buf)
	if err != nil || string(buf[:n]) != string(payload) || source != out {
		t.Fatalf("%d of %d bytes from %v, want %v: %v", n, len(payload), source, out, err)
	}
}

// Eventually looks until something has come true; what is said if it does not.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal(what)
		}
	}
}
