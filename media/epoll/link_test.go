//go:build linux

package epoll

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

// linkedCall is a call whose ports have links towards both peers.
type linkedCall struct {
	*media.Plane
	b     *Backend
	id    media.ID
	conns [2]*net.UDPConn
	at    [2]netip.AddrPort
	local [2]netip.AddrPort
}

// links is how many there are, once the threads stand still.
func links(b *Backend) (n int) {
	b.Settle()
	for i := range b.links {
		if b.links[i].fd != 0 {
			n++
		}
	}
	return n
}

func newLinkedCall(t *testing.T, address string, first uint16, peers [2]string) *linkedCall {
	t.Helper()
	c := &linkedCall{b: New(Options{Process: true})}
	for side, at := range peers {
		c.conns[side], c.at[side] = rig.Listen(t, at)
	}
	var err error
	if c.Plane, err = media.New(rig.Config(first, address), c.b, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	c.id, c.local = rig.Call(t, c.Plane, c.at)
	for range linkAfter + 1 {
		c.both(t)
	}
	if n := links(c.b); n != 2 {
		t.Fatalf("%d links after %d packets each way, want 2", n, linkAfter+1)
	}
	return c
}

func (c *linkedCall) both(t *testing.T) {
	t.Helper()
	rig.Pass(t, c.conns[nat.Outside], c.local[nat.Outside], c.conns[nat.Inside], c.local[nat.Inside], rig.Packet)
	rig.Pass(t, c.conns[nat.Inside], c.local[nat.Inside], c.conns[nat.Outside], c.local[nat.Outside], rig.Packet)
}

// A port with a link carries audio as before, is still nobody else's, and gives the link back with the call.
func TestLink(t *testing.T) {
	for _, peers := range [][3]string{{rig.Own(5), rig.Own(6) + ":0", rig.Own(7) + ":0"}, {"::1", "[::1]:0", "[::1]:0"}} {
		c := newLinkedCall(t, peers[0], 24000, [2]string{peers[1], peers[2]})
		c.both(t)
		for _, reuse := range []int{unix.SO_REUSEPORT, unix.SO_REUSEADDR} {
			config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, reuse, 1) })
			}}
			if p, err := config.ListenPacket(t.Context(), "udp", c.local[nat.Outside].String()); !errors.Is(err, unix.EADDRINUSE) {
				_ = p.Close()
				t.Errorf("another program binds the port of a call: %v", err)
			}
		}
		c.Release(time.Now(), c.id)
		if n := links(c.b); n != 0 {
			t.Errorf("%d links outlive their call", n)
		}
		_ = c.Close()
	}
}

// A stranger at a port with a link is heard by nobody, counted, and not told that the port is in use.
func TestLinkAndStranger(t *testing.T) {
	c := newLinkedCall(t, rig.Own(5), 24100, [2]string{rig.Own(6) + ":0", rig.Own(7) + ":0"})
	stranger, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(rig.Own(8)+":0")), net.UDPAddrFromAddrPort(c.local[nat.Outside]))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for range 20 {
		if _, err := stranger.Write(rig.Packet); err != nil { // a refusal by ICMP would show here
			t.Fatal(err)
		}
	}
	refused := func() uint64 {
		legs, _ := c.Stats(c.id)
		return legs[nat.Outside].Rejected[media.RejectedSource]
	}
	for limit := time.Now().Add(5 * time.Second); refused() < 20 && time.Now().Before(limit); { // a bound for failure, not a measure
		c.both(t) // of each socket one datagram a round
	}
	if n := refused(); n != 20 {
		t.Errorf("%d of a stranger's 20 packets were counted", n)
	}
	if n := links(c.b); n != 2 {
		t.Errorf("%d links, want 2", n)
	}
}

// Signalling names another address: what goes there leaves at once by the port's own socket, and then by a new link.
func TestLinkFollows(t *testing.T) {
	c := newLinkedCall(t, rig.Own(5), 24200, [2]string{rig.Own(6) + ":0", rig.Own(7) + ":0"})
	before := c.conns[nat.Inside]
	c.conns[nat.Inside], c.at[nat.Inside] = rig.At(t, rig.Own(8))
	if err := c.Point(c.id, nat.Inside, media.Want{RTP: c.at[nat.Inside], Send: true, Receive: true}); err != nil {
		t.Fatal(err)
	}
	c.b.Settle()
	for range linkAfter + 1 {
		c.both(t)
	}
	if n := links(c.b); n != 2 {
		t.Errorf("%d links, want 2", n)
	}
	_ = before.SetReadDeadline(time.Now())
	if n, _ := before.Read(make([]byte, 1)); n != 0 {
		t.Error("the address of before still hears the call")
	}
}

