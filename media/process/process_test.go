//go:build linux

package process_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media"
	"sallyport/media/process"
	"sallyport/nat"
)

// roleVariable makes the test binary a child: "media" or "signalling".
const roleVariable = "SALLYPORT_PROCESS_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "media", "unit":
		os.Exit(beMedia())
	case "knock":
		os.Exit(knock())
	case "signalling":
		os.Exit(beSignalling())
	}
	goleak.VerifyTestMain(m)
}

// beMedia is the media process: its arguments are the socket and the build.
func beMedia() int {
	if err := process.Become(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := process.Serve(ctx, process.ServeOptions{Socket: os.Args[1], Build: os.Args[2], Follow: os.Getenv(roleVariable) == "media", Say: func(text string) {
		fmt.Fprintln(os.Stderr, text)
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// knock connects as another user and says what happens.
func knock() int {
	c, err := net.Dial("unixpacket", os.Args[1])
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // a bound for failure
		_, err = c.Read(make([]byte, 1))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		fmt.Println("closed")
		return 0
	}
	fmt.Println(err)
	return 1
}

// own is a loopback address that no other run of these tests uses.
func own(kind byte) netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, kind, byte(pid >> 8), byte(pid)})
}

var (
	badAddress = netip.MustParseAddr("192.0.2.1")
	newPeerAt  = netip.AddrPortFrom(own(64), 4000)
)

func config(first uint16) media.Config {
	return media.Config{Addresses: [2]netip.Addr{own(33), own(34)}, First: first, Last: first + 19, DSCP: 46}
}

// lines is a log that a test can look into.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) say(text string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprint(text, " ", err))
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

func options(t *testing.T, dir string) (process.Options, *lines) {
	t.Helper()
	log := &lines{}
	t.Setenv(roleVariable, "media")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	socket := filepath.Join(dir, "media.sock")
	return process.Options{
		Socket: socket, Build: "test", Program: os.Args[0], Arguments: []string{socket, "test"}, Say: log.say,
	}, log
}

func plane(t *testing.T, cfg media.Config, b media.Backend) *media.Plane {
	t.Helper()
	p, err := media.New(cfg, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// peer is one end of a call.
type peer struct {
	*net.UDPConn
	at  netip.AddrPort
	seq uint16
}

func newPeer(t *testing.T, kind byte) *peer {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own(kind), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &peer{UDPConn: c, at: c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// send sends the next RTP packet.
func (p *peer) send(t *testing.T, to netip.AddrPort) {
	t.Helper()
	p.seq++
	packet := make([]byte, 172)
	packet[0], packet[2], packet[3], packet[11] = 0x80, byte(p.seq>>8), byte(p.seq), 9
	// ICMP of a port that is closed at the moment shows here; it is no fault of the test.
	_, _ = p.WriteToUDPAddrPort(packet, to)
}

// last sends a packet behind which nothing of the sender's is on its way once the other peer has heard it.
func (p *peer) last(t *testing.T, in netip.AddrPort, to *peer) {
	t.Helper()
	const mark = 0xee
	packet := append(make([]byte, 171), mark)
	packet[0], packet[11] = 0x80, 9
	p.seq++
	binary.BigEndian.PutUint16(packet[2:], p.seq)
	if _, err := p.WriteToUDPAddrPort(packet, in); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(15 * time.Second)) // a bound for failure
	for packet[171] = 0; packet[171] != mark; {
		if _, _, err := to.ReadFromUDPAddrPort(packet); err != nil {
			t.Fatal(err)
		}
	}
}

// hears reports whether something arrives soon.
func (p *peer) hears(within time.Duration) bool {
	_ = p.SetReadDeadline(time.Now().Add(within))
	_, _, err := p.ReadFromUDPAddrPort(make([]byte, 2048))
	return err == nil
}

// until repeats an attempt until it succeeds; the bound is one for failure, not a measure.
func until(t *testing.T, what string, try func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !try(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it never came", what)
		}
	}
}

// talk is audio from one peer to the other, however many packets it takes.
func talk(t *testing.T, from *peer, in netip.AddrPort, to *peer) {
	t.Helper()
	until(t, "audio", func() bool {
		from.send(t, in)
		return to.hears(20 * time.Millisecond)
	})
}

func wants(at netip.AddrPort) media.Want {
	return media.Want{RTP: at, Payloads: [2]uint64{1}, Send: true, Receive: true, Final: true, Timeout: time.Minute, Hold: time.Hour}
}

// call is one with audio both ways.
type call struct {
	id    media.ID
	local [2]netip.AddrPort
	peers [2]*peer
}

func setUp(t *testing.T, p *media.Plane, kind byte) *call {
	t.Helper()
	c := &call{peers: [2]*peer{newPeer(t, kind), newPeer(t, kind+1)}}
	var err error
	if c.id, c.local, err = p.Reserve(time.Now()); err != nil {
		t.Fatal(err)
	}
	for side, peer := range c.peers {
		if err := p.Point(c.id, nat.Side(side), wants(peer.at)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *call) talk(t *testing.T) {
	t.Helper()
	talk(t, c.peers[0], c.local[0], c.peers[1])
	talk(t, c.peers[1], c.local[1], c.peers[0])
}

func TestCallThroughTheProcess(t *testing.T) {
	o, _ := options(t, t.TempDir())
	b := process.New(o)
	p := plane(t, config(24000), b)
	state := b.State()
	if state.PID == 0 || state.PID == os.Getpid() || !state.Started || state.Build != "test" || state.Workers != 1 {
		t.Fatalf("state %+v", state)
	}
	if session, err := syscall.Getpgid(state.PID); err != nil || session != state.PID {
		t.Errorf("it stands in the group %d: %v", session, err)
	}
	c := setUp(t, p, 35)
	c.talk(t)
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The process says when a leg has found its peer; the sweep tells which.
	w := wants(c.peers[0].at)
	w.Latch, w.Fallback, w.Epoch = media.Strict, c.peers[0].at.Addr(), 1
	if err := p.Point(c.id, nat.Outside, w); err != nil {
		t.Fatal(err)
	}
	until(t, "a hint", func() bool {
		c.talk(t)
		select {
		case <-p.Hinted():
			return slices.ContainsFunc(p.Sweep(time.Now()), func(h media.Hint) bool { return h.ID == c.id && h.Kind == media.Latched })
		default:
			return false
		}
	})
	legs, ok := p.Stats(c.id)
	if !ok || legs[0].Packets == 0 || legs[1].Packets == 0 || legs[0].Sent == 0 || legs[0].Remote != c.peers[0].at {
		t.Fatalf("%+v", legs)
	}
	if since := time.Since(legs[0].LastSeen); since < 0 || since > time.Minute {
		t.Errorf("the clocks of the two processes differ by %v", since)
	}
	p.Release(time.Now(), c.id)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the process", func() bool { return syscall.Kill(state.PID, 0) != nil })
	if _, err := os.Stat(o.Socket); err == nil {
		t.Error("its socket is still there")
	}
	if _, ok := p.Stats(c.id); ok {
		t.Error("a released stream has figures")
	}
}

func TestTwoWorkers(t *testing.T) {
	o, _ := options(t, t.TempDir())
	b := process.New(o)
	cfg := config(24100)
	cfg.Workers = 2
	p := plane(t, cfg, b)
	if n := b.State().Workers; n != 2 {
		t.Fatalf("%d workers", n)
	}
	parity := map[uint16]int{}
	for n := range byte(4) {
		c := setUp(t, p, 40+2*n)
		a, b := c.local[0].Port()/2%2, c.local[1].Port()/2%2
		if a != b {
			t.Errorf("%v: its sides are on two workers", c.local)
		}
		parity[a]++
		c.talk(t)
	}
	if parity[0] != 2 || parity[1] != 2 {
		t.Errorf("calls by worker: %v", parity)
	}
}
