//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// The addresses of the world. Outside is TEST-NET-3 (RFC 5737), inside a private network (RFC 1918).
const (
	gateOutside = "203.0.113.10"
	provider    = "203.0.113.20"
	stranger    = "203.0.113.66"
	gateInside  = "10.0.0.2"
	node1       = "10.0.0.10"
	node2       = "10.0.0.11"
)

// world is three network namespaces in a row: provider and strangers, the gate, the PBX. The gate forwards no packet, so
// what arrives at the other end went through the program.
type world struct {
	name string // prefix of the namespaces, unique to this process
	dir  string // whatever the test leaves
}

// namespaces of a world.
const (
	nsOutside = "outside"
	nsGate    = "gate"
	nsInside  = "inside"
)

var worlds atomic.Int32

// newWorld makes the namespaces and has them removed when the test ends.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run make interop as root")
	}
	n := worlds.Add(1)
	w := &world{name: fmt.Sprintf("sallyport-%d-%d", os.Getpid(), n)}
	dir, err := os.MkdirTemp("", w.name+"-") //nolint:usetesting // t.TempDir would remove what a failure is read from
	if err != nil {
		t.Fatal(err)
	}
	w.dir = dir
	t.Cleanup(func() {
		w.remove()
		if t.Failed() {
			t.Logf("kept: %s", w.dir)
			return
		}
		os.RemoveAll(w.dir)
	})
	for _, ns := range []string{nsOutside, nsGate, nsInside} {
		w.ip(t, "netns", "add", w.ns(ns))
		w.in(t, ns, "ip", "link", "set", "lo", "up")
	}
	w.cable(t, nsOutside, nsGate, []string{provider, stranger}, gateOutside)
	w.cable(t, nsInside, nsGate, []string{node1, node2}, gateInside)
	return w
}

// ns is the system's name of a namespace of the world.
func (w *world) ns(name string) string { return w.name + "-" + name }

// cable joins the namespace side with the gate; the interface at both ends is named after the side.
func (w *world) cable(t *testing.T, side, gate string, far []string, near string) {
	t.Helper()
	w.ip(t, "link", "add", side, "netns", w.ns(side), "type", "veth", "peer", "name", side, "netns", w.ns(gate))
	for _, a := range far {
		w.in(t, side, "ip", "address", "add", a+"/24", "dev", side)
	}
	w.in(t, gate, "ip", "address", "add", near+"/24", "dev", side)
	w.in(t, side, "ip", "link", "set", side, "up")
	w.in(t, gate, "ip", "link", "set", side, "up")
	w.in(t, side, "ip", "route", "add", "default", "via", near)
}

// forward makes the gate an ordinary router, so that the peers meet without the program.
func (w *world) forward(t *testing.T) {
	t.Helper()
	w.in(t, nsGate, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
}

func (w *world) ip(t *testing.T, args ...string) {
	t.Helper()
	run(t, "ip", args...)
}

// in runs a short command in a namespace.
func (w *world) in(t *testing.T, ns string, args ...string) string {
	t.Helper()
	return run(t, "ip", append([]string{"netns", "exec", w.ns(ns)}, args...)...)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (w *world) remove() {
	removeNamespaces(func(name string) bool { return strings.HasPrefix(name, w.name+"-") })
}

// removeNamespaces removes those that match, and with them their interfaces and whoever still runs there: a daemon's
// children outlive the process that was started.
func removeNamespaces(match func(string) bool) {
	out, _ := exec.Command("ip", "netns", "list").Output()
	for _, line := range strings.Split(string(out), "\n") {
		if name, _, _ := strings.Cut(line, " "); name != "" && match(name) {
			pids, _ := exec.Command("ip", "netns", "pids", name).Output()
			for _, pid := range strings.Fields(string(pids)) {
				if n, err := strconv.Atoi(pid); err == nil {
					_ = unix.Kill(n, unix.SIGKILL)
				}
			}
			_ = exec.Command("ip", "netns", "delete", name).Run()
			_ = os.RemoveAll(filepath.Join("/etc/netns", name)) // the files that it had of its own
		}
	}
}

// sweep removes what a run left that was killed before it could clean up.
func sweep() {
	removeNamespaces(func(name string) bool {
		parts := strings.Split(name, "-")
		if len(parts) != 4 || parts[0] != "sallyport" {
			return false
		}
		pid, err := strconv.Atoi(parts[1])
		return err == nil && unix.Kill(pid, 0) == unix.ESRCH
	})
}

// visit runs open on a thread in a namespace.
func (w *world) visit(t *testing.T, ns string, open func()) {
	t.Helper()
	if err := w.enter(ns, open); err != nil {
		t.Fatal(err)
	}
}

// enter is visit for whoever is not the test itself; the thread goes back before anything else runs on it.
func (w *world) enter(ns string, open func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer back.Close()
	away, err := os.Open(filepath.Join("/run/netns", w.ns(ns)))
	if err != nil {
		return err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() {
		if err := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // a thread in the wrong network would poison every later test
		}
	}()
	open()
	return nil
}

// socket opens a UDP socket in a namespace.
func (w *world) socket(t *testing.T, ns, address string) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	var err error
	w.visit(t, ns, func() { conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))) })
	if err != nil {
		t.Fatalf("socket %s in %s: %v", address, ns, err)
	}
	t.Cleanup(func() { conn.Close() })
	if raw, err := conn.SyscallConn(); err == nil { // beyond rmem_max, so that a burst is lost by the program or by nobody
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) })
	}
	return conn
}

// bound reports whether the process has a UDP socket at address. A process shows the sockets of its namespace.
func bound(pid int, address string) bool {
	ap := netip.MustParseAddrPort(address)
	ip, file, want := ap.Addr().AsSlice(), "udp", ""
	if len(ip) > 4 {
		file = "udp6"
	}
	for ; len(ip) > 0; ip = ip[4:] { // words of 32 bits, as this machine has them
		want += fmt.Sprintf("%02X%02X%02X%02X", ip[3], ip[2], ip[1], ip[0])
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
	return err == nil && bytes.Contains(table, fmt.Appendf(nil, " %s:%04X ", want, ap.Port()))
}