// A peer that is away for a moment is told by ICMP; it loses what was sent meanwhile, and nothing afterwards.
func TestLinkAndICMP(t *testing.T) {
	c := newLinkedCall(t, rig.Own(5), 24300, [2]string{rig.Own(6) + ":0", rig.Own(7) + ":0"})
	_ = c.conns[nat.Inside].Close()
	for range 3 {
		if _, err := c.conns[nat.Outside].WriteToUDPAddrPort(rig.Packet, c.local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
	}
	heard := func() uint64 {
		legs, _ := c.Stats(c.id)
		return legs[nat.Outside].Packets
	}
	for limit := time.Now().Add(5 * time.Second); heard() < linkAfter+1+3; {
		if time.Now().After(limit) {
			t.Fatalf("%d packets heard", heard())
		}
	}
	c.conns[nat.Inside], _ = rig.Listen(t, c.at[nat.Inside].String())
	for range 3 {
		c.both(t)
	}
	if legs, _ := c.Stats(c.id); legs[nat.Inside].Rejected[media.RejectedUnsent] != 0 || legs[nat.Inside].Sent != linkAfter+1+3+3 {
		t.Errorf("%d sent, %d not", legs[nat.Inside].Sent, legs[nat.Inside].Rejected[media.RejectedUnsent])
	}
}

// What a link's peer sent from where it is, is judged like everything else; and a long packet passes whole.
func TestLinkJudges(t *testing.T) {
	c := newLinkedCall(t, rig.Own(5), 24400, [2]string{rig.Own(6) + ":0", rig.Own(7) + ":0"})
	for _, junk := range [][]byte{{}, {0x80}, bytes.Repeat([]byte{0xff}, 300)} {
		if _, err := c.conns[nat.Outside].WriteToUDPAddrPort(junk, c.local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
	}
	long := append(bytes.Clone(rig.Packet), make([]byte, 1600)...)
	if _, err := c.conns[nat.Outside].WriteToUDPAddrPort(long, c.local[nat.Outside]); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	_ = c.conns[nat.Inside].SetReadDeadline(time.Now().Add(5 * time.Second)) // a bound for failure, not a measure
	if n, err := c.conns[nat.Inside].Read(buf); err != nil || n != len(long) {
		t.Errorf("%d bytes arrived first, want the %d of the long packet: %v", n, len(long), err)
	}
	if legs, _ := c.Stats(c.id); legs[nat.Outside].Rejected[media.RejectedJunk] != 3 {
		t.Errorf("junk: %v", legs[nat.Outside].Rejected)
	}
}

// Without a file to spare calls have audio without links.
func TestNoRoomForLinks(t *testing.T) {
	outside, outsideAt := rig.At(t, rig.Own(6))
	inside, insideAt := rig.At(t, rig.Own(7))
	b := New(Options{Process: true})
	p, err := media.New(rig.Config(24500, rig.Own(5)), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b.Settle()
	b.workers[0].room = 0
	_, local := rig.Call(t, p, [2]netip.AddrPort{outsideAt, insideAt})
	for range 2 * linkAfter {
		rig.Pass(t, outside, local[nat.Outside], inside, local[nat.Inside], rig.Packet)
	}
	if n := links(b); n != 0 {
		t.Errorf("%d links", n)
	}
}

// Only so many links are made after a batch; the others come with the next packets.
func TestLinksRipen(t *testing.T) {
	w := &worker{links: make([]link, 2*ripeAtOnce)}
	to := media.EndpointOf(netip.MustParseAddrPort("192.0.2.1:4000"))
	for n := range 2 * linkAfter {
		for pair := range w.links {
			if _, ok := w.linked(int32(2*pair), to); ok {
				t.Fatal("a link out of nowhere")
			}
		}
		if want := map[bool]int{false: 0, true: ripeAtOnce}[n >= linkAfter && n <= linkAfter+1]; w.ripen != want {
			t.Fatalf("packet %d: %d are ripe, want %d", n+1, w.ripen, want)
		}
		w.connect() // no room: none is opened
	}
}

// A link leaves nothing on the heap: in a process that does nothing but media nobody collects it while there are calls.
func TestLinkDoesNotAllocate(t *testing.T) {
	for _, c := range [][2]string{{rig.Own(5), rig.Own(6) + ":4000"}, {"::1", "[::1]:4000"}} {
		rig.At(t, c[0]) // skips where the family is missing
		b := New(Options{Process: true})
		p, err := media.New(rig.Config(24600, c[0]), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		w, to := b.workers[0], media.EndpointOf(netip.MustParseAddrPort(c[1]))
		b.crew.Stop()
		made := 0
		if n := testing.AllocsPerRun(50, func() {
			l := &w.links[1]
			l.host, l.port = to.As16(), to.Port()
			w.connectTo(2, l)
			if _, ok := l.socket(); ok {
				made++
			}
			w.cutLink(l)
		}); n != 0 || made != 51 {
			t.Errorf("%s: %v allocations for a link, %d made", c[0], n, made)
		}
		_ = p.Close()
	}
}
