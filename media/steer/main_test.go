//go:build linux

package steer

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

// What a media process asks of a back end.
var _ interface {
	media.Backend
	fmt.Stringer
	Settle()
} = (*Backend)(nil)

// roleVariable makes the test binary a child with a task of its own.
const roleVariable = "SALLYPORT_STEER_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" && roles[role] != nil {
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var roles = map[string]func() error{}

// need skips a test where the machine does not allow steering, and says why.
func need(t testing.TB) {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skip(err)
	}
}

// own is a loopback address that no other run of these tests uses.
func own(kind byte) string { return ownOf(os.Getpid(), kind).String() }

func ownOf(pid int, kind byte) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 100 + kind, byte(pid >> 8), byte(pid)})
}

// config is a relay with one address on both sides, or two.
func config(first uint16, addresses ...string) media.Config {
	c := media.Config{First: first, Last: first + 15, DSCP: 46, Workers: 1}
	for side := range c.Addresses {
		c.Addresses[side] = netip.MustParseAddr(addresses[min(side, len(addresses)-1)])
	}
	return c
}

func plane(t testing.TB, cfg media.Config, o Options) *media.Plane {
	t.Helper()
	return planeOn(t, cfg, New(o))
}

// unlimited lets a test send faster than any stream.
const unlimited = 1 << 30

func planeOn(t testing.TB, cfg media.Config, b media.Backend) *media.Plane {
	t.Helper()
	p, err := media.New(cfg, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func listen(t testing.TB, at string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatalf("no %s here: %v", at, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

var packet = append([]byte{0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9}, make([]byte, 160)...)

// call points one stream of a plane at two peers.
func call(t testing.TB, p *media.Plane, peers [2]netip.AddrPort) (id media.ID, local [2]netip.AddrPort) {
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

func send(t testing.TB, from *net.UDPConn, payload []byte, to netip.AddrPort) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(payload, to); err != nil {
		t.Fatal(err)
	}
}

// receive waits for a datagram; the deadline is a bound for failure, not a measure.
func receive(c *net.UDPConn, buf []byte) (int, error) {
	n, _, err := receiveFrom(c, buf)
	return n, err
}

func receiveFrom(c *net.UDPConn, buf []byte) (int, netip.AddrPort, error) {
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// pass sends a payload to a port of the relay and expects it at a peer, from another.
func pass(t testing.TB, from *net.UDPConn, in netip.AddrPort, to *net.UDPConn, out netip.AddrPort, payload []byte) {
	t.Helper()
	send(t, from, payload, in)
	buf := make([]byte, 4096)
	n, source, err := receiveFrom(to, buf)
	if err != nil || string(buf[:n]) != string(payload) || source != out {
		t.Fatalf("%d of %d bytes from %v, want %v: %v", n, len(payload), source, out, err)
	}
}

// await looks until something has come true.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal(what)
		}
	}
}

func unsafeBytes(v unix.Iovec) []byte { return unsafe.Slice(v.Base, v.Len) }
