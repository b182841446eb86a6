package firewall

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// network is a network namespace of its own with its loopback up, entered by the test's thread, which ends with the test.
func network(t *testing.T) (fd int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	runtime.LockOSThread() // for good: the thread is not given back
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespace: ", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	request := struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: unix.IFF_UP | unix.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); e != 0 {
		t.Fatal(e)
	}
	return fd
}

// arrives reports whether a datagram from one address reaches a socket. Loopback delivers it before the write returns.
func arrives(t *testing.T, from string, to *net.UDPConn) bool {
	t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	raw, err := to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := false
	if err := raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 16), unix.MSG_DONTWAIT)
		got = err == nil
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func hear(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestTheKernelDrops(t *testing.T) {
	fd := network(t)
	k := &netfilter{ns: fd}
	if err := k.build(nil); err != nil {
		t.Skip("no nf_tables here: ", err)
	}
	door, other, six := hear(t, "127.0.0.1:5060"), hear(t, "127.0.0.1:5062"), hear(t, "[::1]:5060")
	listeners := []Listener{
		{Bind: netip.MustParseAddrPort("127.0.0.1:5060")}, {TCP: true, Bind: netip.MustParseAddrPort("127.0.0.1:5060")},
		{Bind: netip.MustParseAddrPort("[::1]:5060")},
	}
	if err := k.build(listeners); err != nil { // over what is there
		t.Fatal(err)
	}
	expect := func(what string, from string, to *net.UDPConn, want bool) {
		t.Helper()
		if got := arrives(t, from, to); got != want {
			t.Errorf("%s: from %s to %s: arrives %t, want %t", what, from, to.LocalAddr(), got, want)
		}
	}
	expect("at first", "127.0.0.7", door, true)
	now := time.Now()
	bans := []Entry{
		{netip.MustParsePrefix("127.0.0.7/32"), now.Add(time.Hour)}, {netip.MustParsePrefix("127.0.0.8/32"), time.Time{}},
		{netip.MustParsePrefix("127.1.0.0/16"), now.Add(time.Hour)}, {netip.MustParsePrefix("::/64"), now.Add(time.Hour)},
		{netip.MustParsePrefix("255.255.255.255/32"), time.Time{}},
	}
	if err := k.change(now, nil, bans); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]bool{
		"127.0.0.6": true, "127.0.0.7": false, "127.0.0.8": false, "127.0.0.9": true, "127.1.2.3": false, "127.2.0.0": true,
	} {
		expect("banned", from, door, want)
		expect("another port", from, other, true)
	}
	expect("banned", "::1", six, false)
	if c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).Dial("tcp", "127.0.0.1:5060"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("TCP from elsewhere: %v, %v", c, err)
	}
	if err := k.change(now, bans[:1], []Entry{{netip.MustParsePrefix("127.0.0.9/32"), now.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	expect("lifted", "127.0.0.7", door, true)
	expect("added", "127.0.0.9", door, false)
	if err := k.change(now, bans[:1], nil); err == nil {
		t.Error("what is not there can be removed: nothing tells that somebody else changed the table")
	}
	var many []Entry
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		many = append(many, Entry{netip.PrefixFrom(a, 32), now.Add(time.Hour)})
	}
	if err := k.change(now, nil, many); err != nil {
		t.Error(err)
	}
	if err := k.drop(); err != nil {
		t.Error(err)
	}
	expect("in the end", "127.0.0.8", door, true)
	if err := k.drop(); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// TestAWholeFirewall: a program that is run twice, and killed in between, leaves nothing of the first.
func TestAWholeFirewall(t *testing.T) {
	fd := network(t)
	if err := (&netfilter{ns: fd}).build(nil); err != nil {
		t.Skip("no nf_tables here: ", err)
	}
	door := hear(t, "127.0.0.1:5060")
	listeners := []Listener{{Bind: netip.MustParseAddrPort("127.0.0.1:5060")}}
	first, second := New(Options{NetNS: fd}), New(Options{NetNS: fd})
	for _, f := range []*Firewall{first, second} {
		f.Protect(listeners)
	}
	first.Want([]Entry{{Prefix: netip.MustParsePrefix("127.0.0.7/32")}})
	first.work()
	if arrives(t, "127.0.0.7", door) {
		t.Error("not dropped")
	}
	second.Want([]Entry{{Prefix: netip.MustParsePrefix("127.0.0.8/32")}})
	second.work()
	if !arrives(t, "127.0.0.7", door) || arrives(t, "127.0.0.8", door) {
		t.Error("the first one's list stays")
	}
	second.end()
	if !arrives(t, "127.0.0.8", door) {
		t.Error("the table stays")
	}
}
