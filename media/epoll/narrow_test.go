//go:build linux

package epoll

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

// narrowAddress is reached over a path that is narrower than it looks.
const narrowAddress = "127.200.0.1"

// narrow moves the test's thread into a namespace of its own, in which that is so.
func narrow(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace here: %v", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"route", "add", "local", narrowAddress + "/32", "dev", "lo", "table", "local", "mtu", "600"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v %s", args, err, out)
		}
	}
}

// What does not fit into one packet on the way to a peer arrives all the same, and what follows it.
func TestNarrowPath(t *testing.T) {
	narrow(t)
	outside, outsideAt := rig.Listen(t, "127.0.0.1:0")
	inside, insideAt := rig.Listen(t, narrowAddress+":0")
	p := rig.Plane(t, rig.Config(23400, "127.0.0.2"), New(Options{}))
	_, local := rig.Call(t, p, [2]netip.AddrPort{outsideAt, insideAt})
	for n, size := range []int{172, 1400, 572, 573, 172} {
		sent := bytes.Repeat([]byte{byte(n)}, size)
		copy(sent, rig.Packet[:12])
		sent[3] = byte(n + 1)
		if _, err := outside.WriteToUDPAddrPort(sent, local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2048)
		_ = inside.SetReadDeadline(time.Now().Add(5 * time.Second)) // a bound for failure, not a measure
		m, err := inside.Read(got)
		if err != nil || !bytes.Equal(got[:m], sent) {
			t.Fatalf("%d bytes: %d arrived: %v", size, m, err)
		}
	}
	if figures := p.Gauges(); figures.Rejected[media.RejectedUnsent] != 0 {
		t.Errorf("%d were not sent", figures.Rejected[media.RejectedUnsent])
	}
	if n := reassembled(t); n != 2 {
		t.Errorf("%d datagrams were cut, want 2", n)
	}
}

// The same of a port with a link. The thread of the back end ends, and the test does its work, in its namespace.
func TestNarrowPathOfALink(t *testing.T) {
	narrow(t)
	outside, outsideAt := rig.Listen(t, "127.0.0.1:0")
	inside, insideAt := rig.Listen(t, narrowAddress+":0")
	b := New(Options{Process: true})
	p, err := media.New(rig.Config(23400, "127.0.0.2"), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, local := rig.Call(t, p, [2]netip.AddrPort{outsideAt, insideAt})
	w := b.workers[0]
	b.crew.Stop()
	leg := int32(local[nat.Outside].Port() - 23400)
	for n, size := range append(slices.Repeat([]int{172}, linkAfter+1), 1400, 572, 573, 172) {
		sent := bytes.Repeat([]byte{byte(n)}, size)
		copy(sent, rig.Packet[:12])
		sent[3] = byte(n + 1)
		if _, err := outside.WriteToUDPAddrPort(sent, local[nat.Outside]); err != nil {
			t.Fatal(err)
		}
		w.relay(int64(time.Second), leg, w.fds[leg])
		w.connect()
		got := make([]byte, 2048)
		_ = inside.SetReadDeadline(time.Now().Add(5 * time.Second)) // a bound for failure, not a measure
		if m, err := inside.Read(got); err != nil || !bytes.Equal(got[:m], sent) {
			t.Fatalf("%d bytes: %d arrived: %v", size, m, err)
		}
	}
	if _, ok := w.links[(local[nat.Inside].Port()-23400)/2].socket(); !ok {
		t.Error("no link was made")
	}
	if n := reassembled(t); n != 2 {
		t.Errorf("%d datagrams were cut, want 2", n)
	}
	_ = p.Close()
}

// reassembled is how many datagrams of this namespace came in pieces.
func reassembled(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		switch fields := strings.Fields(line); {
		case fields[0] != "Ip:":
		case names == nil:
			names = fields
		default:
			n, _ := strconv.Atoi(fields[slices.Index(names, "ReasmOKs")])
			return n
		}
	}
	t.Fatal("no counters of IP")
	return 0
}
